//! Whole trainings with the library's plugins, against outside truths.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{have_plugins, json, result, root, shared, trainyard, weather};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::fs;
use std::path::Path;

const ETTH1: [&str; 6] = ["--lookback", "336", "--horizon", "96", "--split", "8640/2880/2880"];

fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|&b| f64::from_le_bytes(b))
        .collect()
}

fn reference(file: &str) -> Value {
    let path = root().join("tests/reference").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn dlinear_reaches_the_papers_errors_on_etth1() {
    let Some(data) = shared("ETTh1.csv").filter(|_| have_plugins()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (data.to_str().unwrap(), folder.path().join("model"));
    let lines = json(
        &[
            &["run", "dlinear", "--data", data, "--out", out.to_str().unwrap()],
            &ETTH1[..],
        ]
        .concat(),
    );
    let last = lines.last().unwrap();
    let metric = |name: &str| last["metrics"][name].as_f64().unwrap();
    assert!(metric("mse") <= 0.378, "MSE {}", metric("mse"));
    assert!(metric("mae") <= 0.400, "MAE {}", metric("mae"));
    let fractions: Vec<f64> = lines
        .iter()
        .filter(|l| l["event"] == "progress")
        .map(|l| l["fraction"].as_f64().unwrap())
        .collect();
    assert!(
        fractions.len() > 10 && fractions.is_sorted(),
        "progress moves: {fractions:?}"
    );
}

fn weather_run(seed: &str, threads: &str, out: &Path) -> Vec<u8> {
    let data = weather();
    let arguments = [
        "run",
        "dlinear",
        "--data",
        data.to_str().unwrap(),
        "--target",
        "temp_max,temp_min",
        "--lookback",
        "30",
        "--horizon",
        "7",
        "--param",
        "epochs=3",
        "--seed",
        seed,
        "--threads",
        threads,
        "--out",
        out.to_str().unwrap(),
    ];
    result(&arguments);
    fs::read(out.join("model.safetensors")).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_one_thread_and_on_two() {
    if !have_plugins() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |seed, threads, name: &str| weather_run(seed, threads, &folder.path().join(name));
    let first = run("7", "1", "a");
    assert!(first.len() > 1000);
    assert_eq!(first, run("7", "1", "b"), "two runs");
    assert_eq!(first, run("7", "2", "c"), "one thread and two");
    assert_ne!(first, run("8", "1", "d"), "another seed");
}

#[test]
fn mlp_is_reproducible_too_with_shuffling_dropout_and_batch_norm() {
    if !have_plugins() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = weather();
    let run = |threads: &str, name: &str| {
        let out = folder.path().join(name);
        result(&[
            "run",
            "mlp",
            "--data",
            data.to_str().unwrap(),
            "--target",
            "weather",
            "--features",
            "precipitation,temp_max,temp_min,wind",
            "--param",
            "epochs=3",
            "--param",
            "dropout=0.2",
            "--param",
            "batch_norm=true",
            "--param",
            "hidden=256,256",
            "--param",
            "batch_size=256",
            "--threads",
            threads,
            "--out",
            out.to_str().unwrap(),
        ]);
        fs::read(out.join("model.safetensors")).unwrap()
    };
    assert_eq!(run("1", "a"), run("2", "b"));
}

#[test]
fn ridge_finds_scikit_learns_coefficients() {
    if !have_plugins() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let reference = reference("ridge.json");
    let mut checked = 0;
    for (i, fit) in reference["fits"].as_array().unwrap().iter().enumerate() {
        let data = root().join("tests/reference/data").join(fit["data"].as_str().unwrap());
        let out = folder.path().join(i.to_string());
        let alpha = format!("alpha={}", fit["alpha"]);
        let intercept = format!("fit_intercept={}", fit["fit_intercept"]);
        let outcome = result(&[
            "run",
            "ridge",
            "--data",
            data.to_str().unwrap(),
            "--target",
            "y1,y2",
            "--features",
            "x1,x2,x3,x4,x5,x6",
            "--split",
            "210/30/60",
            "--scaling",
            fit["scaling"].as_str().unwrap(),
            "--param",
            &alpha,
            "--param",
            &intercept,
            "--out",
            out.to_str().unwrap(),
        ]);
        let bytes = fs::read(out.join("model.safetensors")).unwrap();
        let model = SafeTensors::deserialize(&bytes).unwrap();
        let expected: Vec<f64> = fit["coefficients"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|r| r.as_array().unwrap())
            .map(|v| v.as_f64().unwrap())
            .collect();
        let found = floats(model.tensor("coefficients").unwrap().data());
        assert_eq!(found.len(), expected.len());
        // Without a penalty, collinear columns have many solutions; scikit-learn and we both give the one of least norm.
        for (a, b) in found.iter().zip(&expected) {
            assert!(
                (a - b).abs() <= 1e-6 * (1.0 + b.abs()),
                "fit {i} ({alpha}, {intercept}): {a}, not {b}"
            );
        }
        let intercepts = floats(model.tensor("intercept").unwrap().data());
        for (a, b) in intercepts.iter().zip(fit["intercepts"].as_array().unwrap()) {
            assert!(
                (a - b.as_f64().unwrap()).abs() <= 1e-6,
                "fit {i}: intercept {a}, not {b}"
            );
        }
        if fit["scaling"] == "none" {
            let mse = outcome["metrics"]["mse"].as_f64().unwrap();
            assert!(
                (mse - fit["test"]["mse"].as_f64().unwrap()).abs() < 1e-5,
                "fit {i}: test MSE {mse}"
            );
        }
        checked += 1;
    }
    assert!(checked >= 16);
}

/// A checkpoint before the first epoch, with the weights that PyTorch began with.
fn write_start(folder: &Path, weights: &serde_json::Map<String, Value>) {
    let mut stored: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, value) in weights {
        let (position, kind) = name.split_once('.').unwrap();
        let layer = match position {
            "0" => "hidden.0",
            "2" => "hidden.1",
            _ => "output",
        };
        let name = format!("{layer}.{kind}");
        let shape = value["shape"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d.as_u64().unwrap() as usize)
            .collect();
        let data = value["data"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|v| (v.as_f64().unwrap() as f32).to_le_bytes())
            .collect();
        stored.push((format!("parameter/{name}"), Dtype::F32, shape, data));
        stored.push((
            format!("optimizer/{name}/steps"),
            Dtype::F64,
            vec![],
            0f64.to_le_bytes().to_vec(),
        ));
    }
    let views = stored
        .iter()
        .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    let note = std::collections::HashMap::from([("note".to_owned(), "0".to_owned())]);
    fs::create_dir_all(folder).unwrap();
    fs::write(
        folder.join("checkpoint.safetensors"),
        safetensors::serialize(views, Some(note)).unwrap(),
    )
    .unwrap();
}

#[test]
fn ten_steps_of_mlp_have_pytorchs_losses() {
    if !have_plugins() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = root().join("tests/reference/data/regression.csv");
    let reference = reference("mlp.json");
    let mut checked = 0;
    for (i, run) in reference["runs"].as_array().unwrap().iter().enumerate() {
        let options = &run["options"];
        let kind = match (run["optimiser"].as_str().unwrap(), options["momentum"].as_f64()) {
            ("SGD", Some(_)) => "sgd",
            ("Adam", _) => "adam",
            ("AdamW", _) => "adamw",
            // The plugin's SGD always has momentum.
            _ => continue,
        };
        if run["dtype"] != "float32" {
            continue;
        }
        let task = run["task"].as_str().unwrap();
        let out = folder.path().join(i.to_string());
        write_start(&out, reference["initial"][task].as_object().unwrap());
        let optimizer = format!("optimizer={kind}");
        let rate = format!("learning_rate={}", options["lr"]);
        let decay = format!("weight_decay={}", options["weight_decay"].as_f64().unwrap_or(0.0));
        let target = if task == "classification" { "label" } else { "y1" };
        let lines = json(&[
            "run",
            "mlp",
            "--data",
            data.to_str().unwrap(),
            "--target",
            target,
            "--task",
            task,
            "--features",
            "x1,x2,x3,x4,x5,x6",
            "--split",
            "210/30/60",
            "--scaling",
            "none",
            "--param",
            "hidden=16,8",
            "--param",
            "batch_size=210",
            "--param",
            "epochs=10",
            "--param",
            "patience=0",
            "--param",
            &optimizer,
            "--param",
            &rate,
            "--param",
            &decay,
            "--out",
            out.to_str().unwrap(),
            "--resume",
        ]);
        let mut losses: Vec<f64> = Vec::new();
        for line in lines.iter().filter(|l| l["event"] == "progress") {
            if let Some(loss) = line["metrics"]["loss"].as_f64()
                && losses.last() != Some(&loss)
            {
                losses.push(loss);
            }
        }
        let expected: Vec<f64> = run["losses"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        assert_eq!(losses.len(), 10, "{task} {kind}: {losses:?}");
        for (step, (a, b)) in losses.iter().zip(&expected).enumerate() {
            assert!(
                (a - b).abs() <= 1e-5 * (1.0 + b.abs()),
                "{task} {kind}, step {step}: {a}, not {b}"
            );
        }
        checked += 1;
    }
    assert_eq!(checked, 6);
}

#[test]
fn a_model_predicts_what_its_evaluation_says_and_opens_in_python() {
    if !have_plugins() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    weather_run("1", "1", &out);
    let about: Value = serde_json::from_str(&fs::read_to_string(out.join("model.json")).unwrap()).unwrap();
    assert_eq!(about["plugin"]["name"], "dlinear");
    assert_eq!(about["plugin"]["digest"].as_str().unwrap().len(), 64);
    assert_eq!(about["seed"], 1);
    assert!(
        about["metrics"]["mse"].is_number() && about["preprocessing"]["targets"][0]["scale"].is_number(),
        "{about}"
    );

    let data = weather();
    let output = trainyard(&["predict", out.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    let csv = common::text(&output.stdout);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "date,temp_max,temp_min");
    assert_eq!(lines.len(), 8, "seven days ahead: {csv}");
    assert!(
        lines[1].starts_with("2016-01-01,"),
        "the day after the file's last: {csv}"
    );
    let highest: f64 = lines[1].split(',').nth(1).unwrap().parse().unwrap();
    assert!(
        (-10.0..30.0).contains(&highest),
        "degrees, not standard deviations: {highest}"
    );

    let Some(python) = std::env::var_os("TRAINYARD_PYTHON") else {
        println!("skipped: no Python with safetensors");
        return;
    };
    let script = "import sys; from safetensors.numpy import load_file; t = load_file(sys.argv[1]); print(sorted((k, v.shape, str(v.dtype)) for k, v in t.items()))";
    let output = std::process::Command::new(python)
        .args(["-c", script])
        .arg(out.join("model.safetensors"))
        .output()
        .unwrap();
    let said = common::text(&output.stdout);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    assert!(said.contains("('seasonal.weight', (7, 30), 'float32')"), "{said}");
}

#[test]
fn a_forged_plugin_in_a_model_is_refused() {
    if !have_plugins() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    weather_run("1", "1", &out);
    let plugins = std::env::var_os("TRAINYARD_PLUGINS").unwrap();
    fs::copy(Path::new(&plugins).join("ridge.wasm"), out.join("plugin.wasm")).unwrap();
    let data = weather();
    let (code, error) = common::refusal(&["predict", out.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    assert_eq!(code, 4);
    assert!(
        error.contains("is not the plugin that the model was trained with"),
        "{error}"
    );
}

//! What runner processes do: compile, train, go on from a checkpoint, stop, predict, judge.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/runners.rs"]
mod runners;

use common::{result, root, weather};
use runners::{
    Compiled, Training, answer, compiled, data_file, dataset, failed, give, heard, hostile, launcher, limits, plugin,
    read,
};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;
use trainyard_data::DataFormat;
use trainyard_jobs::LogLevel;
use trainyard_worker::process::{ProcessError, Runner};
use trainyard_worker::protocol::{Order, Report, Task, files};

fn forecast(compiled: &Compiled) -> Training<'_> {
    Training {
        compiled,
        dataset: json!({"target": ["temp_max", "temp_min"], "lookback": 30, "horizon": 7}),
        data: Box::leak(weather().into_boxed_path()),
        parameters: json!({"epochs": 3}),
        seed: 7,
        checkpoint: None,
    }
}

fn regression(compiled: &Compiled, parameters: Value) -> Training<'_> {
    let data = root().join("tests/reference/data/regression.csv");
    Training {
        compiled,
        dataset: json!({"target": "y1", "columns": ["x1", "x2", "x3", "x4", "x5", "x6"], "split": "210/30/60"}),
        data: Box::leak(data.into_boxed_path()),
        parameters,
        seed: 1,
        checkpoint: None,
    }
}

/// What `trainyard run` makes of the same.
fn run(plugin: &str, training: &Training<'_>, data: &[&str]) -> (Vec<u8>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let seed = training.seed.to_string();
    let parameters: Vec<String> = training
        .parameters
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(name, value)| ["--param".to_owned(), format!("{name}={value}")])
        .collect();
    let mut arguments = vec![
        "run",
        plugin,
        "--data",
        training.data.to_str().unwrap(),
        "--seed",
        &seed,
        "--out",
        out.to_str().unwrap(),
    ];
    arguments.extend(data);
    arguments.extend(parameters.iter().map(String::as_str));
    let outcome = result(&arguments);
    (
        fs::read(out.join("model.safetensors")).unwrap(),
        outcome["metrics"].clone(),
    )
}

async fn trained(runner: &mut Runner) -> (Vec<Report>, Vec<(String, f64)>) {
    let mut reports = heard(runner).await;
    match reports.pop().unwrap() {
        Report::Trained { metrics } => (reports, metrics),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_runner_trains_the_same_model_to_the_bit() {
    let Some(file) = plugin("dlinear") else { return };
    let (_root, launcher) = launcher();
    let compiled = compiled(&launcher, &file).await;
    assert_eq!(compiled.inspection["description"]["name"], "dlinear");
    let training = forecast(&compiled);
    let mut runner = launcher.start().await.unwrap();
    training.order(&runner).await;
    let (reports, metrics) = trained(&mut runner).await;

    let options = ["--target", "temp_max,temp_min", "--lookback", "30", "--horizon", "7"];
    let (weights, expected) = run("dlinear", &training, &options);
    assert!(
        read(runner.open_result(files::WEIGHTS).unwrap()) == weights,
        "other weights"
    );
    for (name, value) in metrics {
        assert_eq!(expected[&name].as_f64(), Some(value), "{name}");
    }
    let about: Value = serde_json::from_slice(&read(runner.open_result(files::ABOUT).unwrap())).unwrap();
    assert_eq!(about["plugin"]["digest"].as_str().unwrap(), compiled.identity.digest);
    let Report::Prepared { summary, .. } = &reports[0] else {
        panic!("{:?}", reports[0]);
    };
    assert_eq!(summary["source"], "seattle-weather.csv");
    let fractions: Vec<f64> = reports
        .iter()
        .filter_map(|report| match report {
            Report::Progress { fraction, .. } => Some(*fraction),
            _ => None,
        })
        .collect();
    assert!(fractions.len() >= 3 && fractions.is_sorted(), "{fractions:?}");
}

#[tokio::test]
async fn a_training_goes_on_from_its_checkpoint_as_if_nothing_had_happened() {
    let Some(file) = plugin("mlp") else { return };
    let (_root, launcher) = launcher();
    let compiled = compiled(&launcher, &file).await;
    let parameters = json!({"epochs": 4, "batch_size": 64, "patience": 0});
    let mut whole = launcher.start().await.unwrap();
    regression(&compiled, parameters.clone()).order(&whole).await;
    trained(&mut whole).await;

    let mut first = launcher.start().await.unwrap();
    regression(&compiled, parameters.clone()).order(&first).await;
    let mut seen = 0;
    let checkpoint = loop {
        if first.next().await.unwrap() != Report::Checkpoint {
            continue;
        }
        seen += 1;
        if seen == 2 {
            break first.open_result(files::CHECKPOINT).unwrap();
        }
        first.send(&Order::CheckpointStored, &[]).await.unwrap();
    };
    first.kill().await;

    let mut second = launcher.start().await.unwrap();
    let training = Training {
        checkpoint: Some(&checkpoint),
        ..regression(&compiled, parameters)
    };
    training.order(&second).await;
    trained(&mut second).await;
    assert!(
        read(second.open_result(files::WEIGHTS).unwrap()) == read(whole.open_result(files::WEIGHTS).unwrap()),
        "other weights"
    );
}

#[tokio::test]
async fn a_model_is_opened_once_and_predicts_and_is_judged_many_times() {
    let Some(file) = plugin("dlinear") else { return };
    let (root, launcher) = launcher();
    let compiled = compiled(&launcher, &file).await;
    let training = forecast(&compiled);
    let mut runner = launcher.start().await.unwrap();
    training.order(&runner).await;
    let (_, metrics) = trained(&mut runner).await;
    let (weights, about) = (
        runner.open_result(files::WEIGHTS).unwrap(),
        runner.open_result(files::ABOUT).unwrap(),
    );

    let mut open = launcher.start().await.unwrap();
    let task = Task::Open {
        plugin: compiled.identity.clone(),
        limits: limits(),
    };
    give(&open, task, &[&compiled.plugin, &compiled.code, &weights, &about]).await;
    assert_eq!(answer(&mut open).await, Report::Opened);

    let rows = File::open(weather()).unwrap();
    let predict = |rolling| Task::Predict {
        format: DataFormat::Csv,
        name: "the rows".into(),
        rolling,
        score: rolling,
    };
    for _ in 0..2 {
        give(&open, predict(false), &[&rows]).await;
        let Report::Predicted { prediction, times } = answer(&mut open).await else {
            panic!("it did not predict");
        };
        assert_eq!(prediction.columns, ["date", "temp_max", "temp_min"]);
        assert_eq!(prediction.rows.len(), 7);
        assert_eq!(prediction.rows[0][0], "2016-01-01");
        assert_eq!(times.unwrap()[0], 1_451_606_400_000_000);
        assert!((-10.0..30.0).contains(&prediction.rows[0][1].as_f64().unwrap()));
    }
    give(&open, predict(true), &[&rows]).await;
    let Report::Predicted {
        prediction: rolling, ..
    } = answer(&mut open).await
    else {
        panic!("it did not predict");
    };
    assert_eq!(rolling.columns[0], "forecast");
    assert!(rolling.rows.len() > 7_000);
    assert_eq!(rolling.columns.last().unwrap(), "anomaly_score");
    let mut scores = rolling.rows.iter().map(|row| row.last().unwrap());
    assert!(scores.clone().filter_map(Value::as_f64).all(|score| score >= 0.0));
    assert!(scores.next_back().unwrap().is_null(), "the last day has not come");

    let path = root.path().join("bad.csv");
    fs::write(&path, "date,temp_max\n2015-01-01,1\n").unwrap();
    give(&open, predict(false), &[&File::open(&path).unwrap()]).await;
    let (code, message) = failed(answer(&mut open).await);
    assert_eq!(code, "data.no-such-column");
    assert!(message.starts_with("the rows: "), "{message}");

    let evaluate = Task::Evaluate {
        dataset: dataset(&training.dataset),
        data: data_file("weather.csv"),
    };
    give(&open, evaluate, &[&rows]).await;
    let Report::Evaluated(evaluation) = answer(&mut open).await else {
        panic!("it was not judged");
    };
    for (name, value) in metrics {
        assert_eq!(evaluation.metrics[&name].as_f64(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_stopped_training_ends_with_what_it_has_and_a_cancelled_one_with_nothing() {
    let Some(file) = hostile() else { return };
    let (_root, launcher) = launcher();
    let compiled = compiled(&launcher, &file).await;

    let mut runner = launcher.start().await.unwrap();
    regression(&compiled, json!({"mode": "until-stopped"}))
        .order(&runner)
        .await;
    assert!(matches!(runner.next().await.unwrap(), Report::Prepared { .. }));
    runner.send(&Order::Stop, &[]).await.unwrap();
    trained(&mut runner).await;

    for mode in ["endless-loop", "endless-calls", "endless-work"] {
        let mut runner = launcher.start().await.unwrap();
        regression(&compiled, json!({ "mode": mode })).order(&runner).await;
        assert!(matches!(runner.next().await.unwrap(), Report::Prepared { .. }));
        runner.send(&Order::Cancel, &[]).await.unwrap();
        let (code, message) = failed(answer(&mut runner).await);
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("cancelled", "`train` was cancelled")
        );
    }
}

#[tokio::test]
async fn a_plugin_that_misbehaves_fails_with_its_reason() {
    let Some(file) = hostile() else { return };
    let (_root, launcher) = launcher();
    let compiled = compiled(&launcher, &file).await;
    for (mode, code, part) in [
        (
            "guest-memory",
            "guest-memory",
            "needed more than 256 MiB of its own memory",
        ),
        ("tensor-memory", "out-of-memory", "tensor memory"),
        ("panic", "trap", "crashed"),
    ] {
        let mut runner = launcher.start().await.unwrap();
        regression(&compiled, json!({ "mode": mode })).order(&runner).await;
        let (found, message) = failed(answer(&mut runner).await);
        assert_eq!(found, code, "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn no_line_of_a_long_log_is_lost() {
    let Some(file) = hostile() else { return };
    let (_root, launcher) = launcher();
    let compiled = compiled(&launcher, &file).await;
    let mut runner = launcher.start().await.unwrap();
    regression(&compiled, json!({"mode": "log-flood"})).order(&runner).await;
    let (reports, _) = trained(&mut runner).await;
    let lines = reports.iter().filter(|report| {
        matches!(
            report,
            Report::Log {
                level: LogLevel::Info,
                ..
            }
        )
    });
    assert_eq!(lines.count(), 100_000);
}

#[tokio::test]
async fn what_is_wrong_with_an_order_is_said() {
    let Some(file) = plugin("ridge") else { return };
    let (_root, launcher) = launcher();
    let compiled = compiled(&launcher, &file).await;

    let mut runner = launcher.start().await.unwrap();
    regression(&compiled, json!({"alpha": -1})).order(&runner).await;
    match answer(&mut runner).await {
        Report::Failed { code, details, .. } => {
            assert_eq!(code, "invalid-parameters");
            assert_eq!(details["problems"][0]["parameter"], "alpha");
        }
        other => panic!("{other:?}"),
    }

    let mut training = regression(&compiled, json!({}));
    training.dataset = json!({"target": "y9"});
    training.order(&runner).await;
    let (code, message) = failed(answer(&mut runner).await);
    assert_eq!(code, "data.no-such-column");
    assert!(message.starts_with("regression.csv: has no column \"y9\""), "{message}");

    let predict = Task::Predict {
        format: DataFormat::Csv,
        name: "the rows".into(),
        rolling: false,
        score: false,
    };
    give(&runner, predict, &[]).await;
    assert_eq!(failed(answer(&mut runner).await).0, "protocol");

    // It can still be used.
    regression(&compiled, json!({})).order(&runner).await;
    trained(&mut runner).await;
}

#[tokio::test]
async fn a_file_that_is_no_plugin_is_refused_and_one_of_data_described() {
    let (root, launcher) = launcher();
    let mut runner = launcher.start().await.unwrap();
    let text = File::open(root.path().parent().unwrap().join("absent"))
        .unwrap_or_else(|_| File::open(common::root().join("Cargo.toml")).unwrap());
    give(&runner, runners::inspect(), &[&text]).await;
    let (code, message) = failed(answer(&mut runner).await);
    assert_eq!(code, "not-a-plugin", "{message}");

    let data = Task::Data(data_file("weather.csv"));
    give(&runner, data, &[&File::open(weather()).unwrap()]).await;
    let Report::Data(report) = answer(&mut runner).await else {
        panic!("it was not described");
    };
    assert_eq!(report.rows, 1461);
    assert_eq!(report.time, Some(("2012-01-01".into(), "2015-12-31".into())));
    assert_eq!(report.columns[0]["type"], "time");
    assert_eq!(report.columns[1]["name"], "precipitation");
    assert!(report.columns[1]["max"].as_f64().unwrap() > 50.0);
    assert_eq!(report.head.len(), 20);
    assert_eq!(report.head[0][0], "2012-01-01");
}

#[tokio::test]
async fn a_scratch_folder_that_is_gone_is_said_to_be() {
    let Some(file) = plugin("ridge") else { return };
    let (_root, launcher) = launcher();
    let compiled = compiled(&launcher, &file).await;
    let mut runner = launcher.start().await.unwrap();
    fs::remove_dir_all(runner.scratch()).unwrap();
    regression(&compiled, json!({})).order(&runner).await;
    let (code, message) = failed(answer(&mut runner).await);
    assert_eq!(code, "scratch");
    assert!(message.contains("model.safetensors: cannot be written"), "{message}");
}

#[tokio::test]
async fn code_of_another_plugin_is_not_run_but_compiled_anew() {
    let (Some(ridge), Some(mlp)) = (plugin("ridge"), plugin("mlp")) else {
        return;
    };
    let (_root, launcher) = launcher();
    let (ridge, mlp) = (compiled(&launcher, &ridge).await, compiled(&launcher, &mlp).await);
    let mixed = Compiled {
        code: mlp.code,
        ..ridge
    };
    let mut runner = launcher.start().await.unwrap();
    regression(&mixed, json!({})).order(&runner).await;
    trained(&mut runner).await;
}

#[tokio::test]
async fn a_killed_runner_is_known_to_be_dead_at_once() {
    let Some(file) = hostile() else { return };
    let (_root, launcher) = launcher();
    let compiled = compiled(&launcher, &file).await;
    let mut runner = launcher.start().await.unwrap();
    regression(&compiled, json!({"mode": "endless-work"}))
        .order(&runner)
        .await;
    assert!(matches!(runner.next().await.unwrap(), Report::Prepared { .. }));
    let usage = runner.usage().unwrap();
    assert!(
        usage.resident_bytes > 1 << 20 && usage.peak_bytes >= usage.resident_bytes / 2,
        "{usage:?}"
    );

    let pid = rustix::process::Pid::from_raw(runner.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let error = loop {
        if let Err(error) = runner.next().await {
            break error;
        }
    };
    assert!(matches!(error, ProcessError::Died { .. }));
    assert_eq!(error.to_string(), "the runner was killed by signal 9 (SIGKILL)");
    assert_eq!(runner.usage(), None);
    let scratch = runner.scratch().to_owned();
    runner.kill().await;
    assert!(!Path::new(&scratch).exists());
}

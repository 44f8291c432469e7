//! A model's life: from nothing to a prediction, again, and through an error.

use crate::harness::{Service, plugin, root};
use serde_json::{Value, json};

#[test]
fn from_an_upload_to_a_prediction_every_state_comes_in_order() {
    let service = Service::start();
    let Some(id) = service.create_weather(300) else { return };
    let model = service.model(id);
    assert_eq!(model["status"], "DRAFT");
    assert_eq!(model["progress"], 0.0);

    let run = service.train(id, &json!({"seed": 7}));
    let mut states: Vec<String> = vec!["PENDING".into()];
    let (mut numbers, mut progress, mut logs, mut ends) = (Vec::new(), vec![0.0], 0, 0);
    for event in service.stream(&format!("/api/v2/ai/models/{id}/logs/stream"), &[]) {
        numbers.extend(event.id);
        match event.name.as_str() {
            "status" => states.push(event.data["status"].as_str().unwrap().to_owned()),
            "progress" => progress.push(event.data["progress"].as_f64().unwrap()),
            "end" => {
                assert_eq!(event.data["status"], "TRAINED", "{}", event.data);
                ends += 1;
            }
            "" => {
                // As the original writes its lines.
                for field in ["timestamp", "level", "message"] {
                    assert!(event.data[field].is_string(), "{}", event.data);
                }
                logs += 1;
            }
            _ => {}
        }
    }
    states.dedup();
    assert_eq!(states, ["PENDING", "PREPARING", "TRAINING", "TRAINED"]);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(progress.is_sorted() && progress.len() > 3, "{progress:?}");
    assert!(*progress.last().unwrap() <= 99.0);
    assert_eq!(ends, 1);

    let model = service.model(id);
    assert_eq!(model["status"], "TRAINED");
    assert_eq!(model["progress"], 100.0);
    assert_eq!(model["task_id"], json!(run));
    assert!(model["metrics"]["mse"].as_f64().unwrap() > 0.0, "{model}");
    assert!(model["error_log"].is_null());
    assert!(model["started_at"].is_string() && model["finished_at"].is_string());
    let usage = &model["resource_usage"];
    for figure in ["cpu_percent", "memory_mb", "duration_seconds"] {
        assert!(usage[figure].as_f64().unwrap() > 0.0, "{figure}: {usage}");
    }
    assert_eq!(usage["gpu_util"], 0.0);

    let series = service.get(&format!("/api/v2/ai/models/{id}/metrics?points=50")).data();
    let text = series.to_string();
    assert!(text.contains("loss") && text.contains("points"), "{text}");
    let report = service.get(&format!("/api/v2/ai/models/{id}/report")).data();
    assert!(report.to_string().contains("mse"), "{report}");
    let log = service.get(&format!("/api/v2/ai/models/{id}/logs?run={run}&limit=1000"));
    assert_eq!(log.status, 200);
    if logs > 0 {
        assert!(!log.bytes.is_empty());
    }

    // Rows in, values out.
    let csv = std::fs::read(root().join("examples/data/seattle-weather.csv")).unwrap();
    let path = format!("/api/v2/ai/models/{id}/predict");
    let prediction = service
        .request("POST", &path, &[("Content-Type", "text/csv")], &csv)
        .data();
    assert_eq!(prediction["columns"], json!(["date", "temp_max", "temp_min"]));
    assert_eq!(prediction["rows"].as_array().unwrap().len(), 7);
    assert!(prediction["rows"][0][1].as_f64().unwrap().is_finite(), "{prediction}");
    let again = service
        .request("POST", &path, &[("Content-Type", "text/csv")], &csv)
        .data();
    assert_eq!(prediction, again);
    let evaluation = service
        .post(&format!("/api/v2/ai/models/{id}/evaluate"), &json!({}))
        .data();
    assert_eq!(evaluation["metrics"], model["metrics"]);

    // What is downloaded is a model that the command line can use.
    let tar = service.get(&format!("/api/v2/ai/models/{id}/artifact"));
    assert_eq!(tar.status, 200);
    let names: Vec<&str> = ["model.safetensors", "model.json", "plugin.wasm", "log.jsonl"].into();
    let text = String::from_utf8_lossy(&tar.bytes);
    for name in &names {
        assert!(text.contains(name), "{name} is not in the artifact");
        let file = service.get(&format!("/api/v2/ai/models/{id}/artifact?file={name}"));
        assert_eq!(file.status, 200);
        std::fs::create_dir_all(service.folder.path().join("model")).unwrap();
        std::fs::write(service.folder.path().join("model").join(name), &file.bytes).unwrap();
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_trainyard"))
        .args(["predict", "model", "--json", "--data"])
        .arg(root().join("examples/data/seattle-weather.csv"))
        .current_dir(service.folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let first: Value = serde_json::from_slice(output.stdout.split(|b| *b == b'\n').next().unwrap()).unwrap();
    let (local, remote) = (&first["values"]["temp_max"], &prediction["rows"][0][1]);
    let difference = (local.as_f64().unwrap() - remote.as_f64().unwrap()).abs();
    assert!(difference < 1e-4, "{local} {remote}");
}

#[test]
fn a_model_trains_again_and_keeps_both_runs() {
    let service = Service::start();
    let Some(id) = service.create_weather(3) else { return };
    let first = service.train(id, &json!({}));
    service.wait_for(id, &["TRAINED"]);
    let second = service.train(id, &json!({"training_parameters": {"epochs": 5}}));
    let model = service.wait_for(id, &["TRAINED"]);
    assert_eq!(model["task_id"], json!(second));
    assert_eq!(model["trained_run"], json!(second));
    let runs = service.get(&format!("/api/v2/ai/models/{id}/runs")).data();
    let names: Vec<&Value> = runs["items"].as_array().unwrap().iter().map(|run| &run["id"]).collect();
    assert_eq!(names, [&json!(second), &json!(first)]);
    let run = service.run(id, &second);
    assert_eq!(run["training_parameters"]["epochs"], 5);
    assert_eq!(
        run["training_parameters"]["patience"], 0,
        "the model's own parameters stay"
    );
    // Both results are there.
    for run in [first, second] {
        let weights = service.get(&format!(
            "/api/v2/ai/models/{id}/artifact?run={run}&file=model.safetensors"
        ));
        assert_eq!(weights.status, 200);
    }
}

#[test]
fn a_retraining_needs_no_word_about_the_data() {
    let service = Service::start();
    let Some(ridge) = plugin("ridge") else { return };
    service.upload_plugin(&ridge);
    let id = service.create_model("bare", "ridge", &Value::Null, &json!({}));
    let path = format!("/api/v2/ai/models/{id}/train");
    assert_eq!(service.post(&path, &json!({})).error(422), "no-dataset");
    let rows: String = (0..40).map(|i| format!("{i},{}\n", 2 * i)).collect();
    let data = service.upload_csv("line.csv", &format!("x,y\n{rows}"));
    // A text that holds the object, as the original has it.
    let dataset = json!({"source": "upload", "dataset_id": data, "target": "y"}).to_string();
    service.train(id, &json!({"training_dataset": dataset}));
    service.wait_for(id, &["TRAINED"]);
    let again = service.train(id, &json!({}));
    service.wait_for(id, &["TRAINED"]);
    assert_eq!(service.run(id, &again)["training_dataset"]["dataset_id"], json!(data));
    assert_eq!(
        service.delete(&format!("/api/v2/ai/datasets/{data}")).status,
        200,
        "nothing under way needs it"
    );
}

#[test]
fn data_that_cannot_be_used_is_refused_by_its_own_name() {
    let service = Service::start();
    let headers = [("Content-Type", "text/csv")];
    let path = "/api/v2/ai/datasets?name=twice.csv";
    let answer = service.request("POST", path, &headers, b"a,a\n1,2\n");
    assert_eq!(answer.error(422), "data.duplicate-column");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("twice.csv: column \"a\" appears twice"),
        "{message}"
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let service = Service::start();
    let Some(id) = service.create_weather(3) else { return };
    let mut weights = Vec::new();
    for seed in [1, 1, 2] {
        let run = service.train(id, &json!({"seed": seed}));
        service.wait_for(id, &["TRAINED"]);
        weights.push(
            service
                .get(&format!(
                    "/api/v2/ai/models/{id}/artifact?run={run}&file=model.safetensors"
                ))
                .bytes,
        );
    }
    assert_eq!(weights[0], weights[1]);
    assert_ne!(weights[0], weights[2]);
}

#[test]
fn after_an_error_the_cause_is_told_and_a_retry_can_succeed() {
    let service = Service::start();
    let Some(id) = service.create_hostile("nan-model") else {
        return;
    };
    let failed = service.train(id, &json!({}));
    let model = service.wait_for(id, &["ERROR"]);
    let error = model["error_log"].as_str().unwrap();
    assert!(error.contains("NaN"), "{error}");
    assert!(model["finished_at"].is_string());
    let report = service.get(&format!("/api/v2/ai/models/{id}/report")).data();
    assert!(report.to_string().contains("NaN"), "{report}");

    service.train(id, &json!({"training_parameters": {"mode": "fine"}}));
    let model = service.wait_for(id, &["TRAINED"]);
    assert!(model["error_log"].is_null(), "{model}");
    assert_eq!(service.run(id, &failed)["state"], "ERROR");
}

#[test]
fn of_two_submits_at_once_one_is_refused() {
    let service = Service::start();
    let Some(id) = service.create_hostile("until-stopped") else {
        return;
    };
    let path = format!("/api/v2/ai/models/{id}/train");
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| service.post(&path, &json!({})).status))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(
        answers.iter().filter(|status| **status == 200).count(),
        1,
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|status| **status == 409).count(),
        7,
        "{answers:?}"
    );
    assert_eq!(service.post(&path, &json!({})).error(409), "already-training");
}

#[test]
fn a_model_in_training_cannot_be_deleted_or_changed() {
    let service = Service::start();
    let Some(id) = service.create_hostile("until-stopped") else {
        return;
    };
    service.train(id, &json!({}));
    service.wait_for(id, &["TRAINING"]);
    let path = format!("/api/v2/ai/models/{id}");
    service.delete(&path).error(409);
    let headers = [("Content-Type", "application/json")];
    service
        .request("PATCH", &path, &headers, br#"{"name":"other"}"#)
        .error(409);
    service.delete("/api/v2/ai/plugins/hostile/versions/0.1.0").error(409);
    service.stop(id).data();
    service.wait_for(id, &["DRAFT"]);
    assert_eq!(service.delete(&path).status, 200);
    assert_eq!(service.get(&path).error(404), "not-found");
    assert!(
        service.files("artifacts/models").is_empty(),
        "{:?}",
        service.files("artifacts/models")
    );
}

#[test]
fn a_file_below_a_configured_folder_can_be_trained_on_and_no_other() {
    let folder = root().join("examples/data").canonicalize().unwrap();
    let service = Service::with(&[("TRAINYARD_WORKER_DATA_ROOTS", folder.to_str().unwrap())]);
    let Some(dlinear) = plugin("dlinear") else { return };
    service.upload_plugin(&dlinear);
    let dataset = |path: &str| {
        json!({"source": "file", "path": path, "time": "date", "target": "temp_max",
        "lookback": 30, "horizon": 7})
    };
    let id = service.create_model(
        "file",
        "dlinear",
        &dataset("seattle-weather.csv"),
        &json!({"epochs": 2}),
    );
    service.train(id, &json!({}));
    service.wait_for(id, &["TRAINED"]);
    service.train(id, &json!({"training_dataset": dataset("/etc/hosts.csv")}));
    let model = service.wait_for(id, &["ERROR"]);
    assert!(model["error_log"].as_str().unwrap().contains("not below"), "{model}");
}

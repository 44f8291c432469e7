//! Stopping: while it waits, prepares, and trains; and shutting the whole service down.

use crate::harness::{Service, plugin};
use serde_json::json;

#[test]
fn a_run_that_waits_is_stopped_at_once_and_never_starts() {
    let service = Service::with(&[("TRAINYARD_WORKER_SLOTS", "1")]);
    let Some(first) = service.create_hostile("until-stopped") else {
        return;
    };
    let Some(second) = service.create_hostile("fine") else {
        return;
    };
    service.train(first, &json!({}));
    service.wait_for(first, &["TRAINING"]);
    let run = service.train(second, &json!({}));
    assert_eq!(service.model(second)["status"], "PENDING");
    service.stop(second).data();
    let model = service.model(second);
    assert_eq!(model["status"], "DRAFT");
    assert_eq!(model["progress"], 0.0);
    service.stop(first).data();
    service.wait_for(first, &["DRAFT"]);
    let run = service.run(second, &run);
    assert_eq!(run["state"], "CANCELLED");
    assert!(run["started_at"].is_null(), "{run}");
    assert_eq!(service.stop(second).error(409), "not-training");
}

#[test]
fn a_run_that_prepares_its_data_is_stopped() {
    let service = Service::start();
    let Some(dlinear) = plugin("dlinear") else { return };
    service.upload_plugin(&dlinear);
    // Large enough to take a while to read.
    let rows: String = (0..2_000_000)
        .map(|i| format!("{},{},{}\n", i % 7, i % 11, i % 13))
        .collect();
    let id = service.upload_csv("large.csv", &format!("a,b,c\n{rows}"));
    let dataset = json!({"source": "upload", "dataset_id": id, "target": "a", "lookback": 30, "horizon": 7});
    let model = service.create_model("large", "dlinear", &dataset, &json!({"epochs": 100}));
    let run = service.train(model, &json!({}));
    let preparing = service.wait_for(model, &["PREPARING"]);
    assert!(preparing["progress"].as_f64().unwrap() <= 5.0);
    service.stop(model).data();
    service.wait_for(model, &["DRAFT"]);
    assert_eq!(service.run(model, &run)["state"], "CANCELLED");
}

#[test]
fn a_run_that_trains_is_stopped_and_the_model_is_what_it_was() {
    let service = Service::start();
    let Some(id) = service.create_weather(3) else { return };
    service.train(id, &json!({}));
    let before = service.wait_for(id, &["TRAINED"]);
    let run = service.train(id, &json!({"training_parameters": {"epochs": 1000, "batch_size": 1}}));
    service.wait_for(id, &["TRAINING"]);
    let training = service.model(id);
    assert!(training["progress"].as_f64().unwrap() >= 5.0, "{training}");
    service.stop(id).data();
    let after = service.wait_for(id, &["TRAINED", "DRAFT", "ERROR"]);
    for field in [
        "status",
        "progress",
        "metrics",
        "file_path",
        "trained_run",
        "task_id",
        "finished_at",
    ] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let run = service.run(id, &run);
    assert_eq!(run["state"], "CANCELLED");
    assert!(run["stop_requested"].as_bool().unwrap());
    service.eventually("nothing of the stopped run is left but its log", || {
        let left = service.files(&format!("artifacts/models/{id}/runs/{}", run["id"].as_str().unwrap()));
        left.iter().all(|file| file.ends_with("log.jsonl"))
    });
}

#[test]
fn a_plugin_that_does_not_listen_is_stopped_too() {
    let service = Service::start();
    for mode in ["endless-loop", "endless-work"] {
        let Some(id) = service.create_hostile(mode) else { return };
        service.train(id, &json!({}));
        service.wait_for(id, &["TRAINING"]);
        service.stop(id).data();
        service.wait_for(id, &["DRAFT"]);
    }
    let Some(id) = service.create_hostile("fine") else {
        return;
    };
    service.train(id, &json!({}));
    service.wait_for(id, &["TRAINED"]);
}

#[test]
fn shut_down_in_the_middle_it_goes_on_from_the_last_checkpoint() {
    let mut service = Service::start();
    let Some(id) = service.create_slow_weather(100) else {
        return;
    };
    let run = service.train(id, &json!({}));
    service.eventually("a checkpoint", || !service.run(id, &run)["checkpoint"].is_null());
    let before = service.model(id)["progress"].as_f64().unwrap();
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));
    service.start_again();
    let mut restarted_at = None;
    for event in service.stream(&format!("/api/v2/ai/models/{id}/logs/stream"), &[]) {
        if event.name == "progress" && restarted_at.is_none() {
            restarted_at = event.data["progress"].as_f64();
        }
    }
    assert!(
        restarted_at.unwrap() >= before - 30.0 && restarted_at.unwrap() > 6.0,
        "{before} {restarted_at:?}"
    );
    service.wait_for(id, &["TRAINED"]);
    let run = service.run(id, &run);
    assert_eq!(run["attempt"], 1, "giving back does not count as an attempt: {run}");
    let log = service.get(&format!("/api/v2/ai/models/{id}/artifact?file=log.jsonl"));
    let log = String::from_utf8_lossy(&log.bytes).into_owned();
    for part in ["the worker shuts down", "going on after epoch"] {
        assert!(log.contains(part), "the full log spans the restart: {log}");
    }
    assert!(run["checkpoint"].is_null() || service.files("artifacts").iter().all(|f| !f.contains("checkpoint")));
}

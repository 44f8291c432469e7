//! Rows to begin with, and the few steps that most tests take first.

use serde_json::{Map, json};
use trainyard_data::DataFormat;
use trainyard_jobs::state::Change;
use trainyard_jobs::{
    Claim, DeviceChoice, Finished, ModelId, ModelStatus, NewModel, NewRun, PluginVersion, ResourceUsage, Run,
    RunLimits, RunState, Store, StoredDataset, Timestamp,
};

pub fn new_model(name: &str) -> NewModel {
    NewModel {
        name: name.into(),
        description: "Load of the north feeder".into(),
        plugin: "dlinear".into(),
        plugin_version: None,
        training_dataset: json!({"source": "upload", "dataset_id": "house-1", "target": ["load"]}),
        training_parameters: json!({"epochs": 10, "lr": 0.1}),
    }
}

pub fn new_run(id: &str, model: ModelId) -> NewRun {
    NewRun {
        id: id.into(),
        model_id: model,
        plugin: "dlinear".into(),
        plugin_version: "1.2.0".into(),
        plugin_digest: "d1".into(),
        training_dataset: json!({"source": "upload", "dataset_id": "house-1"}),
        training_parameters: json!({"epochs": 10, "lr": 0.1}),
        seed: u32::MAX,
        limits: RunLimits {
            time_seconds: 60,
            memory_mb: 512,
            device: DeviceChoice::Card(3),
            tf32: true,
        },
        labels: Vec::new(),
    }
}

pub fn plugin(name: &str, version: &str) -> PluginVersion {
    PluginVersion {
        name: name.into(),
        version: version.into(),
        digest: format!("digest of {name} {version}"),
        size: 30_000,
        summary: "A linear layer per part".into(),
        tasks: vec!["forecasting".into()],
        parameters: json!({"type": "object", "properties": {"epochs": {"type": "integer"}}}),
        metrics: json!([{"name": "mae", "summary": "", "maximize": false}]),
        contract: Some("1.0.0".into()),
        created_at: at("2026-01-02T03:04:05.678901Z"),
    }
}

pub fn dataset(id: &str) -> StoredDataset {
    StoredDataset {
        id: id.into(),
        name: format!("{id}.csv"),
        format: DataFormat::Csv,
        size: 1 << 40,
        digest: "abc".into(),
        rows: 17_520,
        report: json!({"rows": 17520, "columns": [{"name": "load", "mean": 0.1}]}),
        created_at: at("2026-01-02T03:04:05.678901Z"),
    }
}

pub fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

pub fn usage(cpu: f64) -> ResourceUsage {
    ResourceUsage {
        cpu_percent: cpu,
        memory_mb: 200.1,
        gpu_util: 0.0,
        duration_seconds: 1.0 / 3.0,
        device: Some("cuda:3 (a card)".into()),
        gpu_memory_mb: Some(2.5),
        gpu_temperature_c: None,
        gpu_power_w: None,
    }
}

pub fn finished(id: &str) -> Finished {
    let mut metrics = Map::new();
    metrics.insert("mae".into(), json!(0.1 + 0.2));
    Finished {
        metrics,
        file_path: format!("runs/{id}"),
        lineage: json!({"rows": 7, "hash": "abc"}),
    }
}

pub fn finish(id: &str) -> Change {
    Change::Finish(Box::new(finished(id)))
}

pub fn fail(error: &str) -> Change {
    Change::Fail { error: error.into() }
}

/// A model and a run of it that waits.
pub async fn submitted(store: &dyn Store, id: &str) -> Run {
    let model = store.create_model(new_model(id)).await.unwrap();
    store.submit(new_run(id, model.id)).await.unwrap()
}

pub async fn claimed(store: &dyn Store, id: &str, worker: &str) -> Run {
    match store.claim(&id.to_owned(), worker).await.unwrap() {
        Claim::Taken(run) => *run,
        other => panic!("{other:?}"),
    }
}

/// A model and a run of it in a state, with the token that may change it.
pub async fn run_in(store: &dyn Store, id: &str, state: RunState) -> Run {
    let run = submitted(store, id).await;
    bring(store, run, state).await
}

/// Takes a run that waits to a state.
pub async fn bring(store: &dyn Store, run: Run, state: RunState) -> Run {
    let id = run.id.clone();
    if state == RunState::Pending {
        return run;
    }
    let run = claimed(store, &id, "worker-1").await;
    let changes = match state {
        RunState::Preparing => vec![],
        RunState::Training => vec![Change::Train],
        RunState::Trained => vec![Change::Train, finish(&id)],
        RunState::Error => vec![fail("no such column: load")],
        RunState::Cancelled => vec![Change::Cancel],
        RunState::Pending => unreachable!(),
    };
    let mut run = run;
    for change in changes {
        run = store.change(&id, run.token, change).await.unwrap();
    }
    assert_eq!(run.state, state);
    run
}

/// The run as it is stored is the run as it was given back, and the model's row says the same.
pub async fn check_rows(store: &dyn Store, run: &Run) {
    assert_eq!(&store.run(&run.id).await.unwrap(), run);
    let model = store.model(run.model_id).await.unwrap();
    let Some(status) = run.state.model_status() else {
        assert!(!model.status.is_active());
        assert_ne!(model.task_id.as_ref(), Some(&run.id));
        return;
    };
    assert_eq!(model.status, status);
    assert_eq!(model.task_id.as_ref(), Some(&run.id));
    assert_eq!(model.progress, run.progress);
    assert_eq!(model.error_log, run.error_log);
    assert_eq!(model.started_at, run.started_at);
    assert_eq!(model.finished_at, run.finished_at);
    assert_eq!(model.resource_usage, run.resource_usage);
    if status == ModelStatus::Trained {
        assert_eq!(model.trained_run.as_ref(), Some(&run.id));
        assert_eq!(model.metrics, run.metrics);
        assert_eq!(model.file_path, run.file_path);
    }
}

/// A number for a name: another one for another name, of those that tests use.
pub fn number(name: &str) -> i64 {
    name.bytes()
        .fold(0, |number, byte| (number * 257 + i64::from(byte)) % 1_000_000_007)
}

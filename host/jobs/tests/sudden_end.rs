#![allow(clippy::unwrap_used, reason = "tests")]
//! A process that is killed in the middle of its work, and what is left of what it had acknowledged.

mod contract;

use contract::fixtures::{new_model, new_run};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use trainyard_jobs::local::DiskArtifacts;
use trainyard_jobs::sqlite::{Database, SqliteBroker, SqliteStore};
use trainyard_jobs::{Artifacts, Broker, Job, Store};

/// Says to this program where to work until it is killed.
const FOLDER: &str = "TRAINYARD_TEST_SUDDEN_END";

/// Submits runs, says each name once it is acknowledged, and never stops.
async fn work(folder: &Path) {
    let database = Database::open(&folder.join("trainyard.db")).await.unwrap();
    let (store, broker) = (SqliteStore::new(database.clone()), SqliteBroker::new(database));
    let artifacts = DiskArtifacts::open(&folder.join("artifacts")).unwrap();
    let large = folder.join("large");
    std::fs::write(&large, vec![7; 32 << 20]).unwrap();
    let submit = async {
        for number in 0.. {
            let id = format!("r{number}");
            let model = store.create_model(new_model(&id)).await.unwrap();
            let run = store.submit(new_run(&id, model.id)).await.unwrap();
            broker.enqueue("q", &Job::train(&run)).await.unwrap();
            let mut out = std::io::stdout();
            writeln!(out, "\nacknowledged {id}").and_then(|()| out.flush()).unwrap();
        }
    };
    let put = async {
        for number in 0.. {
            artifacts
                .put_file(&format!("runs/{}", number % 3), &large)
                .await
                .unwrap();
        }
    };
    futures_util::future::join(submit, put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_killed_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        work(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let folder = folder.path().join(round.to_string());
        std::fs::create_dir(&folder).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "what_was_acknowledged_outlives_a_killed_process",
            ])
            .env(FOLDER, &folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(id) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged.push(id.to_owned());
            }
            if acknowledged.len() == 40 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= 40 * round, "the process ended by itself");
        check(&folder, &acknowledged).await;
    }
}

async fn check(folder: &Path, acknowledged: &[String]) {
    let database = Database::open(&folder.join("trainyard.db")).await.unwrap();
    let (store, broker) = (SqliteStore::new(database.clone()), SqliteBroker::new(database));
    store.check().await.unwrap();
    let runs: HashMap<_, _> = store
        .unfinished_runs()
        .await
        .unwrap()
        .into_iter()
        .map(|run| (run.id.clone(), run))
        .collect();
    for id in acknowledged {
        let model = store.model(runs[id].model_id).await.unwrap();
        assert_eq!(model.task_id.as_ref(), Some(id));
    }
    assert!(broker.depth().await.unwrap().0 >= acknowledged.len() as u64);

    // Files are whole, and nothing half-written is left.
    let artifacts = DiskArtifacts::open(&folder.join("artifacts")).unwrap();
    for object in artifacts.list("runs").await.unwrap() {
        assert_eq!(object.size, 32 << 20, "{}", object.key);
    }
    let left = std::fs::read_dir(folder.join("artifacts/runs"))
        .into_iter()
        .flatten()
        .flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().contains('#'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

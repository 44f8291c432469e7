//! What only a SQLite file can do: be full, read-only, locked, old, opened by several at once.

use super::*;
use crate::{
    Broker, BrokerError, DeviceChoice, IdempotentRequest, Job, ModelFilter, NewModel, NewRun, Replay, Run, RunLimits,
    RunState, Store, StoreError,
};
use serde_json::json;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn model(description: &str) -> NewModel {
    NewModel {
        name: "m".into(),
        description: description.into(),
        plugin: "p".into(),
        plugin_version: None,
        training_dataset: json!(null),
        training_parameters: json!({}),
    }
}

fn run(id: &str, model: i64) -> NewRun {
    NewRun {
        id: id.into(),
        model_id: model,
        plugin: "p".into(),
        plugin_version: "1.0.0".into(),
        plugin_digest: "d".into(),
        training_dataset: json!({}),
        training_parameters: json!({}),
        seed: 1,
        limits: RunLimits {
            time_seconds: 1,
            memory_mb: 1,
            device: DeviceChoice::Auto,
            tf32: false,
        },
        labels: Vec::new(),
    }
}

async fn open(folder: &TempDir) -> Database {
    Database::open(&folder.path().join("trainyard.db")).await.unwrap()
}

async fn pragma(database: &Database, pragma: &'static str) {
    sqlx::query(pragma).execute(&database.writer).await.unwrap();
}

async fn submitted(store: &SqliteStore, id: &str) -> Run {
    let model = store.create_model(model("")).await.unwrap();
    store.submit(run(id, model.id)).await.unwrap()
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>, because: &str) {
    let Err(StoreError::Unavailable(why)) = &result else {
        panic!("{result:?}")
    };
    assert_eq!(why, because);
}

#[tokio::test]
async fn a_full_database_says_so_and_keeps_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder).await;
    let store = SqliteStore::new(database.clone());
    let waiting = submitted(&store, "r1").await;
    // It counts for the connection alone, and a connection that found the disk full is replaced.
    let fill_up = async || pragma(&database, "PRAGMA max_page_count = 60").await;
    fill_up().await;
    let mut kept = 0;
    let error = loop {
        match store.create_model(model(&"x".repeat(3000))).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 1000, "it never filled up");
    };
    assert_eq!(error.to_string(), "the database cannot be used: the disk is full");
    for _ in 0..3 {
        fill_up().await;
        unavailable(store.create_model(model(&"x".repeat(3000))).await, "the disk is full");
    }
    // What is there can be read, and what needs no more room can be written: a run can still end.
    fill_up().await;
    store.request_stop(&waiting.id).await.unwrap();
    let filter = ModelFilter {
        limit: 2000,
        ..ModelFilter::default()
    };
    assert_eq!(store.models(&filter).await.unwrap().items.len(), kept + 1);
    // And with room everything goes on.
    pragma(&database, "PRAGMA max_page_count = 100000").await;
    store.create_model(model(&"x".repeat(3000))).await.unwrap();
    drop((store, database));

    let store = SqliteStore::new(open(&folder).await);
    assert_eq!(store.models(&filter).await.unwrap().items.len(), kept + 2);
    assert_eq!(store.run(&waiting.id).await.unwrap().state, RunState::Cancelled);
}

#[tokio::test]
async fn a_read_only_database_says_so_and_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder).await;
    let (store, broker) = (SqliteStore::new(database.clone()), SqliteBroker::new(database.clone()));
    let waiting = submitted(&store, "r1").await;
    broker.enqueue("q", &Job::train(&waiting)).await.unwrap();
    pragma(&database, "PRAGMA query_only = ON").await;
    const WHY: &str = "the database file is read-only";
    unavailable(store.check().await, WHY);
    unavailable(store.create_model(model("")).await, WHY);
    unavailable(store.claim(&waiting.id, "w").await, WHY);
    unavailable(store.request_stop(&waiting.id).await, WHY);
    let taken = broker.take(&["q"], "w", Duration::from_secs(1)).await;
    assert!(
        matches!(&taken, Err(BrokerError::Unavailable(why)) if why == WHY),
        "{taken:?}"
    );
    assert_eq!(store.run(&waiting.id).await.unwrap(), waiting);
    assert_eq!(broker.depth().await.unwrap(), (1, 0));
    pragma(&database, "PRAGMA query_only = OFF").await;
    store.check().await.unwrap();
}

#[tokio::test]
async fn readers_do_not_wait_for_a_program_that_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (database, other) = (open(&folder).await, open(&folder).await);
    let store = SqliteStore::new(database.clone());
    let waiting = submitted(&store, "r1").await;
    let mut writing = other.write().await.unwrap();
    sqlx::query("DELETE FROM runs").execute(&mut *writing).await.unwrap();
    assert_eq!(store.run(&waiting.id).await.unwrap(), waiting);
    pragma(&database, "PRAGMA busy_timeout = 50").await;
    unavailable(store.check().await, "another program holds it locked");
    writing.rollback().await.unwrap();
    store.check().await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "These are my notes, and no database at all. ".repeat(50);
    std::fs::write(&path, &text).unwrap();
    let error = Database::open(&path).await.err().unwrap().to_string();
    assert!(error.contains("notes.txt: the file is not a database"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let error = Database::open(&folder.path().join("no/such/folder/db"))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("cannot be opened"), "{error}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder).await;
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, x'00', 0)";
    sqlx::query(later).execute(&database.writer).await.unwrap();
    database.close().await;
    let error = Database::open(&folder.path().join("trainyard.db"))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("newer version"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_can_be_opened_by_many_at_once() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let databases = futures_util::future::join_all((0..6).map(|_| open(&folder))).await;
        let submits = databases.iter().enumerate().map(async |(number, database)| {
            let store = SqliteStore::new(database.clone());
            submitted(&store, &format!("r{number}")).await
        });
        futures_util::future::join_all(submits).await;
        let store = SqliteStore::new(databases[0].clone());
        assert_eq!(store.unfinished_runs().await.unwrap().len(), 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_never_start_two_runs_of_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let databases = [open(&folder).await, open(&folder).await];
    let stores = databases.map(SqliteStore::new);
    for round in 0..20 {
        let model = stores[0].create_model(model("")).await.unwrap().id;
        let names: Vec<String> = (0..8).map(|number| format!("{round}.{number}")).collect();
        let submits = names
            .iter()
            .enumerate()
            .map(|(n, name)| stores[n % 2].submit(run(name, model)));
        let results = futures_util::future::join_all(submits).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        let others = results
            .iter()
            .filter(|result| matches!(result, Err(StoreError::Active { .. })))
            .count();
        assert_eq!(others, 7, "{results:?}");
    }
}

#[tokio::test]
async fn what_another_program_enqueues_is_found_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let (server, worker) = (
        SqliteBroker::new(open(&folder).await),
        SqliteBroker::new(open(&folder).await),
    );
    let store = SqliteStore::new(server.database.clone());
    let run = submitted(&store, "r1").await;
    let start = Instant::now();
    let enqueue = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.enqueue("q", &Job::train(&run)).await.unwrap();
    };
    futures_util::future::join(worker.wait(&["q"], Duration::from_secs(60)), enqueue).await;
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(
        worker
            .take(&["q"], "w", Duration::from_secs(9))
            .await
            .unwrap()
            .unwrap()
            .job
            .run,
        "r1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_given_up_half_way_leave_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::new(open(&folder).await);
    for number in 0..200_u64 {
        let model = store.create_model(model("")).await.unwrap().id;
        let id = format!("r{number}");
        let submit = store.submit(run(&id, model));
        // As when a client hangs up: the future is dropped wherever it is.
        let done = tokio::time::timeout(Duration::from_micros(number * 10), submit)
            .await
            .is_ok();
        // Whatever is still on its way is over when the next write is.
        store.check().await.unwrap();
        let now = store.model(model).await.unwrap();
        match store.run(&id).await {
            Ok(run) => assert_eq!((now.task_id, run.state), (Some(id), RunState::Pending)),
            Err(_) => assert!(!done && now.task_id.is_none()),
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_is_forgotten_after_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder).await;
    let store = SqliteStore::new(database.clone());
    let request = |key: &str| IdempotentRequest {
        key: key.into(),
        fingerprint: "f".into(),
    };
    for key in ["old", "young"] {
        assert_eq!(store.begin_idempotent(&request(key)).await.unwrap(), Replay::New);
        store.end_idempotent(&request(key), Some((200, "{}"))).await.unwrap();
    }
    for (key, hours) in [("old", 25), ("young", 23)] {
        let then = rows::time(&(rows::now() - chrono::TimeDelta::hours(hours)));
        sqlx::query("UPDATE idempotency_keys SET created_at = ? WHERE key = ?")
            .bind(then)
            .bind(key)
            .execute(&database.writer)
            .await
            .unwrap();
    }
    assert!(matches!(
        store.begin_idempotent(&request("young")).await.unwrap(),
        Replay::Answered { .. }
    ));
    assert_eq!(store.begin_idempotent(&request("old")).await.unwrap(), Replay::New);
}

#[tokio::test]
async fn the_tables_themselves_refuse_a_state_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder).await;
    submitted(&SqliteStore::new(database.clone()), "r1").await;
    for statement in [
        "UPDATE runs SET state = 'DONE'",
        "UPDATE runs SET state = 'TRAINED'",
        "UPDATE runs SET progress = 101",
        "UPDATE runs SET model_id = 4711",
        "UPDATE t_ai_models SET status = 'CANCELLED'",
        "UPDATE t_ai_models SET task_id = NULL",
        "INSERT INTO runs (id, model_id, state, plugin, plugin_version, plugin_digest, seed, created_at, limits,
             model_before, training_dataset, training_parameters)
         SELECT 'r2', model_id, state, '', '', '', 1, '', '', '', '', '' FROM runs",
    ] {
        let error = sqlx::query(statement).execute(&database.writer).await.unwrap_err();
        assert!(
            matches!(StoreError::from(error), StoreError::Conflict(_)),
            "{statement}"
        );
    }
}

#[tokio::test]
async fn a_file_of_the_first_version_keeps_its_models_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trainyard.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let old = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let whole = sqlx::migrate!("../../migrations/sqlite");
    let first = sqlx::migrate::Migrator {
        migrations: whole.migrations[..1].to_vec().into(),
        ..sqlx::migrate::Migrator::DEFAULT
    };
    first.run(&old).await.unwrap();
    for statement in [
        "INSERT INTO t_ai_models (id, name, name_folded, plugin, plugin_version, created_at, updated_at, metrics, description)
         VALUES (7, 'Pump', 'pump', 'dlinear', '1.0.0', '2026-01-02T03:04:05.000000Z', '2026-01-02T03:04:05.000000Z',
             '{\"mae\":0.5}', 'of the north')",
        "INSERT INTO queue (run_id, queue) VALUES ('r1', 'ai_training')",
    ] {
        sqlx::query(statement).execute(&old).await.unwrap();
    }
    old.close().await;

    let store = SqliteStore::new(Database::open(&path).await.unwrap());
    let model = store.model(7).await.unwrap();
    assert_eq!((model.name.as_str(), model.plugin.as_str()), ("Pump", "dlinear"));
    assert_eq!(model.plugin_version.as_deref(), Some("1.0.0"));
    assert_eq!(
        (model.metrics["mae"].as_f64(), model.description.as_str()),
        (Some(0.5), "of the north")
    );
    let run = store.submit(run("r1", 7)).await.unwrap();
    assert_eq!(store.model(7).await.unwrap().task_id, Some(run.id));
    assert_eq!(store.create_model(self::model("")).await.unwrap().id, 8);
}

#![allow(clippy::unwrap_used, reason = "tests")]
//! The contract of the store, kept on a real PostgreSQL, and what only a database that others share can do.

mod contract;

use contract::fixtures::{claimed, finish, new_model, new_run, submitted, usage};
use proptest::prelude::*;
use serde_json::json;
use std::time::{Duration, Instant};
use trainyard_jobs::postgres::{Database, PostgresStore};
use trainyard_jobs::state::Change;
use trainyard_jobs::{ModelFilter, ModelPatch, ModelStatus, RunState, Store, StoreError};
use trainyard_test_servers::Postgres;

/// A store, and the server that it is on.
struct Adapter<T> {
    port: T,
    server: Postgres,
    url: String,
}

async fn on(server: Postgres) -> Adapter<PostgresStore> {
    let url = server.database().unwrap();
    let database = Database::open(&url).await.unwrap();
    Adapter {
        port: PostgresStore::new(database),
        server,
        url,
    }
}

async fn store() -> Option<Adapter<PostgresStore>> {
    Some(on(Postgres::start().unwrap()?).await)
}

store_contract!(store);

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_workers_and_users_do_the_rows_agree(steps in contract::properties::steps()) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let Some(adapter) = store().await else { return };
            contract::properties::invariants_hold(&adapter.port, &steps).await;
        });
    }
}

/// What the application that Trainyard serves has already.
const APPLICATION: &str = "
    CREATE TABLE t_ai_models (id SERIAL PRIMARY KEY, name VARCHAR(100) NOT NULL, algorithm VARCHAR(50),
        status VARCHAR(20) DEFAULT 'DRAFT', metrics JSONB, file_path VARCHAR(255));
    INSERT INTO t_ai_models (name, algorithm) VALUES ('Pump 7', 'isolation_forest');
    CREATE TABLE runs (id INTEGER); CREATE TABLE plugins (id INTEGER); CREATE TABLE models (id INTEGER)";

#[tokio::test(flavor = "multi_thread")]
async fn the_applications_own_table_gains_the_originals_columns_and_keeps_its_rows() {
    let Some(server) = Postgres::start().unwrap() else {
        return;
    };
    let url = server.database().unwrap();
    server.sql(&url, APPLICATION).unwrap();
    let store = PostgresStore::new(Database::open(&url).await.unwrap());
    let columns = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 't_ai_models'
        ORDER BY ordinal_position";
    assert_eq!(
        server.sql(&url, columns).unwrap().lines().collect::<Vec<_>>(),
        [
            "id|integer",
            "name|character varying",
            "algorithm|character varying",
            "status|character varying",
            "metrics|jsonb",
            "file_path|character varying",
            "progress|double precision",
            "task_id|character varying",
            "error_log|text",
            "started_at|timestamp with time zone",
            "finished_at|timestamp with time zone",
            "resource_usage|jsonb",
        ]
    );

    // Its rows are models that have no plugin yet.
    let model = store.model(1).await.unwrap();
    assert_eq!((model.name.as_str(), model.plugin.as_str()), ("Pump 7", ""));
    assert_eq!(model.status, ModelStatus::Draft);
    let filter = ModelFilter {
        name: Some("PUMP".into()),
        limit: 9,
        ..ModelFilter::default()
    };
    assert_eq!(store.models(&filter).await.unwrap().items, [model]);
    let patch = ModelPatch {
        plugin: Some("dlinear".into()),
        ..ModelPatch::default()
    };
    assert_eq!(store.update_model(1, patch).await.unwrap().plugin, "dlinear");

    // And it sees in its columns how a training goes.
    store.submit(new_run("r1", 1)).await.unwrap();
    let run = claimed(&store, "r1", "w").await;
    let run = store.change(&run.id, run.token, Change::Train).await.unwrap();
    store.progress(&run.id, run.token, 40.0, &usage(50.0)).await.unwrap();
    let row =
        "SELECT status, progress, task_id, resource_usage ->> 'cpu_percent', started_at IS NOT NULL FROM t_ai_models";
    assert_eq!(server.sql(&url, row).unwrap(), "TRAINING|40|r1|50.0|t");
    store.change(&run.id, run.token, finish("r1")).await.unwrap();
    let row = "SELECT status, progress, metrics, file_path, algorithm FROM t_ai_models";
    assert_eq!(
        server.sql(&url, row).unwrap(),
        r#"TRAINED|100|{"mae": 0.30000000000000004}|runs/r1|isolation_forest"#
    );

    // New models go on where it was; a name that its column cannot hold is refused, and nothing half-made stays.
    assert_eq!(store.create_model(new_model("second")).await.unwrap().id, 2);
    let error = store.create_model(new_model(&"x".repeat(101))).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Conflict(why) if why.contains("too long")),
        "{error}"
    );
    assert_eq!(server.sql(&url, "SELECT count(*) FROM t_ai_models").unwrap(), "2");
    // A row that the application deletes takes what Trainyard knows of it along.
    server.sql(&url, "DELETE FROM t_ai_models WHERE id = 1").unwrap();
    assert!(matches!(
        store.run(&"r1".into()).await,
        Err(StoreError::NotFound { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_can_be_opened_by_many_at_once_and_again() {
    let Some(server) = Postgres::start().unwrap() else {
        return;
    };
    let url = server.database().unwrap();
    let databases = futures_util::future::join_all((0..8).map(|_| Database::open(&url))).await;
    for (number, database) in databases.into_iter().enumerate() {
        submitted(&PostgresStore::new(database.unwrap()), &format!("r{number}")).await;
    }
    let store = PostgresStore::new(Database::open(&url).await.unwrap());
    assert_eq!(store.unfinished_runs().await.unwrap().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_never_start_two_runs_of_a_model() {
    let Some(one) = store().await else { return };
    let other = PostgresStore::new(Database::open(&one.url).await.unwrap());
    let stores = [one.port, other];
    for round in 0..20 {
        let model = stores[0].create_model(new_model("m")).await.unwrap().id;
        let names: Vec<String> = (0..8).map(|number| format!("{round}.{number}")).collect();
        let submits = names
            .iter()
            .enumerate()
            .map(|(n, name)| stores[n % 2].submit(new_run(name, model)));
        let results = futures_util::future::join_all(submits).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for result in results {
            assert!(matches!(result, Ok(_) | Err(StoreError::Active { .. })), "{result:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_model_at_once_nobody_waits_for_ever() {
    let Some(adapter) = store().await else { return };
    let store = &adapter.port;
    for round in 0..20 {
        let run = submitted(store, &format!("r{round}")).await;
        let run = claimed(store, &run.id, "w").await;
        let (one, two) = (usage(1.0), usage(2.0));
        let changes = async {
            let _ = store.change(&run.id, run.token, Change::Train).await;
            store.change(&run.id, run.token, finish(&run.id)).await
        };
        let (_, _, _, _, _) = futures_util::join!(
            changes,
            store.progress(&run.id, run.token, 50.0, &one),
            store.usage(&run.id, &two),
            store.delete_model(run.model_id),
            store.request_stop(&run.id),
        );
        let (used, deleted) = futures_util::join!(store.usage(&run.id, &two), store.delete_model(run.model_id));
        for result in [used, deleted.map(drop)] {
            assert!(
                matches!(
                    result,
                    Ok(()) | Err(StoreError::NotFound { .. } | StoreError::Illegal { .. } | StoreError::Active { .. })
                ),
                "{result:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_missed_with_words_and_found_again() {
    let Some(server) = Postgres::start_own().unwrap() else {
        return;
    };
    let mut adapter = on(server).await;
    let run = submitted(&adapter.port, "r1").await;
    adapter.server.kill();
    for _ in 0..3 {
        let error = adapter.port.run(&run.id).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    adapter.server.restart().unwrap();
    let start = Instant::now();
    while let Err(error) = adapter.port.check().await {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "it was never found again: {error}"
        );
    }
    assert_eq!(adapter.port.run(&run.id).await.unwrap(), run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_does_not_hang_us() {
    let Some(server) = Postgres::start_own().unwrap() else {
        return;
    };
    let adapter = on(server).await;
    let run = submitted(&adapter.port, "r1").await;
    adapter.server.freeze();
    let start = Instant::now();
    let error = adapter.port.request_stop(&run.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(60));
    adapter.server.thaw();
    // What became of the request nobody knows; the rows agree all the same.
    let run = adapter.port.run(&run.id).await.unwrap();
    let model = adapter.port.model(run.model_id).await.unwrap();
    assert_eq!(model.status.is_active(), run.state == RunState::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let error = Database::open("postgres://me:secret@127.0.0.1:1/trains")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("PostgreSQL at 127.0.0.1:1/trains: "), "{error}");
    assert!(error.contains("refused") && !error.contains("secret"), "{error}");
    let error = Database::open("no url").await.err().unwrap().to_string();
    assert!(error.contains("URL cannot be read"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_used_until_it_says_otherwise() {
    let Some(adapter) = store().await else { return };
    let later = "INSERT INTO trainyard._sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, '', 0)";
    adapter.server.sql(&adapter.url, later).unwrap();
    // While a service is being upgraded, old programs go on beside new ones, which have added to the tables.
    Database::open(&adapter.url).await.unwrap();
    let changed = "UPDATE trainyard.compatibility SET oldest = 9999";
    adapter.server.sql(&adapter.url, changed).unwrap();
    let error = Database::open(&adapter.url).await.err().unwrap().to_string();
    assert!(error.contains("newer version"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_the_database_cannot_keep_loses_no_run() {
    let Some(adapter) = store().await else { return };
    let error = adapter.port.create_model(new_model("a\0b")).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Conflict(why) if why.contains("NUL")),
        "{error}"
    );
    let run = submitted(&adapter.port, "r1").await;
    let run = claimed(&adapter.port, &run.id, "w").await;
    let change = Change::Fail {
        error: "in the plugin: \0".into(),
    };
    let run = adapter.port.change(&run.id, run.token, change).await.unwrap();
    assert_eq!(run.error_log.as_deref(), Some("in the plugin: \u{fffd}"));
    assert_eq!(adapter.port.run(&run.id).await.unwrap(), run);
    // In JSON it is an escape, which comes back.
    let mut model = new_model("m");
    model.training_parameters = json!({"text": "\0", "b": 1e300, "a": -0.0, "n": 9_007_199_254_740_993_u64});
    let made = adapter.port.create_model(model.clone()).await.unwrap();
    let there = adapter.port.model(made.id).await.unwrap();
    assert_eq!(
        there.training_parameters.to_string(),
        model.training_parameters.to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_themselves_refuse_a_state_that_is_none() {
    let Some(adapter) = store().await else { return };
    submitted(&adapter.port, "r1").await;
    for statement in [
        "UPDATE trainyard.runs SET state = 'DONE'",
        "UPDATE trainyard.runs SET state = 'TRAINED'",
        "UPDATE trainyard.runs SET progress = 101",
        "UPDATE trainyard.runs SET model_id = 4711",
        "UPDATE t_ai_models SET status = 'CANCELLED'",
        "INSERT INTO trainyard.runs (id, model_id, state, plugin, plugin_version, plugin_digest, seed, created_at, limits,
             model_before, training_dataset, training_parameters)
         SELECT 'r2', model_id, state, '', '', '', 1, now(), '0', '0', '0', '0' FROM trainyard.runs",
    ] {
        let error = adapter.server.sql(&adapter.url, statement).unwrap_err().to_string();
        assert!(error.contains("constraint"), "{statement}: {error}");
    }
}

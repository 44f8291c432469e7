#![allow(clippy::unwrap_used, reason = "tests")]
//! The contracts of the four ports, kept by the adapters that need nothing installed.

mod contract;

use proptest::prelude::*;
use tempfile::TempDir;
use trainyard_jobs::local::{DiskArtifacts, LocalFeed};
use trainyard_jobs::sqlite::{Database, SqliteBroker, SqliteStore};

/// An adapter, and the folder that it lives in.
struct Adapter<T> {
    port: T,
    _folder: Option<TempDir>,
}

async fn database() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("trainyard.db")).await.unwrap();
    (folder, database)
}

async fn store() -> Option<Adapter<SqliteStore>> {
    let (folder, database) = database().await;
    Some(Adapter {
        port: SqliteStore::new(database),
        _folder: Some(folder),
    })
}

async fn broker() -> Option<Adapter<SqliteBroker>> {
    let (folder, database) = database().await;
    Some(Adapter {
        port: SqliteBroker::new(database),
        _folder: Some(folder),
    })
}

async fn feed() -> Option<Adapter<LocalFeed>> {
    Some(Adapter {
        port: LocalFeed::new(),
        _folder: None,
    })
}

async fn artifacts() -> Option<Adapter<DiskArtifacts>> {
    let folder = tempfile::tempdir().unwrap();
    Some(Adapter {
        port: DiskArtifacts::open(folder.path()).unwrap(),
        _folder: Some(folder),
    })
}

store_contract!(store);
broker_contract!(broker);
feed_contract!(feed);
artifacts_contract!(artifacts);

contract! {
    folders, contract::artifacts, of artifacts:
    a_folder_is_no_file_and_a_file_no_folder,
}

#[tokio::test]
async fn numbers_of_the_feed_grow_over_a_restart() {
    contract::feed::numbers_grow_over_a_restart(&LocalFeed::new(), &LocalFeed::new()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_workers_and_users_do_the_rows_agree(steps in contract::properties::steps()) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            contract::properties::invariants_hold(&store().await.unwrap().port, &steps).await;
        });
    }
}

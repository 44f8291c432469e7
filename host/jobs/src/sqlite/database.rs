//! One SQLite file, with one connection that writes and a few that read, so that no reader waits for a writer.
//!
//! WAL with `synchronous=NORMAL`: what was committed survives the end of the process, however sudden. Several processes
//! may use the file at once.

use crate::sql::error::{is_locked, words};
use crate::{Signal, StoreError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, Transaction};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(15);
const READERS: u32 = 4;
/// Signals that a receiver may lag behind.
const SIGNALS: usize = 1024;

/// An open database. Clones share its connections, and see each other's signals.
#[derive(Clone)]
pub struct Database {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    /// Something may be there to take from the queue.
    pub(super) enqueued: Arc<Notify>,
    pub(super) signals: broadcast::Sender<Signal>,
}

impl Database {
    /// Opens a file, which is made if there is none, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        // Two processes that open a new file at once get in each other's way: whoever comes second finds the other's
        // tables half-way, or the file locked against the change to WAL.
        let mut left = 50;
        loop {
            match Self::try_open(path).await {
                Ok(database) => return Ok(database),
                Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _))
                    if left > 0 && (is_locked(&error) || says(&error, "already exists") || says(&error, "UNIQUE")) =>
                {
                    left -= 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                    return Err(StoreError::Unavailable(format!(
                        "{}: {}",
                        path.display(),
                        words(&error)
                    )));
                }
                Err(MigrateError::VersionMissing(_)) => {
                    return Err(StoreError::Unavailable(format!(
                        "{}: it was written by a newer version of Trainyard",
                        path.display()
                    )));
                }
                Err(error) => return Err(StoreError::Unavailable(format!("{}: {error}", path.display()))),
            }
        }
    }

    async fn try_open(path: &Path) -> Result<Self, MigrateError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        // A connection to a file does not go stale.
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(TURN)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .after_release(|connection, _| {
                    Box::pin(async move {
                        // SQLite ends a transaction by itself when the disk is full. Then rolling it back fails, and
                        // sqlx believes for ever that it is still open: such a connection is given up.
                        connection.ping().await?;
                        Ok(!connection.is_in_transaction())
                    })
                })
        };
        let writer = pool().max_connections(1).connect_with(options.clone()).await?;
        MIGRATIONS.run(&writer).await?;
        let readers = pool()
            .max_connections(READERS)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Database {
            writer,
            readers,
            enqueued: Arc::new(Notify::new()),
            signals: broadcast::Sender::new(SIGNALS),
        })
    }

    /// Begins to write. Takes the file's lock at once: a transaction that reads first and writes later could find that
    /// another process wrote in between.
    pub(super) async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Waits for what is being written and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn says(error: &sqlx::Error, text: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.message().contains(text))
}

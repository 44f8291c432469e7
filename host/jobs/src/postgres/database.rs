//! Connections to one PostgreSQL database.

use crate::StoreError;
use crate::sql::error::words;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, Postgres, Transaction};
use std::str::FromStr;
use std::time::Duration;

/// How long a request waits for a connection: past it the service says that the database cannot be reached.
const TURN: Duration = Duration::from_secs(5);
/// Connections of a process.
const CONNECTIONS: u32 = 10;
/// How long it may take to connect at the start and to bring the tables up to date.
const START: Duration = Duration::from_secs(60);

/// An open database. Clones share its connections.
#[derive(Clone)]
pub struct Database {
    pub(super) readers: PgPool,
}

impl Database {
    /// Connects to a database, `postgres://user:password@host:port/database`, and brings its tables up to date: those in
    /// the schema `trainyard`, and `t_ai_models` wherever it is (in `public` where it is nowhere).
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::Unavailable(format!("the database's URL cannot be read: {}", words(&error))))?
            .application_name("trainyard")
            .options([
                ("search_path", r#"trainyard,"$user",public"#),
                // What is there already need not be said at every start.
                ("client_min_messages", "warning"),
            ]);
        // Without user and password.
        let address = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        let failed = |why: String| StoreError::Unavailable(format!("PostgreSQL at {address}: {why}"));
        tokio::time::timeout(START, migrate(&options))
            .await
            .map_err(|_| failed(format!("it has not answered for {} s", START.as_secs())))?
            .map_err(|error| match error {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(words(&error)),
                MigrateError::VersionTooNew(..) => failed("it was written by a newer version of Trainyard".into()),
                error => failed(error.to_string()),
            })?;
        let readers = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(TURN)
            .connect_lazy_with(options);
        Ok(Database { readers })
    }

    /// Begins to write.
    pub(super) async fn write(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.readers.begin().await
    }

    /// Waits for what is being written and disconnects.
    pub async fn close(&self) {
        self.readers.close().await;
    }
}

async fn migrate(options: &PgConnectOptions) -> Result<(), MigrateError> {
    let mut connection = PgConnection::connect_with(options).await?;
    // `IF NOT EXISTS` does not help two that begin at once; the lock does. It ends with the connection.
    connection
        .execute("SELECT pg_advisory_lock(hashtext('trainyard'))")
        .await?;
    connection.execute("CREATE SCHEMA IF NOT EXISTS trainyard").await?;
    let mut migrations = sqlx::migrate!("../../migrations/postgres");
    // A newer program may have added to the tables: see `compatibility`.
    migrations.set_ignore_missing(true);
    migrations.run(&mut connection).await?;
    let ours = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    let oldest: i64 = sqlx::query_scalar("SELECT oldest FROM compatibility")
        .fetch_one(&mut connection)
        .await?;
    if oldest > ours {
        return Err(MigrateError::VersionTooNew(oldest, ours));
    }
    Ok(connection.close().await?)
}

//! Whether the configured server can be used, and whether its user may do more than it should.

use arrow_array::{Array, cast::AsArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use serde::Serialize;

use super::{
    connection::Connection,
    error::TdengineError,
    source::{Tdengine, retried},
    statement::{VERSION, database, privileges, super_user},
};

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read alone, as it should be.
    ReadOnly,
    /// Write, too.
    CanWrite,
    /// The server does not tell.
    Unknown,
}

/// What a look at the configured server gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Host and port.
    pub server: String,
    /// The server's version.
    pub version: String,
    /// Who we are there.
    pub user: String,
    /// What that user may do.
    pub access: Access,
    /// The configured database.
    pub database: Option<String>,
    /// Whether it is there, as far as the server tells.
    pub database_found: Option<bool>,
}

impl Tdengine {
    /// Connects, logs in, and asks what the user may do.
    pub async fn check(&self) -> Result<SourceReport, TdengineError> {
        let user = self.read.user();
        let (version, access, database_found) = retried(&self.read, "the configured server", |connection| async move {
            let version = texts(&connection, "asking for the version", VERSION).await?;
            let version = version.first().and_then(|row| row.first().cloned()).unwrap_or_default();
            let found = match self.read.database() {
                Some(name) => found(&connection, name).await,
                None => None,
            };
            Ok((version, access(&connection, user).await?, found))
        })
        .await?;
        if let Some(writer) = &self.write {
            retried(writer, "the configured writer", |connection| async move {
                texts(&connection, "asking for the version", VERSION).await.map(drop)
            })
            .await?;
        }
        Ok(SourceReport {
            server: self.read.server.clone(),
            version,
            user: user.to_owned(),
            access,
            database: self.read.database().map(str::to_owned),
            database_found,
        })
    }
}

/// Whether there is a database of that name; `None` where the server does not tell.
async fn found(connection: &Connection, name: &str) -> Option<bool> {
    let rows = texts(connection, "looking for the database", &database(name).ok()?)
        .await
        .ok()?;
    Some(!rows.is_empty())
}

/// TDengine tells in two tables: one says who is above all rights, the other lists rights by name (`all`, `read`, `write`).
async fn access(connection: &Connection, user: &str) -> Result<Access, TdengineError> {
    let ask = |sql: Result<String, String>| sql.map_err(TdengineError::request);
    let above = match texts(connection, "asking for the user", &ask(super_user(user))?).await {
        Ok(rows) => rows.first().and_then(|row| row.get(1).cloned()),
        Err(error) if error.is_transient() => return Err(error),
        // A user without rights to system tables cannot look.
        Err(_) => return Ok(Access::Unknown),
    };
    if above.as_deref() == Some("1") {
        return Ok(Access::CanWrite);
    }
    match texts(connection, "asking for the user's rights", &ask(privileges(user))?).await {
        Ok(rows) => {
            let writes = |row: &Vec<String>| {
                row.get(1)
                    .is_some_and(|right| ["all", "write"].contains(&right.to_ascii_lowercase().as_str()))
            };
            Ok(match (rows.is_empty(), rows.iter().any(writes)) {
                (true, _) => Access::Unknown,
                (_, true) => Access::CanWrite,
                (_, false) => Access::ReadOnly,
            })
        }
        Err(error) if error.is_transient() => Err(error),
        Err(_) => Ok(Access::Unknown),
    }
}

/// A short answer as texts, by row.
async fn texts(connection: &Connection, what: &'static str, sql: &str) -> Result<Vec<Vec<String>>, TdengineError> {
    let columns = connection.query(what, sql).await?.all().await?;
    let columns = columns.iter().map(|column| cast(column, &DataType::Utf8));
    let columns: Vec<_> = columns
        .collect::<Result<_, _>>()
        .map_err(|error| TdengineError::request(format!("an answer of the server is not text: {error}")))?;
    let rows = columns.first().map_or(0, |column| column.len());
    let cell = |column: &arrow_array::ArrayRef, row: usize| column.as_string::<i32>().value(row).to_owned();
    Ok((0..rows)
        .map(|row| columns.iter().map(|column| cell(column, row)).collect())
        .collect())
}

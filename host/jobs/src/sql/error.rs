//! What a database says, in plain words.

use crate::{BrokerError, StoreError};
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

/// The primary result codes of <https://www.sqlite.org/rescode.html> that have words of their own here.
mod sqlite {
    pub const BUSY: i32 = 5;
    pub const LOCKED: i32 = 6;
    pub const READONLY: i32 = 8;
    pub const IOERR: i32 = 10;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const CANTOPEN: i32 = 14;
    pub const CONSTRAINT: i32 = 19;
    pub const NOTADB: i32 = 26;
}

/// The codes of <https://www.postgresql.org/docs/current/errcodes-appendix.html> that have words of their own here. A
/// code's class is its first two characters.
mod postgres {
    pub const DATA: &str = "22";
    pub const NUL: &str = "22021";
    pub const CONSTRAINT: &str = "23";
    pub const READ_ONLY: &str = "25006";
    pub const DISK_FULL: &str = "53100";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
}

fn sqlite_code(error: &dyn DatabaseError) -> i32 {
    error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & 0xff
}

fn is_postgres(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<PgDatabaseError>().is_some()
}

/// Why a database cannot be used.
pub(crate) fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) if is_postgres(error.as_ref()) => match error.code().as_deref() {
            Some(postgres::DISK_FULL) => "its disk is full".into(),
            Some(postgres::READ_ONLY) => "it is read-only; is it a standby?".into(),
            Some(postgres::TOO_MANY_CONNECTIONS) => "it has too many connections".into(),
            _ => error.message().to_owned(),
        },
        sqlx::Error::Database(error) => match sqlite_code(error.as_ref()) {
            sqlite::BUSY | sqlite::LOCKED => "another program holds it locked".into(),
            sqlite::READONLY => "the database file is read-only".into(),
            sqlite::FULL => "the disk is full".into(),
            sqlite::IOERR => "the disk reported an error; it may be full, or the file may be gone".into(),
            sqlite::CORRUPT => "the database file is damaged".into(),
            sqlite::NOTADB => "the file is not a database".into(),
            sqlite::CANTOPEN => {
                "the database file cannot be opened; is its folder there, and may it be written?".into()
            }
            _ => error.message().to_owned(),
        },
        sqlx::Error::PoolTimedOut => "it cannot be reached, or too many requests wait for it".into(),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => "it is closed".into(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::ColumnDecode { index, source } => {
            format!("column {} of a row cannot be read: {source}", index.trim_matches('"'))
        }
        error => error.to_string(),
    }
}

/// Whether trying again may help: a SQLite file was locked, or another process is setting it up.
pub(crate) fn is_locked(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| matches!(sqlite_code(error), sqlite::BUSY | sqlite::LOCKED))
}

/// Whether the database understood, and refuses what was to be written.
fn refuses(error: &dyn DatabaseError) -> bool {
    if is_postgres(error) {
        let code = error.code().unwrap_or_default();
        code.starts_with(postgres::DATA) || code.starts_with(postgres::CONSTRAINT)
    } else {
        sqlite_code(error) == sqlite::CONSTRAINT
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if refuses(inner.as_ref()) => {
                StoreError::Conflict(if inner.is_unique_violation() {
                    format!("it is there already ({})", inner.message())
                } else if inner.code().as_deref() == Some(postgres::NUL) {
                    "the database cannot keep a text with a NUL character in it".into()
                } else {
                    format!("the database refuses the row ({})", inner.message())
                })
            }
            _ => StoreError::Unavailable(words(&error)),
        }
    }
}

impl From<sqlx::Error> for BrokerError {
    fn from(error: sqlx::Error) -> Self {
        BrokerError::Unavailable(words(&error))
    }
}

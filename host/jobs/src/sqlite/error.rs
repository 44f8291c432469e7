//! What SQLite says, in plain words.

use crate::{BrokerError, StoreError};

// The primary result codes of https://www.sqlite.org/rescode.html that have words of their own here.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const NOTADB: i32 = 26;

fn code(error: &dyn sqlx::error::DatabaseError) -> i32 {
    error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0)
}

/// Why the database cannot be used.
pub(super) fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match code(error.as_ref()) & 0xff {
            BUSY | LOCKED => "another program holds it locked".into(),
            READONLY => "the database file is read-only".into(),
            FULL => "the disk is full".into(),
            IOERR => "the disk reported an error; it may be full, or the file may be gone".into(),
            CORRUPT => "the database file is damaged".into(),
            NOTADB => "the file is not a database".into(),
            CANTOPEN => "the database file cannot be opened; is its folder there, and may it be written?".into(),
            _ => error.message().to_owned(),
        },
        sqlx::Error::PoolTimedOut => "too many requests wait for it".into(),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => "it is closed".into(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::ColumnDecode { index, source } => {
            format!("column {} of a row cannot be read: {source}", index.trim_matches('"'))
        }
        error => error.to_string(),
    }
}

/// Whether trying again may help: the file was locked, or another process is setting it up.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| matches!(code(error) & 0xff, BUSY | LOCKED))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if code(inner.as_ref()) & 0xff == CONSTRAINT => {
                StoreError::Conflict(if inner.is_unique_violation() {
                    format!("it is there already ({})", inner.message())
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

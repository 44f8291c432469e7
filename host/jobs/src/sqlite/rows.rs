//! How values lie in columns: times and JSON as text, and back.

use crate::{ResourceUsage, Timestamp};
use chrono::{SecondsFormat, SubsecRound, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// The time now, no finer than a column holds it.
pub(super) fn now() -> Timestamp {
    Utc::now().trunc_subsecs(6)
}

/// A time as a column holds it; sorts as a text.
pub(super) fn time(time: &Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A value as JSON.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// What a run used as the original's column holds it: an object, empty at first.
pub(super) fn usage(usage: Option<&ResourceUsage>) -> Result<String, sqlx::Error> {
    usage.map_or_else(|| Ok("{}".into()), |usage| json(&usage.finite()))
}

/// A count as a column holds it. SQLite's integers end at 2^63 - 1, and so does every count here.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unreadable(column: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: error.into(),
    }
}

fn parsed_time(column: &str, text: &str) -> Result<Timestamp, sqlx::Error> {
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc))
        .map_err(|error| unreadable(column, error))
}

/// Reads a column of JSON.
pub(super) fn from_json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(row.try_get::<&str, _>(column)?).map_err(|error| unreadable(column, error))
}

/// Reads a time.
pub(super) fn from_time(row: &SqliteRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    parsed_time(column, row.try_get::<&str, _>(column)?)
}

/// Reads a time that may be absent.
pub(super) fn from_optional_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    row.try_get::<Option<&str>, _>(column)?
        .map(|text| parsed_time(column, text))
        .transpose()
}

/// Reads what a run used.
pub(super) fn from_usage(row: &SqliteRow, column: &str) -> Result<Option<ResourceUsage>, sqlx::Error> {
    match row.try_get::<&str, _>(column)? {
        "{}" => Ok(None),
        text => serde_json::from_str(text)
            .map(Some)
            .map_err(|error| unreadable(column, error)),
    }
}

/// Reads a count.
pub(super) fn from_integer(row: &SqliteRow, column: &str) -> Result<u64, sqlx::Error> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|error| unreadable(column, error))
}

/// Reads a count that is never large.
pub(super) fn from_small(row: &SqliteRow, column: &str) -> Result<u32, sqlx::Error> {
    u32::try_from(row.try_get::<i64, _>(column)?).map_err(|error| unreadable(column, error))
}

/// Reads one of a few names.
pub(super) fn from_name<T>(row: &SqliteRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let name: &str = row.try_get(column)?;
    parse(name).ok_or_else(|| unreadable(column, format!("{name} is unknown")))
}

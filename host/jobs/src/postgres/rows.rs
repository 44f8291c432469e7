//! How values lie in columns: JSON as the text it was written as, and back.

use crate::{ResourceUsage, Timestamp};
use chrono::{SubsecRound, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgRow, PgTypeInfo};
use sqlx::types::Json;
use sqlx::{Encode, Postgres, Row, Type};

/// The time now, no finer than a column holds it.
pub(super) fn now() -> Timestamp {
    Utc::now().trunc_subsecs(6)
}

/// A time as a column holds it.
pub(super) fn time(time: &Timestamp) -> Timestamp {
    *time
}

/// A text for a column of the type JSON, which keeps it as it is.
pub(super) struct JsonText(String);

impl Type<Postgres> for JsonText {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("json")
    }
}

impl Encode<'_, Postgres> for JsonText {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// A value as JSON.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<JsonText, sqlx::Error> {
    serde_json::to_string(value)
        .map(JsonText)
        .map_err(|error| sqlx::Error::Encode(error.into()))
}

/// What a run used as the original's column holds it: an object, empty at first.
pub(super) fn usage(usage: Option<&ResourceUsage>) -> Result<Json<serde_json::Value>, sqlx::Error> {
    let Some(usage) = usage else {
        return Ok(Json(serde_json::json!({})));
    };
    serde_json::to_value(usage.finite())
        .map(Json)
        .map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A count as a column holds it: no more than 2^63 - 1.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unreadable(column: &str, error: impl Into<BoxDynError>) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: error.into(),
    }
}

/// Reads a column of JSON.
pub(super) fn from_json<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<T, sqlx::Error> {
    // The binary form of JSON, not of JSONB, is its text.
    let text: &str = row.try_get_unchecked(column)?;
    serde_json::from_str(text).map_err(|error| unreadable(column, error))
}

/// Reads a time.
pub(super) fn from_time(row: &PgRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    row.try_get(column)
}

/// Reads a time that may be absent.
pub(super) fn from_optional_time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    row.try_get(column)
}

/// Reads what a run used.
pub(super) fn from_usage(row: &PgRow, column: &str) -> Result<Option<ResourceUsage>, sqlx::Error> {
    let Json(value): Json<serde_json::Value> = row.try_get(column)?;
    // Another program's row may hold a part of the figures, or others.
    let known = value.as_object().is_some_and(|object| !object.is_empty());
    Ok(known.then(|| serde_json::from_value(value).unwrap_or_default()))
}

/// Reads a count.
pub(super) fn from_integer(row: &PgRow, column: &str) -> Result<u64, sqlx::Error> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|error| unreadable(column, error))
}

/// Reads a count that is never large.
pub(super) fn from_small(row: &PgRow, column: &str) -> Result<u32, sqlx::Error> {
    u32::try_from(row.try_get::<i64, _>(column)?).map_err(|error| unreadable(column, error))
}

/// Reads one of a few names.
pub(super) fn from_name<T>(row: &PgRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let name: &str = row.try_get(column)?;
    parse(name).ok_or_else(|| unreadable(column, format!("{name} is unknown")))
}

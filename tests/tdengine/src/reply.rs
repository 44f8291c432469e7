//! What the server answers: JSON for most, bytes for blocks.

use std::time::Instant;

use serde_json::{Value as Json, json};

use crate::{error::SqlError, result_set::ResultSet};

/// The number of what has none in TDengine itself: requests that make no sense to the adapter.
pub(crate) const ADAPTER_ERROR: i32 = 0xFFFF;

/// Nanoseconds since a request came.
fn timing(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn head(action: &str, req_id: u64, since: Instant) -> serde_json::Map<String, Json> {
    let head = [
        ("code", json!(0)),
        ("message", json!("")),
        ("action", json!(action)),
        ("req_id", json!(req_id)),
        ("timing", json!(timing(since))),
    ];
    head.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn with(mut head: serde_json::Map<String, Json>, more: Json) -> String {
    if let Json::Object(more) = more {
        head.extend(more);
    }
    Json::Object(head).to_string()
}

pub(crate) fn version(req_id: u64, version: &str, since: Instant) -> String {
    with(head("version", req_id, since), json!({ "version": version }))
}

pub(crate) fn login(req_id: u64, since: Instant) -> String {
    with(head("conn", req_id, since), Json::Null)
}

pub(crate) fn refusal(action: &str, req_id: u64, error: &SqlError, since: Instant) -> String {
    with(
        head(action, req_id, since),
        json!({ "code": error.code, "message": error.message }),
    )
}

pub(crate) fn updated(action: &str, req_id: u64, affected_rows: u64, since: Instant) -> String {
    let more = json!({
        "id": 0,
        "is_update": true,
        "affected_rows": affected_rows,
        "fields_count": 0,
        "fields_names": null,
        "fields_types": null,
        "fields_lengths": null,
        "precision": 0,
    });
    with(head(action, req_id, since), more)
}

pub(crate) fn found(action: &str, req_id: u64, id: u64, result: &ResultSet, since: Instant) -> String {
    let columns = &result.columns;
    let more = json!({
        "id": id,
        "is_update": false,
        "affected_rows": 0,
        "fields_count": columns.len(),
        "fields_names": columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
        "fields_types": columns.iter().map(|column| column.data_type.code()).collect::<Vec<_>>(),
        "fields_lengths": columns.iter().map(|column| column.data_type.length()).collect::<Vec<_>>(),
        "precision": result.precision.code(),
    });
    with(head(action, req_id, since), more)
}

/// How many rows the next block has; none completes the result.
pub(crate) fn fetched(req_id: u64, id: u64, result: &ResultSet, rows: u64, since: Instant) -> String {
    let lengths: Vec<u32> = result
        .columns
        .iter()
        .map(|column| column.data_type.block_length())
        .collect();
    let more = json!({
        "id": id,
        "completed": rows == 0,
        "lengths": if rows == 0 { Json::Null } else { json!(lengths) },
        "rows": rows,
    });
    with(head("fetch", req_id, since), more)
}

/// What stands before the block in the answer to `fetch_block`.
pub(crate) fn block_prefix(id: u64, since: Instant) -> Vec<u8> {
    [timing(since).to_le_bytes(), id.to_le_bytes()].concat()
}

/// The answer to a binary fetch up to its block: `None` for a result that is complete, an error's code and text, or
/// (to be followed by the block's length and bytes) `Some(Ok)`.
pub(crate) fn raw_block_prefix(req_id: u64, id: u64, state: Option<Result<(), &SqlError>>, since: Instant) -> Vec<u8> {
    let mut out = u64::MAX.to_le_bytes().to_vec();
    out.extend_from_slice(&7u64.to_le_bytes());
    out.extend_from_slice(&1u16.to_le_bytes());
    out.extend_from_slice(&timing(since).to_le_bytes());
    out.extend_from_slice(&req_id.to_le_bytes());
    let (code, message) = match state {
        Some(Err(error)) => (error.code as u32, error.message.as_str()),
        _ => (0, ""),
    };
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(message.len() as u32).to_le_bytes());
    out.extend_from_slice(message.as_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.push(u8::from(!matches!(state, Some(Ok(())))));
    out
}

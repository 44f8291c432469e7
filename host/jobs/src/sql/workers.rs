//! Who works.

use super::database::Database;
use super::rows::{from_json, from_time, json, now, time};
use crate::{StoreError, WorkerDetails, WorkerRow};
use chrono::TimeDelta;
use sqlx::Row;

/// A worker that has not been seen for so long is forgotten.
const KEPT: TimeDelta = TimeDelta::hours(1);

pub(super) async fn announce(database: &Database, name: &str, details: &WorkerDetails) -> Result<(), StoreError> {
    let now = now();
    let mut transaction = database.write().await?;
    sqlx::query(
        "INSERT INTO workers (name, seen_at, details) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, details = excluded.details",
    )
    .bind(name)
    .bind(time(&now))
    .bind(json(details)?)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("DELETE FROM workers WHERE seen_at < $1")
        .bind(time(&(now - KEPT)))
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn leave(database: &Database, name: &str) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    sqlx::query("DELETE FROM workers WHERE name = $1")
        .bind(name)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn all(database: &Database) -> Result<Vec<WorkerRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM workers ORDER BY name")
        .fetch_all(&database.readers)
        .await?;
    let mut workers = Vec::with_capacity(rows.len());
    for row in &rows {
        workers.push(WorkerRow {
            name: row.try_get("name")?,
            seen_at: from_time(row, "seen_at")?,
            details: from_json(row, "details")?,
        });
    }
    Ok(workers)
}

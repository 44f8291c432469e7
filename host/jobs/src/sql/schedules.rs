//! Schedules, and who may keep them.

use super::database::Database;
use super::dialect::SqlRow;
use super::rows::{from_json, from_name, from_optional_time, from_time, json, now, time};
use crate::schedule::{Fired, Missed, NewSchedule, Schedule};
use crate::{StoreError, Timestamp};
use sqlx::Row;
use std::time::Duration;

fn read(row: &SqlRow) -> Result<Schedule, sqlx::Error> {
    Ok(Schedule {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        model_id: row.try_get("model_id")?,
        cron: row.try_get("cron")?,
        time_zone: row.try_get("time_zone")?,
        enabled: row.try_get("enabled")?,
        missed: from_name(row, "missed", Missed::parse)?,
        submission: from_json(row, "submission")?,
        next_at: from_optional_time(row, "next_at")?,
        last_at: from_optional_time(row, "last_at")?,
        last_run: row.try_get("last_run")?,
        last_error: row.try_get("last_error")?,
        created_at: from_time(row, "created_at")?,
        updated_at: from_time(row, "updated_at")?,
    })
}

fn missing(id: i64) -> StoreError {
    StoreError::NotFound {
        what: "schedule",
        id: id.to_string(),
    }
}

pub(super) async fn add(
    database: &Database,
    schedule: NewSchedule,
    next: Option<Timestamp>,
) -> Result<Schedule, StoreError> {
    let mut transaction = database.write().await?;
    let row = sqlx::query(
        "INSERT INTO schedules (name, model_id, cron, time_zone, enabled, missed, submission, next_at, created_at,
             updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) RETURNING *",
    )
    .bind(&schedule.name)
    .bind(schedule.model_id)
    .bind(&schedule.cron)
    .bind(&schedule.time_zone)
    .bind(schedule.enabled)
    .bind(schedule.missed.as_str())
    .bind(json(&schedule.submission)?)
    .bind(next.as_ref().map(time))
    .bind(time(&now()))
    .fetch_one(&mut *transaction)
    .await?;
    let schedule = read(&row)?;
    transaction.commit().await?;
    Ok(schedule)
}

pub(super) async fn all(database: &Database) -> Result<Vec<Schedule>, StoreError> {
    let rows = sqlx::query("SELECT * FROM schedules ORDER BY id")
        .fetch_all(&database.readers)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

pub(super) async fn get(database: &Database, id: i64) -> Result<Schedule, StoreError> {
    let row = sqlx::query("SELECT * FROM schedules WHERE id = $1")
        .bind(id)
        .fetch_optional(&database.readers)
        .await?;
    Ok(read(&row.ok_or_else(|| missing(id))?)?)
}

pub(super) async fn update(
    database: &Database,
    id: i64,
    schedule: NewSchedule,
    next: Option<Timestamp>,
) -> Result<Schedule, StoreError> {
    let mut transaction = database.write().await?;
    let row = sqlx::query(
        "UPDATE schedules SET name = $2, model_id = $3, cron = $4, time_zone = $5, enabled = $6, missed = $7,
             submission = $8, next_at = $9, updated_at = $10
         WHERE id = $1 RETURNING *",
    )
    .bind(id)
    .bind(&schedule.name)
    .bind(schedule.model_id)
    .bind(&schedule.cron)
    .bind(&schedule.time_zone)
    .bind(schedule.enabled)
    .bind(schedule.missed.as_str())
    .bind(json(&schedule.submission)?)
    .bind(next.as_ref().map(time))
    .bind(time(&now()))
    .fetch_optional(&mut *transaction)
    .await?;
    let schedule = read(&row.ok_or_else(|| missing(id))?)?;
    transaction.commit().await?;
    Ok(schedule)
}

pub(super) async fn delete(database: &Database, id: i64) -> Result<Schedule, StoreError> {
    let mut transaction = database.write().await?;
    let row = sqlx::query("DELETE FROM schedules WHERE id = $1 RETURNING *")
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
    let schedule = read(&row.ok_or_else(|| missing(id))?)?;
    transaction.commit().await?;
    Ok(schedule)
}

pub(super) async fn due(database: &Database, at: Timestamp) -> Result<Vec<Schedule>, StoreError> {
    let rows = sqlx::query("SELECT * FROM schedules WHERE next_at <= $1 ORDER BY next_at, id")
        .bind(time(&at))
        .fetch_all(&database.readers)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

pub(super) async fn fired(database: &Database, id: i64, fired: &Fired) -> Result<bool, StoreError> {
    let mut transaction = database.write().await?;
    let done = sqlx::query(
        "UPDATE schedules SET next_at = $3, last_at = $4, last_run = coalesce($5, last_run), last_error = $6
         WHERE id = $1 AND next_at = $2",
    )
    .bind(id)
    .bind(time(&fired.due))
    .bind(fired.next.as_ref().map(time))
    .bind(time(&now()))
    .bind(&fired.run)
    .bind(&fired.error)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn hold(database: &Database, office: &str, holder: &str, lease: Duration) -> Result<bool, StoreError> {
    let now = now();
    let until = now + chrono::TimeDelta::from_std(lease).unwrap_or(chrono::TimeDelta::hours(1));
    let mut transaction = database.write().await?;
    let done = sqlx::query(
        "INSERT INTO offices (name, holder, until) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET holder = $2, until = $3
         WHERE offices.holder = $2 OR offices.until <= $4",
    )
    .bind(office)
    .bind(holder)
    .bind(time(&until))
    .bind(time(&now))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(done.rows_affected() > 0)
}

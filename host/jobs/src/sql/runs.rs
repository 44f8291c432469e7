//! Runs and their series, as far as their state does not change.

use super::database::Database;
use super::dialect::{SqlConnection, SqlRow, lock_model_of};
use super::models::{add_details, find_idle, page, touch};
use super::rows::{
    from_integer, from_json, from_name, from_optional_time, from_small, from_time, from_usage, integer, json, now,
    time, usage,
};
use crate::{
    Model, ModelStatus, NewRun, Page, ResourceUsage, Run, RunFilter, RunId, RunState, SeriesPoint, StoreError,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::Row;

/// What a submit changes in a model, so that a run that is stopped can give it back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ModelBefore {
    pub status: ModelStatus,
    pub progress: f64,
    pub task_id: Option<RunId>,
    pub error_log: Option<String>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub resource_usage: Option<ResourceUsage>,
}

impl From<Model> for ModelBefore {
    fn from(model: Model) -> Self {
        ModelBefore {
            status: model.status,
            progress: model.progress,
            task_id: model.task_id,
            error_log: model.error_log,
            started_at: model.started_at,
            finished_at: model.finished_at,
            resource_usage: model.resource_usage,
        }
    }
}

pub(super) fn read(row: &SqlRow) -> Result<Run, sqlx::Error> {
    Ok(Run {
        id: row.try_get("id")?,
        model_id: row.try_get("model_id")?,
        state: from_name(row, "state", RunState::parse)?,
        progress: row.try_get("progress")?,
        attempt: from_small(row, "attempt")?,
        token: row.try_get("token")?,
        worker: row.try_get("worker")?,
        stop_requested: row.try_get("stop_requested")?,
        plugin: row.try_get("plugin")?,
        plugin_version: row.try_get("plugin_version")?,
        plugin_digest: row.try_get("plugin_digest")?,
        training_dataset: from_json(row, "training_dataset")?,
        training_parameters: from_json(row, "training_parameters")?,
        seed: from_small(row, "seed")?,
        limits: from_json(row, "limits")?,
        labels: from_json(row, "labels")?,
        sweep_id: row.try_get("sweep_id")?,
        metrics: from_json(row, "metrics")?,
        file_path: row.try_get("file_path")?,
        checkpoint: row.try_get("checkpoint")?,
        error_log: row.try_get("error_log")?,
        lineage: from_json(row, "lineage")?,
        resource_usage: from_usage(row, "resource_usage")?,
        created_at: from_time(row, "created_at")?,
        started_at: from_optional_time(row, "started_at")?,
        finished_at: from_optional_time(row, "finished_at")?,
    })
}

pub(super) fn missing(id: &str) -> StoreError {
    StoreError::NotFound {
        what: "run",
        id: id.to_owned(),
    }
}

/// Reads a run inside a transaction.
pub(super) async fn find(connection: &mut SqlConnection, id: &str) -> Result<Run, StoreError> {
    let row = sqlx::query("SELECT * FROM runs WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(read(&row.ok_or_else(|| missing(id))?)?)
}

/// Reads a run that this transaction is going to write, its model with it.
pub(super) async fn find_to_write(connection: &mut SqlConnection, id: &str) -> Result<Run, StoreError> {
    lock_model_of(&mut *connection, id).await?;
    find(connection, id).await
}

pub(super) async fn submit(database: &Database, run: NewRun) -> Result<Run, StoreError> {
    let now = now();
    let mut transaction = database.write().await?;
    let model = find_idle(&mut transaction, run.model_id).await?;
    let run = insert(&mut transaction, &run, None, &ModelBefore::from(model), now).await?;
    sqlx::query(
        "UPDATE t_ai_models SET status = 'PENDING', progress = 0, task_id = $2, error_log = NULL, started_at = NULL,
             finished_at = NULL, resource_usage = '{}'
         WHERE id = $1",
    )
    .bind(run.model_id)
    .bind(&run.id)
    .execute(&mut *transaction)
    .await?;
    add_details(&mut transaction, run.model_id, now).await?;
    touch(&mut transaction, run.model_id, now).await?;
    transaction.commit().await?;
    Ok(run)
}

/// Writes a new run.
pub(super) async fn insert(
    connection: &mut SqlConnection,
    run: &NewRun,
    sweep: Option<i64>,
    before: &ModelBefore,
    now: Timestamp,
) -> Result<Run, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO runs (id, model_id, state, plugin, plugin_version, plugin_digest, training_dataset,
             training_parameters, seed, limits, created_at, model_before, labels, sweep_id)
         VALUES ($1, $2, 'PENDING', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING *",
    )
    .bind(&run.id)
    .bind(run.model_id)
    .bind(&run.plugin)
    .bind(&run.plugin_version)
    .bind(&run.plugin_digest)
    .bind(json(&run.training_dataset)?)
    .bind(json(&run.training_parameters)?)
    .bind(i64::from(run.seed))
    .bind(json(&run.limits)?)
    .bind(time(&now))
    .bind(json(before)?)
    .bind(json(&run.labels)?)
    .bind(sweep)
    .fetch_one(connection)
    .await;
    match inserted {
        Ok(row) => Ok(read(&row)?),
        Err(error)
            if error
                .as_database_error()
                .is_some_and(|error| error.is_unique_violation()) =>
        {
            Err(StoreError::Conflict(format!("there is a run {} already", run.id)))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn get(database: &Database, id: &str) -> Result<Run, StoreError> {
    let row = sqlx::query("SELECT * FROM runs WHERE id = $1")
        .bind(id)
        .fetch_optional(&database.readers)
        .await?;
    Ok(read(&row.ok_or_else(|| missing(id))?)?)
}

pub(super) async fn list(database: &Database, filter: &RunFilter) -> Result<Page<Run>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM runs WHERE model_id = $1 AND sweep_id IS NULL AND number < $2 ORDER BY number DESC LIMIT $3",
    )
    .bind(filter.model_id)
    .bind(filter.before.unwrap_or(i64::MAX))
    .bind(i64::from(filter.limit) + 1)
    .fetch_all(&database.readers)
    .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push((row.try_get("number")?, read(row)?));
    }
    let page = page(items, filter.limit, |(number, _)| *number);
    Ok(Page {
        items: page.items.into_iter().map(|(_, run)| run).collect(),
        next: page.next,
    })
}

pub(super) async fn unfinished(database: &Database) -> Result<Vec<Run>, StoreError> {
    let rows = sqlx::query("SELECT * FROM runs WHERE state IN ('PENDING', 'PREPARING', 'TRAINING') ORDER BY number")
        .fetch_all(&database.readers)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

pub(super) async fn note_checkpoint(database: &Database, id: &str, token: i64, key: &str) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    let run = find_to_write(&mut transaction, id).await?;
    if run.token != token || run.state.is_final() {
        return Err(StoreError::Fenced { run: run.id });
    }
    sqlx::query("UPDATE runs SET checkpoint = $2 WHERE id = $1")
        .bind(id)
        .bind(key)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn add_series(database: &Database, id: &str, points: &[SeriesPoint]) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    find(&mut transaction, id).await?;
    for point in points {
        if !(point.value.is_finite() && point.seconds.is_finite()) {
            return Err(StoreError::Conflict(format!(
                "{} of step {} is not a finite number",
                point.name, point.step
            )));
        }
        // A plugin may report a step twice; what it said last counts.
        sqlx::query(
            "INSERT INTO run_series (run_id, name, step, seconds, value) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (run_id, name, step) DO UPDATE SET seconds = excluded.seconds, value = excluded.value",
        )
        .bind(id)
        .bind(&point.name)
        .bind(integer(point.step))
        .bind(point.seconds)
        .bind(point.value)
        .execute(&mut *transaction)
        .await?;
    }
    Ok(transaction.commit().await?)
}

pub(super) async fn series(database: &Database, id: &str) -> Result<Vec<SeriesPoint>, StoreError> {
    let rows = sqlx::query("SELECT step, seconds, name, value FROM run_series WHERE run_id = $1 ORDER BY name, step")
        .bind(id)
        .fetch_all(&database.readers)
        .await?;
    if rows.is_empty() {
        // A run that has none, or no run?
        get(database, id).await?;
    }
    let mut points = Vec::with_capacity(rows.len());
    for row in &rows {
        points.push(SeriesPoint {
            step: from_integer(row, "step")?,
            seconds: row.try_get("seconds")?,
            name: row.try_get("name")?,
            value: row.try_get("value")?,
        });
    }
    Ok(points)
}

pub(super) async fn clear_series(database: &Database, id: &str, from_step: u64) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    find(&mut transaction, id).await?;
    sqlx::query("DELETE FROM run_series WHERE run_id = $1 AND step >= $2")
        .bind(id)
        .bind(integer(from_step))
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn write_usage(database: &Database, id: &str, used: &ResourceUsage) -> Result<(), StoreError> {
    let used = usage(Some(used))?;
    let mut transaction = database.write().await?;
    let run = find_to_write(&mut transaction, id).await?;
    if !run.state.is_final() {
        return Err(StoreError::Illegal {
            run: run.id,
            state: run.state,
            verb: "measured in all",
        });
    }
    sqlx::query("UPDATE runs SET resource_usage = $2 WHERE id = $1")
        .bind(id)
        .bind(&used)
        .execute(&mut *transaction)
        .await?;
    // A model that has gone on, or is what it was before, keeps what it has.
    sqlx::query("UPDATE t_ai_models SET resource_usage = $3 WHERE id = $1 AND task_id = $2")
        .bind(run.model_id)
        .bind(id)
        .bind(&used)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

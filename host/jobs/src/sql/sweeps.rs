//! Sweeps and their trials.

use super::database::Database;
use super::dialect::{SqlConnection, SqlRow, lock_model, lock_model_of};
use super::lifecycle::give_result;
use super::models::{find_idle, touch};
use super::rows::{from_integer, from_json, from_name, from_optional_time, from_time, integer, json, now, time};
use super::runs::{ModelBefore, find, insert};
use crate::sweep::{Plan, Sweep, SweepState, Told, Trial, Trials};
use crate::{ModelId, NewRun, Run, RunId, RunState, StoreError};
use serde_json::{Map, Value};
use sqlx::Row;
use std::collections::HashMap;

/// Sweeps with what is to be counted of them.
macro_rules! sweeps {
    ($rest:literal) => {
        concat!(
            "SELECT sweeps.*, (SELECT count(*) FROM runs WHERE sweep_id = sweeps.id) AS trials,
                 (SELECT count(*) FROM runs WHERE sweep_id = sweeps.id AND finished_at IS NOT NULL) AS ended
             FROM sweeps ",
            $rest
        )
    };
}

fn read(row: &SqlRow) -> Result<Sweep, sqlx::Error> {
    Ok(Sweep {
        id: row.try_get("id")?,
        model_id: row.try_get("model_id")?,
        state: from_name(row, "state", SweepState::parse)?,
        plan: from_json(row, "plan")?,
        trials: from_integer(row, "trials")?,
        ended: from_integer(row, "ended")?,
        best_run: row.try_get("best_run")?,
        note: row.try_get("note")?,
        created_at: from_time(row, "created_at")?,
        finished_at: from_optional_time(row, "finished_at")?,
    })
}

async fn find_sweep(connection: &mut SqlConnection, id: i64) -> Result<Sweep, StoreError> {
    let row = sqlx::query(sweeps!("WHERE id = $1"))
        .bind(id)
        .fetch_optional(connection)
        .await?;
    let row = row.ok_or_else(|| StoreError::NotFound {
        what: "sweep",
        id: id.to_string(),
    })?;
    Ok(read(&row)?)
}

pub(super) async fn add(
    database: &Database,
    model: ModelId,
    plan: &Plan,
    trials: &[NewRun],
) -> Result<(Sweep, Vec<Run>), StoreError> {
    let now = now();
    let mut transaction = database.write().await?;
    lock_model(&mut transaction, model).await?;
    let before = ModelBefore::from(super::models::find(&mut transaction, model).await?);
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO sweeps (model_id, state, plan, created_at) VALUES ($1, 'RUNNING', $2, $3) RETURNING id",
    )
    .bind(model)
    .bind(json(plan)?)
    .bind(time(&now))
    .fetch_one(&mut *transaction)
    .await?;
    let mut runs = Vec::with_capacity(trials.len());
    for trial in trials {
        runs.push(insert(&mut transaction, trial, Some(id), &before, now).await?);
    }
    let sweep = find_sweep(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok((sweep, runs))
}

pub(super) async fn get(database: &Database, id: i64) -> Result<Sweep, StoreError> {
    find_sweep(&mut *database.readers.acquire().await?, id).await
}

pub(super) async fn of_model(database: &Database, model: Option<ModelId>) -> Result<Vec<Sweep>, StoreError> {
    let rows = sqlx::query(sweeps!("WHERE model_id = $1 OR $1 IS NULL ORDER BY id DESC LIMIT 200"))
        .bind(model)
        .fetch_all(&database.readers)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

pub(super) async fn unfinished(database: &Database) -> Result<Vec<Sweep>, StoreError> {
    let rows = sqlx::query(sweeps!("WHERE state IN ('RUNNING', 'STOPPING') ORDER BY id"))
        .fetch_all(&database.readers)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

pub(super) async fn trials(database: &Database, sweep: i64) -> Result<Trials, StoreError> {
    let Sweep { plan, .. } = get(database, sweep).await?;
    let told = told(database, sweep, &plan.figure.metric, None).await?;
    let told: HashMap<&str, &Told> = told.iter().map(|told| (told.run_id.as_str(), told)).collect();
    let rows = sqlx::query(
        "SELECT id, state, progress, stop_requested, training_parameters, metrics, worker, error_log, started_at,
             finished_at
         FROM runs WHERE sweep_id = $1 ORDER BY number",
    )
    .bind(sweep)
    .fetch_all(&database.readers)
    .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let run_id: RunId = row.try_get("id")?;
        let all: Map<String, Value> = from_json(row, "training_parameters")?;
        let metrics: Map<String, Value> = from_json(row, "metrics")?;
        let told = told.get(run_id.as_str());
        let varied = plan.space.keys();
        items.push(Trial {
            state: from_name(row, "state", RunState::parse)?,
            progress: row.try_get("progress")?,
            stop_requested: row.try_get("stop_requested")?,
            parameters: varied
                .filter_map(|name| Some((name.clone(), all.get(name)?.clone())))
                .collect(),
            value: told
                .map(|told| told.best(plan.figure.goal))
                .or_else(|| metrics.get(&plan.figure.metric)?.as_f64()),
            steps: told.map(|told| told.steps),
            metrics,
            worker: row.try_get("worker")?,
            error_log: row.try_get("error_log")?,
            started_at: from_optional_time(row, "started_at")?,
            finished_at: from_optional_time(row, "finished_at")?,
            run_id,
        });
    }
    let mut figure = plan.figure;
    if let Some(otherwise) = plan.otherwise
        && items.iter().all(|trial| trial.value.is_none())
    {
        figure = otherwise;
        for trial in &mut items {
            trial.value = trial.metrics.get(&figure.metric).and_then(Value::as_f64);
        }
    }
    Ok(Trials { figure, items })
}

pub(super) async fn told(
    database: &Database,
    sweep: i64,
    name: &str,
    up_to: Option<u64>,
) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query(
        "SELECT run_id, min(value) AS least, max(value) AS most, max(step) AS steps
         FROM run_series JOIN runs ON runs.id = run_series.run_id
         WHERE sweep_id = $1 AND name = $2 AND step <= $3 GROUP BY run_id",
    )
    .bind(sweep)
    .bind(name)
    .bind(up_to.map_or(i64::MAX, integer))
    .fetch_all(&database.readers)
    .await?;
    let mut told = Vec::with_capacity(rows.len());
    for row in &rows {
        told.push(Told {
            run_id: row.try_get("run_id")?,
            least: row.try_get("least")?,
            most: row.try_get("most")?,
            steps: from_integer(row, "steps")?,
        });
    }
    Ok(told)
}

pub(super) async fn change(
    database: &Database,
    id: i64,
    state: SweepState,
    best: Option<&RunId>,
    note: Option<&str>,
) -> Result<bool, StoreError> {
    let mut transaction = database.write().await?;
    let done = sqlx::query(
        "UPDATE sweeps SET state = $2, best_run = $3, note = $4, finished_at = $5
         WHERE id = $1 AND state IN ('RUNNING', 'STOPPING') AND state <> $2",
    )
    .bind(id)
    .bind(state.as_str())
    .bind(best)
    .bind(note)
    .bind(state.is_final().then(|| time(&now())))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn adopt(database: &Database, id: &str) -> Result<Run, StoreError> {
    let mut transaction = database.write().await?;
    lock_model_of(&mut transaction, id).await?;
    let run = find(&mut transaction, id).await?;
    if run.state != RunState::Trained {
        return Err(StoreError::Illegal {
            run: run.id,
            state: run.state,
            verb: "made the model's result",
        });
    }
    find_idle(&mut transaction, run.model_id).await?;
    super::models::add_details(&mut transaction, run.model_id, now()).await?;
    give_result(&mut transaction, &run).await?;
    touch(&mut transaction, run.model_id, now()).await?;
    transaction.commit().await?;
    Ok(run)
}

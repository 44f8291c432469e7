//! Every change of a run's state, with the model's row in the same transaction.

use super::database::Database;
use super::dialect::SqlConnection;
use super::models::touch;
use super::rows::{from_json, json, now, time, usage};
use super::runs::{ModelBefore, find_to_write};
use crate::state::{Change, MOST_ATTEMPTS, next};
use crate::{Claim, ModelStatus, ResourceUsage, Run, RunState, StoreError, Timestamp};

/// Where the progress of a run lies in each state.
const PREPARING: (f64, f64) = (0.0, 5.0);
const TRAINING: (f64, f64) = (5.0, 99.0);

/// Moves a run to the state that a change leads to, and its model with it: the one place where states are written.
async fn apply(connection: &mut SqlConnection, before: Run, change: Change, now: Timestamp) -> Result<Run, StoreError> {
    let Some(state) = next(before.state, &change) else {
        return Err(StoreError::Illegal {
            run: before.id,
            state: before.state,
            verb: change.verb(),
        });
    };
    let (from, token) = (before.state, before.token);
    let mut run = Run { state, ..before };
    match change {
        Change::Claim { worker } => {
            run.attempt += 1;
            run.token += 1;
            run.worker = Some(worker);
            run.progress = PREPARING.0;
            run.started_at.get_or_insert(now);
        }
        Change::Train => run.progress = run.progress.max(TRAINING.0),
        Change::Finish(finished) => {
            run.progress = 100.0;
            run.metrics = finished.metrics;
            run.file_path = Some(finished.file_path);
            run.lineage = finished.lineage;
        }
        // Whatever a plugin says has to fit a column, and PostgreSQL's texts hold every character but this.
        Change::Fail { error } => run.error_log = Some(error.replace('\0', "\u{fffd}")),
        Change::Cancel => {}
        Change::Release | Change::PutBack => {
            if change == Change::Release {
                run.attempt = run.attempt.saturating_sub(1);
            }
            run.token += 1;
            run.progress = 0.0;
        }
    }
    if state.is_final() {
        run.finished_at = Some(now);
    }
    let written = sqlx::query(
        "UPDATE runs SET state = $4, progress = $5, attempt = $6, token = $7, worker = $8, metrics = $9,
             file_path = $10, error_log = $11, lineage = $12, started_at = $13, finished_at = $14, stop_requested = $15
         WHERE id = $1 AND token = $2 AND state = $3",
    )
    .bind(&run.id)
    .bind(token)
    .bind(from.as_str())
    .bind(state.as_str())
    .bind(run.progress)
    .bind(i64::from(run.attempt))
    .bind(run.token)
    .bind(&run.worker)
    .bind(json(&run.metrics)?)
    .bind(&run.file_path)
    .bind(&run.error_log)
    .bind(json(&run.lineage)?)
    .bind(run.started_at.as_ref().map(time))
    .bind(run.finished_at.as_ref().map(time))
    .bind(run.stop_requested)
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() != 1 {
        return Err(StoreError::Fenced { run: run.id });
    }
    match state.model_status() {
        _ if run.sweep_id.is_some() => {}
        Some(status) => mirror(connection, &run, status, now).await?,
        None => give_back(connection, &run, now).await?,
    }
    Ok(run)
}

/// Writes a run's state into its model's row.
async fn mirror(
    connection: &mut SqlConnection,
    run: &Run,
    status: ModelStatus,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE t_ai_models SET status = $3, progress = $4, error_log = $5, started_at = $6, finished_at = $7
         WHERE id = $1 AND task_id = $2",
    )
    .bind(run.model_id)
    .bind(&run.id)
    .bind(status.as_str())
    .bind(run.progress)
    .bind(&run.error_log)
    .bind(run.started_at.as_ref().map(time))
    .bind(run.finished_at.as_ref().map(time))
    .execute(&mut *connection)
    .await?;
    touch(&mut *connection, run.model_id, now).await?;
    if status == ModelStatus::Trained {
        result(connection, run).await?;
    }
    Ok(())
}

/// Writes a run's result as that of its model, if the model has the run.
async fn result(connection: &mut SqlConnection, run: &Run) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE model_details SET metrics = $3, file_path = $4, trained_run = $2
         WHERE model_id = $1 AND EXISTS (SELECT 1 FROM t_ai_models WHERE id = $1 AND task_id = $2)",
    )
    .bind(run.model_id)
    .bind(&run.id)
    .bind(json(&run.metrics)?)
    .bind(&run.file_path)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives a model a run that is TRAINED, as if it had been its last.
pub(super) async fn give_result(connection: &mut SqlConnection, run: &Run) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE t_ai_models SET status = 'TRAINED', progress = 100, task_id = $2, error_log = NULL, started_at = $3,
             finished_at = $4, resource_usage = (SELECT resource_usage FROM runs WHERE id = $2)
         WHERE id = $1",
    )
    .bind(run.model_id)
    .bind(&run.id)
    .bind(run.started_at.as_ref().map(time))
    .bind(run.finished_at.as_ref().map(time))
    .execute(&mut *connection)
    .await?;
    result(connection, run).await
}

/// Makes a model what it was before a run that was stopped.
async fn give_back(connection: &mut SqlConnection, run: &Run, now: Timestamp) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT model_before FROM runs WHERE id = $1")
        .bind(&run.id)
        .fetch_one(&mut *connection)
        .await?;
    let model: ModelBefore = from_json(&row, "model_before")?;
    // What its last run used may have been written since.
    sqlx::query(
        "UPDATE t_ai_models SET status = $3, progress = $4, task_id = $5, error_log = $6, started_at = $7,
             finished_at = $8, resource_usage = coalesce((SELECT resource_usage FROM runs WHERE id = $5), $9)
         WHERE id = $1 AND task_id = $2",
    )
    .bind(run.model_id)
    .bind(&run.id)
    .bind(model.status.as_str())
    .bind(model.progress)
    .bind(&model.task_id)
    .bind(&model.error_log)
    .bind(model.started_at.as_ref().map(time))
    .bind(model.finished_at.as_ref().map(time))
    .bind(usage(model.resource_usage.as_ref())?)
    .execute(&mut *connection)
    .await?;
    Ok(touch(connection, run.model_id, now).await?)
}

pub(super) async fn claim(database: &Database, id: &str, worker: &str) -> Result<Claim, StoreError> {
    let now = now();
    let mut transaction = database.write().await?;
    let run = find_to_write(&mut transaction, id).await?;
    let claim = if run.state.is_final() {
        return Ok(Claim::Over(run.state));
    } else if run.stop_requested {
        Claim::Over(apply(&mut transaction, run, Change::Cancel, now).await?.state)
    } else if run.attempt >= MOST_ATTEMPTS {
        let error = format!(
            "Given up after {} attempts: each time the worker that had the run stopped without a word, the last time \
             {}. It may have run out of memory; its machine's log says more.",
            run.attempt,
            run.worker.as_deref().unwrap_or("an unknown one"),
        );
        Claim::GivenUp(Box::new(
            apply(&mut transaction, run, Change::Fail { error }, now).await?,
        ))
    } else {
        let change = Change::Claim {
            worker: worker.to_owned(),
        };
        Claim::Taken(Box::new(apply(&mut transaction, run, change, now).await?))
    };
    transaction.commit().await?;
    Ok(claim)
}

pub(super) async fn change(database: &Database, id: &str, token: i64, change: Change) -> Result<Run, StoreError> {
    let mut transaction = database.write().await?;
    let run = find_to_write(&mut transaction, id).await?;
    if run.token != token {
        return Err(StoreError::Fenced { run: run.id });
    }
    if matches!(change, Change::Claim { .. }) {
        // That would pass by the count of attempts and a wish to stop.
        return Err(StoreError::Illegal {
            run: run.id,
            state: run.state,
            verb: change.verb(),
        });
    }
    let run = apply(&mut transaction, run, change, now()).await?;
    transaction.commit().await?;
    Ok(run)
}

pub(super) async fn request_stop(database: &Database, id: &str) -> Result<Run, StoreError> {
    let mut transaction = database.write().await?;
    let mut run = find_to_write(&mut transaction, id).await?;
    if run.state.is_final() {
        return Err(StoreError::Illegal {
            run: run.id,
            state: run.state,
            verb: "stopped",
        });
    }
    run.stop_requested = true;
    if run.state == RunState::Pending {
        run = apply(&mut transaction, run, Change::Cancel, now()).await?;
    } else {
        sqlx::query("UPDATE runs SET stop_requested = TRUE WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(run)
}

pub(super) async fn progress(
    database: &Database,
    id: &str,
    token: i64,
    progress: f64,
    used: &ResourceUsage,
) -> Result<(), StoreError> {
    let used = usage(Some(used))?;
    let mut transaction = database.write().await?;
    let run = find_to_write(&mut transaction, id).await?;
    let (least, most) = match run.state {
        RunState::Preparing if run.token == token => PREPARING,
        RunState::Training if run.token == token => TRAINING,
        _ => return Err(StoreError::Fenced { run: run.id }),
    };
    // `max` also passes over a progress that is not a number.
    let progress = run.progress.max(progress).clamp(least, most);
    sqlx::query("UPDATE runs SET progress = $2, resource_usage = $3 WHERE id = $1")
        .bind(id)
        .bind(progress)
        .bind(&used)
        .execute(&mut *transaction)
        .await?;
    if run.sweep_id.is_none() {
        sqlx::query("UPDATE t_ai_models SET progress = $3, resource_usage = $4 WHERE id = $1 AND task_id = $2")
            .bind(run.model_id)
            .bind(id)
            .bind(progress)
            .bind(&used)
            .execute(&mut *transaction)
            .await?;
        touch(&mut transaction, run.model_id, now()).await?;
    }
    Ok(transaction.commit().await?)
}

//! Models. `t_ai_models` has what the original's table has, `model_details` what Trainyard adds, and the view `models` is
//! both. Their status is written with the run's state, in `lifecycle`.

use super::database::Database;
use super::dialect::{CONTAINS, Db, SqlConnection, SqlRow, lock_model};
use super::rows::{from_integer, from_json, from_name, from_optional_time, from_time, from_usage, json, now, time};
use crate::{Model, ModelFilter, ModelId, ModelPatch, ModelStatus, NewModel, Page, RunId, StoreError, Timestamp};
use sqlx::{QueryBuilder, Row};

pub(super) fn read(row: &SqlRow) -> Result<Model, sqlx::Error> {
    Ok(Model {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        plugin: row.try_get("plugin")?,
        plugin_version: row.try_get("plugin_version")?,
        status: from_name(row, "status", ModelStatus::parse)?,
        progress: row.try_get("progress")?,
        task_id: row.try_get("task_id")?,
        trained_run: row.try_get("trained_run")?,
        training_dataset: from_json(row, "training_dataset")?,
        training_parameters: from_json(row, "training_parameters")?,
        metrics: from_json(row, "metrics")?,
        file_path: row.try_get("file_path")?,
        error_log: row.try_get("error_log")?,
        started_at: from_optional_time(row, "started_at")?,
        finished_at: from_optional_time(row, "finished_at")?,
        resource_usage: from_usage(row, "resource_usage")?,
        created_at: from_time(row, "created_at")?,
        updated_at: from_time(row, "updated_at")?,
    })
}

/// Reads a model inside a transaction.
pub(super) async fn find(connection: &mut SqlConnection, id: ModelId) -> Result<Model, StoreError> {
    let row = sqlx::query("SELECT * FROM models WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(read(&row.ok_or_else(|| missing(id))?)?)
}

/// Reads a model that this transaction is going to write; an error while a run of it is under way.
pub(super) async fn find_idle(connection: &mut SqlConnection, id: ModelId) -> Result<Model, StoreError> {
    lock_model(&mut *connection, id).await?;
    let model = find(&mut *connection, id).await?;
    match &model.task_id {
        Some(run) if model.status.is_active() => {
            let run = super::runs::find(connection, run).await?;
            Err(StoreError::Active {
                model: id,
                run: run.id,
                state: run.state,
            })
        }
        _ => Ok(model),
    }
}

fn missing(id: ModelId) -> StoreError {
    StoreError::NotFound {
        what: "model",
        id: id.to_string(),
    }
}

pub(super) async fn create(database: &Database, model: NewModel) -> Result<Model, StoreError> {
    let now = now();
    let mut transaction = database.write().await?;
    let id: ModelId =
        sqlx::query_scalar("INSERT INTO t_ai_models (name, status) VALUES ($1, 'DRAFT') RETURNING CAST(id AS BIGINT)")
            .bind(&model.name)
            .fetch_one(&mut *transaction)
            .await?;
    sqlx::query(
        "INSERT INTO model_details (model_id, name_folded, description, plugin, plugin_version, training_dataset,
             training_parameters, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
    )
    .bind(id)
    .bind(model.name.to_lowercase())
    .bind(&model.description)
    .bind(&model.plugin)
    .bind(&model.plugin_version)
    .bind(json(&model.training_dataset)?)
    .bind(json(&model.training_parameters)?)
    .bind(time(&now))
    .execute(&mut *transaction)
    .await?;
    let model = find(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(model)
}

pub(super) async fn get(database: &Database, id: ModelId) -> Result<Model, StoreError> {
    let row = sqlx::query("SELECT * FROM models WHERE id = $1")
        .bind(id)
        .fetch_optional(&database.readers)
        .await?;
    Ok(read(&row.ok_or_else(|| missing(id))?)?)
}

pub(super) async fn list(database: &Database, filter: &ModelFilter) -> Result<Page<Model>, StoreError> {
    // Only conditions that are asked for, so that each can use its index; what is asked for is bound.
    let mut query = QueryBuilder::<Db>::new("SELECT * FROM models WHERE id < ");
    query.push_bind(filter.before.unwrap_or(ModelId::MAX));
    if !filter.status.is_empty() {
        let mut names = query.push(" AND status IN (").separated(", ");
        for status in &filter.status {
            names.push_bind(status.as_str());
        }
        query.push(")");
    }
    if let Some(plugin) = &filter.plugin {
        query
            .push(" AND id IN (SELECT model_id FROM model_details WHERE plugin = ")
            .push_bind(plugin.as_str())
            .push(")");
    }
    if let Some(name) = &filter.name {
        query
            .push(format_args!(" AND {CONTAINS}(name_folded, "))
            .push_bind(name.to_lowercase())
            .push(") > 0");
    }
    query
        .push(" ORDER BY id DESC LIMIT ")
        .push_bind(i64::from(filter.limit) + 1);
    let rows = query.build().fetch_all(&database.readers).await?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(page(items, filter.limit, |model| model.id))
}

/// What was asked for, of a list that has one more item when there is a next page.
pub(super) fn page<T>(mut items: Vec<T>, limit: u32, number: impl Fn(&T) -> i64) -> Page<T> {
    let limit = limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more {
        items.last().map(|last| number(last).to_string())
    } else {
        None
    };
    Page { items, next }
}

pub(super) async fn update(database: &Database, id: ModelId, patch: ModelPatch) -> Result<Model, StoreError> {
    let now = now();
    let mut transaction = database.write().await?;
    let model = find_idle(&mut transaction, id).await?;
    let name = patch.name.unwrap_or(model.name);
    sqlx::query("UPDATE t_ai_models SET name = $2 WHERE id = $1")
        .bind(id)
        .bind(&name)
        .execute(&mut *transaction)
        .await?;
    add_details(&mut transaction, id, now).await?;
    sqlx::query(
        "UPDATE model_details SET name_folded = $2, description = $3, plugin = $4, plugin_version = $5,
             training_dataset = $6, training_parameters = $7, updated_at = $8
         WHERE model_id = $1",
    )
    .bind(id)
    .bind(name.to_lowercase())
    .bind(patch.description.unwrap_or(model.description))
    .bind(patch.plugin.unwrap_or(model.plugin))
    .bind(patch.plugin_version.unwrap_or(model.plugin_version))
    .bind(json(&patch.training_dataset.unwrap_or(model.training_dataset))?)
    .bind(json(&patch.training_parameters.unwrap_or(model.training_parameters))?)
    .bind(time(&now))
    .execute(&mut *transaction)
    .await?;
    let model = find(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(model)
}

/// Gives a model that another program wrote into `t_ai_models` the row that Trainyard adds, if it has none.
pub(super) async fn add_details(
    connection: &mut SqlConnection,
    id: ModelId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO model_details (model_id, name_folded, plugin, created_at, updated_at)
         SELECT id, name_folded, plugin, $2, $2 FROM models WHERE id = $1
         ON CONFLICT (model_id) DO NOTHING",
    )
    .bind(id)
    .bind(time(&now))
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes when a model last changed.
pub(super) async fn touch(connection: &mut SqlConnection, id: ModelId, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE model_details SET updated_at = $2 WHERE model_id = $1")
        .bind(id)
        .bind(time(&now))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn delete(database: &Database, id: ModelId) -> Result<Vec<RunId>, StoreError> {
    let mut transaction = database.write().await?;
    lock_model(&mut transaction, id).await?;
    find(&mut transaction, id).await?;
    // Trials of sweeps, too.
    let under_way =
        sqlx::query("SELECT * FROM runs WHERE model_id = $1 AND state IN ('PENDING', 'PREPARING', 'TRAINING') LIMIT 1")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
    if let Some(row) = under_way {
        let run = super::runs::read(&row)?;
        return Err(StoreError::Active {
            model: id,
            run: run.id,
            state: run.state,
        });
    }
    let runs = sqlx::query_scalar("SELECT id FROM runs WHERE model_id = $1 ORDER BY number")
        .bind(id)
        .fetch_all(&mut *transaction)
        .await?;
    // Runs and their series go with it.
    sqlx::query("DELETE FROM t_ai_models WHERE id = $1")
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(runs)
}

pub(super) async fn count(database: &Database) -> Result<Vec<(ModelStatus, u64)>, StoreError> {
    let rows = sqlx::query("SELECT status, count(*) AS models FROM t_ai_models GROUP BY status")
        .fetch_all(&database.readers)
        .await?;
    let mut counts = ModelStatus::ALL.map(|status| (status, 0));
    for row in &rows {
        let status = from_name(row, "status", ModelStatus::parse)?;
        let models = from_integer(row, "models")?;
        if let Some(count) = counts.iter_mut().find(|(known, _)| *known == status) {
            count.1 = models;
        }
    }
    Ok(counts.to_vec())
}

//! Models: the rows of `t_ai_models`. Their status is written with the run's state, in `lifecycle`.

use super::database::Database;
use super::rows::{from_integer, from_json, from_name, from_optional_time, from_time, from_usage, json, now, time};
use crate::{Model, ModelFilter, ModelId, ModelPatch, ModelStatus, NewModel, Page, RunId, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};

pub(super) fn read(row: &SqliteRow) -> Result<Model, sqlx::Error> {
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
pub(super) async fn find(connection: &mut SqliteConnection, id: ModelId) -> Result<Model, StoreError> {
    let row = sqlx::query("SELECT * FROM t_ai_models WHERE id = ?")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(read(&row.ok_or_else(|| missing(id))?)?)
}

/// The same, and an error while a run of it is under way.
pub(super) async fn find_idle(connection: &mut SqliteConnection, id: ModelId) -> Result<Model, StoreError> {
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
    let row = sqlx::query(
        "INSERT INTO t_ai_models (name, name_folded, description, plugin, plugin_version, training_dataset,
             training_parameters, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) RETURNING *",
    )
    .bind(&model.name)
    .bind(model.name.to_lowercase())
    .bind(&model.description)
    .bind(&model.plugin)
    .bind(&model.plugin_version)
    .bind(json(&model.training_dataset)?)
    .bind(json(&model.training_parameters)?)
    .bind(time(&now))
    .fetch_one(&mut *transaction)
    .await?;
    let model = read(&row)?;
    transaction.commit().await?;
    Ok(model)
}

pub(super) async fn get(database: &Database, id: ModelId) -> Result<Model, StoreError> {
    let row = sqlx::query("SELECT * FROM t_ai_models WHERE id = ?")
        .bind(id)
        .fetch_optional(&database.readers)
        .await?;
    Ok(read(&row.ok_or_else(|| missing(id))?)?)
}

pub(super) async fn list(database: &Database, filter: &ModelFilter) -> Result<Page<Model>, StoreError> {
    // Only conditions that are asked for, so that each can use its index; what is asked for is bound.
    let mut query = QueryBuilder::new("SELECT * FROM t_ai_models WHERE id < ");
    query.push_bind(filter.before.unwrap_or(ModelId::MAX));
    if !filter.status.is_empty() {
        let mut names = query.push(" AND status IN (").separated(", ");
        for status in &filter.status {
            names.push_bind(status.as_str());
        }
        query.push(")");
    }
    if let Some(plugin) = &filter.plugin {
        query.push(" AND plugin = ").push_bind(plugin.as_str());
    }
    if let Some(name) = &filter.name {
        query
            .push(" AND instr(name_folded, ")
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
    let mut transaction = database.write().await?;
    let model = find_idle(&mut transaction, id).await?;
    let name = patch.name.unwrap_or(model.name);
    let row = sqlx::query(
        "UPDATE t_ai_models SET name = ?2, name_folded = ?3, description = ?4, plugin = ?5, plugin_version = ?6,
             training_dataset = ?7, training_parameters = ?8, updated_at = ?9
         WHERE id = ?1 RETURNING *",
    )
    .bind(id)
    .bind(&name)
    .bind(name.to_lowercase())
    .bind(patch.description.unwrap_or(model.description))
    .bind(patch.plugin.unwrap_or(model.plugin))
    .bind(patch.plugin_version.unwrap_or(model.plugin_version))
    .bind(json(&patch.training_dataset.unwrap_or(model.training_dataset))?)
    .bind(json(&patch.training_parameters.unwrap_or(model.training_parameters))?)
    .bind(time(&now()))
    .fetch_one(&mut *transaction)
    .await?;
    let model = read(&row)?;
    transaction.commit().await?;
    Ok(model)
}

pub(super) async fn delete(database: &Database, id: ModelId) -> Result<Vec<RunId>, StoreError> {
    let mut transaction = database.write().await?;
    find_idle(&mut transaction, id).await?;
    let runs = sqlx::query_scalar("SELECT id FROM runs WHERE model_id = ? ORDER BY number")
        .bind(id)
        .fetch_all(&mut *transaction)
        .await?;
    // Runs and their series go with it.
    sqlx::query("DELETE FROM t_ai_models WHERE id = ?")
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

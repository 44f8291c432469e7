//! What runs are made of: plugins and data sets.

use super::database::Database;
use super::dialect::{SqlConnection, SqlRow};
use super::models::page;
use super::rows::{from_integer, from_json, from_name, from_time, integer, json, time};
use crate::{Page, PluginVersion, StoreError, StoredDataset};
use semver::Version;
use sqlx::Row;
use trainyard_data::DataFormat;

/// Users that a message names; of more it only says how many.
const NAMED: usize = 3;

fn read_plugin(row: &SqlRow) -> Result<PluginVersion, sqlx::Error> {
    Ok(PluginVersion {
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        digest: row.try_get("digest")?,
        size: from_integer(row, "size")?,
        summary: row.try_get("summary")?,
        tasks: from_json(row, "tasks")?,
        parameters: from_json(row, "parameters")?,
        metrics: from_json(row, "metrics")?,
        contract: row.try_get("contract")?,
        created_at: from_time(row, "created_at")?,
    })
}

/// Newest first. What is no semantic version is older than all that are.
fn sort(plugins: &mut [PluginVersion]) {
    plugins.sort_by_cached_key(|plugin| std::cmp::Reverse((Version::parse(&plugin.version).ok(), plugin.created_at)));
}

fn missing_plugin(name: &str, version: Option<&str>) -> StoreError {
    let id = version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"));
    StoreError::NotFound { what: "plugin", id }
}

async fn find_plugin(
    connection: &mut SqlConnection,
    name: &str,
    version: &str,
) -> Result<Option<PluginVersion>, StoreError> {
    let row = sqlx::query("SELECT * FROM plugins WHERE name = $1 AND version = $2")
        .bind(name)
        .bind(version)
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(read_plugin).transpose()?)
}

pub(super) async fn add_plugin(database: &Database, plugin: PluginVersion) -> Result<PluginVersion, StoreError> {
    let mut transaction = database.write().await?;
    let added = sqlx::query(
        "INSERT INTO plugins (name, version, digest, size, summary, tasks, parameters, metrics, contract, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (name, version) DO NOTHING RETURNING *",
    )
    .bind(&plugin.name)
    .bind(&plugin.version)
    .bind(&plugin.digest)
    .bind(integer(plugin.size))
    .bind(&plugin.summary)
    .bind(json(&plugin.tasks)?)
    .bind(json(&plugin.parameters)?)
    .bind(json(&plugin.metrics)?)
    .bind(&plugin.contract)
    .bind(time(&plugin.created_at))
    .fetch_optional(&mut *transaction)
    .await?;
    if let Some(row) = added {
        let plugin = read_plugin(&row)?;
        transaction.commit().await?;
        return Ok(plugin);
    }
    match find_plugin(&mut transaction, &plugin.name, &plugin.version).await? {
        Some(there) if there.digest == plugin.digest => Ok(there),
        _ => Err(StoreError::Conflict(format!(
            "plugin {} {} is there already with another content; give this one another version",
            plugin.name, plugin.version
        ))),
    }
}

pub(super) async fn plugins(database: &Database) -> Result<Vec<PluginVersion>, StoreError> {
    let rows = sqlx::query("SELECT * FROM plugins")
        .fetch_all(&database.readers)
        .await?;
    let mut plugins = rows.iter().map(read_plugin).collect::<Result<Vec<_>, _>>()?;
    sort(&mut plugins);
    // Stable, so the newest of each name stays first.
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    plugins.dedup_by(|later, first| later.name == first.name);
    Ok(plugins)
}

pub(super) async fn plugin_versions(database: &Database, name: &str) -> Result<Vec<PluginVersion>, StoreError> {
    let rows = sqlx::query("SELECT * FROM plugins WHERE name = $1")
        .bind(name)
        .fetch_all(&database.readers)
        .await?;
    let mut plugins = rows.iter().map(read_plugin).collect::<Result<Vec<_>, _>>()?;
    sort(&mut plugins);
    Ok(plugins)
}

pub(super) async fn plugin(
    database: &Database,
    name: &str,
    version: Option<&str>,
) -> Result<PluginVersion, StoreError> {
    let mut versions = plugin_versions(database, name).await?.into_iter();
    match version {
        Some(version) => versions.find(|plugin| plugin.version == version),
        None => versions.next(),
    }
    .ok_or_else(|| missing_plugin(name, version))
}

pub(super) async fn delete_plugin(database: &Database, name: &str, version: &str) -> Result<PluginVersion, StoreError> {
    let mut transaction = database.write().await?;
    let plugin = find_plugin(&mut transaction, name, version)
        .await?
        .ok_or_else(|| missing_plugin(name, Some(version)))?;
    // A model uses what it names, the only version if it names none, and what its result was made with.
    let models = sqlx::query(
        "SELECT id, name FROM models WHERE plugin = $1 AND (plugin_version = $2 OR (plugin_version IS NULL
             AND NOT EXISTS (SELECT 1 FROM plugins WHERE plugins.name = $1 AND plugins.version <> $2)))
         UNION
         SELECT models.id, models.name FROM runs JOIN models ON models.id = runs.model_id
         WHERE runs.plugin = $1 AND runs.plugin_version = $2
             AND (runs.state IN ('PENDING', 'PREPARING', 'TRAINING') OR models.trained_run = runs.id)
         ORDER BY id",
    )
    .bind(name)
    .bind(version)
    .fetch_all(&mut *transaction)
    .await?;
    refuse_if_used(&format!("plugin {name} {version}"), &models)?;
    sqlx::query("DELETE FROM plugins WHERE name = $1 AND version = $2")
        .bind(name)
        .bind(version)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(plugin)
}

/// An error that names some of the models (`id`, `name`) that use something, if any do.
fn refuse_if_used(what: &str, models: &[SqlRow]) -> Result<(), StoreError> {
    if models.is_empty() {
        return Ok(());
    }
    let mut users = Vec::new();
    for row in models.iter().take(NAMED) {
        users.push(format!(
            "model {} ({})",
            row.try_get::<i64, _>("id")?,
            row.try_get::<&str, _>("name")?
        ));
    }
    let more = models.len() - users.len();
    if more > 0 {
        users.push(format!("{more} more"));
    }
    Err(StoreError::Conflict(format!(
        "{what} is in use by {}",
        users.join(", ")
    )))
}

pub(super) async fn has_plugin_digest(database: &Database, digest: &str) -> Result<bool, StoreError> {
    Ok(
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM plugins WHERE digest = $1)")
            .bind(digest)
            .fetch_one(&database.readers)
            .await?,
    )
}

fn read_dataset(row: &SqlRow) -> Result<StoredDataset, sqlx::Error> {
    Ok(StoredDataset {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        format: from_name(row, "format", |name| name.parse::<DataFormat>().ok())?,
        size: from_integer(row, "size")?,
        digest: row.try_get("digest")?,
        rows: from_integer(row, "rows")?,
        report: from_json(row, "report")?,
        created_at: from_time(row, "created_at")?,
    })
}

fn missing_dataset(id: &str) -> StoreError {
    StoreError::NotFound {
        what: "data set",
        id: id.to_owned(),
    }
}

pub(super) async fn add_dataset(database: &Database, dataset: StoredDataset) -> Result<StoredDataset, StoreError> {
    let mut transaction = database.write().await?;
    let inserted = sqlx::query(
        "INSERT INTO datasets (id, name, format, size, digest, rows, report, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *",
    )
    .bind(&dataset.id)
    .bind(&dataset.name)
    .bind(dataset.format.as_str())
    .bind(integer(dataset.size))
    .bind(&dataset.digest)
    .bind(integer(dataset.rows))
    .bind(json(&dataset.report)?)
    .bind(time(&dataset.created_at))
    .fetch_one(&mut *transaction)
    .await;
    let dataset = match inserted {
        Ok(row) => read_dataset(&row)?,
        Err(error)
            if error
                .as_database_error()
                .is_some_and(|error| error.is_unique_violation()) =>
        {
            return Err(StoreError::Conflict(format!(
                "there is a data set {} already",
                dataset.id
            )));
        }
        Err(error) => return Err(error.into()),
    };
    transaction.commit().await?;
    Ok(dataset)
}

pub(super) async fn datasets(
    database: &Database,
    before: Option<&str>,
    limit: u32,
) -> Result<Page<StoredDataset>, StoreError> {
    let before = match before {
        None => i64::MAX,
        // No page has given this out, and nothing comes after it.
        Some(cursor) => cursor.parse().unwrap_or(0),
    };
    let rows = sqlx::query("SELECT * FROM datasets WHERE number < $1 ORDER BY number DESC LIMIT $2")
        .bind(before)
        .bind(i64::from(limit) + 1)
        .fetch_all(&database.readers)
        .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push((row.try_get("number")?, read_dataset(row)?));
    }
    let page = page(items, limit, |(number, _)| *number);
    Ok(Page {
        items: page.items.into_iter().map(|(_, dataset)| dataset).collect(),
        next: page.next,
    })
}

pub(super) async fn dataset(database: &Database, id: &str) -> Result<StoredDataset, StoreError> {
    let row = sqlx::query("SELECT * FROM datasets WHERE id = $1")
        .bind(id)
        .fetch_optional(&database.readers)
        .await?;
    Ok(read_dataset(&row.ok_or_else(|| missing_dataset(id))?)?)
}

pub(super) async fn delete_dataset(database: &Database, id: &str) -> Result<StoredDataset, StoreError> {
    let mut transaction = database.write().await?;
    let row = sqlx::query("SELECT * FROM datasets WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
    let dataset = read_dataset(&row.ok_or_else(|| missing_dataset(id))?)?;
    let models = sqlx::query(
        "SELECT id, name FROM models WHERE training_dataset ->> 'dataset_id' = $1
         UNION
         SELECT models.id, models.name FROM runs JOIN models ON models.id = runs.model_id
         WHERE runs.state IN ('PENDING', 'PREPARING', 'TRAINING')
             AND runs.training_dataset ->> 'dataset_id' = $1
         ORDER BY id",
    )
    .bind(id)
    .fetch_all(&mut *transaction)
    .await?;
    refuse_if_used(&format!("data set {} ({id})", dataset.name), &models)?;
    sqlx::query("DELETE FROM datasets WHERE id = $1")
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(dataset)
}

//! What is checked before a training is taken: the plugin, its parameters, and as much of the data set as the server can
//! know. Whether the rows are fit to learn from shows when a worker reads them.

use crate::app::App;
use crate::error::ApiError;
use serde_json::{Map, Value, json};
use std::path::{Component, Path};
use trainyard_data::Task;
use trainyard_data::tdengine::{DeviceQuery, Moment, Name, Sink};
use trainyard_jobs::{PluginVersion, Source, StoreError, StoredDataset, TrainingDataset};
use trainyard_parameters::{ParameterProblem, Schema, quoted};

/// A version of a plugin that a body names, the newest without one.
pub async fn plugin(app: &App, name: &str, version: Option<&str>) -> Result<PluginVersion, ApiError> {
    app.services
        .store
        .plugin(name, version)
        .await
        .map_err(|error| match error {
            StoreError::NotFound { .. } => {
                let version = version.map(|version| format!(" in version {}", quoted(version)));
                let message = format!("there is no plugin {}{}", quoted(name), version.unwrap_or_default());
                ApiError::unprocessable("no-such-plugin", message)
                    .remedy("see GET /plugins, or upload it with POST /plugins")
            }
            error => error.into(),
        })
}

/// A model's own parameters: those given must be allowed; others may still be missing.
pub fn given_parameters(plugin: &PluginVersion, given: &Map<String, Value>) -> Result<(), ApiError> {
    match schema(plugin)?.complete(&Value::Object(given.clone())) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let about_given = |problem: &ParameterProblem| {
                given.keys().any(|name| problem.parameter.starts_with(name.as_str()))
                    || problem.parameter == "parameters"
            };
            let problems: Vec<_> = problems.into_iter().filter(about_given).collect();
            if problems.is_empty() {
                Ok(())
            } else {
                Err(bad_parameters(&problems))
            }
        }
    }
}

/// A run's parameters: all of them, defaults filled in.
pub fn all_parameters(plugin: &PluginVersion, given: Map<String, Value>) -> Result<Value, ApiError> {
    schema(plugin)?
        .complete(&Value::Object(given))
        .map_err(|problems| bad_parameters(&problems))
}

fn schema(plugin: &PluginVersion) -> Result<Schema, ApiError> {
    Schema::parse(&plugin.parameters.to_string()).map_err(|problem| {
        ApiError::internal(format!(
            "the stored schema of {} {}: {problem}",
            plugin.name, plugin.version
        ))
    })
}

fn bad_parameters(problems: &[ParameterProblem]) -> ApiError {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    ApiError::unprocessable("invalid-parameters", lines.join("; "))
        .remedy("see the plugin's schema")
        .details(json!({"problems": problems}))
}

/// A `training_dataset`, for a plugin.
pub async fn dataset(app: &App, given: &Value, plugin: &PluginVersion) -> Result<TrainingDataset, ApiError> {
    let dataset = any_dataset(app, given).await?;
    let tasks: Vec<Task> = plugin.tasks.iter().filter_map(|task| task.parse().ok()).collect();
    dataset
        .spec(&tasks, &dataset.row_columns())
        .map_err(|error| bad_dataset(format!("training_dataset: {error}")))?;
    Ok(dataset)
}

/// A data set on its own.
pub async fn any_dataset(app: &App, given: &Value) -> Result<TrainingDataset, ApiError> {
    let dataset = TrainingDataset::parse(given).map_err(bad_dataset)?;
    match &dataset.source {
        Source::File { path } => safe_path(path)?,
        Source::Upload { dataset_id } => {
            let stored = app
                .services
                .store
                .dataset(dataset_id)
                .await
                .map_err(|error| match error {
                    StoreError::NotFound { .. } => {
                        let message = format!("training_dataset: there is no data set {}", quoted(dataset_id));
                        ApiError::unprocessable("no-such-dataset", message)
                            .remedy("see GET /datasets, or upload it with POST /datasets?name=file.csv")
                    }
                    error => error.into(),
                })?;
            known_columns(&dataset, &stored)?;
        }
        Source::Tdengine(query) => {
            names(&dataset)?;
            times(query)?;
        }
    }
    Ok(dataset)
}

/// Where a prediction is to be written. Its names are names by now.
pub fn sink(sink: &Sink) -> Result<(), ApiError> {
    let device = sink.device_id.as_deref().unwrap_or_default();
    if device.chars().any(char::is_control) || device.chars().count() > 128 {
        let message = format!(
            "sink: the device_id {} has more than 128 or control characters",
            quoted(device)
        );
        return Err(ApiError::unprocessable("invalid-sink", message));
    }
    Ok(())
}

fn bad_dataset(message: impl AsRef<str>) -> ApiError {
    ApiError::unprocessable("invalid-dataset", message)
}

/// A path that stays where it says. Which folders are allowed, the worker knows.
fn safe_path(path: &str) -> Result<(), ApiError> {
    let problem = if path.is_empty() {
        "is empty"
    } else if path.chars().any(char::is_control) {
        "has a control character"
    } else if Path::new(path).components().any(|part| part == Component::ParentDir) {
        "has `..` in it"
    } else {
        return Ok(());
    };
    Err(bad_dataset(format!(
        "training_dataset: the path {} {problem}",
        quoted(path)
    )))
}

/// Columns of a database have names like all else there. Whether there are such columns, the database knows.
fn names(dataset: &TrainingDataset) -> Result<(), ApiError> {
    named(dataset)
        .try_for_each(|name| Name::new(name.as_str()).map(drop))
        .map_err(|problem| bad_dataset(format!("training_dataset: {problem}")))
}

/// Times that are no times, and ranges of them that hold none whenever they are read.
fn times(query: &DeviceQuery) -> Result<(), ApiError> {
    let now = chrono::Utc::now();
    let resolved = |name: &str, moment: Option<Moment>| {
        moment
            .map(|moment| moment.resolve(query.time_zone, now))
            .transpose()
            .map_err(|problem| bad_dataset(format!("training_dataset: {name}: {problem}")))
    };
    let (start, end) = (
        resolved("start_time", query.start_time)?,
        resolved("end_time", query.end_time)?,
    );
    let moves = |moment: Option<Moment>| matches!(moment, Some(Moment::Ago(_)));
    // With one of them fixed, the range is another one when a worker reads it.
    if moves(query.start_time) == moves(query.end_time)
        && let (Some(start), Some(end)) = (start, end)
        && start >= end
    {
        return Err(bad_dataset(format!(
            "training_dataset: start_time {start} is not before end_time {end}, so that no row is between them"
        )));
    }
    Ok(())
}

/// The columns that a data set names.
fn named(dataset: &TrainingDataset) -> impl Iterator<Item = &String> {
    dataset
        .time
        .iter()
        .chain(&dataset.device_column)
        .chain(&dataset.target)
        .chain(dataset.columns.iter().flatten())
}

/// The columns that are named must be those that the upload has.
fn known_columns(dataset: &TrainingDataset, stored: &StoredDataset) -> Result<(), ApiError> {
    let columns = stored.report.get("columns").and_then(Value::as_array);
    let known: Vec<&str> = columns
        .into_iter()
        .flatten()
        .filter_map(|column| column.get("name").and_then(Value::as_str))
        .collect();
    let unknown: Vec<String> = named(dataset)
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| quoted(name))
        .collect();
    if unknown.is_empty() || known.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = known.iter().map(|name| quoted(name)).collect();
    let message = format!(
        "training_dataset: the data set {} has no column {}; it has {}",
        quoted(&stored.name),
        unknown.join(", "),
        list.join(", ")
    );
    Err(ApiError::unprocessable("no-such-column", message).details(json!({"columns": known})))
}

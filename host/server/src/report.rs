//! The report of a run: everything that a person wants to know of it, on one page.

use crate::answer::{Envelope, Reply, ok};
use crate::app::App;
use crate::auth::Reader;
use crate::extract::{Query, Segments};
use crate::models::ModelPath;
use crate::{logs, runs, schema};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use trainyard_jobs::{Model, PluginVersion, Run, RunState, StoreError, Timestamp};
use utoipa::{IntoParams, ToSchema};

/// Lines of the log that come with the report of a run that failed.
const LAST_LINES: usize = 50;

/// Which run.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    /// A run; the current or last one when it is not said.
    pub run: Option<String>,
}

/// Everything about a run.
#[derive(Serialize, ToSchema)]
pub struct Report {
    /// The model.
    #[schema(value_type = schema::Model)]
    model: Model,
    /// The run.
    #[schema(value_type = schema::Run)]
    run: Run,
    /// Figures on the test rows, with what the plugin says of them: name, value, summary, maximize.
    metrics: Vec<Map<String, Value>>,
    /// Parameters, with what the plugin says of them: name, value, default, description.
    parameters: Vec<Map<String, Value>>,
    /// The figures over time, in short: name, points, first, last, min, max.
    series: Vec<Value>,
    /// Seconds that it waited for a worker; null while it waits.
    waited_seconds: Option<f64>,
    /// Seconds that it was worked on so far; null while it waits.
    worked_seconds: Option<f64>,
    /// The last lines of the log, of a run that failed.
    log: Vec<Value>,
}

/// Reads everything about a run.
#[utoipa::path(get, path = "/models/{id}/report", tag = "runs", params(ModelPath, RunQuery),
    responses((status = 200, description = "The report", body = Envelope<Report>),
        (status = 409, description = "The model was never trained")))]
pub async fn read(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<ModelPath>,
    Query(query): Query<RunQuery>,
) -> Reply<Report> {
    let store = &app.services.store;
    let model = store.model(path.id).await?;
    let run = app.asked_run(&model, query.run.as_deref()).await?;
    // A plugin may be deleted after it was used; its figures stay.
    let plugin = match store.plugin(&run.plugin, Some(&run.plugin_version)).await {
        Ok(plugin) => Some(plugin),
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let log = match run.state {
        RunState::Error => logs::of_run(&app, &run, LAST_LINES).await?,
        _ => Vec::new(),
    };
    let seconds = |from: Timestamp, to: Timestamp| (to - from).as_seconds_f64().max(0.0);
    let now = chrono::Utc::now();
    ok(Report {
        metrics: metrics(&run, plugin.as_ref()),
        parameters: parameters(&run, plugin.as_ref()),
        series: runs::by_name(store.series(&run.id).await?)
            .iter()
            .map(runs::Series::summary)
            .collect(),
        waited_seconds: run.started_at.map(|started| seconds(run.created_at, started)),
        worked_seconds: run
            .started_at
            .map(|started| seconds(started, run.finished_at.unwrap_or(now))),
        log,
        model,
        run,
    })
}

fn metrics(run: &Run, plugin: Option<&PluginVersion>) -> Vec<Map<String, Value>> {
    let described = plugin.and_then(|plugin| plugin.metrics.as_array());
    let about = |name: &str| {
        described
            .into_iter()
            .flatten()
            .find(|metric| metric.get("name").and_then(Value::as_str) == Some(name))
    };
    let named = |(name, value): (&String, &Value)| {
        let mut metric = Map::new();
        metric.insert("name".into(), json!(name));
        metric.insert("value".into(), value.clone());
        for field in ["summary", "maximize"] {
            metric.insert(
                field.into(),
                about(name)
                    .and_then(|about| about.get(field))
                    .cloned()
                    .unwrap_or_default(),
            );
        }
        metric
    };
    run.metrics.iter().map(named).collect()
}

fn parameters(run: &Run, plugin: Option<&PluginVersion>) -> Vec<Map<String, Value>> {
    let properties = plugin.and_then(|plugin| plugin.parameters.get("properties"));
    let named = |(name, value): (&String, &Value)| {
        let mut parameter = Map::new();
        parameter.insert("name".into(), json!(name));
        parameter.insert("value".into(), value.clone());
        for field in ["default", "description"] {
            let about = properties
                .and_then(|all| all.get(name))
                .and_then(|about| about.get(field));
            parameter.insert(field.into(), about.cloned().unwrap_or_default());
        }
        parameter
    };
    run.training_parameters
        .as_object()
        .into_iter()
        .flatten()
        .map(named)
        .collect()
}

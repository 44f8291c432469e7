//! Training a model, and stopping it.

use crate::answer::{Envelope, Reply, ok};
use crate::app::App;
use crate::auth::Submitter;
use crate::error::ApiError;
use crate::extract::{NoQuery, OptionalJson, Segments};
use crate::models::ModelPath;
use crate::{checks, schema};
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use trainyard_jobs::{Event, Model, NewRun, Run, RunLimits, RunState, Signal, StoreError};
use utoipa::ToSchema;
use uuid::Uuid;

/// The least memory a run may be given: less does not start.
const LEAST_MEMORY_MB: u64 = 64;

/// What to train with. Everything that is absent comes from the model, then from the plugin's and the server's defaults.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainBody {
    /// What to learn from: a data set, or a text with its JSON. The model's own, or that of its last run, when it is not said.
    #[schema(value_type = Option<schema::TrainingDataset>)]
    training_dataset: Option<Value>,
    /// Parameters of the plugin; they go over the model's own.
    training_parameters: Option<Map<String, Value>>,
    /// What every random number follows from; a new one each time when it is not said.
    #[schema(format = Int64, minimum = 0, maximum = 4294967295u32)]
    seed: Option<u32>,
    /// Seconds after which the run is ended; the server has a largest and usual value.
    #[schema(minimum = 1)]
    time_limit: Option<u64>,
    /// MiB that the run may use; the server has a largest and a usual value.
    #[schema(minimum = 64)]
    memory_limit_mb: Option<u64>,
}

/// Submits a training. A worker takes it; see `logs/stream` for what happens.
#[utoipa::path(post, path = "/models/{id}/train", tag = "training",
    request_body(content = Option<TrainBody>, examples(
        ("own" = (summary = "With all that the model has", value = json!({}))),
        ("device" = (summary = "A month of a device, as the original asks", value = json!({
            "training_dataset": {
                "device_id": "machine-7", "start_time": "2024-01-01 00:00:00", "end_time": "2024-02-01 00:00:00"
            }
        }))),
        ("site" = (summary = "All devices of a site, a row every ten minutes", value = json!({
            "training_dataset": {
                "source": "tdengine", "database": "plant", "table": "meters", "tags": {"site": "berlin"},
                "start_time": "-90d", "interval": "10m", "fill": "linear", "target": "current",
                "lookback": 144, "horizon": 36
            },
            "training_parameters": {"epochs": 50}, "seed": 1
        }))),
        ("upload" = (summary = "An uploaded file", value = json!({
            "training_dataset": {
                "source": "upload", "dataset_id": "4f4c5c0e-7f1c-4b3b-9a53-9b8a3c1f5d2e",
                "target": "temp_max", "lookback": 60, "horizon": 7
            }
        }))))),
    params(ModelPath, schema::IdempotencyKey),
    responses((status = 200, description = "The run", body = Envelope<schema::Submitted>),
        (status = 409, description = "A run is under way, or the same request is being answered")))]
pub async fn train(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<ModelPath>,
    _: NoQuery,
    OptionalJson(body): OptionalJson<TrainBody>,
) -> Reply<Value> {
    let model = app.services.store.model(path.id).await?;
    let run = new_run(&app, &model, body).await?;
    let run = app.services.store.submit(run).await?;
    let details = json!({"run": run.id, "plugin": run.plugin, "plugin_version": run.plugin_version});
    app.audit(&caller, "train", format!("model {}", model.id), details)
        .await;
    // The row is written, and the row is the truth: what is missing in the queue is put there later by a worker's sweep.
    // First, so that nothing that the worker tells comes before it.
    let status = Event::Status {
        status: RunState::Pending,
        progress: 0.0,
        attempt: 0,
    };
    app.services.feed.publish(model.id, &run.id, status).await;
    if let Err(error) = app.services.broker.enqueue(&app.options.queue, &run.id).await {
        tracing::warn!(%error, run = %run.id, "a run could not be queued yet");
    }
    ok(json!({
        "task_id": run.id,
        "status": run.state,
        "model_id": run.model_id,
        "plugin": run.plugin,
        "plugin_version": run.plugin_version,
        "training_parameters": run.training_parameters,
        "seed": run.seed,
        "limits": run.limits,
        "created_at": run.created_at,
    }))
}

async fn new_run(app: &App, model: &Model, body: TrainBody) -> Result<NewRun, ApiError> {
    let plugin = checks::plugin(app, &model.plugin, model.plugin_version.as_deref()).await?;
    let dataset = match &body.training_dataset {
        Some(given) => given.clone(),
        None => usual_dataset(app, model).await?,
    };
    let dataset = match &dataset {
        Value::Null => {
            return Err(ApiError::unprocessable("no-dataset", format!("model {} has no data set to learn from", model.id))
                .remedy("give \"training_dataset\":{\"source\":\"upload\",\"dataset_id\":\"…\"} here or with PATCH to the model"));
        }
        given => checks::dataset(app, given, &plugin).await?,
    };
    let mut parameters = model.training_parameters.as_object().cloned().unwrap_or_default();
    parameters.extend(body.training_parameters.unwrap_or_default());
    let options = &app.options;
    let time_seconds = limited(
        "time_limit",
        body.time_limit,
        options.time_limit_seconds,
        1,
        options.time_limit_seconds,
    )?;
    let usual = options.default_memory_mb.min(options.memory_limit_mb);
    let memory_mb = limited(
        "memory_limit_mb",
        body.memory_limit_mb,
        usual,
        LEAST_MEMORY_MB,
        options.memory_limit_mb,
    )?;
    Ok(NewRun {
        id: Uuid::new_v4().to_string(),
        model_id: model.id,
        training_dataset: serde_json::to_value(dataset).map_err(ApiError::internal)?,
        training_parameters: checks::all_parameters(&plugin, parameters)?,
        plugin: plugin.name,
        plugin_version: plugin.version,
        plugin_digest: plugin.digest,
        // The first 32 bits of a random UUID are random, all of them.
        seed: body.seed.unwrap_or_else(|| Uuid::new_v4().as_fields().0),
        limits: RunLimits {
            time_seconds,
            memory_mb,
        },
    })
}

/// What a training learns from when the submit does not say: the model's own data set, or the one of its last run.
async fn usual_dataset(app: &App, model: &Model) -> Result<Value, ApiError> {
    match (&model.training_dataset, &model.task_id) {
        (Value::Null, Some(run)) => Ok(app.services.store.run(run).await?.training_dataset),
        (own, _) => Ok(own.clone()),
    }
}

fn limited(name: &str, given: Option<u64>, usual: u64, least: u64, most: u64) -> Result<u64, ApiError> {
    match given {
        None => Ok(usual),
        Some(value) if (least..=most).contains(&value) => Ok(value),
        Some(value) => Err(ApiError::unprocessable(
            "invalid-limit",
            format!("{name} is {value}; this server allows {least} to {most}"),
        )
        .details(json!({"minimum": least, "maximum": most}))),
    }
}

/// Stops the run that is under way. The model then is what it was before.
#[utoipa::path(post, path = "/models/{id}/stop", tag = "training", params(ModelPath),
    responses((status = 200, description = "The run; it ends within seconds", body = Envelope<schema::Run>),
        (status = 409, description = "Nothing is under way")))]
pub async fn stop(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<ModelPath>,
    _: NoQuery,
) -> Reply<Run> {
    let model = app.services.store.model(path.id).await?;
    let id = model
        .task_id
        .filter(|_| model.status.is_active())
        .ok_or_else(|| not_training(path.id))?;
    let run = app
        .services
        .store
        .request_stop(&id)
        .await
        .map_err(|error| match error {
            // It ended between the two.
            StoreError::Illegal { .. } => not_training(path.id),
            error => error.into(),
        })?;
    app.audit(&caller, "stop", format!("model {}", path.id), json!({"run": run.id}))
        .await;
    if run.state.is_final() {
        let status = Event::Status {
            status: run.state,
            progress: run.progress,
            attempt: run.attempt,
        };
        app.services.feed.publish(path.id, &run.id, status).await;
        let end = Event::End {
            status: run.state,
            error: None,
        };
        app.services.feed.publish(path.id, &run.id, end).await;
        if let Err(error) = app.services.broker.withdraw(&run.id).await {
            tracing::warn!(%error, run = %run.id, "a stopped run is still in its queue; whoever takes it will see");
        }
    } else if let Err(error) = app.services.broker.signal(Signal::Stop(run.id.clone())).await {
        tracing::warn!(%error, run = %run.id, "the worker was not told to stop; it will see the row");
    }
    ok(run)
}

fn not_training(model: i64) -> ApiError {
    ApiError::conflict("not-training", format!("no run of model {model} is under way"))
}

//! Training a model, and stopping it.

use crate::answer::{Envelope, Reply, ok};
use crate::app::App;
use crate::auth::Submitter;
use crate::error::ApiError;
use crate::extract::{NoQuery, OptionalJson, Segments};
use crate::models::ModelPath;
use crate::schema;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use trainyard_jobs::submission::{self, Submission, SubmissionError};
use trainyard_jobs::{DeviceChoice, Event, Job, LogLevel, Model, Run, RunId, Signal, StoreError};
use utoipa::ToSchema;
use uuid::Uuid;

/// What to train with. Everything that is absent comes from the model, then from the plugin's and the server's defaults.
#[derive(Default, Deserialize, ToSchema)]
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
    /// What a worker has to have to take the run, such as `gpu`: see `GET /workers`.
    #[schema(max_items = 5)]
    labels: Option<Vec<String>>,
    /// Where the tensors are to be: `auto` (a card where the worker has one that works, else the processor; as when nothing is
    /// said), `cpu`, `cuda` or `cuda:N`. With `cuda` the run goes to a worker with the label `gpu`, unless it has labels of its own.
    /// `training_parameters` may say it as well, if the plugin has no parameter of that name; what is said here counts.
    #[schema(value_type = Option<String>, pattern = "^(auto|cpu|cuda|cuda:[0-9]+)$", example = "auto")]
    device: Option<DeviceChoice>,
    /// Whether a card may multiply matrices of f32 with the shorter mantissa of TF32: faster, and less exact. Not when it is not said.
    tf32: Option<bool>,
}

impl From<TrainBody> for Submission {
    fn from(body: TrainBody) -> Self {
        Submission {
            training_dataset: body.training_dataset,
            training_parameters: body.training_parameters.unwrap_or_default(),
            seed: body.seed,
            time_limit: body.time_limit,
            memory_limit_mb: body.memory_limit_mb,
            labels: body.labels.unwrap_or_default(),
            device: body.device,
            tf32: body.tf32,
        }
    }
}

impl TrainBody {
    /// As it is kept for later.
    pub fn stored(self) -> Result<Map<String, Value>, ApiError> {
        match serde_json::to_value(Submission::from(self)) {
            Ok(Value::Object(submission)) => Ok(submission
                .into_iter()
                .filter(|(_, value)| !says_nothing(value))
                .collect()),
            Ok(_) => Ok(Map::new()),
            Err(error) => Err(ApiError::internal(error)),
        }
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Writes a run and puts it into the queue.
pub async fn submit(app: &App, who: &str, model: &Model, id: RunId, asked: Submission) -> Result<Run, SubmissionError> {
    let store = &*app.services.store;
    let run = submission::new_run(store, model, id, asked, &app.options.allowance).await?;
    let run = store.submit(run).await?;
    let details = json!({"run": run.id, "plugin": run.plugin, "plugin_version": run.plugin_version});
    app.note(who, "train", &format!("model {}", model.id), &details).await;
    // The row is written, and the row is the truth: what is missing in the queue is put there later by a worker's sweep.
    // First, so that nothing that the worker tells comes before it.
    app.services.feed.tell_status(&run).await;
    app.warn_of_missing_workers(&run).await;
    if let Err(error) = app.services.broker.enqueue(&run.queue(), &Job::train(&run)).await {
        tracing::warn!(%error, run = %run.id, "a run could not be queued yet");
    }
    Ok(run)
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
    let id = Uuid::new_v4().to_string();
    let run = submit(&app, &caller.who, &model, id, body.into()).await?;
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
    app.end_stopped(&run).await;
    ok(run)
}

impl App {
    /// Tells everyone of a run that somebody wants to stop: that it is over, or its worker.
    pub async fn end_stopped(&self, run: &Run) {
        let (broker, feed) = (&self.services.broker, &self.services.feed);
        if run.state.is_final() {
            feed.tell_end(run).await;
            if let Err(error) = broker.withdraw(&run.id).await {
                tracing::warn!(%error, run = %run.id, "a stopped run is still in its queue; whoever takes it will see");
            }
        } else if let Err(error) = broker.signal(Signal::Stop(run.id.clone())).await {
            tracing::warn!(%error, run = %run.id, "the worker was not told to stop; it will see the row");
        }
    }

    /// A word in the log of a run that nobody can take right now.
    async fn warn_of_missing_workers(&self, run: &Run) {
        if run.labels.is_empty() {
            return;
        }
        let queue = run.kind().queue();
        let taken = match self.services.store.workers().await {
            Ok(workers) => workers.iter().any(|worker| worker.can_take(queue, &run.labels)),
            Err(_) => return,
        };
        if !taken {
            let message = format!(
                "no worker that is there now has the labels {}; the run waits for one (see `trainyard workers`)",
                run.labels.join(", ")
            );
            let event = Event::Log {
                timestamp: chrono::Utc::now(),
                level: LogLevel::Warning,
                message,
            };
            self.services.feed.tell(run, event).await;
        }
    }
}

fn not_training(model: i64) -> ApiError {
    ApiError::conflict("not-training", format!("no run of model {model} is under way"))
}

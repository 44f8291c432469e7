//! Sweeps over REST. `sweeper` sees to them.

use crate::answer::{Envelope, Reply, created, ok};
use crate::app::App;
use crate::auth::{Reader, Submitter};
use crate::error::ApiError;
use crate::extract::{Json, NoQuery, Segments};
use crate::models::ModelPath;
use crate::schema;
use crate::training::TrainBody;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use trainyard_jobs::sweep::{Asha, Goal, Method, Request, Sweep, SweepState, new_sweep};
use trainyard_jobs::{Job, Run, StoreError};
use utoipa::{IntoParams, ToSchema};

/// Which sweep.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SweepPath {
    /// The sweep's number.
    #[param(minimum = 1, example = 1)]
    pub id: i64,
}

/// What a new sweep is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepBody {
    /// By parameter of the plugin: a list of values, or a range `{"min": 0.001, "max": 0.1, "log": true}`; in a grid a range
    /// has `points`, too.
    #[schema(value_type = Object, example = json!({"learning_rate": {"min": 0.0001, "max": 0.1, "log": true}}))]
    space: Map<String, Value>,
    /// `grid` (every combination), `random`, or `asha` (random, and what is not among the best is ended early); random when
    /// nothing is said.
    #[schema(value_type = Option<String>, example = "random")]
    method: Option<Method>,
    /// How many trials; not for a grid.
    #[schema(minimum = 1, maximum = 1000, example = 20)]
    trials: Option<usize>,
    /// What trials are judged by: a figure that the plugin tells while it trains, or one of its result. `validation_loss` when
    /// nothing is said, or the first figure of the results of a plugin that tells none.
    #[schema(example = "validation_loss")]
    metric: Option<String>,
    /// `minimize` or `maximize`; as the plugin says of the figure, or else minimize, when nothing is said.
    #[schema(value_type = Option<String>, example = "minimize")]
    goal: Option<Goal>,
    /// What random choices follow from; a new one each time when it is not said.
    seed: Option<u32>,
    /// With the method `asha`: no trial is judged before `min_steps` of the plugin's steps, and of `reduction` trials one goes on.
    #[schema(value_type = Option<Object>, example = json!({"min_steps": 5, "reduction": 3}))]
    asha: Option<Asha>,
    /// Whether the model gets the best trial's result at the end; it does when nothing is said.
    adopt: Option<bool>,
    /// What is asked of each training besides, as in the body of a submit.
    submission: Option<TrainBody>,
}

/// Which trial.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdoptBody {
    /// The trial; the best when nothing is said.
    run_id: Option<String>,
}

/// Tries a space of parameters: many trainings, spread over all workers. The model itself can be trained meanwhile.
#[utoipa::path(post, path = "/models/{id}/sweep", tag = "sweeps", request_body(content = SweepBody, examples(
        ("random" = (summary = "Twenty trials at random", value = json!({
            "space": {"learning_rate": {"min": 0.0001, "max": 0.1, "log": true}, "epochs": [10, 20, 40]}, "trials": 20
        }))),
        ("asha" = (summary = "A hundred, most of them ended early", value = json!({
            "method": "asha", "space": {"learning_rate": {"min": 0.0001, "max": 0.1, "log": true}}, "trials": 100,
            "asha": {"min_steps": 2, "reduction": 3}, "metric": "validation_loss"
        }))))),
    params(ModelPath, schema::IdempotencyKey),
    responses((status = 201, description = "The sweep", body = Envelope<schema::Sweep>),
        (status = 409, description = "The same request is being answered")))]
pub async fn create(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<ModelPath>,
    _: NoQuery,
    Json(body): Json<SweepBody>,
) -> Reply<Sweep> {
    let (store, broker) = (&app.services.store, &app.services.broker);
    let model = store.model(path.id).await?;
    let request = Request {
        method: body.method.unwrap_or(Method::Random),
        space: body.space,
        trials: body.trials,
        metric: body.metric,
        goal: body.goal,
        seed: body.seed,
        asha: body.asha,
        adopt: body.adopt.unwrap_or(true),
        submission: body.submission.unwrap_or_default().into(),
    };
    let (plan, trials) = new_sweep(&**store, &model, request, &app.options.allowance).await?;
    let (sweep, runs) = store.add_sweep(model.id, &plan, &trials).await?;
    let details = json!({"model": model.id, "trials": sweep.trials, "method": plan.method});
    app.audit(&caller, "sweep", format!("sweep {}", sweep.id), details)
        .await;
    for run in &runs {
        // What is missing in the queue is put there later by a worker.
        if let Err(error) = broker.enqueue(&run.queue(), &Job::train(run)).await {
            tracing::warn!(%error, sweep = sweep.id, "trials could not be queued yet");
            break;
        }
    }
    created(sweep)
}

/// Lists the last sweeps of a model, newest first.
#[utoipa::path(get, path = "/models/{id}/sweeps", tag = "sweeps", params(ModelPath),
    responses((status = 200, description = "Up to 200 sweeps", body = Envelope<schema::All<schema::Sweep>>)))]
pub async fn of_model(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<ModelPath>,
    _: NoQuery,
) -> Reply<Value> {
    app.services.store.model(path.id).await?;
    ok(json!({"items": app.services.store.sweeps(Some(path.id)).await?}))
}

/// Lists the last sweeps, newest first.
#[utoipa::path(get, path = "/sweeps", tag = "sweeps",
    responses((status = 200, description = "Up to 200 sweeps", body = Envelope<schema::All<schema::Sweep>>)))]
pub async fn list(State(app): State<Arc<App>>, _: Reader, _: NoQuery) -> Reply<Value> {
    ok(json!({"items": app.services.store.sweeps(None).await?}))
}

/// Reads a sweep.
#[utoipa::path(get, path = "/sweeps/{id}", tag = "sweeps", params(SweepPath),
    responses((status = 200, description = "The sweep", body = Envelope<schema::Sweep>)))]
pub async fn read(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<SweepPath>,
    _: NoQuery,
) -> Reply<Sweep> {
    ok(app.services.store.sweep(path.id).await?)
}

/// Lists a sweep's trials in their order, with what they are judged by.
#[utoipa::path(get, path = "/sweeps/{id}/trials", tag = "sweeps", params(SweepPath),
    responses((status = 200, description = "All trials", body = Envelope<schema::Trials>)))]
pub async fn trials(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<SweepPath>,
    _: NoQuery,
) -> Reply<Value> {
    let trials = app.services.store.trials(path.id).await?;
    ok(json!({"metric": trials.figure.metric, "goal": trials.figure.goal, "items": trials.items}))
}

/// Stops a sweep: trials that are not over are stopped. Those that are keep their results.
#[utoipa::path(post, path = "/sweeps/{id}/stop", tag = "sweeps", params(SweepPath),
    responses((status = 200, description = "The sweep; its trials end within seconds", body = Envelope<schema::Sweep>),
        (status = 409, description = "It is over")))]
pub async fn stop(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<SweepPath>,
    _: NoQuery,
) -> Reply<Sweep> {
    let store = &app.services.store;
    let sweep = store.sweep(path.id).await?;
    if sweep.state.is_final() {
        let message = format!("sweep {} is {} already", sweep.id, sweep.state.as_str());
        return Err(ApiError::conflict("sweep-over", message));
    }
    store.change_sweep(path.id, SweepState::Stopping, None, None).await?;
    app.audit(&caller, "stop-sweep", format!("sweep {}", path.id), Value::Null)
        .await;
    // Its trials may be many: whoever sees to sweeps stops them.
    ok(store.sweep(path.id).await?)
}

/// Makes a trial's result that of the model.
#[utoipa::path(post, path = "/sweeps/{id}/adopt", tag = "sweeps", params(SweepPath),
    request_body = AdoptBody,
    responses((status = 200, description = "The trial's run", body = Envelope<schema::Run>),
        (status = 409, description = "There is no result, or a run of the model is under way")))]
pub async fn adopt(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<SweepPath>,
    _: NoQuery,
    Json(body): Json<AdoptBody>,
) -> Reply<Run> {
    let store = &app.services.store;
    let trials = store.trials(path.id).await?;
    let run = match body.run_id {
        Some(run) if trials.items.iter().any(|trial| trial.run_id == run) => run,
        Some(run) => return Err(ApiError::not_found("trial", &run)),
        None => {
            let best = trials.best().map(|trial| trial.run_id.clone());
            best.ok_or_else(|| {
                ApiError::conflict("no-result", format!("sweep {} has no trial with a result", path.id))
            })?
        }
    };
    let run = store.adopt(&run).await.map_err(|error| match error {
        StoreError::Illegal { .. } => ApiError::conflict("no-result", error.to_string()),
        error => error.into(),
    })?;
    app.audit(
        &caller,
        "adopt",
        format!("model {}", run.model_id),
        json!({"run": run.id}),
    )
    .await;
    ok(run)
}

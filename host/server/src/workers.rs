//! Who works, and what nobody works on any more.

use crate::answer::{Envelope, Reply, ok};
use crate::app::App;
use crate::auth::{Reader, Submitter};
use crate::error::ApiError;
use crate::extract::{NoQuery, Segments};
use crate::schema;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use trainyard_jobs::{DeadLetter, Job, QueueDepth, RunId, StoreError, WorkerDetails, WorkerRow, served};
use utoipa::IntoParams;
use uuid::Uuid;

/// Which dead letter.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct LetterPath {
    /// The run that was given up.
    #[param(example = "0d4b6f2e-6a4e-4d6c-9c54-0d3f2f0f8f11")]
    run: String,
}

/// Lists the workers of the last hour: what each serves and does, and when it was last heard of.
#[utoipa::path(get, path = "/workers", tag = "operation",
    responses((status = 200, description = "All workers, by name", body = Envelope<schema::All<schema::Worker>>)))]
pub async fn list(State(app): State<Arc<App>>, _: Reader, _: NoQuery) -> Reply<Value> {
    let workers = app.services.store.workers().await?;
    let items: Vec<Value> = workers
        .iter()
        .map(|worker| {
            let mut item = serde_json::to_value(worker).unwrap_or_default();
            item["alive"] = json!(worker.is_alive());
            item
        })
        .collect();
    ok(json!({"items": items}))
}

/// Lists the queues: what waits in each, what is being done, and how many live workers serve it.
#[utoipa::path(get, path = "/queues", tag = "operation",
    responses((status = 200, description = "All queues, by name", body = Envelope<schema::All<schema::Queue>>)))]
pub async fn queues(State(app): State<Arc<App>>, _: Reader, _: NoQuery) -> Reply<Value> {
    let queues = app.services.broker.queues().await?;
    let workers = app.services.store.workers().await?;
    let serves = |worker: &WorkerRow, queue: &String| {
        let WorkerDetails { queues, labels, .. } = &worker.details;
        worker.is_alive() && served(queues, labels).contains(queue)
    };
    let items: Vec<Value> = queues
        .iter()
        .map(|QueueDepth { queue, waiting, taken }| {
            let workers = workers.iter().filter(|worker| serves(worker, queue)).count();
            json!({"name": queue, "waiting": waiting, "taken": taken, "workers": workers})
        })
        .collect();
    ok(json!({"items": items}))
}

/// Lists the jobs that were given up after whoever had them died again and again, newest first.
#[utoipa::path(get, path = "/dead-letters", tag = "operation",
    responses((status = 200, description = "Up to 1000 jobs", body = Envelope<schema::All<schema::DeadLetter>>)))]
pub async fn dead_letters(State(app): State<Arc<App>>, _: Reader, _: NoQuery) -> Reply<Value> {
    let letters = app.services.broker.dead_letters().await?;
    ok(json!({"items": letters.iter().map(shown).collect::<Vec<_>>()}))
}

/// Tries a job that was given up once more, as a new run.
#[utoipa::path(post, path = "/dead-letters/{run}/replay", tag = "operation", params(LetterPath),
    responses((status = 200, description = "What is tried", body = Envelope<schema::Replayed>),
        (status = 409, description = "A run of the model is under way")))]
pub async fn replay(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<LetterPath>,
    _: NoQuery,
) -> Reply<Value> {
    let (store, broker) = (&app.services.store, &app.services.broker);
    let letters = broker.dead_letters().await?;
    let letter = letters
        .into_iter()
        .find(|letter| letter.job.run == path.run)
        .ok_or_else(|| ApiError::not_found("dead letter", &path.run))?;
    let id: RunId = Uuid::new_v4().to_string();
    let (queue, job) = match store.run(&letter.job.run).await {
        Ok(run) => {
            let run = store.submit(run.again(id.clone())).await?;
            app.services.feed.tell_status(&run).await;
            (run.queue(), Job::train(&run))
        }
        // What came through the queue alone goes through it once more.
        Err(StoreError::NotFound { .. }) => {
            let job = Job {
                run: id.clone(),
                ..letter.job
            };
            (letter.queue, job)
        }
        Err(error) => return Err(error.into()),
    };
    broker.enqueue(&queue, &job).await?;
    broker.remove_dead_letter(&path.run).await?;
    app.audit(&caller, "replay", format!("run {}", path.run), json!({"run": id}))
        .await;
    ok(json!({"task_id": id, "model_id": job.model}))
}

/// Forgets a job that was given up. Its run stays as it is.
#[utoipa::path(delete, path = "/dead-letters/{run}", tag = "operation", params(LetterPath),
    responses((status = 200, description = "What was forgotten", body = Envelope<schema::DeadLetter>)))]
pub async fn discard(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<LetterPath>,
    _: NoQuery,
) -> Reply<Value> {
    let letter = app.services.broker.remove_dead_letter(&path.run).await?;
    let letter = letter.ok_or_else(|| ApiError::not_found("dead letter", &path.run))?;
    app.audit(&caller, "discard", format!("run {}", path.run), Value::Null)
        .await;
    ok(shown(&letter))
}

fn shown(letter: &DeadLetter) -> Value {
    json!({
        "run_id": letter.job.run,
        "model_id": letter.job.model,
        "task": letter.job.kind.task(),
        "queue": letter.queue,
        "error": letter.error,
        "at": letter.at,
    })
}

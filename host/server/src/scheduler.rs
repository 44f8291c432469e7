//! Does what schedules say. Every server has a scheduler, and one at a time works: whoever holds the office.

use crate::app::App;
use crate::training;
use chrono::{TimeDelta, Utc};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use trainyard_jobs::schedule::{Fired, Missed, Schedule, next_after};
use trainyard_jobs::submission::Submission;
use trainyard_jobs::{RunId, StoreError, Timestamp};
use uuid::Uuid;

/// How often one looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long the office stays ours without a word.
const LEASE: Duration = Duration::from_secs(10);
/// A time that passed longer ago than this was missed.
const LATE: TimeDelta = TimeDelta::seconds(60);
/// What names of scheduled runs are made of: a schedule's time has one name, whoever makes it.
const NAMES: Uuid = Uuid::from_u128(0x7a4e_5f3c_19d8_4b6e_9c02_5d1f_b8e6_a713);

/// Works until the server closes.
pub async fn run(app: Arc<App>) {
    let me = Uuid::new_v4().to_string();
    let mut closing = app.closing.clone();
    let mut clock = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return,
            _ = clock.tick() => {}
        }
        if let Err(error) = look(&app, &me).await {
            tracing::warn!(%error, "schedules cannot be looked at");
        }
    }
}

async fn look(app: &App, me: &str) -> Result<(), StoreError> {
    let store = &app.services.store;
    let due = store.due_schedules(Utc::now()).await?;
    if due.is_empty() || !store.hold("scheduler", me, LEASE).await? {
        return Ok(());
    }
    for schedule in due {
        let Some(due) = schedule.next_at else { continue };
        let now = Utc::now();
        let (next, mut error) = match next_after(&schedule.cron, &schedule.time_zone, now) {
            Ok(next) => (Some(next), None),
            Err(problem) => (None, Some(problem)),
        };
        let mut run = None;
        if now - due > LATE && schedule.missed == Missed::Skip {
            error = Some(format!("{due} was missed: no server was there"));
        } else {
            // First the run, then the note that the time is over: whoever dies in between leaves it to the next, who finds
            // the run there.
            match submit(app, &schedule, due).await {
                Ok(id) => run = Some(id),
                Err(Failure::Store(error @ StoreError::Unavailable(_))) => return Err(error),
                Err(Failure::Store(problem)) => error = Some(problem.to_string()),
                Err(Failure::Refused(problem)) => error = Some(problem),
            }
        }
        if let Some(error) = &error {
            tracing::warn!(schedule = schedule.id, error, "a schedule's time comes to nothing");
        }
        let fired = Fired { due, next, run, error };
        store.schedule_fired(schedule.id, &fired).await?;
    }
    Ok(())
}

enum Failure {
    Refused(String),
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(error)
    }
}

async fn submit(app: &App, schedule: &Schedule, due: Timestamp) -> Result<RunId, Failure> {
    let store = &app.services.store;
    let name = format!("{} {}", schedule.id, due.timestamp_micros());
    let id = Uuid::new_v5(&NAMES, name.as_bytes()).to_string();
    match store.run(&id).await {
        Ok(run) => return Ok(run.id),
        Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let model = store.model(schedule.model_id).await?;
    let asked: Submission = serde_json::from_value(Value::Object(schedule.submission.clone()))
        .map_err(|error| Failure::Refused(format!("what it asks for cannot be read: {error}")))?;
    let who = format!("schedule {}", schedule.id);
    match training::submit(app, &who, &model, id, asked).await {
        Ok(run) => Ok(run.id),
        Err(trainyard_jobs::submission::SubmissionError::Store(error)) => Err(error.into()),
        Err(error) => Err(Failure::Refused(error.to_string())),
    }
}

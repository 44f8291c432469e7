//! Schedules: trainings at their times. `scheduler` does what they say.

use crate::answer::{Envelope, Reply, created, ok};
use crate::app::App;
use crate::auth::{Reader, Submitter};
use crate::error::ApiError;
use crate::extract::{Json, NoQuery, Segments};
use crate::schema;
use crate::training::TrainBody;
use axum::extract::State;
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use trainyard_jobs::StoreError;
use trainyard_jobs::schedule::{Missed, NewSchedule, Schedule, next_after};
use utoipa::{IntoParams, ToSchema};

/// Which schedule.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SchedulePath {
    /// The schedule's number.
    #[param(minimum = 1, example = 1)]
    pub id: i64,
}

/// What a new schedule is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewScheduleBody {
    /// What its owner calls it.
    #[schema(min_length = 1, max_length = 200, example = "every night")]
    name: String,
    /// The model that is trained.
    #[schema(minimum = 1)]
    model_id: i64,
    /// Minute, hour, day of the month, month, day of the week.
    #[schema(example = "30 2 * * *")]
    cron: String,
    /// Whose clock that is: a name of the IANA database; UTC when it is not said.
    #[schema(example = "Asia/Shanghai")]
    time_zone: Option<String>,
    /// Whether it is on; it is when nothing is said.
    enabled: Option<bool>,
    /// What becomes of times at which no server was there: `skip` (nothing, as when nothing is said) or `once` (one training).
    #[schema(value_type = Option<String>, example = "skip")]
    missed: Option<Missed>,
    /// What is asked of each training, as in the body of a submit. Times of TDengine that look back, such as "-30d", are
    /// those of the training.
    submission: Option<TrainBody>,
}

/// What is to change; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulePatchBody {
    /// Another name.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Another time.
    cron: Option<String>,
    /// Another clock.
    time_zone: Option<String>,
    /// On or off.
    enabled: Option<bool>,
    /// Another policy.
    #[schema(value_type = Option<String>)]
    missed: Option<Missed>,
    /// Other trainings.
    submission: Option<TrainBody>,
}

/// Makes a schedule.
#[utoipa::path(post, path = "/schedules", tag = "schedules", request_body = NewScheduleBody,
    params(schema::IdempotencyKey),
    responses((status = 201, description = "The schedule", body = Envelope<schema::Schedule>),
        (status = 409, description = "The same request is being answered")))]
pub async fn create(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    _: NoQuery,
    Json(body): Json<NewScheduleBody>,
) -> Reply<Schedule> {
    app.services
        .store
        .model(body.model_id)
        .await
        .map_err(|error| match error {
            StoreError::NotFound { .. } => {
                ApiError::unprocessable("no-such-model", format!("there is no model {}", body.model_id))
                    .remedy("see GET /models")
            }
            error => error.into(),
        })?;
    let schedule = NewSchedule {
        name: body.name,
        model_id: body.model_id,
        cron: body.cron,
        time_zone: body.time_zone.unwrap_or_else(|| "UTC".into()),
        enabled: body.enabled.unwrap_or(true),
        missed: body.missed.unwrap_or_default(),
        submission: body.submission.unwrap_or_default().stored()?,
    };
    let next = checked(&schedule)?;
    let schedule = app.services.store.add_schedule(schedule, next).await?;
    let details = json!({"name": schedule.name, "model": schedule.model_id, "cron": schedule.cron});
    app.audit(&caller, "create-schedule", format!("schedule {}", schedule.id), details)
        .await;
    created(schedule)
}

/// Lists all schedules.
#[utoipa::path(get, path = "/schedules", tag = "schedules",
    responses((status = 200, description = "All schedules", body = Envelope<schema::All<schema::Schedule>>)))]
pub async fn list(State(app): State<Arc<App>>, _: Reader, _: NoQuery) -> Reply<Value> {
    ok(json!({"items": app.services.store.schedules().await?}))
}

/// Reads a schedule: its next time, and what became of the last.
#[utoipa::path(get, path = "/schedules/{id}", tag = "schedules", params(SchedulePath),
    responses((status = 200, description = "The schedule", body = Envelope<schema::Schedule>)))]
pub async fn read(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<SchedulePath>,
    _: NoQuery,
) -> Reply<Schedule> {
    ok(app.services.store.schedule(path.id).await?)
}

/// Changes a schedule, or switches it off or on.
#[utoipa::path(patch, path = "/schedules/{id}", tag = "schedules", params(SchedulePath),
    request_body = SchedulePatchBody,
    responses((status = 200, description = "The schedule as it is now", body = Envelope<schema::Schedule>)))]
pub async fn update(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<SchedulePath>,
    _: NoQuery,
    Json(body): Json<SchedulePatchBody>,
) -> Reply<Schedule> {
    let before = app.services.store.schedule(path.id).await?;
    let schedule = NewSchedule {
        name: body.name.unwrap_or(before.name),
        model_id: before.model_id,
        cron: body.cron.unwrap_or(before.cron),
        time_zone: body.time_zone.unwrap_or(before.time_zone),
        enabled: body.enabled.unwrap_or(before.enabled),
        missed: body.missed.unwrap_or(before.missed),
        submission: match body.submission {
            Some(body) => body.stored()?,
            None => before.submission,
        },
    };
    let next = checked(&schedule)?;
    let schedule = app.services.store.update_schedule(path.id, schedule, next).await?;
    let details = json!({"cron": schedule.cron, "time_zone": schedule.time_zone, "enabled": schedule.enabled});
    app.audit(&caller, "change-schedule", format!("schedule {}", schedule.id), details)
        .await;
    ok(schedule)
}

/// Deletes a schedule. Its trainings stay.
#[utoipa::path(delete, path = "/schedules/{id}", tag = "schedules", params(SchedulePath),
    responses((status = 200, description = "What was deleted", body = Envelope<schema::Schedule>)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<SchedulePath>,
    _: NoQuery,
) -> Reply<Schedule> {
    let schedule = app.services.store.delete_schedule(path.id).await?;
    let details = json!({"name": schedule.name, "model": schedule.model_id});
    app.audit(&caller, "delete-schedule", format!("schedule {}", schedule.id), details)
        .await;
    ok(schedule)
}

/// The next time, or what is wrong.
fn checked(schedule: &NewSchedule) -> Result<Option<trainyard_jobs::Timestamp>, ApiError> {
    let length = schedule.name.chars().count();
    if length > 200 || schedule.name.trim().is_empty() || schedule.name.chars().any(char::is_control) {
        let message = format!("name has {length} characters; it has 1 to 200 of them, and no control characters");
        return Err(ApiError::unprocessable("invalid-body", message));
    }
    let next = next_after(&schedule.cron, &schedule.time_zone, Utc::now())
        .map_err(|problem| ApiError::unprocessable("invalid-schedule", problem))?;
    Ok(schedule.enabled.then_some(next))
}

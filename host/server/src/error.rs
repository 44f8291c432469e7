//! What an answer says when something is refused or fails: one envelope for every error there is.
//!
//! `code` repeats the HTTP status as the original does; `error` is the stable name that programs look at; `message` is
//! one line for people: what was wrong, where, and (in `remedy`) what to do.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use trainyard_jobs::submission::{Refusal, SubmissionError};
use trainyard_jobs::{ArtifactError, BrokerError, ComputeError, StoreError};
use trainyard_parameters::{one_line, quoted};

/// An error as it is sent.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = Error)]
pub struct Problem {
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 409)]
    code: u16,
    /// A stable name for programs.
    #[schema(value_type = String, example = "already-training")]
    error: Cow<'static, str>,
    /// What was wrong and where, in one line.
    #[schema(example = "model 7 is TRAINING: run 0d4b6f2e-6a4e-4d6c-9c54-0d3f2f0f8f11 is under way")]
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    remedy: Option<Cow<'static, str>>,
    /// More of it, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<u64>,
}

/// What every handler fails with.
#[derive(Debug, Clone)]
pub struct ApiError(Box<Problem>);

impl ApiError {
    /// Any status, with the name and the message.
    pub fn new(status: StatusCode, error: impl Into<Cow<'static, str>>, message: impl AsRef<str>) -> Self {
        ApiError(Box::new(Problem {
            code: status.as_u16(),
            error: error.into(),
            message: one_line(message.as_ref()),
            remedy: None,
            details: None,
            retry_after: None,
        }))
    }

    /// 400: the request cannot be read.
    pub fn bad_request(error: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, message)
    }

    /// 404: there is no such thing. The name is as the user wrote it.
    pub fn not_found(what: &str, name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            format!("there is no {what} {}", quoted(name)),
        )
    }

    /// 409: not now, or not any more.
    pub fn conflict(error: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::CONFLICT, error, message)
    }

    /// 422: the request can be read but not done.
    pub fn unprocessable(error: impl Into<Cow<'static, str>>, message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error, message)
    }

    /// 503: something of ours cannot be used right now.
    pub fn unavailable(error: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, message).retry_after(2)
    }

    /// 500: a fault in this program. The cause goes to the log, not to whoever asked.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed by a fault of the server");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed; its log says why",
        )
    }

    /// Adds what to do about it.
    pub fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Adds more for programs; null is nothing.
    pub fn details(mut self, details: Value) -> Self {
        self.0.details = Some(details).filter(|details| !details.is_null());
        self
    }

    /// Adds a `Retry-After`, in seconds.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Its stable name.
    #[cfg(test)]
    pub fn name(&self) -> &str {
        &self.0.error
    }

    /// Its one line.
    #[cfg(test)]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry_after = self.0.retry_after;
        let mut response = (status, Json(*self.0)).into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Box<Refusal>> for ApiError {
    fn from(refusal: Box<Refusal>) -> Self {
        let mut error = ApiError::unprocessable(refusal.error, refusal.message).details(refusal.details);
        error.0.remedy = refusal.remedy;
        error
    }
}

impl From<SubmissionError> for ApiError {
    fn from(error: SubmissionError) -> Self {
        match error {
            SubmissionError::Refused(refusal) => refusal.into(),
            SubmissionError::Store(error) => error.into(),
            SubmissionError::Internal(cause) => ApiError::internal(cause),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NotFound { what, id } => ApiError::not_found(what, &id),
            StoreError::Active { run, state, .. } => ApiError::conflict("already-training", message)
                .remedy("wait until it is over, or stop it")
                .details(json!({"run": run, "status": state})),
            StoreError::Illegal { run, state, .. } => {
                ApiError::conflict("illegal-state", message).details(json!({"run": run, "status": state}))
            }
            StoreError::Fenced { .. } => ApiError::conflict("taken-over", message),
            StoreError::Conflict(_) => ApiError::conflict("conflict", message),
            StoreError::Unavailable(_) => {
                tracing::error!(%message, "the store failed");
                ApiError::unavailable("database-unavailable", message).remedy("try again; if it stays, see /readyz")
            }
        }
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        tracing::error!(%error, "the broker failed");
        ApiError::unavailable("queue-unavailable", error.to_string()).remedy("try again; if it stays, see /readyz")
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        match &error {
            ArtifactError::NotFound { key } => ApiError::not_found("artifact", key),
            ArtifactError::Failed { .. } | ArtifactError::Source(_) => {
                tracing::error!(%error, "the artifact store failed");
                ApiError::unavailable("storage-unavailable", error.to_string())
                    .remedy("try again; if it stays, see /readyz")
            }
        }
    }
}

impl From<ComputeError> for ApiError {
    fn from(error: ComputeError) -> Self {
        let line = error.to_string();
        match error {
            ComputeError::Refused { code, message, details } => {
                ApiError::new(status_of_refusal(&code), code, message).details(details)
            }
            ComputeError::Busy => ApiError::unavailable("busy", line),
            ComputeError::Timeout { .. } => ApiError::unprocessable("took-too-long", line).remedy("give less at once"),
            ComputeError::Failed(_) => {
                tracing::error!(error = %line, "the worker failed");
                ApiError::unavailable("worker-failed", line)
            }
        }
    }
}

/// Whose fault it is that something was refused: the request's, or of the database that it is about.
fn status_of_refusal(code: &str) -> StatusCode {
    match code {
        // The request is fine; this service is not set up for it.
        "tdengine.not-configured" | "tdengine.dsn" | "tdengine.login" => StatusCode::CONFLICT,
        "tdengine.timeout" => StatusCode::GATEWAY_TIMEOUT,
        "tdengine.connection" | "tdengine.server" | "tdengine.driver" | "tdengine.garbled" | "tdengine.incomplete" => {
            StatusCode::BAD_GATEWAY
        }
        "tdengine.disk" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

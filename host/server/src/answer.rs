//! What an answer says when all went well: the original's envelope `{"code":200,"data":…}`.

use crate::error::ApiError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The envelope of a good answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Envelope<T> {
    /// The HTTP status.
    #[schema(minimum = 200, maximum = 299, example = 200)]
    pub code: u16,
    /// What was asked for.
    pub data: T,
}

/// A good answer: its status and what was asked for.
pub struct Answer<T>(pub StatusCode, pub T);

/// What a handler gives.
pub type Reply<T> = Result<Answer<T>, ApiError>;

/// 200.
pub fn ok<T>(data: T) -> Reply<T> {
    Ok(Answer(StatusCode::OK, data))
}

/// 201.
pub fn created<T>(data: T) -> Reply<T> {
    Ok(Answer(StatusCode::CREATED, data))
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let envelope = Envelope {
            code: self.0.as_u16(),
            data: self.1,
        };
        match serde_json::to_vec(&envelope) {
            Ok(body) => {
                let json = HeaderValue::from_static("application/json");
                (self.0, [(header::CONTENT_TYPE, json)], body).into_response()
            }
            Err(error) => ApiError::internal(error).into_response(),
        }
    }
}

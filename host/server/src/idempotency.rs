//! `Idempotency-Key`: a request sent again, because its answer got lost, is answered again and not done again.
//!
//! Only good answers are kept. After a refusal the key is free: the same request may be fine a little later.

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;
use trainyard_jobs::{IdempotentRequest, Replay};

const HEADER: &str = "idempotency-key";
/// Larger answers than this are not made here.
const LARGEST_ANSWER: usize = 4 << 20;

/// A layer for requests with a JSON body.
pub async fn json(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(HEADER) {
        return next.run(request).await;
    }
    let answer = async {
        let (parts, body) = request.into_parts();
        let body = extract::read(
            &parts.headers,
            body,
            app.options.max_body_bytes,
            app.options.body_timeout,
        )
        .await?;
        let fingerprint = fingerprint(&[parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), &body]);
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| ApiError::internal("an idempotent request of nobody"))?;
        let key = key(&parts.headers, &caller)?;
        let request = Request::from_parts(parts, Body::from(body));
        once(app.clone(), key, fingerprint, next.run(request)).await
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

/// The key of a request, made unique to whoever sent it.
pub fn key(headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(HEADER).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let visible = |key: &&str| (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let key = key
        .to_str()
        .ok()
        .filter(visible)
        .filter(|_| keys.next().is_none())
        .ok_or_else(|| {
            ApiError::bad_request(
                "bad-idempotency-key",
                "the Idempotency-Key is not 1 to 255 visible ASCII characters",
            )
        })?;
    Ok(Some(format!("{}:{key}", caller.key())))
}

/// A name for what a request asks.
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps apart what would be the same when joined.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Does something once by its key, or gives the answer that there was. With no key it is simply done.
///
/// With a key, it goes on even if whoever asked hangs up: the next request with the key shall find an answer.
pub async fn once<F>(app: Arc<App>, key: Option<String>, fingerprint: String, work: F) -> Result<Response, ApiError>
where
    F: Future<Output = Response> + Send + 'static,
{
    let Some(key) = key else {
        return Ok(work.await);
    };
    let request = IdempotentRequest { key, fingerprint };
    match app.services.store.begin_idempotent(&request).await? {
        Replay::New => {}
        Replay::InProgress => {
            return Err(
                ApiError::conflict("in-progress", "a request with this Idempotency-Key is being answered")
                    .remedy("try again in a moment")
                    .retry_after(1),
            );
        }
        Replay::Mismatch => {
            return Err(ApiError::unprocessable(
                "idempotency-mismatch",
                "this Idempotency-Key was used for another request",
            )
            .remedy("use a new key for a new request"));
        }
        Replay::Answered { status, body } => return Ok(replayed(status, body)),
    }
    let reservation = Reservation {
        app,
        request: Some(request),
    };
    tokio::spawn(async move { reservation.settle(work.await).await })
        .await
        .map_err(|error| ApiError::internal(format!("an idempotent request: {error}")))
}

fn replayed(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}

/// A key that is ours; given back if we fall over.
struct Reservation {
    app: Arc<App>,
    request: Option<IdempotentRequest>,
}

impl Reservation {
    async fn settle(mut self, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        let body = match to_bytes(body, LARGEST_ANSWER).await {
            Ok(body) => body,
            Err(error) => return ApiError::internal(error).into_response(),
        };
        if let Some(request) = self.request.take() {
            let text = std::str::from_utf8(&body).ok().filter(|_| parts.status.is_success());
            let answer = text.map(|text| (parts.status.as_u16(), text));
            if let Err(error) = self.app.services.store.end_idempotent(&request, answer).await {
                tracing::warn!(%error, key = %request.key, "the answer to an idempotent request could not be kept");
            }
        }
        Response::from_parts(parts, Body::from(body))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            let store = self.app.services.store.clone();
            tokio::spawn(async move { store.end_idempotent(&request, None).await });
        }
    }
}

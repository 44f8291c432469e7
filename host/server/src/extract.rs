//! How a request is read: path, query and body, each refused in our own words and envelope.

use crate::app::App;
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// The changing parts of a path. What cannot be one, such as `abc` for a number, names nothing: 404.
pub struct Segments<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Segments(segments)),
            Err(_) => Err(ApiError::not_found("resource", parts.uri.path()).remedy("models have whole numbers as ids")),
        }
    }
}

/// The query. An unknown, repeated or unreadable parameter is 400; `ticket` belongs to whoever lets requests in.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name != "ticket" {
                rest.append_pair(&name, &value);
            }
        }
        let rest = rest.finish();
        let parsed = form_urlencoded::parse(rest.as_bytes());
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(parsed))
            .map(Query)
            .map_err(|error| ApiError::bad_request("bad-query", format!("the query: {}", said(&error))))
    }
}

/// A query that has nothing in it, for handlers that have no parameters there.
pub struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        Query::<Nothing>::from_request_parts(parts, state)
            .await
            .map(|_| NoQuery)
    }
}

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        must_be_json(&parts.headers)?;
        let body = read(
            &parts.headers,
            body,
            app.options.max_body_bytes,
            app.options.body_timeout,
        )
        .await?;
        json(&body).map(Json)
    }
}

/// A JSON body that may be absent, which is then as if it were `{}`.
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = read(
            &parts.headers,
            body,
            app.options.max_body_bytes,
            app.options.body_timeout,
        )
        .await?;
        if body.is_empty() {
            return json(b"{}").map(OptionalJson);
        }
        must_be_json(&parts.headers)?;
        json(&body).map(OptionalJson)
    }
}

/// A content type without its parameters, in lower case.
pub fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase()).filter(|essence| !essence.is_empty())
}

/// Refuses a body that says that it is something else.
pub fn must_be_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = content_type(headers).unwrap_or_else(|| "not said".into());
    if given == "application/json" || (given.starts_with("application/") && given.ends_with("+json")) {
        return Ok(());
    }
    Err(unsupported(&given, "application/json"))
}

/// 415, with what would do.
pub fn unsupported(given: &str, wanted: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        format!("the body's type is {given}"),
    )
    .remedy(format!("send `Content-Type: {wanted}`"))
}

/// 413, with the limit.
pub fn too_large(limit: u64) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        format!("the body is larger than {limit} bytes, the most that is taken here"),
    )
    .details(serde_json::json!({"limit": limit}))
}

/// What a body says of its own size.
pub fn declared_size(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The next bytes of a body, or none at its end. 408 when they are too long in coming.
pub async fn next_chunk<S>(body: &mut S, at_most: Duration) -> Result<Option<Bytes>, ApiError>
where
    S: futures_util::Stream<Item = Result<Bytes, axum::Error>> + Unpin,
{
    match tokio::time::timeout(at_most, body.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => Err(ApiError::bad_request(
            "broken-body",
            format!("the body broke off: {error}"),
        )),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            format!("no byte of the body came for {} s", at_most.as_secs()),
        )),
    }
}

/// A whole body in memory.
pub async fn read(headers: &HeaderMap, body: Body, limit: u64, at_most: Duration) -> Result<Bytes, ApiError> {
    if declared_size(headers).is_some_and(|size| size > limit) {
        return Err(too_large(limit));
    }
    let whole = async {
        let mut body = body.into_data_stream();
        let mut content = BytesMut::new();
        while let Some(chunk) = next_chunk(&mut body, at_most).await? {
            if content.len() as u64 + chunk.len() as u64 > limit {
                return Err(too_large(limit));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content.freeze())
    };
    // A body that drips in byte by byte is as good as one that does not come.
    match tokio::time::timeout(at_most * 4, whole).await {
        Ok(content) => content,
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            format!("the body took longer than {} s", (at_most * 4).as_secs()),
        )),
    }
}

/// Reads JSON: 400 with line and column where it is none, 422 with the field where it is another thing than wanted.
pub fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    if holds_nul(body) {
        return Err(
            ApiError::unprocessable("nul-character", "the body holds the character U+0000")
                .remedy("leave it out; no text may have it"),
        );
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = match serde_path_to_error::deserialize(&mut reader) {
        Ok(value) => value,
        Err(error) if error.inner().is_data() => {
            return Err(ApiError::unprocessable(
                "invalid-body",
                format!("the body: {}", said(&error)),
            ));
        }
        Err(error) => return Err(malformed(error.inner())),
    };
    reader.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::bad_request("malformed-json", format!("the body is not JSON: {error}"))
        .details(serde_json::json!({"line": error.line(), "column": error.column()}))
}

/// An error with the field that it is about.
fn said<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> String {
    match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    }
}

/// Whether a JSON text has the escape of U+0000, which PostgreSQL cannot store.
fn holds_nul(body: &[u8]) -> bool {
    let mut rest = body;
    while let Some(at) = rest.windows(6).position(|six| six == b"\\u0000") {
        let before = rest[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if before.is_multiple_of(2) {
            return true;
        }
        rest = &rest[at + 6..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn an_escaped_backslash_before_u0000_is_no_nul() {
        assert!(holds_nul(br#"{"a":"\u0000"}"#));
        assert!(!holds_nul(br#"{"a":"\\u0000"}"#));
        assert!(holds_nul(br#"{"a":"\\\u0000"}"#));
        assert!(!holds_nul(b"{}"));
    }

    #[test]
    fn json_that_is_none_is_placed() {
        let error = json::<Value>(b"{\n \"a\": }").unwrap_err();
        assert_eq!(error.name(), "malformed-json");
        assert!(error.message().contains("line 2"), "{}", error.message());
        assert_eq!(json::<Value>(b"{} x").unwrap_err().name(), "malformed-json");
        let deep = "[".repeat(10_000);
        assert_eq!(json::<Value>(deep.as_bytes()).unwrap_err().name(), "malformed-json");
    }
}

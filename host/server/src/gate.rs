//! What every request passes, in this order: the limits of its head, who sent it, the handler (whose panics end here),
//! and what every answer carries. Whatever happens inside, an answer has our envelope.

use crate::app::App;
use crate::connections::Peer;
use crate::console;
use crate::error::ApiError;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

/// What is shown to anyone: it says nothing about models or data.
const PUBLIC: [&str; 7] = [
    "/",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/docs/docs.js",
    "/docs/docs.css",
];

/// The layer around everything.
pub async fn pass(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let mut response = match admit(&app, &mut request).await {
        Ok(()) => AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| {
                let said = panic
                    .downcast_ref::<&str>()
                    .copied()
                    .or(panic.downcast_ref::<String>().map(String::as_str));
                ApiError::internal(format!("{method} {route} panicked: {}", said.unwrap_or("?"))).into_response()
            }),
        Err(refusal) => {
            app.metrics.count_refusal(refusal.status());
            refusal.into_response()
        }
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"trainyard\""),
        );
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let (status, took) = (response.status(), started.elapsed());
    // The route and not the URL, which may hold a ticket.
    tracing::debug!(%method, route, status = status.as_u16(), ?took, "answered");
    app.metrics.count_request(route, &method, status, took);
    response
}

async fn admit(app: &App, request: &mut Request) -> Result<(), ApiError> {
    limits(app, request.uri(), request.headers())?;
    let path = request.uri().path();
    if PUBLIC.contains(&path) || path.starts_with(console::FILES) {
        return Ok(());
    }
    let peer = request
        .extensions()
        .get::<Peer>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address);
    let caller = app
        .auth
        .admit(peer, request.method(), request.uri(), request.headers())
        .await?;
    request.extensions_mut().insert(caller);
    Ok(())
}

fn limits(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let length = uri.path_and_query().map_or(0, |text| text.as_str().len());
    if length > app.options.max_uri_bytes {
        let most = app.options.max_uri_bytes;
        return Err(ApiError::new(
            StatusCode::URI_TOO_LONG,
            "uri-too-long",
            format!("the URL has {length} bytes; at most {most} are taken"),
        ));
    }
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if bytes > app.options.max_header_bytes || headers.len() > app.options.max_headers {
        return Err(ApiError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers-too-large",
            format!(
                "{} headers of {bytes} bytes; at most {} of {}",
                headers.len(),
                app.options.max_headers,
                app.options.max_header_bytes
            ),
        ));
    }
    // PostgreSQL cannot store the character U+0000, and no name has it.
    let holds_nul = |text: &str| text.as_bytes().windows(3).any(|three| three == b"%00");
    if holds_nul(uri.path()) || uri.query().is_some_and(holds_nul) {
        return Err(ApiError::bad_request(
            "nul-character",
            "the URL holds the character U+0000",
        ));
    }
    Ok(())
}

/// The layer of requests that are to be answered soon.
pub async fn soon(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let at_most = app.options.request_timeout;
    match tokio::time::timeout(at_most, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("the answer took longer than {} s", at_most.as_secs_f64());
            ApiError::unavailable("timeout", message)
                .remedy("try again; if it stays, see /readyz")
                .into_response()
        }
    }
}

/// Where no route is.
pub async fn no_route(request: Request) -> ApiError {
    ApiError::not_found("route", request.uri().path()).remedy("see /docs for those that there are")
}

/// Where a route is, for other methods. The `Allow` header says which.
pub async fn no_method(request: Request) -> ApiError {
    let message = format!("{} cannot be used on this path", request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message)
        .remedy("see the Allow header, or /docs")
}

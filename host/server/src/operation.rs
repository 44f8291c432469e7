//! For whoever runs the service: is it alive, can it work, what does it count, and how is it used.

use crate::answer::{Envelope, Reply, ok};
use crate::app::App;
use crate::auth::Reader;
use crate::error::ApiError;
use crate::extract::NoQuery;
use crate::{router, schema};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long the answer to "can it work" is good. Anyone may ask, and asking writes to the store.
const FRESH: Duration = Duration::from_secs(1);

/// The last answer, and when it was found.
#[derive(Default)]
pub struct Readiness(Mutex<Option<(Instant, Vec<Part>)>>);

/// A part of the service: its name, and why it cannot be used.
type Part = (&'static str, Option<String>);

/// Says that the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, description = "It is", body = Envelope<schema::Alive>)))]
pub async fn alive(_: NoQuery) -> Reply<Value> {
    ok(json!({"status": "alive", "version": env!("CARGO_PKG_VERSION")}))
}

/// Says whether everything can be used that trainings need.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()),
    responses((status = 200, description = "It can", body = Envelope<schema::Ready>),
        (status = 503, description = "It cannot; the message says what is wrong")))]
pub async fn ready(State(app): State<Arc<App>>, _: NoQuery) -> Reply<Value> {
    let parts = app.readiness.of(&app).await;
    let wrong: Vec<String> = parts
        .iter()
        .filter_map(|(name, problem)| Some(format!("{name}: {}", problem.as_ref()?)))
        .collect();
    let said: Map<String, Value> = parts
        .iter()
        .map(|(name, problem)| ((*name).to_owned(), json!(problem.as_deref().unwrap_or("ok"))))
        .collect();
    if wrong.is_empty() {
        return ok(json!({"status": "ready", "parts": said}));
    }
    Err(ApiError::unavailable("not-ready", wrong.join("; ")).details(Value::Object(said)))
}

impl Readiness {
    async fn of(&self, app: &App) -> Vec<Part> {
        let mut last = self.0.lock().await;
        if let Some((since, parts)) = &*last
            && since.elapsed() < FRESH
        {
            return parts.clone();
        }
        let services = &app.services;
        let parts = vec![
            (
                "store",
                services.store.check().await.err().map(|error| error.to_string()),
            ),
            (
                "artifacts",
                services.artifacts.check().await.err().map(|error| error.to_string()),
            ),
            (
                "queue",
                services.broker.depth().await.err().map(|error| error.to_string()),
            ),
        ];
        *last = Some((Instant::now(), parts.clone()));
        parts
    }
}

/// Gives what is counted, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Figures in Prometheus' text format", body = String)))]
pub async fn metrics(State(app): State<Arc<App>>, _: Reader, _: NoQuery) -> Result<Response, ApiError> {
    // While the store is away the rest is of all the more use.
    if let Ok(counts) = app.services.store.count_models().await {
        for (status, count) in counts {
            app.metrics.set_models(status.as_str(), count);
        }
    }
    if let Ok((waiting, taken)) = app.services.broker.depth().await {
        app.metrics.set_queue("waiting", waiting);
        app.metrics.set_queue("taken", taken);
    }
    if let Ok(workers) = app.services.store.workers().await {
        app.metrics.set_cards(&workers);
    }
    let text = app.metrics.text().map_err(ApiError::internal)?;
    Ok(page("text/plain; version=0.0.4; charset=utf-8", text.into()))
}

/// Gives this description.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub async fn openapi(_: NoQuery) -> Result<Response, ApiError> {
    static TEXT: LazyLock<Result<String, serde_json::Error>> =
        LazyLock::new(|| serde_json::to_string(&router::describe()));
    match &*TEXT {
        Ok(text) => Ok(page("application/json", text.as_bytes().into())),
        Err(error) => Err(ApiError::internal(error)),
    }
}

/// Gives a page that shows this description. It asks no other host for anything.
#[utoipa::path(get, path = "/docs", tag = "operation", security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub async fn docs(_: NoQuery) -> Response {
    asset("text/html; charset=utf-8", include_bytes!("docs/docs.html"))
}

/// Gives the page's script.
#[utoipa::path(get, path = "/docs/docs.js", tag = "operation", security(()),
    responses((status = 200, description = "A script", body = String, content_type = "text/javascript")))]
pub async fn docs_script(_: NoQuery) -> Response {
    asset("text/javascript; charset=utf-8", include_bytes!("docs/docs.js"))
}

/// Gives the page's style.
#[utoipa::path(get, path = "/docs/docs.css", tag = "operation", security(()),
    responses((status = 200, description = "A style sheet", body = String, content_type = "text/css")))]
pub async fn docs_style(_: NoQuery) -> Response {
    asset("text/css; charset=utf-8", include_bytes!("docs/docs.css"))
}

fn page(content_type: &'static str, content: Vec<u8>) -> Response {
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))],
        content,
    )
        .into_response()
}

fn asset(content_type: &'static str, content: &'static [u8]) -> Response {
    /// Only what this server itself gives, and nothing inline.
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, content).into_response()
}

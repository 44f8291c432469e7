//! What is counted, for Prometheus.

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Seconds; from an answer out of memory to an upload.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// Every figure there is.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    models: Family<Status, Gauge>,
    queue: Family<Status, Gauge>,
    refusals: Family<Kind, Counter>,
    uploaded: Family<Kind, Counter>,
    /// Live streams that are open.
    pub streams: Gauge,
    /// Events sent to live streams.
    pub events: Counter,
    /// Connections turned away because there were too many.
    pub turned_away: Counter,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("trainyard");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What this server is", build);
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let seconds = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        registry.register_with_unit(
            "http_request",
            "Time to the answer's head",
            Unit::Seconds,
            seconds.clone(),
        );
        let models = Family::default();
        registry.register("models", "Models by status", models.clone());
        let queue = Family::default();
        registry.register(
            "queue_runs",
            "Runs that wait for a worker or are taken by one",
            queue.clone(),
        );
        let refusals = Family::default();
        registry.register(
            "auth_failures",
            "Requests refused for lack of a good token",
            refusals.clone(),
        );
        let uploaded = Family::default();
        registry.register_with_unit("uploaded", "What was uploaded", Unit::Bytes, uploaded.clone());
        let streams = Gauge::default();
        registry.register("live_streams", "Live streams that are open", streams.clone());
        let events = Counter::default();
        registry.register("live_events", "Events sent to live streams", events.clone());
        let turned_away = Counter::default();
        registry.register("connections_turned_away", "Connections too many", turned_away.clone());
        Metrics {
            registry,
            requests,
            seconds,
            models,
            queue,
            refusals,
            uploaded,
            streams,
            events,
            turned_away,
        }
    }

    /// Counts an answer.
    pub fn count_request(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        // Anyone can make up methods; each new one would be a series.
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "other",
        };
        let route = route.to_owned();
        self.seconds
            .get_or_create(&Route {
                route: route.clone(),
                method,
            })
            .observe(took.as_secs_f64());
        self.requests
            .get_or_create(&Request {
                route,
                method,
                status: status.as_u16(),
            })
            .inc();
    }

    /// Counts a request that was not let in.
    pub fn count_refusal(&self, status: StatusCode) {
        let kind = match status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::TOO_MANY_REQUESTS => "too-many-failures",
            _ => return,
        };
        self.refusals.get_or_create(&Kind { kind }).inc();
    }

    /// Counts uploaded bytes.
    pub fn count_upload(&self, kind: &'static str, bytes: u64) {
        self.uploaded.get_or_create(&Kind { kind }).inc_by(bytes);
    }

    /// Sets how many models are in a status.
    pub fn set_models(&self, status: &'static str, count: u64) {
        self.models
            .get_or_create(&Status { status })
            .set(count.try_into().unwrap_or(i64::MAX));
    }

    /// Sets how many runs wait, or are taken.
    pub fn set_queue(&self, status: &'static str, count: u64) {
        self.queue
            .get_or_create(&Status { status })
            .set(count.try_into().unwrap_or(i64::MAX));
    }

    /// Everything as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        prometheus_text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

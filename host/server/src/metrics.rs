//! What is counted, for Prometheus.

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use trainyard_jobs::WorkerRow;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Card {
    worker: String,
    card: u32,
}

/// A figure of cards.
type OfCards = Family<Card, Gauge<f64, AtomicU64>>;

/// What the cards of the workers do.
#[derive(Default)]
struct Cards {
    healthy: OfCards,
    memory: OfCards,
    memory_used: OfCards,
    promised: OfCards,
    utilization: OfCards,
    temperature: OfCards,
    power: OfCards,
}

impl Cards {
    fn register(&self, registry: &mut Registry) {
        for (name, help, figure) in [
            ("card_healthy", "Whether jobs can use the card: 1 or 0", &self.healthy),
            ("card_memory_bytes", "The card's memory", &self.memory),
            (
                "card_memory_used_bytes",
                "Memory in use, by whomever",
                &self.memory_used,
            ),
            (
                "card_memory_promised_bytes",
                "Memory that jobs were promised",
                &self.promised,
            ),
            (
                "card_utilization_ratio",
                "How much of the time it computes: 0 to 1",
                &self.utilization,
            ),
            ("card_temperature_celsius", "The card's temperature", &self.temperature),
            ("card_power_watts", "The power that the card takes", &self.power),
        ] {
            registry.register(name, help, figure.clone());
        }
    }

    /// Those of live workers, and none that are gone.
    fn set(&self, workers: &[WorkerRow]) {
        let all = [
            &self.healthy,
            &self.memory,
            &self.memory_used,
            &self.promised,
            &self.utilization,
            &self.temperature,
            &self.power,
        ];
        all.iter().for_each(|figure| figure.clear());
        for worker in workers.iter().filter(|worker| worker.is_alive()) {
            for card in &worker.details.cards {
                let labels = Card {
                    worker: worker.name.clone(),
                    card: card.index,
                };
                let bytes = |mebibytes: u64| (mebibytes << 20) as f64;
                let figures = [
                    Some(f64::from(u8::from(card.healthy))),
                    card.memory_mb.map(bytes),
                    card.memory_used_mb.map(bytes),
                    Some(bytes(card.promised_mb)),
                    card.utilization.map(|percent| percent / 100.0),
                    card.temperature_c,
                    card.power_w,
                ];
                for (family, figure) in all.iter().zip(figures) {
                    if let Some(figure) = figure {
                        family.get_or_create(&labels).set(figure);
                    }
                }
            }
        }
    }
}

/// Every figure there is.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    models: Family<Status, Gauge>,
    queue: Family<Status, Gauge>,
    cards: Cards,
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
        let cards = Cards::default();
        cards.register(&mut registry);
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
            cards,
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

    /// Sets what the workers say of their cards.
    pub fn set_cards(&self, workers: &[WorkerRow]) {
        self.cards.set(workers);
    }

    /// Everything as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        prometheus_text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeDelta, Utc};
    use trainyard_jobs::{CardDetails, WorkerDetails};

    fn worker(name: &str, silent: i64) -> WorkerRow {
        let card = CardDetails {
            index: 1,
            healthy: true,
            memory_used_mb: Some(2),
            utilization: Some(62.5),
            ..CardDetails::default()
        };
        WorkerRow {
            name: name.into(),
            seen_at: Utc::now() - TimeDelta::seconds(silent),
            details: WorkerDetails {
                cards: vec![card],
                ..WorkerDetails::default()
            },
        }
    }

    #[test]
    fn cards_of_live_workers_are_counted_as_far_as_they_are_known() {
        let metrics = Metrics::new();
        metrics.set_cards(&[worker("here", 0), worker("gone", 60)]);
        let text = metrics.text().unwrap();
        for line in [
            "trainyard_card_healthy{worker=\"here\",card=\"1\"} 1.0",
            "trainyard_card_memory_used_bytes{worker=\"here\",card=\"1\"} 2097152.0",
            "trainyard_card_utilization_ratio{worker=\"here\",card=\"1\"} 0.625",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in {text}");
        }
        assert!(!text.contains("gone") && !text.contains("card_power_watts{"), "{text}");
        metrics.set_cards(&[]);
        assert!(!metrics.text().unwrap().contains("here"));
    }
}

//! Celery's events: what Flower and the like are told of workers and their tasks. Losing one harms nobody.
//!
//! <https://docs.celeryq.dev/en/stable/userguide/monitoring.html#event-reference>

use super::broker::Held;
use super::celery::{Asked, envelope};
use super::connection::Redis;
use crate::Outcome;
use chrono::Utc;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds between two signs of life of a worker.
pub const HEARTBEAT: f64 = 2.0;

/// Sends events.
pub struct Events {
    redis: Redis,
    clock: AtomicU64,
    processed: AtomicU64,
}

/// The time in seconds, as events and results have it.
pub fn timestamp() -> f64 {
    Utc::now().timestamp_micros() as f64 / 1e6
}

impl Events {
    pub fn new(redis: Redis) -> Self {
        Events {
            redis,
            clock: AtomicU64::new(0),
            processed: AtomicU64::new(0),
        }
    }

    /// The next tick of this process's logical clock.
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tasks that were done.
    pub fn processed(&self) -> u64 {
        self.processed.load(Ordering::Relaxed)
    }

    /// A worker comes (`online`), lives (`heartbeat`) or goes (`offline`).
    pub async fn worker(&self, what: &str, worker: &str, active: usize) {
        self.send(
            &format!("worker-{what}"),
            worker,
            json!({
                "freq": HEARTBEAT,
                "active": active,
                "processed": self.processed(),
                "loadavg": load(),
                "sw_ident": "trainyard",
                "sw_ver": env!("CARGO_PKG_VERSION"),
                "sw_sys": "Linux",
            }),
        )
        .await;
    }

    /// A worker has taken a task and begins.
    pub async fn received(&self, worker: &str, asked: &Asked) {
        let headers = &asked.headers;
        let task = json!({
            "uuid": asked.run,
            "name": asked.task,
            "args": headers["argsrepr"],
            "kwargs": headers["kwargsrepr"],
            "root_id": headers["root_id"],
            "parent_id": headers["parent_id"],
            "retries": headers["retries"],
            "eta": headers["eta"],
            "expires": headers["expires"],
        });
        self.send("task-received", worker, task).await;
        self.send("task-started", worker, json!({"uuid": asked.run})).await;
    }

    /// A task is over.
    pub async fn ended(&self, asked: &Asked, outcome: &Outcome, held: Option<&Held>) {
        self.processed.fetch_add(1, Ordering::Relaxed);
        let worker = held.map_or("trainyard", |held| held.worker.as_str());
        let (what, task) = match outcome {
            Outcome::Done(result) => (
                "task-succeeded",
                json!({
                    "uuid": asked.run,
                    "result": result.to_string(),
                    "runtime": held.map_or(0.0, |held| timestamp() - held.since),
                }),
            ),
            Outcome::Failed(error) => (
                "task-failed",
                json!({
                    "uuid": asked.run,
                    "exception": format!("RuntimeError({:?})", error.lines().next().unwrap_or_default()),
                    "traceback": error,
                }),
            ),
            Outcome::Stopped => (
                "task-revoked",
                json!({"uuid": asked.run, "terminated": held.is_some(), "signum": null, "expired": held.is_none()}),
            ),
        };
        self.send(what, worker, task).await;
    }

    async fn send(&self, kind: &str, worker: &str, fields: Value) {
        let mut event = Map::new();
        event.insert("hostname".into(), json!(worker));
        event.insert("utcoffset".into(), json!(0.0));
        event.insert("pid".into(), json!(std::process::id()));
        event.insert("clock".into(), json!(self.tick()));
        if let Value::Object(fields) = fields {
            event.extend(fields);
        }
        event.insert("timestamp".into(), json!(timestamp()));
        event.insert("type".into(), json!(kind));
        let route = kind.replace('-', ".");
        let message = envelope(
            &Value::Object(event),
            json!({"hostname": worker}),
            "celeryev",
            &route,
            Value::Null,
        );
        let channel = format!("/{}.celeryev/{route}", self.redis.database);
        let sent: Result<(), _> = redis::cmd("PUBLISH")
            .arg(channel)
            .arg(message.to_string())
            .query_async(&mut self.redis.connection.clone())
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, kind, "an event was not sent");
        }
    }
}

/// The machine's load over 1, 5 and 15 minutes.
pub fn load() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut figures = text.split(' ').map(|figure| figure.parse().unwrap_or(0.0));
    std::array::from_fn(|_| figures.next().unwrap_or(0.0))
}

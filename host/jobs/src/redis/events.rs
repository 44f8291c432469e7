//! Celery's events: what Flower and the like are told of workers and their tasks. Losing one harms nobody.
//!
//! <https://docs.celeryq.dev/en/stable/userguide/monitoring.html#event-reference>

use super::broker::Held;
use super::celery::{Asked, envelope};
use super::connection::Redis;
use crate::Outcome;
use crate::machine::load;
use chrono::Utc;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Seconds between two signs of life of a worker.
pub const HEARTBEAT: f64 = 2.0;

/// Events that wait to be sent; more are lost.
const WAITING: usize = 10_000;
/// Events that go in one message to the server.
const AT_ONCE: usize = 256;

/// Sends events, without anybody waiting for it.
pub struct Events {
    database: i64,
    waiting: mpsc::Sender<(String, String)>,
    clock: AtomicU64,
    processed: AtomicU64,
}

/// The time in seconds, as events and results have it.
pub fn timestamp() -> f64 {
    Utc::now().timestamp_micros() as f64 / 1e6
}

impl Events {
    pub fn new(redis: Redis) -> Self {
        let (waiting, mut sent) = mpsc::channel(WAITING);
        let database = redis.database;
        tokio::spawn(async move {
            let mut events: Vec<(String, String)> = Vec::new();
            while sent.recv_many(&mut events, AT_ONCE).await > 0 {
                let mut pipe = redis::pipe();
                for (channel, message) in events.drain(..) {
                    pipe.publish(channel, message).ignore();
                }
                if let Err(error) = pipe.query_async::<()>(&mut redis.connection.clone()).await {
                    tracing::debug!(%error, "events were not sent");
                }
            }
        });
        Events {
            database,
            waiting,
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
    pub fn worker(&self, what: &str, worker: &str, active: usize) {
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
        );
    }

    /// A worker has taken a task and begins.
    pub fn received(&self, worker: &str, asked: &Asked) {
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
        self.send("task-received", worker, task);
        self.send("task-started", worker, json!({"uuid": asked.run}));
    }

    /// A task is over.
    pub fn ended(&self, asked: &Asked, outcome: &Outcome, held: Option<&Held>) {
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
            Outcome::Failed(error) | Outcome::GivenUp(error) => (
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
        self.send(what, worker, task);
    }

    fn send(&self, kind: &str, worker: &str, fields: Value) {
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
        let channel = format!("/{}.celeryev/{route}", self.database);
        if self.waiting.try_send((channel, message.to_string())).is_err() {
            tracing::debug!(kind, "an event was not sent");
        }
    }
}

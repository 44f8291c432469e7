//! Celery's remote control: what `inspect`, `control` and Flower ask of a worker.
//!
//! Asked on a channel, answered into the list that the question names.

use super::broker::{Held, Shared};
use super::celery::{body, envelope};
use super::events::{HEARTBEAT, timestamp};
use crate::machine::host;
use crate::{JobKind, Signal};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Seconds that an answer waits for whoever asked.
const KEPT: u64 = 60;
/// How long to wait before another try to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// The remote control of this process's worker.
pub struct Control;

impl Control {
    /// Answers, and gives signs of life, as soon as and as long as a worker takes jobs here.
    pub fn start(shared: &Arc<Shared>) {
        let weak = Arc::downgrade(shared);
        let mut serving = shared.serving.subscribe();
        tokio::spawn(async move {
            if serving.wait_for(Option::is_some).await.is_err() {
                return;
            }
            drop(serving);
            let started = Instant::now();
            tokio::join!(answer(&weak, started), live(&weak));
        });
    }
}

/// The worker's name, while there is somebody.
fn alive(weak: &Weak<Shared>) -> Option<(Arc<Shared>, String, Vec<String>)> {
    let shared = weak.upgrade()?;
    let (name, queues) = shared.serving.borrow().clone()?;
    Some((shared, name, queues))
}

async fn live(weak: &Weak<Shared>) {
    let mut what = "online";
    while let Some((shared, name, _)) = alive(weak) {
        let active = shared.active(|_| ()).len();
        shared.events.worker(what, &name, active);
        what = "heartbeat";
        drop(shared);
        tokio::time::sleep(Duration::from_secs_f64(HEARTBEAT)).await;
    }
}

async fn answer(weak: &Weak<Shared>, started: Instant) {
    while let Some((shared, ..)) = alive(weak) {
        let channel = format!("/{}.celery.pidbox", shared.redis.database);
        let redis = shared.redis.clone();
        drop(shared);
        let listening = async {
            let mut listening = redis.listening().await?;
            listening.subscribe(&channel).await?;
            Ok::<_, redis::RedisError>(listening)
        };
        let Ok(mut listening) = listening.await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut said = listening.on_message();
        while let Some(message) = said.next().await {
            let Some((shared, name, queues)) = alive(weak) else {
                return;
            };
            let Ok(text) = message.get_payload::<String>() else {
                continue;
            };
            let Ok(message) = serde_json::from_str::<Value>(&text) else {
                continue;
            };
            // 0 is never.
            let expires = message["headers"]["expires"].as_f64().unwrap_or(0.0);
            if expires > 0.0 && expires < timestamp() {
                continue;
            }
            let Ok(question) = body(&message) else { continue };
            let asked = &question["destination"];
            if asked
                .as_array()
                .is_some_and(|names| !names.iter().any(|other| other == &name))
            {
                continue;
            }
            let worker = Asked {
                shared: &shared,
                name: &name,
                queues: &queues,
                started,
            };
            let said = worker.answer(&question).await;
            if !question["reply_to"].is_null() {
                worker.reply(&question, said).await;
            }
        }
    }
}

/// A worker that is asked something.
struct Asked<'a> {
    shared: &'a Shared,
    name: &'a str,
    queues: &'a [String],
    started: Instant,
}

impl Asked<'_> {
    async fn answer(&self, question: &Value) -> Value {
        let arguments = &question["arguments"];
        let method = question["method"].as_str().unwrap_or_default();
        match method {
            "ping" => json!({"ok": "pong"}),
            "active" => json!(self.shared.active(task)),
            // Whatever waits, waits in Redis: a worker takes what it works on and nothing else.
            "reserved" | "scheduled" | "revoked" => json!([]),
            "registered" => json!(JobKind::ALL.map(JobKind::task)),
            "active_queues" => self.queues.iter().map(|name| queue(name)).collect(),
            "stats" => self.stats(),
            "conf" => json!({
                "timezone": "UTC",
                "enable_utc": true,
                "task_acks_late": true,
                "task_serializer": "json",
                "result_serializer": "json",
                "accept_content": ["json"],
                "result_expires": super::celery::RESULT_KEPT,
            }),
            "clock" => json!({"clock": self.shared.events.tick()}),
            "query_task" => {
                let ids = texts(&arguments["ids"]);
                let found = self
                    .shared
                    .active(|held| (held.asked.run.clone(), json!(["active", task(held)])));
                Value::Object(found.into_iter().filter(|(run, _)| ids.contains(run)).collect())
            }
            "report" => json!({"ok": format!("trainyard {}", env!("CARGO_PKG_VERSION"))}),
            "revoke" | "terminate" => self.revoke(&texts(&arguments["task_id"]), arguments).await,
            "heartbeat" | "enable_events" | "disable_events" => json!({"ok": "events are always sent"}),
            // What a worker of Celery asks others when it starts.
            "hello" => json!({"revoked": {}, "clock": self.shared.events.tick()}),
            method => json!({"error": format!("a worker of Trainyard has no method {method}")}),
        }
    }

    /// Celery drops what waits, and ends what runs only if it is to be terminated.
    async fn revoke(&self, runs: &[String], arguments: &Value) -> Value {
        let terminate = arguments["terminate"].as_bool().unwrap_or(false) || !arguments["signal"].is_null();
        let active = self.shared.active(|held| held.asked.run.clone());
        for run in runs {
            if !active.contains(run) {
                // Every worker is asked; one finds it.
                if let Err(error) = self.shared.withdraw_and_say(run).await {
                    tracing::warn!(run, %error, "a task cannot be revoked");
                }
            }
            if terminate || !active.contains(run) {
                let _ = self.shared.signals.send(Signal::Stop(run.clone()));
            }
        }
        json!({"ok": format!("tasks {} flagged as revoked", runs.join(", "))})
    }

    fn stats(&self) -> Value {
        let slots = self.shared.active(|_| ()).len();
        json!({
            "total": {JobKind::Train.task(): self.shared.events.processed()},
            "pid": std::process::id(),
            "clock": self.shared.events.tick().to_string(),
            "uptime": self.started.elapsed().as_secs(),
            "pool": {"implementation": "trainyard: a process a job", "max-concurrency": slots.max(1), "processes": []},
            "broker": {"transport": "redis", "virtual_host": self.shared.redis.database.to_string()},
            "prefetch_count": 0,
            "rusage": {},
            "hostname": host(),
            "sw_ident": "trainyard",
            "sw_ver": env!("CARGO_PKG_VERSION"),
        })
    }

    async fn reply(&self, question: &Value, said: Value) {
        let exchange = question["reply_to"]["exchange"]
            .as_str()
            .unwrap_or("reply.celery.pidbox");
        let Some(route) = question["reply_to"]["routing_key"].as_str() else {
            return;
        };
        let mut reply = Map::new();
        reply.insert(self.name.to_owned(), said);
        let headers = json!({"ticket": question["ticket"], "clock": self.shared.events.tick()});
        let message = envelope(&Value::Object(reply), headers, exchange, route, Value::Null).to_string();
        let list = format!("{route}.{exchange}");
        let sent: Result<(), _> = redis::pipe()
            .cmd("LPUSH")
            .arg(&list)
            .arg(message)
            .ignore()
            .cmd("EXPIRE")
            .arg(&list)
            .arg(KEPT)
            .ignore()
            .query_async(&mut self.shared.redis.connection.clone())
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer to Celery's remote control was not sent");
        }
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn task(held: &Held) -> Value {
    json!({
        "id": held.asked.run,
        "name": held.asked.task,
        "args": held.asked.arguments,
        "kwargs": {},
        "type": held.asked.task,
        "hostname": held.worker,
        "time_start": held.since,
        "acknowledged": false,
        "delivery_info": held.asked.delivery_info,
        "worker_pid": std::process::id(),
    })
}

fn queue(name: &str) -> Value {
    json!({
        "name": name,
        "exchange": {"name": name, "type": "direct", "durable": true, "auto_delete": false},
        "routing_key": name,
        "durable": true,
        "exclusive": false,
        "auto_delete": false,
        "no_ack": false,
    })
}

//! Celery's messages (protocol 2) in kombu's envelope, and its results.
//!
//! <https://docs.celeryq.dev/en/stable/internals/protocol.html>; the forms are those of Celery 5.7 with kombu 5.7.

use crate::machine::host;
use crate::{Job, JobKind, Outcome, RunId, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

/// Seconds that a result is kept.
pub const RESULT_KEPT: u64 = 24 * 3600;

/// A new identity: of a delivery, a receipt, a request.
pub fn fresh() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// What kombu wraps everything in that it sends.
pub fn envelope(body: &Value, headers: Value, exchange: &str, route: &str, extra: Value) -> Value {
    let mut properties = json!({
        "delivery_mode": 1,
        "delivery_info": {"exchange": exchange, "routing_key": route},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": fresh(),
    });
    if let (Some(properties), Value::Object(extra)) = (properties.as_object_mut(), extra) {
        properties.extend(extra);
    }
    json!({
        "body": BASE64.encode(body.to_string()),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    })
}

/// What is in kombu's envelope.
pub fn body(message: &Value) -> Result<Value, String> {
    let body = message["body"].as_str().ok_or("the message has no body")?;
    if message["content-type"].as_str() != Some("application/json") {
        return Err(format!(
            "the message is {}, and only application/json is read",
            message["content-type"]
        ));
    }
    let bytes = match message["properties"]["body_encoding"].as_str() {
        Some("base64") => BASE64
            .decode(body)
            .map_err(|error| format!("the message's body is no base64: {error}"))?,
        _ => body.as_bytes().to_vec(),
    };
    serde_json::from_slice(&bytes).map_err(|error| format!("the message's body is no JSON: {error}"))
}

/// The message of a job.
pub fn task(queue: &str, job: &Job) -> Value {
    let (arguments, none) = (json!([job.model, job.config]), json!({}));
    let headers = json!({
        "lang": "py",
        "task": job.kind.task(),
        "id": job.run,
        "shadow": null,
        "eta": null,
        "expires": null,
        "group": null,
        "group_index": null,
        "retries": 0,
        "timelimit": [null, null],
        "root_id": job.run,
        "parent_id": null,
        "argsrepr": arguments.to_string(),
        "kwargsrepr": "{}",
        "origin": format!("trainyard@{}", host()),
        "ignore_result": false,
        "replaced_task_nesting": 0,
        "stamped_headers": null,
        "stamps": {},
    });
    let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
    let extra = json!({"correlation_id": job.run, "delivery_mode": 2, "priority": job.priority});
    envelope(&json!([arguments, none, embed]), headers, "", queue, extra)
}

/// What a message asks for.
pub struct Asked {
    /// What is to be done; or why that cannot be known.
    pub job: Result<Job, String>,
    /// Its name.
    pub run: RunId,
    /// The task's name.
    pub task: String,
    /// The arguments, for whoever looks.
    pub arguments: Value,
    /// Not before this.
    pub eta: Option<Timestamp>,
    /// Not after this.
    pub expires: Option<Timestamp>,
    /// Nobody wants the result.
    pub ignore_result: bool,
    /// The headers that events repeat.
    pub headers: Value,
    /// Names the delivery.
    pub tag: String,
    /// Queue and the like.
    pub delivery_info: Value,
}

impl Asked {
    /// Reads `[message, exchange, routing key]`, as `unacked` holds it.
    pub fn read(entry: &str) -> Result<Self, String> {
        let entry: Value = serde_json::from_str(entry).map_err(|error| error.to_string())?;
        let message = &entry[0];
        let headers = &message["headers"];
        let text = |name: &str| headers[name].as_str().unwrap_or_default().to_owned();
        let priority = message["properties"]["priority"].as_u64().unwrap_or(0);
        let (run, task) = (text("id"), text("task"));
        let body = body(message);
        let (eta, expires) = (time(&headers["eta"]), time(&headers["expires"]));
        Ok(Asked {
            job: body
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|body| job(&run, &task, body, priority))
                .and_then(|job| eta.clone().and(expires.clone()).map(|_| job)),
            arguments: body.map_or(Value::Null, |body| body[0].clone()),
            eta: eta.unwrap_or_default(),
            expires: expires.unwrap_or_default(),
            ignore_result: headers["ignore_result"].as_bool().unwrap_or(false),
            headers: headers.clone(),
            tag: message["properties"]["delivery_tag"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            delivery_info: json!({
                "exchange": entry[1],
                "routing_key": entry[2],
                "priority": priority,
                "redelivered": headers["redelivered"].as_bool().unwrap_or(false),
            }),
            run,
            task,
        })
    }
}

fn time(value: &Value) -> Result<Option<Timestamp>, String> {
    let Some(text) = value.as_str() else { return Ok(None) };
    let time = chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc))
        // Without a zone it is UTC.
        .or_else(|_| text.parse::<chrono::NaiveDateTime>().map(|time| time.and_utc()));
    time.map(Some).map_err(|_| format!("the time {text} cannot be read"))
}

/// The arguments of the original's tasks: a model and a configuration, by place or by name.
fn job(run: &str, task: &str, body: &Value, priority: u64) -> Result<Job, String> {
    let kind = JobKind::ALL
        .into_iter()
        .find(|kind| kind.task() == task)
        .ok_or_else(|| {
            format!(
                "there is no task {task} here; there are {} and {}",
                JobKind::Train.task(),
                JobKind::Evaluate.task()
            )
        })?;
    let argument = |place: usize, name: &str| {
        let named = &body[1][name];
        if named.is_null() {
            body[0][place].clone()
        } else {
            named.clone()
        }
    };
    let model = argument(0, "model_id");
    let model = model.as_i64().or_else(|| model.as_str()?.parse().ok()).ok_or_else(|| {
        format!("{task} was called with the model {model}; it takes a model's number and a configuration")
    })?;
    let config = match argument(1, "config") {
        Value::String(text) => {
            serde_json::from_str(&text).map_err(|error| format!("the configuration is a text and no JSON: {error}"))?
        }
        config => config,
    };
    if !(config.is_object() || config.is_null()) {
        return Err(format!(
            "the configuration is {config}; it has to be an object with training_dataset and training_parameters"
        ));
    }
    Ok(Job {
        run: run.to_owned(),
        kind,
        model,
        config,
        priority: u8::try_from(priority.min(9)).unwrap_or(9),
    })
}

/// Where a result lies, and the channel on which it is told.
pub fn result_key(run: &str) -> String {
    format!("celery-task-meta-{run}")
}

fn meta(run: &str, status: &str, result: Value, traceback: Option<&str>, over: bool) -> Value {
    json!({
        "status": status,
        "result": result,
        "traceback": traceback,
        "children": [],
        "date_done": over.then(|| Utc::now().to_rfc3339_opts(SecondsFormat::Micros, false)),
        "task_id": run,
    })
}

/// What is known of a job that goes on.
pub fn progress(run: &str, progress: &Value) -> Value {
    meta(run, "PROGRESS", progress.clone(), None, false)
}

/// What came of a job.
pub fn result(run: &str, outcome: &Outcome) -> Value {
    let exception = |kind: &str, message: &str, module: &str| json!({"exc_type": kind, "exc_message": [message], "exc_module": module});
    match outcome {
        Outcome::Done(result) => meta(run, "SUCCESS", result.clone(), None, true),
        Outcome::Failed(error) | Outcome::GivenUp(error) => {
            let message = error.lines().next().unwrap_or_default();
            meta(
                run,
                "FAILURE",
                exception("RuntimeError", message, "builtins"),
                Some(error),
                true,
            )
        }
        Outcome::Stopped => meta(
            run,
            "REVOKED",
            exception("TaskRevokedError", "terminated", "celery.exceptions"),
            None,
            true,
        ),
    }
}

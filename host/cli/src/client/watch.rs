//! Watching a training until its end, over lost connections: the stream goes on after the event that was seen last, and
//! how it ended is what the run's row says.

use super::api::{Model, Run};
use super::http::{Client, escaped, is_passing};
use super::screen::Screen;
use super::sse::Events;
use super::text;
use crate::failure::{Failure, Result};
use crate::output;
use serde::Deserialize;
use serde_json::{Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};
use trainyard_parameters::one_line;

/// The waits before the server is tried again, and how long it may be away.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(600);

/// Shows a training until its end, and how it ended. Ctrl-C ends the watching, not the training.
pub fn watch(client: &Client, model: &Model, run: &str, screen: &mut Screen) -> Result<()> {
    detach_on_interrupt(model.id, screen);
    let outcome = follow(client, model.id, run, screen);
    screen.finish();
    finish(client, model, &outcome?, screen)
}

/// Passes on what happens until the run is over.
fn follow(client: &Client, model: i64, run: &str, screen: &mut Screen) -> Result<Run> {
    let path = format!("/models/{model}/logs/stream");
    let mut last_id: Option<String> = None;
    let (mut wait, mut heard) = (FIRST_WAIT, Instant::now());
    loop {
        let reason = match client.stream(&path, last_id.as_deref()) {
            Ok(stream) => {
                let mut events = Events::new(stream);
                let reason = loop {
                    match events.next() {
                        Some(Ok(event)) => {
                            (wait, heard) = (FIRST_WAIT, Instant::now());
                            show(&event.name, &event.data, run, screen);
                        }
                        Some(Err(error)) => {
                            break format!("the connection was lost ({})", one_line(&error.to_string()));
                        }
                        None => break "the stream ended".to_owned(),
                    }
                };
                if let Some(id) = events.last_id() {
                    last_id = Some(id.to_owned());
                }
                reason
            }
            Err(Failure::Unreachable { reason, .. }) => format!("the server is away ({reason})"),
            Err(failure) if is_passing(&failure) => failure.to_string(),
            Err(failure) => return Err(failure),
        };
        // Events may get lost. The row does not.
        match client.get::<Run>(&format!("/models/{model}/runs/{}", escaped(run)), &[]) {
            Ok(row) if row.is_over() => return Ok(row),
            Ok(_) => heard = Instant::now(),
            Err(failure) if is_away(&failure) && heard.elapsed() < PATIENCE => {}
            Err(failure) => return Err(failure),
        }
        screen.lost(&reason, wait);
        sleep(wait);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn is_away(failure: &Failure) -> bool {
    is_passing(failure) || matches!(failure, Failure::Unreachable { .. })
}

/// Shows an event, unless it is about another run.
fn show(name: &str, data: &str, run: &str, screen: &mut Screen) {
    let Ok(data) = serde_json::from_str::<Value>(data) else {
        return;
    };
    if data
        .get("run_id")
        .and_then(Value::as_str)
        .is_some_and(|other| other != run)
    {
        return;
    }
    screen.event(if name == "message" { "log" } else { name }, &data);
}

/// Says how it ended: figures, or why there are none.
fn finish(client: &Client, model: &Model, run: &Run, screen: &Screen) -> Result<()> {
    match run.state.as_str() {
        "TRAINED" => {}
        "CANCELLED" => {
            return Err(Failure::Training {
                code: "cancelled".into(),
                message: format!("run {} of model {} was stopped", one_line(&run.id), model.id),
                log: Vec::new(),
            });
        }
        _ => return Err(explained(run.error_log.as_deref().unwrap_or_default())),
    }
    let seconds = run.resource_usage.as_ref().map(|usage| usage.duration_seconds);
    if screen.is_json() {
        output::print_json(&json!({
            "event": "result",
            "model": model.id,
            "run_id": run.id,
            "status": run.state,
            "metrics": run.metrics,
            "seconds": seconds,
        }));
        return Ok(());
    }
    output::print(&figures(&figures_of(client, run)));
    let took = seconds
        .map(|seconds| format!(" in {}", text::seconds(seconds)))
        .unwrap_or_default();
    let memory = run
        .resource_usage
        .as_ref()
        .map(|usage| format!(", at most {:.0} MiB", usage.memory_mb));
    output::print(&format!(
        "{}{took}{}",
        one_line(&run.plugin),
        memory.unwrap_or_default()
    ));
    output::print(&format!(
        "use it: trainyard predict {} --data FILE   more: trainyard report {}",
        model.id, model.id
    ));
    Ok(())
}

/// A figure on the test rows, with what the plugin says of it.
#[derive(Deserialize)]
pub struct Figure {
    name: String,
    value: Value,
    summary: Option<String>,
    maximize: Option<bool>,
}

/// A table of the figures on the test rows.
pub fn figures(figures: &[Figure]) -> String {
    let mut table = text::table(["test metric", "value", ""]);
    for figure in figures {
        let larger = if figure.maximize == Some(true) {
            " (larger is better)"
        } else {
            ""
        };
        let about = format!("{}{larger}", figure.summary.as_deref().unwrap_or_default());
        table.add_row([one_line(&figure.name), text::figure(&figure.value), one_line(&about)]);
    }
    text::right(&mut table, 1);
    table.to_string()
}

/// The figures of a run. The words of the plugin are in its report; they are worth a request, not a failure.
fn figures_of(client: &Client, run: &Run) -> Vec<Figure> {
    #[derive(Deserialize)]
    struct Report {
        metrics: Vec<Figure>,
    }
    let bare = |(name, value): (&String, &Value)| Figure {
        name: name.clone(),
        value: value.clone(),
        summary: None,
        maximize: None,
    };
    match client.get::<Report>(&format!("/models/{}/report", run.model_id), &[("run", &run.id)]) {
        Ok(report) => report.metrics,
        Err(_) => run.metrics.iter().map(bare).collect(),
    }
}

/// A run's `error_log` (`code: message`, then lines of its log) as a failure.
fn explained(error_log: &str) -> Failure {
    let mut lines = error_log.lines();
    let first = lines.next().unwrap_or("the training failed; it is not said why");
    let is_code = |code: &str| !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b"-.".contains(&b));
    let (code, message) = first
        .split_once(": ")
        .filter(|(code, _)| is_code(code))
        .unwrap_or(("algorithm", first));
    Failure::Training {
        code: code.to_owned(),
        message: one_line(message),
        // The line between says that lines of the log follow.
        log: lines.skip(1).map(|line| one_line(line.trim_start())).collect(),
    }
}

fn detach_on_interrupt(model: i64, screen: &Screen) {
    let bar = screen.bar();
    // It can only fail when a handler is installed already, and no other command installs one.
    let _ = ctrlc::set_handler(move || {
        // While it is suspended, nothing else draws it again.
        bar.suspend(|| {
            eprintln!("the training goes on\n  watch it again: trainyard logs {model} --follow\n  stop it:        trainyard stop {model}");
            std::process::exit(130)
        })
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_log_is_taken_apart() {
        let failure = explained("time-limit: the job was killed\nlast lines of the log:\n  epoch 1\n  epoch 2");
        assert_eq!(failure.code(), "time-limit");
        assert_eq!(failure.to_string(), "the job was killed");
        assert_eq!(failure.log(), ["epoch 1", "epoch 2"]);
        let failure = explained("Something else: went wrong");
        assert_eq!(
            (failure.code(), failure.to_string().as_str()),
            ("algorithm", "Something else: went wrong")
        );
        assert!(!explained("").to_string().is_empty());
    }
}

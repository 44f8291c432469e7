//! How a training on a server is shown while it goes on: a bar under the lines of its log, those lines alone, or JSON.

use super::api::Usage;
use super::text;
use crate::output;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use trainyard_parameters::one_line;

/// A way to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For a person at a terminal.
    Bar,
    /// The lines of the log, for other programs that read lines.
    Lines,
    /// Every event, one object a line.
    Json,
}

/// Shows what happens, as it happens.
pub struct Screen {
    style: Style,
    bar: ProgressBar,
    status: String,
    attempt: f64,
    metrics: String,
    /// What is done before there are metrics.
    loading: Option<String>,
    left: Option<f64>,
    memory: Option<f64>,
    card: Option<String>,
}

impl Screen {
    pub fn new(style: Style) -> Self {
        let bar = match style {
            Style::Bar => output::bar(1000),
            Style::Lines | Style::Json => ProgressBar::hidden(),
        };
        Screen {
            style,
            bar,
            status: "PENDING".into(),
            attempt: 1.0,
            metrics: String::new(),
            loading: None,
            left: None,
            memory: None,
            card: None,
        }
    }

    /// The bar, for whoever has to take it away in a hurry.
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    pub fn is_json(&self) -> bool {
        self.style == Style::Json
    }

    /// A word to the person.
    pub fn say(&self, text: &str) {
        if !self.is_json() {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }

    /// Something that happened, as the server says it.
    pub fn event(&mut self, name: &str, data: &Value) {
        if self.is_json() {
            let mut object = Map::from_iter([("event".to_owned(), json!(name))]);
            object.extend(data.as_object().cloned().unwrap_or_default());
            output::print_json(&Value::Object(object));
            return;
        }
        let number = |name: &str| data.get(name).and_then(Value::as_f64);
        match name {
            "log" => self.line(data),
            "gap" => self.say("some lines got lost; the whole log comes with `trainyard logs`"),
            "status" => {
                let status = text::value(&data["status"]);
                if let Some(attempt) = number("attempt").filter(|attempt| *attempt > self.attempt) {
                    self.attempt = attempt;
                    self.say(&format!("attempt {attempt}: it goes on from its last checkpoint"));
                }
                self.status = status;
                self.loading = None;
                self.position(number("progress"));
            }
            "progress" => {
                if let Some(metrics) = data.get("metrics").and_then(Value::as_object).filter(|m| !m.is_empty()) {
                    self.metrics = text::figures(metrics, 4);
                }
                // Before the plugin has steps, rows are counted.
                self.loading = (self.status == "PREPARING").then(|| loading(data)).flatten();
                self.left = number("seconds_left");
                self.position(number("progress"));
            }
            "usage" => {
                self.memory = number("memory_mb");
                self.card = Usage::deserialize(data).ok().and_then(|usage| usage.card());
                self.position(None);
            }
            _ => {}
        }
    }

    fn line(&self, data: &Value) {
        let level = data["level"].as_str().unwrap_or("INFO");
        if self.style == Style::Bar && level == "DEBUG" {
            return;
        }
        let line = log_line(data);
        self.bar.suspend(|| output::print(&line));
    }

    fn position(&self, progress: Option<f64>) {
        if let Some(progress) = progress {
            self.bar.set_position((progress.clamp(0.0, 100.0) * 10.0) as u64);
        }
        let mut parts = vec![self.status.clone()];
        parts.extend(self.loading.clone());
        parts.extend(Some(self.metrics.clone()).filter(|metrics| !metrics.is_empty()));
        parts.extend(self.memory.map(|memory| format!("{memory:.0} MiB")));
        parts.extend(self.card.clone());
        parts.extend(self.left.map(|left| format!("{} left", text::seconds(left))));
        self.bar.set_message(parts.join("  "));
    }

    /// The connection is lost, and will be tried again.
    pub fn lost(&self, reason: &str, wait: Duration) {
        if self.is_json() {
            output::print_json(&json!({"event": "reconnecting", "reason": reason, "seconds": wait.as_secs_f64()}));
        } else {
            self.say(&format!("{reason}; trying again in {}", output::duration(wait)));
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// How many rows are there, of those that are to come.
fn loading(data: &Value) -> Option<String> {
    let (current, total) = (data["current"].as_u64()?, data["total"].as_u64()?);
    (total > 0).then(|| format!("loading {} of {} rows", text::count(current), text::count(total)))
}

/// A line of a log: its time, its level where it matters, its words.
pub fn log_line(data: &Value) -> String {
    let time = text::time(data["timestamp"].as_str().unwrap_or_default());
    let message = one_line(data["message"].as_str().unwrap_or_default());
    match data["level"].as_str().unwrap_or("INFO") {
        "INFO" => format!("{time}  {message}"),
        level => format!("{time}  {} {message}", one_line(level)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_and_what_is_wrong() {
        let line =
            |level: &str| log_line(&json!({"timestamp": "2026-01-31T12:05:09.1Z", "level": level, "message": "a\nb"}));
        assert_eq!(line("INFO"), "2026-01-31 12:05:09  a b");
        assert_eq!(line("WARNING"), "2026-01-31 12:05:09  WARNING a b");
    }

    #[test]
    fn rows_are_counted_until_the_plugin_has_steps() {
        let mut screen = Screen::new(Style::Lines);
        screen.event("status", &json!({"status": "PREPARING", "progress": 0.0, "attempt": 1}));
        let rows = json!({"progress": 0.48, "current": 1_200_000, "total": 5_000_000, "metrics": {}});
        screen.event("progress", &rows);
        assert_eq!(screen.bar.message(), "PREPARING  loading 1,200,000 of 5,000,000 rows");
        screen.event("status", &json!({"status": "TRAINING", "progress": 5.0, "attempt": 1}));
        screen.event(
            "progress",
            &json!({"progress": 6.0, "current": 1, "total": 100, "metrics": {}}),
        );
        assert_eq!(screen.bar.message(), "TRAINING");
    }

    #[test]
    fn the_bar_says_state_figures_memory_and_time() {
        let mut screen = Screen::new(Style::Lines);
        screen.event("status", &json!({"status": "TRAINING", "progress": 5.0, "attempt": 1}));
        screen.event("usage", &json!({"memory_mb": 80.4}));
        screen.event(
            "progress",
            &json!({"progress": 43.0, "metrics": {"loss": 0.34123}, "seconds_left": 5.14}),
        );
        assert_eq!(screen.bar.message(), "TRAINING  loss 0.3412  80 MiB  5.1 s left");
        assert_eq!(screen.bar.position(), 430);
    }

    #[test]
    fn the_bar_says_what_a_card_does() {
        let mut screen = Screen::new(Style::Lines);
        screen.event("status", &json!({"status": "TRAINING", "progress": 5.0, "attempt": 1}));
        let mut usage = json!({"cpu_percent": 1.0, "memory_mb": 80.4, "gpu_util": 62.4, "duration_seconds": 1.0,
            "device": "cuda:1", "gpu_memory_mb": 900.2, "gpu_temperature_c": 51.0, "gpu_power_w": 200.0});
        screen.event("usage", &usage);
        assert_eq!(
            screen.bar.message(),
            "TRAINING  80 MiB  cuda:1 62 %, 900 MiB, 51 °C, 200 W"
        );
        usage["device"] = json!("cpu");
        screen.event("usage", &usage);
        assert_eq!(screen.bar.message(), "TRAINING  80 MiB");
    }
}

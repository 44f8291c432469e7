//! How a run is shown: a bar that moves, plain lines where there is no terminal, or JSON.

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};
use trainyard_sandbox::{Event, Level};

/// Text for a person.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever reads may have gone away, as `head` does.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// One object, one line.
pub fn print_json(value: &Value) {
    let mut out = std::io::stdout().lock();
    // Whoever reads may have gone away; there is no one left to tell.
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}

/// Numbers by name, as a JSON object.
pub fn metrics_json(metrics: &[(String, f64)]) -> Value {
    metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect()
}

/// A bar that moves, with so many steps, a percentage and a message.
pub fn bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style.progress_chars("━━╌"));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A constant that a test renders.
const BAR: &str = "{bar:32.cyan/blue} {percent:>3} %  {msg}";

enum Style {
    Bar(ProgressBar),
    Plain,
    Json,
}

/// Shows what happens, as it happens.
pub struct Display {
    style: Style,
    start: Instant,
    last_line: Instant,
    steps: u64,
}

/// How often a line of progress appears where no bar can move.
const PLAIN_EVERY: Duration = Duration::from_secs(2);
/// How often progress is written as JSON.
const JSON_EVERY: Duration = Duration::from_millis(100);

impl Display {
    pub fn new(json: bool) -> Self {
        let style = match (json, std::io::stderr().is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Bar(bar(1000)),
            (false, false) => Style::Plain,
        };
        let now = Instant::now();
        Display {
            style,
            start: now,
            last_line: now.checked_sub(PLAIN_EVERY).unwrap_or(now),
            steps: 0,
        }
    }

    /// A word to the person, between other things.
    pub fn say(&self, text: &str) {
        match &self.style {
            Style::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Style::Plain => eprintln!("{text}"),
            Style::Json => {}
        }
    }

    pub fn warn(&self, text: &str) {
        match &self.style {
            Style::Json => print_json(&json!({"event": "warning", "message": text})),
            _ => self.say(&format!("warning: {text}")),
        }
    }

    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Progress {
                current,
                total,
                fraction,
                metrics,
            } => self.progress(*current, *total, *fraction, metrics),
            Event::Log { level, message } => self.log(*level, message),
            Event::LogDropped { lines } => self.warn(&format!("{lines} log lines were dropped: too many in a second")),
            Event::Checkpoint(_) => {}
        }
    }

    fn log(&self, level: Level, message: &str) {
        match (&self.style, level) {
            (Style::Json, _) => print_json(&json!({"event": "log", "level": level, "message": message})),
            (_, Level::Debug) => {}
            (_, Level::Info) => self.say(message),
            (_, Level::Warn) => self.say(&format!("warning: {message}")),
            (_, Level::Error) => self.say(&format!("plugin error: {message}")),
        }
    }

    fn progress(&mut self, current: u32, total: u32, fraction: f64, metrics: &[(String, f64)]) {
        self.steps += 1;
        let passed = self.start.elapsed();
        let left = (fraction > 0.0).then(|| passed.mul_f64((1.0 - fraction) / fraction));
        let done = current >= total;
        match &self.style {
            Style::Bar(bar) => {
                bar.set_position((fraction * 1000.0) as u64);
                bar.set_message(message(metrics, left));
            }
            Style::Plain if done || self.last_line.elapsed() >= PLAIN_EVERY => {
                self.last_line = Instant::now();
                eprintln!("{:>5.1} %  {}", 100.0 * fraction, message(metrics, left));
            }
            Style::Json if done || !metrics.is_empty() || self.last_line.elapsed() >= JSON_EVERY => {
                self.last_line = Instant::now();
                print_json(&json!({
                    "event": "progress",
                    "current": current,
                    "total": total,
                    "fraction": fraction,
                    "metrics": metrics_json(metrics),
                    "seconds": passed.as_secs_f64(),
                    "seconds_left": left.map(|d| d.as_secs_f64()),
                }));
            }
            Style::Plain | Style::Json => {}
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Style::Bar(bar) = &self.style {
            bar.finish_and_clear();
        }
    }
}

fn message(metrics: &[(String, f64)], left: Option<Duration>) -> String {
    let mut parts: Vec<String> = metrics
        .iter()
        .take(4)
        .map(|(name, value)| format!("{name} {}", number(*value)))
        .collect();
    if let Some(left) = left {
        parts.push(format!("{} left", duration(left)));
    }
    parts.join("  ")
}

/// Four digits that count.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e5).contains(&size) {
        let digits = if size >= 1000.0 {
            1
        } else if size >= 10.0 {
            3
        } else {
            4
        };
        format!("{value:.digits$}")
    } else {
        format!("{value:.3e}")
    }
}

/// `1 h 02 min`, `3 min 05 s`, `4.2 s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(number(0.37512), "0.3751");
        assert_eq!(number(12.3456), "12.346");
        assert_eq!(number(1.5e-7), "1.500e-7");
        assert_eq!(number(0.0), "0.0000");
        assert_eq!(duration(Duration::from_millis(4230)), "4.2 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(duration(Duration::from_secs(3720)), "1 h 02 min");
    }

    #[test]
    fn the_bar_template_is_valid() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}

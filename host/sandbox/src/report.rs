//! What a running plugin tells the world: progress, checkpoints, and a log that it cannot flood.

use crate::limits::Limits;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use trainyard_kernels::Tensor;
use trainyard_parameters::one_line;

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// For whoever watches.
    Info,
    /// Something that may be wrong.
    Warn,
    /// Something that is wrong.
    Error,
}

/// What an algorithm needs to go on after an interruption.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Named tensors.
    pub tensors: Vec<(String, Tensor)>,
    /// A text of the algorithm's own.
    pub note: String,
}

/// Something that a plugin told, in the order of its telling. The plugin waits until the event is dealt with.
#[derive(Debug)]
pub enum Event {
    /// Steps that are done.
    Progress {
        /// Steps done.
        current: u32,
        /// Steps in all.
        total: u32,
        /// The same, from 0 to 1.
        fraction: f64,
        /// Named finite numbers, such as a loss.
        metrics: Vec<(String, f64)>,
    },
    /// One line for the log, without line breaks or control characters.
    Log {
        /// How much it matters.
        level: Level,
        /// The line.
        message: String,
    },
    /// Lines that were dropped, because there were too many in a second.
    LogDropped {
        /// How many.
        lines: u64,
    },
    /// A checkpoint, to be stored in place of an earlier one. The plugin may change the tensors as soon as the event has
    /// been dealt with.
    Checkpoint(Checkpoint),
}

/// Lines that an error can quote.
const REMEMBERED: usize = 20;

/// Where a plugin's events go. A clone is the same place.
#[derive(Clone)]
pub(crate) struct Reporter(Arc<Mutex<Inner>>);

struct Inner {
    sink: Box<dyn FnMut(Event) + Send>,
    lines_per_second: u32,
    line_bytes: usize,
    second: Instant,
    lines: u32,
    dropped: u64,
    last: VecDeque<String>,
    last_error: Option<String>,
}

impl Reporter {
    pub(crate) fn new(limits: &Limits, sink: impl FnMut(Event) + Send + 'static) -> Self {
        Reporter(Arc::new(Mutex::new(Inner {
            sink: Box::new(sink),
            lines_per_second: limits.log_lines_per_second,
            line_bytes: limits.log_line_bytes,
            second: Instant::now(),
            lines: 0,
            dropped: 0,
            last: VecDeque::new(),
            last_error: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Only the sink can panic here, and nothing is half-changed then.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn event(&self, event: Event) {
        (self.lock().sink)(event);
    }

    /// Logs a text, which may have several lines.
    pub(crate) fn log(&self, level: Level, text: &str) {
        let mut inner = self.lock();
        // What was said last counts: an error in several lines, or else the last line of any text.
        inner.last_error = (level >= Level::Warn).then(|| match level {
            Level::Error => one_line(text),
            _ => one_line(text.trim_end().rsplit('\n').next().unwrap_or_default()),
        });
        // However many lines a text has, no more can be shown than a second allows.
        let shown = inner.lines_per_second as usize + 1;
        for line in text.trim_end_matches(['\n', '\r']).split('\n').take(shown) {
            inner.line(level, line);
        }
        let more = text.bytes().filter(|&b| b == b'\n').count().saturating_sub(shown);
        inner.dropped += more as u64;
    }

    /// Reports the lines that were dropped since the last report.
    pub(crate) fn flush(&self) {
        self.lock().report_dropped();
    }

    /// The lines logged last, the newest last.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.lock().last.iter().cloned().collect()
    }

    /// What the plugin logged last, if it was an error or a warning: mostly the message of a panic.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.lock().last_error.clone().filter(|text| !text.is_empty())
    }
}

impl Inner {
    fn line(&mut self, level: Level, line: &str) {
        let message = clean(line, self.line_bytes);
        // A line is remembered even when it is not shown: it may be the plugin's last words.
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(message.clone());
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.report_dropped();
            self.second = Instant::now();
            self.lines = 0;
        }
        if self.lines >= self.lines_per_second {
            self.dropped += 1;
            return;
        }
        self.lines += 1;
        (self.sink)(Event::Log { level, message });
    }

    fn report_dropped(&mut self) {
        let lines = std::mem::take(&mut self.dropped);
        if lines > 0 {
            (self.sink)(Event::LogDropped { lines });
        }
    }
}

/// A line cut to a number of bytes, without anything that a terminal would obey.
fn clean(line: &str, most: usize) -> String {
    let mut end = line.len().min(most);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let mut clean: String = line[..end]
        .trim_end_matches('\r')
        .chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect();
    if end < line.len() {
        clean.push_str(&format!(" … (cut, {} bytes)", line.len()));
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reporter(limits: Limits) -> (Reporter, Arc<Mutex<Vec<Event>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        let reporter = Reporter::new(&limits, move |event| sink.lock().unwrap().push(event));
        (reporter, events)
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let (reporter, events) = reporter(Limits {
            log_lines_per_second: 10,
            ..Limits::default()
        });
        for i in 0..1000 {
            reporter.log(Level::Info, &format!("line {i}"));
        }
        reporter.flush();
        let events = events.lock().unwrap();
        let shown = events.iter().filter(|e| matches!(e, Event::Log { .. })).count() as u64;
        let dropped: u64 = events
            .iter()
            .map(|e| match e {
                Event::LogDropped { lines } => *lines,
                _ => 0,
            })
            .sum();
        assert_eq!(shown + dropped, 1000);
        assert!(shown <= 20, "{shown}");
        assert_eq!(reporter.last_lines().last().unwrap(), "line 999");
    }

    #[test]
    fn a_line_is_cut_and_cleaned_and_a_text_is_split() {
        let (reporter, events) = reporter(Limits {
            log_line_bytes: 8,
            ..Limits::default()
        });
        reporter.log(Level::Warn, "a\x1b[2Jb\ttoo long\nö\r\n");
        let lines: Vec<_> = events
            .lock()
            .unwrap()
            .iter()
            .map(|e| match e {
                Event::Log { message, .. } => message.clone(),
                _ => String::new(),
            })
            .collect();
        assert_eq!(lines, ["a\u{fffd}[2Jb t … (cut, 15 bytes)", "ö"]);
        assert_eq!(clean("äöü", 3), "ä … (cut, 6 bytes)");
    }
}

//! What is told live about a run.

use crate::{ResourceUsage, RunId, RunState, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// For whoever looks for a fault.
    Debug,
    /// For whoever watches.
    Info,
    /// Something that may be wrong.
    Warning,
    /// Something that is wrong.
    Error,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// One line of the log; written as the original writes it.
    Log {
        /// When.
        timestamp: Timestamp,
        /// How much it matters.
        level: LogLevel,
        /// The line.
        message: String,
    },
    /// The run's state changed.
    Status {
        /// To what.
        status: RunState,
        /// 0 to 100.
        progress: f64,
        /// Times that a worker took the run.
        attempt: u32,
    },
    /// The plugin went on.
    Progress {
        /// When the plugin said so.
        timestamp: Timestamp,
        /// 0 to 100.
        progress: f64,
        /// The plugin's steps done.
        current: u64,
        /// The plugin's steps in all.
        total: u64,
        /// Named finite numbers, such as `loss`.
        metrics: Map<String, Value>,
        /// Seconds that are left, as far as one can tell.
        seconds_left: Option<f64>,
    },
    /// What the run uses right now.
    Usage(ResourceUsage),
    /// The run is over; nothing follows until the next one.
    End {
        /// How it ended.
        status: RunState,
        /// Why, where it ended badly.
        error: Option<String>,
    },
}

impl Event {
    /// The name that a live stream gives it. Log lines have none: they are what the original's clients wait for.
    pub const fn name(&self) -> Option<&'static str> {
        match self {
            Event::Log { .. } => None,
            Event::Status { .. } => Some("status"),
            Event::Progress { .. } => Some("progress"),
            Event::Usage(_) => Some("usage"),
            Event::End { .. } => Some("end"),
        }
    }
}

/// An event in a model's feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Only grows, within a model, over restarts too; fits a JavaScript number.
    pub number: u64,
    /// The run that it is about.
    pub run_id: RunId,
    /// What happened.
    pub event: Event,
}

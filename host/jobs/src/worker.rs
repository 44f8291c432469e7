//! Workers, as they say of themselves.

use crate::{RunId, Timestamp};
use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A worker that has said nothing for so long is taken for dead.
const SILENCE: TimeDelta = TimeDelta::seconds(15);

/// What a worker says of itself. A newer or older worker may say more or less.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerDetails {
    /// Its machine.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// The version of Trainyard.
    pub version: String,
    /// The queues that it serves.
    pub queues: Vec<String>,
    /// What it has, for jobs that ask for it.
    pub labels: Vec<String>,
    /// Jobs that it does at once.
    pub slots: usize,
    /// The jobs that it does now.
    pub running: Vec<RunId>,
    /// The machine's load over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// The machine's cores.
    pub cores: usize,
    /// MiB of the machine's memory that could still be used.
    pub memory_free_mb: u64,
    /// It takes no more jobs and ends when those it has are done.
    pub draining: bool,
    /// When it started.
    pub started_at: Timestamp,
    /// Its cards, whether they work or not.
    pub cards: Vec<CardDetails>,
}

/// What a worker says of one of its cards. What nobody tells is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CardDetails {
    /// Its number: `cuda:N`.
    pub index: u32,
    /// What its maker calls it.
    pub name: Option<String>,
    /// Whether jobs can use it.
    pub healthy: bool,
    /// Why not.
    pub problem: Option<String>,
    /// MiB of its memory.
    pub memory_mb: Option<u64>,
    /// MiB that the jobs on it were promised.
    pub promised_mb: u64,
    /// MiB that are in use, by whomever.
    pub memory_used_mb: Option<u64>,
    /// Percent of the time that it computes.
    pub utilization: Option<f64>,
    /// Degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Watts that it takes.
    pub power_w: Option<f64>,
    /// The jobs that are on it.
    pub running: Vec<RunId>,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkerRow {
    /// Its name.
    pub name: String,
    /// When it last said something.
    pub seen_at: Timestamp,
    /// What it said.
    #[serde(flatten)]
    pub details: WorkerDetails,
}

impl WorkerRow {
    /// Whether it has been heard of lately.
    pub fn is_alive(&self) -> bool {
        Utc::now() - self.seen_at < SILENCE
    }

    /// Whether it could take a job of a queue that asks for labels.
    pub fn can_take(&self, queue: &str, labels: &[String]) -> bool {
        self.is_alive()
            && !self.details.draining
            && self.details.queues.iter().any(|served| served == queue)
            && labels.iter().all(|label| self.details.labels.contains(label))
    }
}

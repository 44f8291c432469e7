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

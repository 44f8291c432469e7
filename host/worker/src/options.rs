//! What an operator can set.

use crate::cards::Devices;
use std::path::PathBuf;
use std::time::Duration;
use trainyard_jobs::JobKind;
use trainyard_jobs::machine::host;
use trainyard_jobs::submission::Allowance;

/// How a worker works. Folders are made when they are missing.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// How it is called in rows and logs; unique among running workers.
    pub name: String,
    /// The program whose subcommand `runner` is a runner: this one.
    pub program: PathBuf,
    /// Trainings at once; at most as many as cores is sensible.
    pub slots: usize,
    /// Threads that compute, for each training. The result does not depend on it.
    pub threads: usize,
    /// The queues to serve.
    pub queues: Vec<String>,
    /// What this worker has, for jobs that ask for it.
    pub labels: Vec<String>,
    /// The cards that jobs may use.
    pub devices: Devices,
    /// How often a card that nothing runs on is checked.
    pub card_check: Duration,
    /// How long a card's driver may take to answer.
    pub card_patience: Duration,
    /// What trainings that come through the queue alone may ask for.
    pub allowance: Allowance,
    /// How long a job stays ours without a word from us.
    pub lease: Duration,
    /// How often we give that word.
    pub renew: Duration,
    /// Runners kept ready, so that a start takes milliseconds.
    pub warm: usize,
    /// Work that somebody waits for (predictions, inspections) at once.
    pub compute_slots: usize,
    /// Models kept open for predictions.
    pub open_models: usize,
    /// How long an open model that nobody asks stays open.
    pub open_idle: Duration,
    /// How long a prediction or an inspection may take.
    pub compute_time: Duration,
    /// MiB that a runner may hold for a prediction or an inspection.
    pub compute_memory_mb: u64,
    /// Bytes of a job's full log; what follows is cut off with a word about it.
    pub log_bytes: u64,
    /// How long a job may go on when the worker shuts down, to reach its next checkpoint.
    pub drain: Duration,
    /// Folders from which `"source": "file"` may read.
    pub data_roots: Vec<PathBuf>,
    /// Where runners and jobs have their folders.
    pub scratch: PathBuf,
    /// Where compiled plugins are kept.
    pub code: PathBuf,
    /// The file of the Python engine; without one, plugins of Python source are refused.
    pub python_engine: Option<PathBuf>,
}

impl WorkerOptions {
    /// The defaults, with everything below one folder.
    pub fn new(program: PathBuf, folder: &std::path::Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        WorkerOptions {
            name: format!("worker-{}@{}", std::process::id(), host()),
            program,
            slots: cores,
            threads: 1,
            queues: JobKind::ALL.map(|kind| kind.queue().to_owned()).to_vec(),
            labels: Vec::new(),
            devices: Devices::Auto,
            card_check: Duration::from_secs(30),
            card_patience: Duration::from_secs(60),
            allowance: Allowance::default(),
            lease: Duration::from_secs(5),
            renew: Duration::from_secs(2),
            warm: 2,
            compute_slots: cores.max(2),
            open_models: 4,
            open_idle: Duration::from_secs(300),
            compute_time: Duration::from_secs(60),
            compute_memory_mb: 2048,
            log_bytes: 256 << 20,
            drain: Duration::from_secs(10),
            data_roots: Vec::new(),
            scratch: folder.join("scratch"),
            code: folder.join("code"),
            python_engine: None,
        }
    }
}

//! The job: log, progress, stop, seed, checkpoints.
//!
//! [`Epochs`](crate::Epochs) does all of it but the log by itself; these functions are for algorithms with a loop of their own.

use crate::bindings::run as raw;
use crate::error::Result;
use crate::shape::count;
use crate::tensor::Tensor;

pub use raw::{Level, Metric};

impl Metric {
    /// A named number.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }
}

/// Tells that `current` of `total` steps are done, with finite metrics under names that repeat from call to call.
///
/// ```no_run
/// # use trainyard_sdk::{run, Result};
/// # fn example(loss: f64) -> Result<()> {
/// run::progress(3, 10, &[("loss", loss)])
/// # }
/// ```
pub fn progress(current: usize, total: usize, metrics: &[(&str, f64)]) -> Result<()> {
    let metrics: Vec<Metric> = metrics.iter().map(|&(name, value)| Metric::new(name, value)).collect();
    raw::progress(count(current), count(total), &metrics)
}

/// Writes one line into the job's log; usually through [`debug!`](crate::debug), [`info!`](crate::info),
/// [`warn!`](crate::warn) and [`error!`](crate::error). Too long lines are cut, too many a second are dropped and counted.
pub fn log(level: Level, message: &str) {
    raw::log(level, message);
}

/// The job's seed. Random tensors and shuffling follow from it already.
pub fn seed() -> u32 {
    raw::seed()
}

/// The job's device, for example `cpu` or `cuda:0`.
pub fn device() -> String {
    raw::device()
}

/// Whether someone asked the job to stop: return what is trained so far.
pub fn should_stop() -> bool {
    raw::should_stop()
}

/// Stores what the algorithm needs to go on after an interruption; replaces an earlier checkpoint. The note is text of
/// the algorithm's own.
pub fn checkpoint(tensors: &[(String, Tensor)], note: &str) -> Result<()> {
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.raw()))
        .collect();
    raw::checkpoint(&tensors, note)
}

/// What [`checkpoint`] stored.
#[derive(Clone, Debug)]
pub struct SavedCheckpoint {
    /// By name.
    pub tensors: Vec<(String, Tensor)>,
    /// The text that was stored with them.
    pub note: String,
}

/// The checkpoint of an earlier, interrupted attempt at this job.
pub fn resume() -> Result<Option<SavedCheckpoint>> {
    Ok(raw::resume()?.map(|saved| SavedCheckpoint {
        tensors: saved
            .tensors
            .into_iter()
            .map(|(name, raw)| (name, Tensor::from_raw(raw)))
            .collect(),
        note: saved.note,
    }))
}

/// Writes a line of details into the job's log; the arguments are those of [`format!`].
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::run::log($crate::run::Level::Debug, &::std::format!($($message)+)) };
}

/// Writes a line into the job's log; the arguments are those of [`format!`].
///
/// ```no_run
/// # let rank = 3;
/// trainyard_sdk::info!("the design matrix has rank {rank}");
/// ```
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::run::log($crate::run::Level::Info, &::std::format!($($message)+)) };
}

/// Writes a warning into the job's log; the arguments are those of [`format!`].
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::run::log($crate::run::Level::Warn, &::std::format!($($message)+)) };
}

/// Writes an error into the job's log; the arguments are those of [`format!`]. It does not end the job: return an
/// [`Error`](crate::Error) for that.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::run::log($crate::run::Level::Error, &::std::format!($($message)+)) };
}

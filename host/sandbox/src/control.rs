//! How a running job is stopped from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use trainyard_kernels::Cancel;

/// Stops one job. A clone stops the same job.
#[derive(Debug, Clone, Default)]
pub struct Control {
    cancel: Cancel,
    stop: Arc<AtomicBool>,
    expired: Arc<AtomicBool>,
}

impl Control {
    /// Nobody wants to stop yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the plugin to come to an end by itself, with what it has trained so far.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Ends the job at once, whatever the plugin is doing. Nothing of it is kept but its last checkpoint.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether the job is being ended, by someone or because its time was over.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Whether the plugin should come to an end.
    pub(crate) fn should_stop(&self) -> bool {
        self.stop.load(Relaxed) || self.is_cancelled()
    }

    /// Ends the job because its time is over.
    pub(crate) fn expire(&self) {
        self.expired.store(true, Relaxed);
        self.cancel.cancel();
    }

    pub(crate) fn has_expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    /// What the kernels look at.
    pub(crate) fn kernels(&self) -> Cancel {
        self.cancel.clone()
    }
}

//! How much a plugin may use, and what watches over the part that WebAssembly itself hands out.

use std::time::Duration;
use wasmtime::{ResourceLimiter, Result};

/// The budget of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes of the plugin's own memory, its tables included.
    pub guest_memory: u64,
    /// Bytes of all the job's tensors in the host.
    pub tensor_memory: u64,
    /// Handles of tensors alive at a time.
    pub handles: u32,
    /// How long the plugin may run, all its functions together.
    pub wall_time: Duration,
    /// How long it may take to describe itself.
    pub describe_time: Duration,
    /// Lines a second that reach the log. More are dropped and counted.
    pub log_lines_per_second: u32,
    /// Bytes of one line. Longer ones are cut.
    pub log_line_bytes: usize,
    /// Bytes of all lists and strings in one call of the host, either way.
    pub message_bytes: usize,
    /// Bytes of the longest name.
    pub name_bytes: usize,
    /// Metrics in one report of progress or one evaluation.
    pub metrics: usize,
    /// Tensors in a model or a checkpoint.
    pub model_tensors: usize,
    /// Bytes of a checkpoint's tensors together.
    pub checkpoint_bytes: u64,
    /// Bytes of the note in a model or a checkpoint.
    pub note_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            guest_memory: 256 << 20,
            tensor_memory: 4 << 30,
            handles: 100_000,
            wall_time: Duration::from_secs(24 * 3600),
            describe_time: Duration::from_secs(10),
            log_lines_per_second: 200,
            log_line_bytes: 8 << 10,
            message_bytes: 64 << 20,
            name_bytes: 200,
            metrics: 1_000,
            model_tensors: 10_000,
            checkpoint_bytes: 1 << 30,
            note_bytes: 1 << 20,
        }
    }
}

/// Bytes of the host behind one element of a WebAssembly table.
const TABLE_ELEMENT: u64 = size_of::<usize>() as u64;

/// Lets memories and tables grow within one budget, and remembers what it refused: a plugin that is refused memory
/// mostly crashes, and only this tells why.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit: u64,
    used: u64,
    /// Bytes that the plugin wanted in all when it was refused.
    refused: Option<u64>,
}

impl MemoryLimiter {
    pub(crate) fn new(limit: u64) -> Self {
        MemoryLimiter {
            limit,
            used: 0,
            refused: None,
        }
    }

    /// Bytes wanted in all, if something was refused.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.refused
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    fn grow(&mut self, more: u64) -> bool {
        let wanted = self.used.saturating_add(more);
        if wanted > self.limit {
            self.refused = Some(wanted);
            return false;
        }
        self.used = wanted;
        true
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        Ok(self.grow(more.saturating_mul(TABLE_ELEMENT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_budget() {
        let mut limiter = MemoryLimiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.table_growing(0, 5, None).unwrap());
        assert_eq!(limiter.refused(), None);
        assert!(!limiter.memory_growing(0, 1, None).unwrap());
        assert_eq!(limiter.refused(), Some(101));
        assert!(!limiter.table_growing(0, usize::MAX, None).unwrap());
    }

    #[test]
    fn a_plugins_own_maximum_is_not_our_refusal() {
        let mut limiter = MemoryLimiter::new(100);
        assert!(!limiter.memory_growing(0, 60, Some(50)).unwrap());
        assert_eq!(limiter.refused(), None);
    }
}

//! What a run uses, from the operating system.

use crate::process::Runner;
use std::time::Instant;
use trainyard_jobs::ResourceUsage;

/// Reads a runner's processor time and memory from time to time.
pub(crate) struct Meter {
    /// When, and the processor seconds then.
    before: Option<(Instant, f64)>,
    now: Option<(Instant, f64)>,
    /// Processor seconds before the job.
    earlier: f64,
    resident: u64,
    peak: u64,
}

impl Meter {
    pub fn new() -> Self {
        Meter {
            before: None,
            now: None,
            earlier: 0.0,
            resident: 0,
            peak: 0,
        }
    }

    /// The job begins in this runner; what it used before is not the job's.
    pub fn begin(&mut self, runner: &Runner) {
        runner.forget_peak();
        self.earlier = runner.usage().map_or(0.0, |usage| usage.cpu_seconds);
    }

    /// Takes a reading; none of a runner that is gone.
    pub fn sample(&mut self, runner: &Runner) {
        let Some(usage) = runner.usage() else { return };
        self.now = Some((Instant::now(), usage.cpu_seconds));
        self.before = self.before.or(self.now);
        self.resident = usage.resident_bytes;
        self.peak = self.peak.max(usage.peak_bytes);
    }

    /// Bytes resident at the last reading.
    pub fn resident(&self) -> u64 {
        self.resident
    }

    /// Since the last time that this was asked.
    pub fn live(&mut self, seconds: f64) -> ResourceUsage {
        let usage = ResourceUsage {
            cpu_percent: match (self.before, self.now) {
                (Some((since, before)), Some((at, now))) if at > since => {
                    rounded(100.0 * (now - before) / (at - since).as_secs_f64())
                }
                _ => 0.0,
            },
            memory_mb: mebibytes(self.resident),
            gpu_util: 0.0,
            duration_seconds: rounded(seconds),
        };
        self.before = self.now;
        usage
    }

    /// Of the whole run.
    pub fn total(&self, seconds: f64) -> ResourceUsage {
        let cpu = self.now.map_or(0.0, |(_, cpu)| cpu - self.earlier);
        ResourceUsage {
            cpu_percent: if seconds > 0.0 {
                rounded(100.0 * cpu / seconds)
            } else {
                0.0
            },
            memory_mb: mebibytes(self.peak),
            gpu_util: 0.0,
            duration_seconds: rounded(seconds),
        }
    }
}

fn mebibytes(bytes: u64) -> f64 {
    rounded(bytes as f64 / f64::from(1 << 20))
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

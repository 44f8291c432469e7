//! Where a job's time goes: in the host's functions, each by its name, and in the plugin's own code.

use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Calls of one of the host's functions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// How many.
    pub count: u64,
    /// How long they took together.
    pub time: Duration,
}

/// Where the time of a job went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Each function of the plugin's that was called, in order: how long it took, its start included.
    pub functions: Vec<(&'static str, Duration)>,
    /// The host's functions, by the names of the contract.
    pub operations: HashMap<&'static str, Calls>,
    /// Handles of tensors alive at a time, at most.
    pub handles: usize,
    /// Bytes of the plugin's own memory, at most.
    pub guest_memory: u64,
}

impl Profile {
    /// Adds what another job took.
    pub fn add(&mut self, other: &Profile) {
        self.functions.extend_from_slice(&other.functions);
        for (operation, calls) in &other.operations {
            let sum = self.operations.entry(operation).or_default();
            sum.count += calls.count;
            sum.time += calls.time;
        }
        self.handles = self.handles.max(other.handles);
        self.guest_memory = self.guest_memory.max(other.guest_memory);
    }

    /// Time in all.
    pub fn total(&self) -> Duration {
        self.functions.iter().map(|(_, time)| *time).sum()
    }

    /// Time in the host's functions.
    pub fn host(&self) -> Duration {
        self.operations.values().map(|calls| calls.time).sum()
    }

    /// Calls of the host.
    pub fn calls(&self) -> u64 {
        self.operations.values().map(|calls| calls.count).sum()
    }
}

/// Measures one job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profiler(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    profile: Profile,
    began: Option<Instant>,
    operation: &'static str,
}

impl Profiler {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of the host begins.
    pub fn enter(&self) {
        let mut running = self.lock();
        running.operation = OTHER;
        running.began = Some(Instant::now());
    }

    /// What the call that is under way does.
    pub fn name(&self, operation: &'static str) {
        self.lock().operation = operation;
    }

    /// The call is over.
    pub fn leave(&self, handles: usize, guest_memory: u64) {
        let mut running = self.lock();
        let Some(began) = running.began.take() else { return };
        let (time, operation) = (began.elapsed(), running.operation);
        let calls = running.profile.operations.entry(operation).or_default();
        calls.count += 1;
        calls.time += time;
        running.profile.handles = running.profile.handles.max(handles);
        running.profile.guest_memory = running.profile.guest_memory.max(guest_memory);
    }

    /// One of the plugin's functions is over.
    pub fn function(&self, name: &'static str, time: Duration) {
        self.lock().profile.functions.push((name, time));
    }

    pub fn profile(&self) -> Profile {
        self.lock().profile.clone()
    }
}

/// What has no name of its own here: looking at shapes, WASI, and the like.
const OTHER: &str = "other";

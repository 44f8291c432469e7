//! What this worker says of itself, for the list of workers.

use crate::worker::Shared;
use chrono::Utc;
use procfs::Current;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use trainyard_jobs::WorkerDetails;
use trainyard_jobs::machine::{host, load};

/// How often it is said.
const BEAT: Duration = Duration::from_secs(3);

/// Says it until it is dropped; at once when the worker begins to drain.
pub(crate) async fn beat(shared: Arc<Shared>, mut draining: watch::Receiver<bool>) {
    let mut clock = tokio::time::interval(BEAT);
    let started_at = Utc::now();
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            changed = draining.changed() => if changed.is_err() { return },
        }
        let draining = *draining.borrow_and_update();
        let details = details(&shared, draining, started_at);
        if let Err(error) = shared.store.announce_worker(&shared.options.name, &details).await {
            tracing::debug!(%error, "the list of workers misses this one for now");
        }
    }
}

fn details(shared: &Shared, draining: bool, started_at: trainyard_jobs::Timestamp) -> WorkerDetails {
    let options = &shared.options;
    let mut running: Vec<_> = shared.jobs().keys().cloned().collect();
    running.sort_unstable();
    WorkerDetails {
        host: host(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        queues: options.queues.clone(),
        labels: shared.labels(),
        slots: options.slots,
        running,
        load: load(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_free_mb: memory_free_mb(),
        draining,
        started_at,
        cards: shared.cards.details(),
    }
}

/// What could still be used without swapping; 0 where the kernel does not tell.
fn memory_free_mb() -> u64 {
    let memory = procfs::Meminfo::current();
    memory.ok().and_then(|memory| memory.mem_available).unwrap_or(0) >> 20
}

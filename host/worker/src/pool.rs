//! Runners kept ready: started, shut in, waiting for an order; and those that have done a trial, for the next of the same
//! sweep, which has the same plugin, the same data and the same limits.

use crate::cards::Seat;
use crate::process::{Launcher, ProcessError, Runner};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Runners that wait. A clone is the same pool.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    launcher: Launcher,
    size: usize,
    /// The most that are kept for the next trial.
    most_kept: usize,
    ready: Mutex<Ready>,
}

#[derive(Default)]
struct Ready {
    runners: VecDeque<Runner>,
    kept: VecDeque<Kept>,
    starting: usize,
    closed: bool,
}

/// A runner that has done a trial of a sweep.
struct Kept {
    sweep: i64,
    since: Instant,
    runner: Runner,
}

/// How long such a runner waits for the next trial.
const KEPT: Duration = Duration::from_secs(1);
/// How long to wait before another try when a runner could not be started.
const PAUSE: Duration = Duration::from_secs(1);
/// How often one looks whether those on their way are there.
const LOOK: Duration = Duration::from_millis(5);

impl Pool {
    /// Keeps `size` runners ready, and at most `most_kept` that have done a trial.
    pub fn new(launcher: Launcher, size: usize, most_kept: usize) -> Self {
        let pool = Pool(Arc::new(Inner {
            launcher,
            size,
            most_kept,
            ready: Mutex::default(),
        }));
        pool.refill();
        pool
    }

    /// A runner: one that waits, or a new one. Another is started in its place.
    pub async fn take(&self) -> Result<Runner, ProcessError> {
        loop {
            let waiting = self.lock().runners.pop_front();
            self.refill();
            match waiting {
                // One that died while it waited is no use.
                Some(runner) if runner.usage().is_none() => runner.kill().await,
                Some(runner) => return Ok(runner),
                None => return self.0.launcher.start().await,
            }
        }
    }

    /// A runner on a card, for one job alone: never one that waited.
    pub async fn start_on(&self, seat: &Seat) -> Result<Runner, ProcessError> {
        let runner = self.0.launcher.start_on_card(seat.environment(), seat.kept()).await?;
        seat.taken_by(runner.pid());
        Ok(runner)
    }

    /// A runner for a trial: one that has done another of the same sweep, if there is one.
    pub async fn take_for(&self, sweep: i64) -> Result<Runner, ProcessError> {
        loop {
            let kept = {
                let mut ready = self.lock();
                let at = ready.kept.iter().rposition(|kept| kept.sweep == sweep);
                at.and_then(|at| ready.kept.remove(at))
            };
            match kept {
                Some(Kept { runner, .. }) if runner.usage().is_none() => runner.kill().await,
                Some(Kept { runner, .. }) => return Ok(runner),
                None => return self.take().await,
            }
        }
    }

    /// Keeps a runner for the next trial of its sweep, for a moment.
    pub async fn keep(&self, sweep: i64, runner: Runner) {
        let since = Instant::now();
        let too_many = {
            let mut ready = self.lock();
            ready.kept.push_back(Kept { sweep, since, runner });
            match ready.closed || ready.kept.len() > self.0.most_kept {
                true => ready.kept.pop_front(),
                false => None,
            }
        };
        if let Some(kept) = too_many {
            kept.runner.kill().await;
        }
        let pool = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            let over = {
                let mut ready = pool.lock();
                match ready.kept.front() {
                    Some(oldest) if oldest.since.elapsed() >= KEPT => ready.kept.pop_front(),
                    _ => None,
                }
            };
            if let Some(kept) = over {
                kept.runner.kill().await;
            }
        });
    }

    /// Ends the runners that wait or are on their way; none is started any more.
    pub async fn close(&self) {
        let (runners, kept) = {
            let mut ready = self.lock();
            ready.closed = true;
            (std::mem::take(&mut ready.runners), std::mem::take(&mut ready.kept))
        };
        for runner in runners.into_iter().chain(kept.into_iter().map(|kept| kept.runner)) {
            runner.kill().await;
        }
        // One that is on its way is ended as soon as it is there, and leaves nothing behind either.
        while self.lock().starting > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn refill(&self) {
        let missing = {
            let mut ready = self.lock();
            if ready.closed {
                return;
            }
            let missing = self.0.size.saturating_sub(ready.runners.len() + ready.starting);
            ready.starting += missing;
            missing
        };
        for _ in 0..missing {
            let pool = self.clone();
            tokio::spawn(async move {
                let started = pool.0.launcher.start().await;
                if let Err(error) = &started {
                    tracing::warn!(%error, "a runner could not be started");
                    tokio::time::sleep(PAUSE).await;
                }
                let late = {
                    let mut ready = pool.lock();
                    match started {
                        Ok(runner) if ready.closed => Some(runner),
                        started => {
                            ready.starting -= 1;
                            ready.runners.extend(started.ok());
                            None
                        }
                    }
                };
                if let Some(runner) = late {
                    runner.kill().await;
                    // It is on its way until it has ended: who closes the pool waits for that.
                    pool.lock().starting -= 1;
                }
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ready> {
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Runners kept ready: started, shut in, waiting for an order.

use crate::process::{Launcher, ProcessError, Runner};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Runners that wait. A clone is the same pool.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    launcher: Launcher,
    size: usize,
    ready: Mutex<Ready>,
}

#[derive(Default)]
struct Ready {
    runners: VecDeque<Runner>,
    starting: usize,
    closed: bool,
}

/// How long to wait before another try when a runner could not be started.
const PAUSE: Duration = Duration::from_secs(1);
/// How often one looks whether those on their way are there.
const LOOK: Duration = Duration::from_millis(5);

impl Pool {
    pub fn new(launcher: Launcher, size: usize) -> Self {
        let pool = Pool(Arc::new(Inner {
            launcher,
            size,
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

    /// Ends the runners that wait or are on their way; none is started any more.
    pub async fn close(&self) {
        let runners = {
            let mut ready = self.lock();
            ready.closed = true;
            std::mem::take(&mut ready.runners)
        };
        for runner in runners {
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
                    ready.starting -= 1;
                    match started {
                        Ok(runner) if ready.closed => Some(runner),
                        Ok(runner) => {
                            ready.runners.push_back(runner);
                            None
                        }
                        Err(_) => None,
                    }
                };
                if let Some(runner) = late {
                    runner.kill().await;
                }
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ready> {
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Looks after a runner while it works: listens to it, and sees to its memory, its time, and what others want of the job.

use crate::cards::Seat;
use crate::failure::Failure;
use crate::job::{DRIVER_MEMORY, Ending, Job, out_of_time};
use crate::process::Runner;
use crate::protocol::{Order, Report};
use crate::recorder::Recorder;
use crate::usage::Meter;
use serde_json::Value;
use tokio::time::{Duration, Instant};
use trainyard_jobs::state::Change;
use trainyard_jobs::{LogLevel, Run, RunState};

/// How often a runner's memory and the clock are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often what a run uses is told.
const TELL: Duration = Duration::from_secs(1);
/// How long a runner that is told to end may take before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a job is not watched any more.
pub(crate) enum Watched {
    Trained {
        metrics: Vec<(String, f64)>,
        lineage: Value,
    },
    Stopped(Ending),
}

impl Job<'_> {
    /// Listens to the runner, and looks after it, until it has done its work or may not go on.
    pub(crate) async fn watch(
        &mut self,
        run: &Run,
        seat: Option<&Seat>,
        runner: &mut Runner,
        recorder: &mut Recorder,
        meter: &mut Meter,
        deadline: Instant,
    ) -> Result<Watched, Failure> {
        let mut look = tokio::time::interval(LOOK);
        let mut told = Instant::now();
        let mut lineage = Value::Null;
        let mut draining: Option<Instant> = None;
        let soft = deadline - soft_margin(run.limits.time_seconds);
        let mut asked_to_stop = false;
        loop {
            let due = recorder.due();
            tokio::select! {
                report = runner.next() => match report? {
                    Report::Prepared { summary, warnings } => {
                        for warning in warnings {
                            recorder.log(LogLevel::Warning, warning).await;
                        }
                        lineage = summary;
                        self.change(run, Change::Train).await?;
                        recorder.status(RunState::Training, 5.0).await;
                    }
                    Report::Progress { timestamp, current, total, fraction, metrics } => {
                        recorder.progress(timestamp, (current, total, fraction), metrics).await;
                    }
                    Report::Log { level, message } => recorder.log(level, message).await,
                    Report::Checkpoint => {
                        match self.shared.store_checkpoint(run, runner).await {
                            // The training need not end because a disk is full for a while.
                            Err(Failure::Ours(reason)) => {
                                recorder.log(LogLevel::Warning, format!("a checkpoint could not be stored: {reason}")).await;
                            }
                            stored => stored?,
                        }
                        if draining.is_some() {
                            return Ok(Watched::Stopped(Ending::Released));
                        }
                        runner.send(&Order::CheckpointStored, &[]).await?;
                    }
                    Report::Trained { metrics } => {
                        meter.sample(runner, &self.shared.cards, seat);
                        recorder.flush().await;
                        return Ok(Watched::Trained { metrics, lineage });
                    }
                    Report::Failed { code, message, details, log } => {
                        return Err(Failure::Job { code, message, details: Box::new(details), log });
                    }
                    other => return Err(Failure::Died(format!("it said {other:?} while it trained"))),
                },
                _ = look.tick() => {
                    let now = Instant::now();
                    meter.sample(runner, &self.shared.cards, seat);
                    let limit = self.memory(run, seat);
                    if meter.resident() > limit {
                        return Err(Failure::job("memory-limit", format!(
                            "the job held {} MiB, and its limit is {} MiB; use a smaller model, batch or data set, or ask for a larger memory_limit_mb",
                            meter.resident() >> 20, limit >> 20
                        )));
                    }
                    if now >= deadline {
                        return Err(out_of_time(run));
                    }
                    if now >= soft && !asked_to_stop {
                        asked_to_stop = true;
                        recorder.log(LogLevel::Warning, format!(
                            "the time limit of {} s is near: the algorithm is asked to return what it has", run.limits.time_seconds
                        )).await;
                        runner.send(&Order::Stop, &[]).await?;
                    }
                    if draining.is_some_and(|until| now >= until) {
                        return Ok(Watched::Stopped(Ending::Released));
                    }
                    if now - told >= TELL {
                        told = now;
                        recorder.usage(meter.live(recorder.seconds())).await;
                    }
                    match recorder.save().await {
                        // Nothing of it is lost: it is written with what follows.
                        Err(Failure::Ours(reason)) => tracing::warn!(run = run.id, reason, "progress is not stored for now"),
                        saved => saved?,
                    }
                }
                () = until(due) => recorder.flush().await,
                changed = self.wish.changed() => {
                    let wish = *self.wish.borrow_and_update();
                    if wish.lost || changed.is_err() {
                        return Err(Failure::Fenced);
                    }
                    if wish.stop {
                        // A word first: the log's last lines still arrive.
                        let told = runner.send(&Order::Cancel, &[]).await;
                        if told.is_ok() {
                            let _ = tokio::time::timeout(LAST_WORDS, last_words(runner, recorder)).await;
                        }
                        return Ok(Watched::Stopped(Ending::Cancelled));
                    }
                    if wish.drain && draining.is_none() {
                        draining = Some(Instant::now() + self.shared.options.drain);
                        recorder.log(LogLevel::Info, "the worker shuts down; the run goes on elsewhere or later, from its last checkpoint".into()).await;
                    }
                }
            }
        }
    }
}

impl Job<'_> {
    /// Bytes of the machine's memory that a runner may hold. On a card the limit of the run is for the card, which may have more than the
    /// machine would give to a training.
    fn memory(&self, run: &Run, seat: Option<&Seat>) -> u64 {
        let asked = run.limits.memory_mb;
        match seat {
            None => asked << 20,
            Some(_) => (asked.min(self.shared.options.allowance.memory_mb) << 20) + DRIVER_MEMORY,
        }
    }
}

/// What a runner says after it was told to end.
async fn last_words(runner: &mut Runner, recorder: &mut Recorder) {
    while let Ok(report) = runner.next().await {
        match report {
            Report::Log { level, message } => recorder.log(level, message).await,
            Report::Failed { .. } | Report::Trained { .. } => return,
            _ => {}
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// How long before its end a job is asked to come to one by itself.
fn soft_margin(limit: u64) -> Duration {
    Duration::from_secs_f64((limit as f64 / 10.0).min(60.0))
}

//! One job, from the moment a worker has it until the run is over, given back, or someone else's.

use crate::compute::identity;
use crate::failure::Failure;
use crate::process::Runner;
use crate::protocol::{Order, Report, Task, TaskLimits};
use crate::recorder::Recorder;
use crate::results::run_key;
use crate::source;
use crate::usage::Meter;
use crate::worker::Shared;
use serde_json::Value;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use trainyard_jobs::state::{Change, MOST_ATTEMPTS};
use trainyard_jobs::{
    ArtifactError, Claim, Delivery, Event, Finished, LogLevel, Run, RunState, StoreError, TrainingDataset,
};

/// What the names of jobs' folders begin with.
pub(crate) const FOLDER: &str = "job-";
/// How often a runner's memory and the clock are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often what a run uses is told.
const TELL: Duration = Duration::from_secs(1);
/// How long a runner that is told to end may take before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a runner holds besides the job's tensors.
const BASE_MEMORY: u64 = 128 << 20;
/// Lines of the plugin's log that go into an error.
const QUOTED: usize = 20;

/// What others want of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Someone stopped the run.
    pub stop: bool,
    /// The lease is lost: the run is someone else's.
    pub lost: bool,
    /// The worker shuts down.
    pub drain: bool,
}

/// How an attempt ended, where nothing went wrong.
enum Ending {
    Finished(Box<Finished>),
    Cancelled,
    Released,
}

/// Does a job. The delivery is acknowledged or given back unless it is lost.
pub(crate) async fn run(shared: Arc<Shared>, delivery: Delivery, wish: watch::Receiver<Wish>) {
    let folder = shared.options.scratch.join(format!("{FOLDER}{}", delivery.run));
    let outcome = Job {
        shared: shared.clone(),
        delivery: &delivery,
        wish,
        folder: folder.clone(),
    }
    .attempts()
    .await;
    // Gone already where an operator deleted it.
    let _ = tokio::fs::remove_dir_all(&folder).await;
    let settled = match outcome {
        Ok(Settled::Over) => shared.broker.acknowledge(&delivery).await,
        Ok(Settled::Released) => shared.broker.release(&delivery).await,
        Err(Failure::Fenced) => {
            tracing::warn!(run = delivery.run, "the run was taken by another worker");
            Ok(())
        }
        // The lease runs out, and the run is taken again when what failed works again.
        Err(failure) => {
            tracing::error!(run = delivery.run, %failure, "the run could not be brought to an end; it will be taken again");
            Ok(())
        }
    };
    if let Err(error) = settled {
        tracing::warn!(run = delivery.run, %error, "the queue does not know that the run is over");
    }
}

/// What is to become of the delivery.
enum Settled {
    Over,
    Released,
}

struct Job<'a> {
    shared: Arc<Shared>,
    delivery: &'a Delivery,
    wish: watch::Receiver<Wish>,
    folder: PathBuf,
}

impl Job<'_> {
    /// Tries until the run is over, or not ours any more.
    async fn attempts(&mut self) -> Result<Settled, Failure> {
        loop {
            let run = match self
                .shared
                .store
                .claim(&self.delivery.run, &self.shared.options.name)
                .await
            {
                Ok(Claim::Taken(run)) => *run,
                Ok(Claim::GivenUp(run)) => {
                    self.tell_end(&run).await;
                    return Ok(Settled::Over);
                }
                // Someone stopped it before it began, perhaps.
                Ok(Claim::Over(_)) | Err(StoreError::NotFound { .. }) => return Ok(Settled::Over),
                Err(error) => return Err(error.into()),
            };
            if run.state.is_final() {
                self.tell_end(&run).await;
                return Ok(Settled::Over);
            }
            let mut recorder = match self.recorder(&run).await {
                Ok(recorder) => recorder,
                Err(failure) => {
                    let error =
                        format!("the job's folder cannot be used: {failure}; see to the worker's disk, and try again");
                    self.change(&run, Change::Fail { error: error.clone() }).await?;
                    self.publish_end(&run, RunState::Error, Some(error)).await;
                    return Ok(Settled::Over);
                }
            };
            let mut meter = Meter::new();
            let ending = self.attempt(&run, &mut recorder, &mut meter).await;
            if let Err(Failure::Fenced) = ending {
                return Err(Failure::Fenced);
            }
            if let Err(failure @ Failure::Died(_)) = &ending
                && run.attempt < MOST_ATTEMPTS
            {
                let message = format!("{failure}; attempt {} of {MOST_ATTEMPTS} begins", run.attempt + 1);
                tracing::warn!(run = run.id, "{message}");
                recorder.log(LogLevel::Warning, message).await;
                drop(recorder.save_now().await);
                continue;
            }
            let usage = meter.total(recorder.seconds());
            let settled = self.conclude(&run, &mut recorder, ending).await?;
            if matches!(settled, Settled::Over)
                && let Err(error) = self.shared.store.usage(&run.id, &usage).await
            {
                tracing::warn!(run = run.id, %error, "what the run used is not stored");
            }
            return Ok(settled);
        }
    }

    async fn recorder(&self, run: &Run) -> Result<Recorder, Failure> {
        tokio::fs::create_dir_all(&self.folder)
            .await
            .map_err(|error| Failure::ours(&self.folder.display().to_string(), error))?;
        let shared = &self.shared;
        Recorder::new(
            shared.feed.clone(),
            shared.store.clone(),
            run.clone(),
            &self.folder,
            shared.options.log_bytes,
        )
    }

    /// One attempt, in one runner.
    async fn attempt(&mut self, run: &Run, recorder: &mut Recorder, meter: &mut Meter) -> Result<Ending, Failure> {
        recorder.status(RunState::Preparing, 0.0).await;
        let deadline = Instant::now() + Duration::from_secs(run.limits.time_seconds);
        let mut wish = self.wish.clone();
        let prepared = tokio::select! {
            biased;
            ending = wanted(&mut wish) => return ending,
            prepared = tokio::time::timeout_at(deadline, self.prepare(run)) => prepared,
        };
        let (task, files) = match prepared {
            Ok(prepared) => prepared?,
            Err(_) => return Err(out_of_time(run)),
        };
        recorder.status(RunState::Preparing, 2.0).await;
        let mut runner = self.shared.pool.take().await?;
        let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        runner.send(&Order::Do(Box::new(task)), &files).await?;
        let watched = self.watch(run, &mut runner, recorder, meter, deadline).await;
        let ending = match watched {
            Ok(Watched::Trained { metrics, lineage }) => {
                let stored = self.shared.store_result(run, &runner, recorder, metrics, lineage).await;
                stored.map(|finished| Ending::Finished(Box::new(finished)))
            }
            Ok(Watched::Stopped(ending)) => Ok(ending),
            Err(failure) => Err(failure),
        };
        runner.kill().await;
        ending
    }

    /// Finds everything that the runner needs.
    async fn prepare(&self, run: &Run) -> Result<(Task, Vec<File>), Failure> {
        let shared = &self.shared;
        let dataset = TrainingDataset::parse(&run.training_dataset).map_err(|error| Failure::job("dataset", error))?;
        let data = source::open(&dataset, &shared.store, &shared.artifacts, &shared.options.data_roots).await?;
        let plugin = shared.code.files(&run.plugin_digest).await?;
        let mut files = vec![plugin.plugin, plugin.code, data.file];
        let resume = match &run.checkpoint {
            Some(key) => match shared.artifacts.open(key).await {
                Ok(checkpoint) => {
                    files.push(checkpoint);
                    true
                }
                Err(ArtifactError::NotFound { .. }) => false,
                Err(error) => return Err(error.into()),
            },
            None => false,
        };
        let memory = run.limits.memory_mb << 20;
        let task = Task::Train {
            plugin: identity(run),
            dataset,
            format: data.format,
            data_name: data.name,
            parameters: run.training_parameters.clone(),
            seed: run.seed,
            limits: TaskLimits {
                // The process is killed at its hard limit; the plugin never gets further than that.
                time_seconds: run.limits.time_seconds,
                tensor_memory: memory.saturating_sub(BASE_MEMORY).max(memory / 2),
                threads: shared.options.threads,
            },
            resume,
        };
        Ok((task, files))
    }

    /// Listens to the runner, and looks after it, until it has done its work or may not go on.
    async fn watch(
        &mut self,
        run: &Run,
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
                        meter.sample(runner);
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
                    meter.sample(runner);
                    let limit = run.limits.memory_mb << 20;
                    if meter.resident() > limit {
                        return Err(Failure::job("memory-limit", format!(
                            "the job held {} MiB, and its limit is {} MiB; use a smaller model, batch or data set, or ask for a larger memory_limit_mb",
                            meter.resident() >> 20, run.limits.memory_mb
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

    /// Writes how the run ended, and tells everyone.
    async fn conclude(
        &mut self,
        run: &Run,
        recorder: &mut Recorder,
        ending: Result<Ending, Failure>,
    ) -> Result<Settled, Failure> {
        if let Err(failure) = recorder.save_now().await {
            if matches!(failure, Failure::Fenced) {
                return Err(failure);
            }
            tracing::warn!(run = run.id, %failure, "progress and series are not stored");
        }
        let (change, state, error) = match ending {
            Ok(Ending::Finished(finished)) => (Change::Finish(finished), RunState::Trained, None),
            Ok(Ending::Cancelled) => (Change::Cancel, RunState::Cancelled, None),
            Ok(Ending::Released) => {
                self.change(run, Change::Release).await?;
                recorder.status(RunState::Pending, 0.0).await;
                return Ok(Settled::Released);
            }
            Err(failure) => {
                let error = explained(&failure);
                recorder.log(LogLevel::Error, first_line(&error)).await;
                (Change::Fail { error: error.clone() }, RunState::Error, Some(error))
            }
        };
        let finished = matches!(change, Change::Finish(_));
        if !finished {
            // The log is what tells what went wrong. Nothing else of the run is left.
            let key = format!("{}/log.jsonl", run_key(run));
            if let Err(failure) = self.shared.store_log(&key, recorder).await {
                tracing::warn!(run = run.id, %failure, "the full log is not stored");
            }
        }
        let changed = self.change(run, change).await?;
        self.shared.sweep(&changed).await;
        recorder.end(state, error).await;
        Ok(Settled::Over)
    }

    /// Changes the run's state. A database that cannot be used is tried again three times, with longer and longer pauses.
    async fn change(&self, run: &Run, change: Change) -> Result<Run, Failure> {
        let mut pause = Duration::from_millis(200);
        for _ in 0..3 {
            match self.shared.store.change(&run.id, run.token, change.clone()).await {
                Err(StoreError::Unavailable(reason)) => {
                    tracing::warn!(
                        run = run.id,
                        reason,
                        "the run's state cannot be written; another try follows"
                    );
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                }
                other => return Ok(other?),
            }
        }
        Ok(self.shared.store.change(&run.id, run.token, change).await?)
    }

    /// Tells of an end that came with the claim.
    async fn tell_end(&self, run: &Run) {
        self.publish_end(run, run.state, run.error_log.clone()).await;
    }

    async fn publish_end(&self, run: &Run, status: RunState, error: Option<String>) {
        let feed = &self.shared.feed;
        let state = Event::Status {
            status,
            progress: run.progress,
            attempt: run.attempt,
        };
        feed.publish(run.model_id, &run.id, state).await;
        feed.publish(run.model_id, &run.id, Event::End { status, error }).await;
    }
}

/// Why a job is not watched any more.
enum Watched {
    Trained {
        metrics: Vec<(String, f64)>,
        lineage: Value,
    },
    Stopped(Ending),
}

/// Waits for a wish that ends a job which has no runner yet.
async fn wanted(wish: &mut watch::Receiver<Wish>) -> Result<Ending, Failure> {
    loop {
        let now = *wish.borrow_and_update();
        if now.lost {
            return Err(Failure::Fenced);
        }
        if now.stop {
            return Ok(Ending::Cancelled);
        }
        if now.drain {
            return Ok(Ending::Released);
        }
        if wish.changed().await.is_err() {
            return Err(Failure::Fenced);
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

fn out_of_time(run: &Run) -> Failure {
    Failure::job(
        "time-limit",
        format!(
            "the job was killed at its time limit of {} s; train fewer steps or less data, or ask for a longer time_limit",
            run.limits.time_seconds
        ),
    )
}

/// The failure and the plugin's last words, as `error_log`.
fn explained(failure: &Failure) -> String {
    match failure {
        Failure::Job { code, message, log, .. } if !log.is_empty() => {
            let from = log.len().saturating_sub(QUOTED);
            format!(
                "{code}: {message}\nlast lines of the log:\n  {}",
                log[from..].join("\n  ")
            )
        }
        Failure::Job { code, message, .. } => format!("{code}: {message}"),
        Failure::Died(_) => format!(
            "runner-died: in {MOST_ATTEMPTS} attempts, the last time because {failure}; the plugin or the data may need more memory than there is"
        ),
        failure => format!("host: {failure}"),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

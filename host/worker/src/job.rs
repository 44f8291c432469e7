//! One job, from the moment a worker has it until the run is over, given back, or someone else's.

use crate::admission::{self, Refused, admit};
use crate::cards::{Place, Seat, Wanted, has_card, has_healthy, has_room};
use crate::compute::{Desk, identity};
use crate::failure::Failure;
use crate::process::ProcessError;
use crate::protocol::{Order, Task, TaskLimits};
use crate::recorder::Recorder;
use crate::results::run_key;
use crate::source::{self, OpenData};
use crate::usage::Meter;
use crate::watch::Watched;
use crate::worker::Shared;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OnceCell, watch};
use tokio::time::{Duration, Instant};
use trainyard_data::tdengine::{Fetched, Progress};
use trainyard_jobs::state::{Change, MOST_ATTEMPTS};
use trainyard_jobs::{
    ArtifactError, CARD_LABEL, Claim, Delivery, DeviceChoice, Finished, JobKind, LogLevel, Outcome, Run, RunState,
    StoreError, TrainingDataset, WorkerRow,
};

/// What the names of jobs' folders begin with.
pub(crate) const FOLDER: &str = "job-";
/// How often one looks how many rows are there.
const LOOK: Duration = Duration::from_millis(50);
/// How long a job waits for a card here before one looks whether another worker has room for it; and so on.
const CARD_PATIENCE: Duration = Duration::from_secs(5);
/// How long after one job left for a card of another worker the next may: by then that worker has said what it has left, since it
/// does so every three seconds.
const NEXT_LEAVES: Duration = Duration::from_secs(7);
/// What a runner holds besides the job's tensors.
const BASE_MEMORY: u64 = 128 << 20;
/// What a runner on a card may hold besides: the driver, its libraries and what they map.
pub(crate) const DRIVER_MEMORY: u64 = 2 << 30;
/// Lines of the plugin's log that go into an error.
const QUOTED: usize = 20;

/// The code of a job that takes longer than it may.
const TIME_LIMIT: &str = "time-limit";
/// What the memory is called that a card has too little of, where a job's own limit is `tensor memory`.
const CARD_MEMORY: &str = "card memory";

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
pub(crate) enum Ending {
    Finished(Box<Finished>),
    Cancelled,
    Released,
}

/// Does a job. The delivery is acknowledged or given back unless it is lost.
pub(crate) async fn run(shared: Arc<Shared>, desk: Arc<Desk>, delivery: Delivery, wish: watch::Receiver<Wish>) {
    if delivery.job.kind == JobKind::Evaluate {
        return evaluate(&shared, &desk, &delivery, wish).await;
    }
    let folder = shared.options.scratch.join(format!("{FOLDER}{}", delivery.job.run));
    let outcome = Job {
        shared: shared.clone(),
        delivery: &delivery,
        wish,
        folder: folder.clone(),
        data: OnceCell::new(),
        failed: BTreeSet::new(),
    }
    .attempts()
    .await;
    if matches!(outcome, Ok(Settled::Over(_))) {
        // Otherwise whoever goes on with the run goes on with its log. Gone already where an operator deleted it.
        let _ = tokio::fs::remove_dir_all(&folder).await;
    }
    let settled = match outcome {
        Ok(Settled::Over(outcome)) => shared.broker.acknowledge(&delivery, &outcome).await,
        Ok(Settled::Released) => shared.broker.release(&delivery).await,
        Err(Failure::Fenced) => {
            tracing::warn!(run = delivery.job.run, "the run was taken by another worker");
            Ok(())
        }
        // The lease runs out, and the run is taken again when what failed works again.
        Err(failure) => {
            tracing::error!(run = delivery.job.run, %failure, "the run could not be brought to an end; it will be taken again");
            Ok(())
        }
    };
    if let Err(error) = settled {
        tracing::warn!(run = delivery.job.run, %error, "the queue does not know that the run is over");
    }
}

/// Judges a model's result. Nothing of it is kept but the answer.
async fn evaluate(shared: &Shared, desk: &Desk, delivery: &Delivery, mut wish: watch::Receiver<Wish>) {
    if delivery.deliveries > MOST_ATTEMPTS {
        let error = format!("Given up after {MOST_ATTEMPTS} attempts: each time its worker stopped without a word.");
        if let Err(error) = shared.broker.acknowledge(delivery, &Outcome::GivenUp(error)).await {
            tracing::warn!(task = delivery.job.run, %error, "the queue does not know that an evaluation was given up");
        }
        return;
    }
    let outcome = tokio::select! {
        outcome = admission::evaluate(shared, desk, &delivery.job) => match outcome {
            Ok(outcome) => Some(outcome),
            Err(Refused::Job(why)) => Some(Outcome::Failed(why)),
            Err(Refused::Store(error)) => {
                tracing::warn!(task = delivery.job.run, %error, "an evaluation is given back");
                None
            }
        },
        ending = wanted(&mut wish) => match ending {
            Ok(Ending::Cancelled) => Some(Outcome::Stopped),
            // It is someone else's, or goes to someone else.
            Err(_) => return,
            Ok(_) => None,
        },
    };
    let settled = match outcome {
        Some(outcome) => shared.broker.acknowledge(delivery, &outcome).await,
        None => shared.broker.release(delivery).await,
    };
    if let Err(error) = settled {
        tracing::warn!(task = delivery.job.run, %error, "the queue does not know what became of an evaluation");
    }
}

/// What is to become of the delivery.
enum Settled {
    Over(Outcome),
    Released,
}

pub(crate) struct Job<'a> {
    pub(crate) shared: Arc<Shared>,
    delivery: &'a Delivery,
    pub(crate) wish: watch::Receiver<Wish>,
    folder: PathBuf,
    /// The rows, once they are at hand: every attempt learns from the same.
    data: OnceCell<OpenData>,
    /// The cards of this worker that have failed the run, by their places in the list: there it is tried last.
    failed: BTreeSet<usize>,
}

impl Job<'_> {
    /// Tries until the run is over, or not ours any more.
    async fn attempts(&mut self) -> Result<Settled, Failure> {
        loop {
            let (store, id, name) = (&self.shared.store, &self.delivery.job.run, &self.shared.options.name);
            let run = match patiently(id, || store.claim(id, name)).await {
                Ok(Claim::Taken(run)) => *run,
                Ok(Claim::GivenUp(run)) => {
                    self.shared.sweep(&run).await;
                    self.shared.feed.tell_end(&run).await;
                    return Ok(Settled::Over(Outcome::given_up(&run)));
                }
                // Someone stopped it before it began, perhaps.
                Ok(Claim::Over(_)) => {
                    let run = self.shared.store.run(&self.delivery.job.run).await?;
                    // Whoever brought it to its end may have died before it cleared up.
                    self.shared.sweep(&run).await;
                    return Ok(Settled::Over(Outcome::of(&run)));
                }
                Err(StoreError::NotFound { .. }) if self.delivery.job.kind == JobKind::Trial => {
                    let why = "the sweep of this trial is gone, with its model".to_owned();
                    return Ok(Settled::Over(Outcome::Failed(why)));
                }
                // It came through the queue alone, or its model was deleted.
                Err(StoreError::NotFound { .. }) => match admit(&self.shared, &self.delivery.job).await {
                    Ok(_) => continue,
                    Err(Refused::Job(why)) => {
                        tracing::info!(run = self.delivery.job.run, why, "a job is refused");
                        return Ok(Settled::Over(Outcome::Failed(why)));
                    }
                    Err(Refused::Store(error)) => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            };
            let mut recorder = match self.recorder(&run).await {
                Ok(recorder) => recorder,
                Err(failure) => {
                    let error =
                        format!("the job's folder cannot be used: {failure}; see to the worker's disk, and try again");
                    let run = self.change(&run, Change::Fail { error }).await?;
                    self.shared.feed.tell_end(&run).await;
                    return Ok(Settled::Over(Outcome::of(&run)));
                }
            };
            let mut meter = Meter::new();
            let (seat, ending) = match self.seat(&run, &mut recorder).await {
                Ok(seat) => {
                    let ending = self.attempt(&run, seat.as_ref(), &mut recorder, &mut meter).await;
                    (seat, ending)
                }
                Err(ending) => (None, ending),
            };
            if let Err(Failure::Fenced) = ending {
                return Err(Failure::Fenced);
            }
            let ending = match seat {
                Some(seat) => self.judged(ending, &seat).await,
                None => ending,
            };
            if let Err(failure @ Failure::Card(_)) = &ending
                && run.attempt < MOST_ATTEMPTS
            {
                recorder.log(LogLevel::Warning, failure.to_string()).await;
                drop(recorder.save_now().await);
                match self.goes_on_here(&run) {
                    true => continue,
                    false => return self.put_back(&run, &mut recorder).await,
                }
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
            if matches!(settled, Settled::Over(_))
                && let Err(error) = self.shared.store.usage(&run.id, &usage).await
            {
                tracing::warn!(run = run.id, %error, "what the run used is not stored");
            }
            return Ok(settled);
        }
    }

    /// Whether it was the card that made an attempt end as it did.
    async fn judged(&mut self, ending: Result<Ending, Failure>, seat: &Seat) -> Result<Ending, Failure> {
        let cards = self.shared.cards.clone();
        match ending {
            Err(Failure::Died(why)) => {
                self.failed.insert(seat.place());
                match cards.suspect(seat).await {
                    true => Err(Failure::Died(why)),
                    false => Err(Failure::Card(format!("{}: {why}", seat.described()))),
                }
            }
            Err(Failure::Card(why)) => {
                self.failed.insert(seat.place());
                cards.suspect(seat).await;
                Err(Failure::Card(why))
            }
            Err(failure) => {
                // A driver that hangs looks the same as a job that takes too long.
                if matches!(&failure, Failure::Job { code, .. } if code == TIME_LIMIT) {
                    cards.suspect_later(seat);
                }
                Err(failure)
            }
            ending => ending,
        }
    }

    /// What a run wants of the cards here.
    fn wanted(&self, run: &Run) -> Wanted {
        Wanted {
            failed: self.failed.clone(),
            ..Wanted::new(run.limits.device, tensor_memory(run))
        }
    }

    /// A place for a run on a card; none where the processor is to do it. Waits until there is one.
    async fn seat(&self, run: &Run, recorder: &mut Recorder) -> Result<Option<Seat>, Result<Ending, Failure>> {
        let cards = &self.shared.cards;
        if run.limits.device == DeviceChoice::Auto && run.attempt >= MOST_ATTEMPTS && !self.failed.is_empty() {
            let line = "training on the processor: it failed on a card, and no other attempt is left";
            recorder.log(LogLevel::Warning, line.into()).await;
            return Ok(None);
        }
        let ticket = cards.queue(&run.id, self.wanted(run));
        let mut wish = self.wish.clone();
        let mut told = None;
        let mut looked = Instant::now();
        loop {
            let place = match ticket.seat() {
                Ok(seat) => {
                    let line = format!("training on {}", seat.described());
                    recorder.log(LogLevel::Info, line).await;
                    return Ok(Some(seat));
                }
                Err(place) => place,
            };
            let why = match &place {
                Place::Processor(None) | Place::Card(_) => return Ok(None),
                Place::Processor(Some(why)) => {
                    recorder
                        .log(LogLevel::Warning, format!("training on the processor: {why}"))
                        .await;
                    return Ok(None);
                }
                // Whoever serves the label has a card that works, and this worker does not serve it any more.
                Place::Elsewhere(why) if run.labels.iter().any(|label| label == CARD_LABEL) => {
                    let line = format!("the run goes to another worker: {why}");
                    recorder.log(LogLevel::Warning, line).await;
                    return Err(Ok(Ending::Released));
                }
                Place::Never(why)
                    if (told.is_none() || looked.elapsed() >= CARD_PATIENCE)
                        && !self.is_possible_elsewhere(run).await =>
                {
                    return Err(Err(Failure::job("device", why)));
                }
                Place::Never(why) | Place::Elsewhere(why) | Place::Broken(why) | Place::Later(why) => why,
            };
            if told.as_ref() != Some(why) {
                recorder.log(LogLevel::Info, format!("waits for a card: {why}")).await;
                told = Some(why.clone());
            }
            if looked.elapsed() >= CARD_PATIENCE {
                looked = Instant::now();
                if self.may_leave(run, &place).await {
                    let line = "the run goes to another worker, which has such a card".to_owned();
                    recorder.log(LogLevel::Info, line).await;
                    return Err(Ok(Ending::Released));
                }
            }
            tokio::select! {
                () = cards.changed() => {}
                ending = wanted(&mut wish) => return Err(ending),
            }
        }
    }

    /// Whether another worker could take a run at once. One job leaves at a time: all that wait see the same free place.
    async fn may_leave(&self, run: &Run, place: &Place) -> bool {
        let mut left = self.shared.left.lock().await;
        if left.is_some_and(|left| left.elapsed() < NEXT_LEAVES) {
            return false;
        }
        let (choice, bytes) = (run.limits.device, tensor_memory(run));
        let leaves = match self.others(run, &run.labels).await {
            Ok(workers) => workers.iter().any(|worker| {
                // Where the card here does not work, waiting there is better than waiting here.
                let waits = matches!(place, Place::Broken(_)) && has_healthy(worker, choice, bytes);
                waits || has_room(worker, choice, bytes)
            }),
            // It goes on waiting here.
            Err(_) => false,
        };
        if leaves {
            *left = Some(std::time::Instant::now());
        }
        leaves
    }

    /// Whether a run that no card here can ever take has one elsewhere, busy or broken as it may be now.
    async fn is_possible_elsewhere(&self, run: &Run) -> bool {
        // A worker whose cards are broken does not have the label, for now.
        let labels: Vec<String> = run
            .labels
            .iter()
            .filter(|label| *label != CARD_LABEL)
            .cloned()
            .collect();
        match self.others(run, &labels).await {
            Ok(workers) => workers
                .iter()
                .any(|worker| has_card(worker, run.limits.device, tensor_memory(run))),
            // Nobody knows, so that it is not given up.
            Err(_) => true,
        }
    }

    /// The other workers that serve a run's queue and have these labels.
    async fn others(&self, run: &Run, labels: &[String]) -> Result<Vec<WorkerRow>, StoreError> {
        let queue = run.kind().queue();
        let mut workers = self.shared.store.workers().await?;
        workers.retain(|worker| worker.name != self.shared.options.name && worker.can_take(queue, labels));
        Ok(workers)
    }

    /// Whether a run whose card failed finds another place here.
    fn goes_on_here(&self, run: &Run) -> bool {
        let there = self.shared.cards.would_seat(&self.wanted(run));
        !matches!(there, Place::Elsewhere(_) | Place::Never(_))
    }

    /// Gives a run back whose card failed, for another worker.
    async fn put_back(&self, run: &Run, recorder: &mut Recorder) -> Result<Settled, Failure> {
        self.change(run, Change::PutBack).await?;
        recorder.status(RunState::Pending, 0.0).await;
        Ok(Settled::Released)
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

    /// One attempt, in a runner of its own; only trials of a sweep may follow each other in one.
    async fn attempt(
        &mut self,
        run: &Run,
        seat: Option<&Seat>,
        recorder: &mut Recorder,
        meter: &mut Meter,
    ) -> Result<Ending, Failure> {
        recorder.status(RunState::Preparing, 0.0).await;
        let deadline = Instant::now() + Duration::from_secs(run.limits.time_seconds);
        let mut wish = self.wish.clone();
        let there = Mutex::new(None);
        let progress = |progress: Progress| *there.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
        let mut look = tokio::time::interval(LOOK);
        let (task, files, words) = {
            let mut prepared = std::pin::pin!(tokio::time::timeout_at(deadline, self.prepare(run, seat, &progress)));
            loop {
                tokio::select! {
                    biased;
                    ending = wanted(&mut wish) => return ending,
                    prepared = &mut prepared => match prepared {
                        Ok(prepared) => break prepared?,
                        Err(_) => return Err(out_of_time(run)),
                    },
                    _ = look.tick() => {
                        let there = there.lock().unwrap_or_else(PoisonError::into_inner).take();
                        if let Some(Progress { rows, total }) = there {
                            recorder.rows(rows, total).await;
                            recorder.save().await?;
                        }
                    }
                }
            }
        };
        for (level, message) in words {
            recorder.log(level, message).await;
        }
        recorder.status(RunState::Preparing, 2.0).await;
        let pool = &self.shared.pool;
        let mut runner = match (seat, run.sweep_id) {
            // A driver may take its time.
            (Some(seat), _) => tokio::select! {
                biased;
                ending = wanted(&mut wish) => return ending,
                started = pool.start_on(seat) => started.map_err(|error| {
                    let why = match error {
                        ProcessError::Died { stderr, how } => stderr.last().cloned().unwrap_or(how),
                        error @ ProcessError::NotReady { .. } => error.to_string(),
                        // The machine's doing, not the card's.
                        error => return Failure::from(error),
                    };
                    Failure::Card(on_card(seat, &format!("the card cannot be opened: {why}")))
                })?,
            },
            (None, Some(sweep)) => pool.take_for(sweep).await?,
            (None, None) => pool.take().await?,
        };
        meter.begin(&runner, seat);
        let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        runner.send(&Order::Do(Box::new(task)), &files).await?;
        let watched = self.watch(run, seat, &mut runner, recorder, meter, deadline).await;
        let ending = match watched {
            Ok(Watched::Trained { metrics, lineage }) => {
                let stored = self.shared.store_result(run, &runner, recorder, metrics, lineage).await;
                stored.map(|finished| Ending::Finished(Box::new(finished)))
            }
            Ok(Watched::Stopped(ending)) => Ok(ending),
            Err(failure) => Err(match (failure, seat) {
                // A job that is within its own limits is not to blame where the card has no more.
                (
                    Failure::Job {
                        code, message, details, ..
                    },
                    Some(seat),
                ) if code == "device" || details["limit"] == CARD_MEMORY => Failure::Card(on_card(seat, &message)),
                (failure, _) => failure,
            }),
        };
        match (&ending, run.sweep_id.filter(|_| seat.is_none())) {
            // What is left of one trial must not count against the next. One on a card gives its place up.
            (Ok(Ending::Finished(_)), Some(sweep)) if meter.resident() < (run.limits.memory_mb << 20) / 2 => {
                self.shared.pool.keep(sweep, runner).await;
            }
            _ => {
                if let (false, Some(seat)) = (runner.end().await, seat) {
                    self.shared.cards.cannot_be_ended(seat);
                }
            }
        }
        ending
    }

    /// Finds everything that the runner needs.
    async fn prepare(
        &self,
        run: &Run,
        seat: Option<&Seat>,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(Task, Vec<File>, Vec<(LogLevel, String)>), Failure> {
        let shared = &self.shared;
        let dataset = TrainingDataset::parse(&run.training_dataset).map_err(|error| Failure::job("dataset", error))?;
        let begun = Instant::now();
        let first = !self.data.initialized();
        let opened = self
            .data
            .get_or_try_init(|| source::open(shared, &dataset, None, progress))
            .await?;
        let words = match &opened.fetched {
            Some(fetched) if first => told(fetched, begun.elapsed()),
            _ => Vec::new(),
        };
        let file = opened
            .file
            .try_clone()
            .map_err(|error| Failure::ours("dataset file", error))?;
        let plugin = shared.code.files(&run.plugin_digest).await?;
        let (engine, mut files) = (plugin.engine, vec![plugin.plugin, plugin.code, file]);
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
        let task = Task::Train {
            plugin: identity(run, engine),
            dataset,
            data: opened.data.clone(),
            parameters: run.training_parameters.clone(),
            seed: run.seed,
            limits: TaskLimits {
                // The process is killed at its hard limit; the plugin never gets further than that.
                time_seconds: run.limits.time_seconds,
                tensor_memory: tensor_memory(run),
                threads: shared.options.threads,
                on_card: seat.is_some(),
                tf32: run.limits.tf32,
            },
            resume,
        };
        Ok((task, files, words))
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
        let died = matches!(ending, Err(Failure::Died(_) | Failure::Card(_)));
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
        let result = match &change {
            Change::Finish(finished) => Some(finished.file_path.clone()),
            _ => None,
        };
        if result.is_none() {
            // The log is what tells what went wrong. Nothing else of the run is left.
            let key = format!("{}/log.jsonl", run_key(run));
            if let Err(failure) = self.shared.store_log(&key, recorder).await {
                tracing::warn!(run = run.id, %failure, "the full log is not stored");
            }
        }
        let changed = match self.change(run, change).await {
            Ok(changed) => changed,
            Err(failure) => {
                if let (Failure::Fenced, Some(prefix)) = (&failure, result) {
                    // Someone else's result counts.
                    let _ = self.shared.artifacts.delete_all(&prefix).await;
                }
                return Err(failure);
            }
        };
        self.shared.sweep(&changed).await;
        recorder.end(state, error).await;
        Ok(Settled::Over(if died {
            Outcome::given_up(&changed)
        } else {
            Outcome::of(&changed)
        }))
    }

    /// Changes the run's state.
    pub(crate) async fn change(&self, run: &Run, change: Change) -> Result<Run, Failure> {
        let store = &self.shared.store;
        Ok(patiently(&run.id, || store.change(&run.id, run.token, change.clone())).await?)
    }
}

/// Bytes that a run's tensors may hold: what its process may, without what that takes itself.
fn tensor_memory(run: &Run) -> u64 {
    let memory = run.limits.memory_mb << 20;
    memory.saturating_sub(BASE_MEMORY).max(memory / 2)
}

/// What a runner says of its card, which it sees as number 0, with the number that everyone else knows.
fn on_card(seat: &Seat, message: &str) -> String {
    message.replace("cuda:0", &seat.device())
}

/// Does something with the rows. A database that cannot be used is tried again three times, with longer and longer pauses.
async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    run: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StoreError> {
    let mut pause = Duration::from_millis(200);
    for _ in 0..3 {
        match attempt().await {
            Err(StoreError::Unavailable(reason)) => {
                tracing::warn!(run, reason, "the rows cannot be used; another try follows");
                tokio::time::sleep(pause).await;
                pause *= 4;
            }
            other => return other,
        }
    }
    attempt().await
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

pub(crate) fn out_of_time(run: &Run) -> Failure {
    Failure::job(
        TIME_LIMIT,
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
        Failure::Card(why) => format!("device: in {MOST_ATTEMPTS} attempts, the last time because {why}"),
        failure => format!("host: {failure}"),
    }
}

/// What was fetched, for the log.
fn told(fetched: &Fetched, took: Duration) -> Vec<(LogLevel, String)> {
    let devices = match fetched.devices.len() {
        0 | 1 => String::new(),
        count => format!(" of {count} devices"),
    };
    let how = match fetched.cached {
        true => "were at hand already".to_owned(),
        false => format!("fetched in {:.1} s", took.as_secs_f64()),
    };
    let what = format!("{}: {} rows{devices} {how}", fetched.name, fetched.rows);
    let notes = fetched.notes.iter().map(|note| (LogLevel::Warning, note.clone()));
    std::iter::once((LogLevel::Info, what)).chain(notes).collect()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

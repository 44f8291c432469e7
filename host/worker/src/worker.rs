//! The worker: takes jobs while it has room, and sees to it that none is forgotten.

use crate::cards::{Cards, Timing};
use crate::code::CodeStore;
use crate::compute::Desk;
use crate::heartbeat::beat;
use crate::job::{self, Wish};
use crate::options::WorkerOptions;
use crate::pool::Pool;
use crate::process::{Launcher, ProcessError};
use crate::protocol::Isolation;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use trainyard_data::tdengine::{SourceReport, Tdengine, TdengineError};
use trainyard_jobs::{
    Artifacts, Broker, CARD_LABEL, Compute, Delivery, Feed, Job, RunId, RunState, Signal, Store, served,
};

/// How often runs without a place in the queue are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// How long the office of looking for them stays ours without a word.
const OFFICE: Duration = Duration::from_secs(12);
/// How long the queue may be silent before the worker looks by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait when the queue cannot be used.
const PAUSE: Duration = Duration::from_secs(1);
/// How long after its start a worker begins to compile the Python engine.
const WARM_AFTER: Duration = Duration::from_secs(5);

/// Everything that jobs and requests share.
pub(crate) struct Shared {
    pub store: Arc<dyn Store>,
    pub broker: Arc<dyn Broker>,
    pub feed: Arc<dyn Feed>,
    pub artifacts: Arc<dyn Artifacts>,
    pub tdengine: Option<Tdengine>,
    pub options: WorkerOptions,
    pub pool: Pool,
    pub code: CodeStore,
    pub cards: Cards,
    /// When a job last left for a card of another worker.
    pub left: tokio::sync::Mutex<Option<Instant>>,
    /// The jobs that this worker has.
    jobs: Mutex<HashMap<RunId, watch::Sender<Wish>>>,
}

/// What a worker needs.
#[derive(Clone)]
pub struct Services {
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Who does what next.
    pub broker: Arc<dyn Broker>,
    /// What happens right now.
    pub feed: Arc<dyn Feed>,
    /// Files.
    pub artifacts: Arc<dyn Artifacts>,
    /// Where rows of devices come from.
    pub tdengine: Option<trainyard_data::tdengine::Options>,
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A folder cannot be made or used.
    #[error("{folder}: cannot be used as the worker's folder: {reason}")]
    Folder {
        /// Which.
        folder: String,
        /// What the system says.
        reason: String,
    },
    /// The options of TDengine make no sense.
    #[error(transparent)]
    Tdengine(#[from] TdengineError),
    /// No runner could be started.
    #[error("no runner can be started: {0}")]
    Runner(#[from] ProcessError),
}

/// A worker that is ready to work.
pub struct Worker {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    isolation: Isolation,
}

impl Worker {
    /// Makes the folders, starts a first runner to see that it can, and keeps it ready.
    pub async fn start(services: Services, options: WorkerOptions) -> Result<Self, WorkerError> {
        for folder in [&options.scratch, &options.code] {
            private_folder(folder).map_err(|error| WorkerError::Folder {
                folder: folder.display().to_string(),
                reason: error.to_string(),
            })?;
        }
        let launcher = Launcher::new(options.program.clone(), options.scratch.clone())?;
        if let Err(error) = launcher.clean() {
            tracing::warn!(%error, "what an earlier worker left in the scratch folder stays");
        }
        clear_jobs(&options.scratch, &services.store, &HashSet::new()).await;
        let first = launcher.start().await?;
        let isolation = first.isolation().clone();
        first.kill().await;
        let timing = Timing {
            period: options.card_check,
            patience: options.card_patience,
        };
        let cards = Cards::find(launcher.clone(), &options.code, &options.devices, timing).await;
        let pool = Pool::new(launcher, options.warm, options.slots);
        let Services {
            store,
            broker,
            feed,
            artifacts,
            tdengine,
        } = services;
        let shared = Arc::new(Shared {
            code: CodeStore::new(&options, artifacts.clone(), pool.clone()),
            store,
            broker,
            feed,
            artifacts,
            tdengine: tdengine.map(Tdengine::new).transpose()?,
            options,
            pool,
            cards,
            left: tokio::sync::Mutex::default(),
            jobs: Mutex::default(),
        });
        Ok(Worker {
            desk: Desk::new(shared.clone()),
            shared,
            isolation,
        })
    }

    /// What shuts runners in on this machine.
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// What there is to say of the cards, in a line; nothing where there are none and nobody wants any.
    pub fn cards(&self) -> Option<String> {
        let cards = self.shared.cards.details();
        if cards.is_empty() {
            let problem = self.shared.cards.problem()?;
            return Some(format!(
                "no card can be used, so trainings run on the processor: {problem}"
            ));
        }
        let names: Vec<String> = cards
            .iter()
            .map(|card| match &card.name {
                Some(name) => format!("cuda:{} ({name})", card.index),
                None => format!("cuda:{}", card.index),
            })
            .collect();
        Some(format!(
            "cards: {}; whether they work is being checked",
            names.join(", ")
        ))
    }

    /// For the server: inspections, predictions, evaluations.
    pub fn compute(&self) -> Arc<dyn Compute> {
        self.desk.clone()
    }

    /// Looks at the TDengine server that is configured; `None` without one.
    pub async fn check_source(&self) -> Option<Result<SourceReport, TdengineError>> {
        Some(self.shared.tdengine.as_ref()?.check().await)
    }

    /// Answers requests and takes no jobs, until it is told to shut down.
    pub async fn attend(&self, shutdown: impl Future<Output = ()> + Send) {
        let warming = tokio::spawn(warm(self.shared.clone()));
        shutdown.await;
        warming.abort();
        self.desk.close();
        self.shared.pool.close().await;
    }

    /// Works until it is told to shut down; then brings its jobs to their next checkpoint, gives them back, and returns.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) {
        let room = Arc::new(Semaphore::new(self.shared.options.slots.max(1)));
        let mut jobs = JoinSet::new();
        self.shared.cards.begin();
        let sweeper = tokio::spawn(sweep(self.shared.clone()));
        let listener = tokio::spawn(listen(self.shared.clone()));
        let warming = tokio::spawn(warm(self.shared.clone()));
        let (drains, draining) = watch::channel(false);
        let heart = tokio::spawn(beat(self.shared.clone(), draining));
        tokio::pin!(shutdown);
        loop {
            let taken = async {
                let Ok(permit) = room.clone().acquire_owned().await else {
                    return None;
                };
                Some((permit, self.take().await))
            };
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                taken = taken => {
                    let Some((permit, delivery)) = taken else { break };
                    while jobs.try_join_next().is_some() {}
                    let (shared, desk) = (self.shared.clone(), self.desk.clone());
                    jobs.spawn(async move {
                        work(shared, desk, delivery).await;
                        drop(permit);
                    });
                }
            }
        }
        drains.send_replace(true);
        for wish in self.shared.jobs().values() {
            wish.send_modify(|wish| wish.drain = true);
        }
        while jobs.join_next().await.is_some() {}
        sweeper.abort();
        listener.abort();
        warming.abort();
        heart.abort();
        self.desk.close();
        self.shared.pool.close().await;
        if let Err(error) = self.shared.store.leave_worker(&self.shared.options.name).await {
            tracing::debug!(%error, "the list of workers keeps this one for a while");
        }
    }

    /// The next job; waits until there is one. Safe to drop: what was taken and is dropped comes back when its lease ends.
    async fn take(&self) -> Delivery {
        let Shared { broker, options, .. } = &*self.shared;
        loop {
            // A card that begins or ceases to work changes them.
            let queues = served(&options.queues, &self.shared.labels());
            let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
            match broker.take(&queues, &options.name, options.lease).await {
                Ok(Some(delivery)) => return delivery,
                Ok(None) => broker.wait(&queues, PATIENCE).await,
                Err(error) => {
                    tracing::warn!(%error, "no job can be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Shared {
    pub(crate) fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, watch::Sender<Wish>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this worker has, for jobs that ask for it: what it is told, and `gpu` while one of its cards works. Where it has cards
    /// of which none works, it does not have it, whatever it is told.
    pub(crate) fn labels(&self) -> Vec<String> {
        labels(&self.options.labels, self.cards.any())
    }
}

fn labels(told: &[String], (any, works): (bool, bool)) -> Vec<String> {
    let mut labels = told.to_vec();
    if any {
        labels.retain(|label| label != CARD_LABEL);
    }
    if works {
        labels.push(CARD_LABEL.to_owned());
    }
    labels
}

/// Does a job, and renews its lease meanwhile.
async fn work(shared: Arc<Shared>, desk: Arc<Desk>, delivery: Delivery) {
    let (wishes, wish) = watch::channel(Wish::default());
    shared.jobs().insert(delivery.job.run.clone(), wishes.clone());
    let job = job::run(shared.clone(), desk, delivery.clone(), wish);
    tokio::pin!(job);
    let renewals = renew(&shared, &delivery, &wishes);
    tokio::pin!(renewals);
    tokio::select! {
        () = &mut job => {}
        () = &mut renewals => job.await,
    }
    // The same run may have come once more meanwhile, after its lease was lost.
    let mut jobs = shared.jobs();
    if jobs
        .get(&delivery.job.run)
        .is_some_and(|theirs| theirs.same_channel(&wishes))
    {
        jobs.remove(&delivery.job.run);
    }
}

/// Renews the lease until it is lost. Looks at the row, too: someone may have stopped the run while nobody listened.
async fn renew(shared: &Shared, delivery: &Delivery, wishes: &watch::Sender<Wish>) {
    let options = &shared.options;
    let mut clock = tokio::time::interval(options.renew);
    let mut held_until = tokio::time::Instant::now() + options.lease;
    clock.tick().await;
    loop {
        clock.tick().await;
        match shared.broker.renew(delivery, options.lease).await {
            Ok(()) => held_until = tokio::time::Instant::now() + options.lease,
            Err(trainyard_jobs::BrokerError::LeaseLost { .. }) => break,
            Err(error) if tokio::time::Instant::now() >= held_until => {
                tracing::warn!(run = delivery.job.run, %error, "the lease could not be renewed in time");
                break;
            }
            Err(error) => {
                tracing::warn!(run = delivery.job.run, %error, "the lease could not be renewed; another try follows")
            }
        }
        // A database that hangs must not cost the lease.
        let looked = tokio::time::timeout(options.renew, look_at_row(shared, delivery, wishes)).await;
        if looked.is_err() {
            tracing::debug!(run = delivery.job.run, "the row cannot be read for now");
        }
    }
    wishes.send_modify(|wish| wish.lost = true);
}

/// Whether someone stopped the run while nobody listened; and how far it is, for whoever submitted it through the queue.
async fn look_at_row(shared: &Shared, delivery: &Delivery, wishes: &watch::Sender<Wish>) {
    match shared.store.run(&delivery.job.run).await {
        Ok(run) => {
            if run.stop_requested {
                wishes.send_modify(|wish| wish.stop = true);
            }
            let progress = json!({"model_id": run.model_id, "status": run.state, "progress": run.progress});
            if let Err(error) = shared.broker.report(delivery, &progress).await {
                tracing::debug!(run = run.id, %error, "the queue was not told of the progress");
            }
        }
        Err(error) => tracing::debug!(run = delivery.job.run, %error, "the row cannot be read"),
    }
}

/// Passes on what is told to every worker.
async fn listen(shared: Arc<Shared>) {
    let mut signals = shared.broker.signals();
    loop {
        match signals.recv().await {
            Ok(Signal::Stop(run)) => {
                let ours = shared.jobs().get(&run).cloned();
                match ours {
                    Some(wish) => wish.send_modify(|wish| wish.stop = true),
                    // Perhaps Celery's `revoke` of a run that waits; of one that another worker has, it hears as well.
                    None => stop_waiting(&shared, &run).await,
                }
            }
            // The rows tell what was missed.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Stops a run that nobody works on, if it is one.
async fn stop_waiting(shared: &Shared, run: &RunId) {
    let waits = shared
        .store
        .run(run)
        .await
        .is_ok_and(|run| run.state == RunState::Pending);
    if !waits {
        return;
    }
    if let Ok(run) = shared.store.request_stop(run).await
        && run.state.is_final()
    {
        shared.feed.tell_end(&run).await;
    }
}

/// Compiles the Python engine ahead of the first plugin that needs it: that takes a while. Not at once, since jobs may be waiting, and
/// since a worker may be meant for a moment only.
async fn warm(shared: Arc<Shared>) {
    tokio::time::sleep(WARM_AFTER).await;
    if let Err(failure) = shared.code.warm().await {
        tracing::warn!(%failure, "the Python engine could not be compiled ahead");
    }
}

/// Puts back into the queue what has no place there: a server may have died between writing a run and enqueueing it. One worker
/// does it for all.
async fn sweep(shared: Arc<Shared>) {
    let mut clock = tokio::time::interval(SWEEP);
    loop {
        clock.tick().await;
        let ours: HashSet<RunId> = shared.jobs().keys().cloned().collect();
        clear_jobs(&shared.options.scratch, &shared.store, &ours).await;
        if let Err(error) = enqueue_unfinished(&shared).await {
            tracing::warn!(error, "runs without a place in the queue cannot be looked for");
        }
    }
}

async fn enqueue_unfinished(shared: &Shared) -> Result<(), String> {
    let ours = shared.store.hold("sweeper", &shared.options.name, OFFICE).await;
    if !ours.map_err(|error| error.to_string())? {
        return Ok(());
    }
    let unfinished = shared.store.unfinished_runs().await;
    for run in unfinished.map_err(|error| error.to_string())? {
        let enqueued = shared.broker.enqueue(&run.queue(), &Job::train(&run)).await;
        enqueued.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Removes the folders of jobs that are over, and none of ours: their worker died. Those of the others are used again.
async fn clear_jobs(scratch: &Path, store: &Arc<dyn Store>, ours: &HashSet<RunId>) {
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(run) = name.strip_prefix(job::FOLDER) else {
            continue;
        };
        if ours.contains(run) {
            continue;
        }
        let over = match store.run(&run.to_owned()).await {
            Ok(run) => run.state.is_final(),
            Err(error) => matches!(error, trainyard_jobs::StoreError::NotFound { .. }),
        };
        if over && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(folder = name, %error, "what a dead worker left stays");
        }
    }
}

fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_serves_gpu_while_a_card_works() {
        let told = ["large".to_owned()];
        assert_eq!(labels(&told, (false, false)), ["large"]);
        assert_eq!(labels(&told, (true, true)), ["large", "gpu"]);
        assert_eq!(labels(&told, (true, false)), ["large"]);
        // An operator who says so where no card can be seen is believed; not where all of them are broken.
        let told = ["gpu".to_owned(), "large".to_owned()];
        assert_eq!(labels(&told, (false, false)), ["gpu", "large"]);
        assert_eq!(labels(&told, (true, true)), ["large", "gpu"]);
        assert_eq!(labels(&told, (true, false)), ["large"]);
    }
}

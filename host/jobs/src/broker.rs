//! The port for who does what next.

use crate::{ModelId, Run, RunId, RunState, Timestamp};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// What is to be done with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Train it: the run's row says how, or, when there is none, the job's configuration.
    Train,
    /// Train a trial of a sweep: the run's row says how. No worker but ours knows such jobs, so they have a queue of their own, and no
    /// limit of trainings a minute.
    Trial,
    /// Judge what its last training gave.
    Evaluate,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [JobKind; 3] = [JobKind::Train, JobKind::Trial, JobKind::Evaluate];

    /// The name of the task: the original's, where the original has it.
    pub const fn task(self) -> &'static str {
        match self {
            JobKind::Train => "app.tasks.ai.train_model",
            JobKind::Trial => "trainyard.train_trial",
            JobKind::Evaluate => "app.tasks.ai.evaluate_model",
        }
    }

    /// The queue of the task: the original's, where the original has it.
    pub const fn queue(self) -> &'static str {
        match self {
            JobKind::Train => "ai_training",
            JobKind::Trial => "ai_sweeps",
            JobKind::Evaluate => "ai_evaluation",
        }
    }
}

/// A place in a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The run's name; the original's `task_id`.
    pub run: RunId,
    /// What is to be done.
    pub kind: JobKind,
    /// With which model.
    pub model: ModelId,
    /// As the original's tasks have it, an object with `training_dataset` and `training_parameters`. The row counts where
    /// there is one.
    pub config: Value,
    /// 0 (first) to 9 (last).
    pub priority: u8,
}

impl Job {
    /// The training of a run.
    pub fn train(run: &Run) -> Self {
        Job {
            run: run.id.clone(),
            kind: run.kind(),
            model: run.model_id,
            config: json!({
                "training_dataset": run.training_dataset,
                "training_parameters": run.training_parameters,
            }),
            priority: 0,
        }
    }
}

impl Run {
    /// What its job is.
    pub fn kind(&self) -> JobKind {
        match self.sweep_id {
            None => JobKind::Train,
            Some(_) => JobKind::Trial,
        }
    }

    /// The queue that its job goes to.
    pub fn queue(&self) -> String {
        labelled(self.kind().queue(), &self.labels)
    }
}

/// The most labels of a worker or a job.
pub const MOST_LABELS: usize = 5;

/// The queue of jobs that ask for labels: `ai_training@gpu+large`. Each set of labels is a queue of its own, so that no worker has
/// to look at jobs that it cannot take.
pub fn labelled(queue: &str, labels: &[String]) -> String {
    if labels.is_empty() {
        return queue.to_owned();
    }
    let mut labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    labels.sort_unstable();
    labels.dedup();
    format!("{queue}@{}", labels.join("+"))
}

/// The queues that a worker with labels serves: those it is told, for every set of its labels.
pub fn served(queues: &[String], labels: &[String]) -> Vec<String> {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    labels.dedup();
    // One more than can be configured: that of a card.
    labels.truncate(MOST_LABELS + 1);
    // Jobs that ask for most come first: fewer workers can take them.
    let mut sets: Vec<Vec<String>> = (0..1_usize << labels.len())
        .map(|set| {
            let chosen = labels.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
            chosen.map(|(_, label)| label.clone()).collect()
        })
        .collect();
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    sets.iter()
        .flat_map(|set| queues.iter().map(|queue| labelled(queue, set)))
        .collect()
}

/// A job that a worker has taken for as long as it renews the lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Which.
    pub job: Job,
    /// Names this delivery; a later one of the same run has another.
    pub receipt: String,
    /// Deliveries of this run so far, this one included.
    pub deliveries: u32,
}

/// How a job ended, for whoever submitted it through the queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Well, with a result in JSON.
    Done(Value),
    /// Badly, and why.
    Failed(String),
    /// Badly: whoever had it died, again and again. It goes to the dead letters.
    GivenUp(String),
    /// Somebody stopped it.
    Stopped,
}

impl Outcome {
    /// Of a run whose workers or runners died again and again. A trial is no dead letter: its sweep goes on without it, and says what
    /// became of it.
    pub fn given_up(run: &Run) -> Self {
        let error = run.error_log.clone().unwrap_or_default();
        match run.kind() {
            JobKind::Trial => Outcome::Failed(error),
            JobKind::Train | JobKind::Evaluate => Outcome::GivenUp(error),
        }
    }

    /// Of a run that is over.
    pub fn of(run: &Run) -> Self {
        match run.state {
            RunState::Error => Outcome::Failed(run.error_log.clone().unwrap_or_default()),
            RunState::Cancelled => Outcome::Stopped,
            _ => Outcome::Done(json!({
                "model_id": run.model_id,
                "status": run.state,
                "metrics": run.metrics,
                "file_path": run.file_path,
            })),
        }
    }
}

/// A job that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where it waited.
    pub queue: String,
    /// What was to be done.
    pub job: Job,
    /// Why nobody tries any more.
    pub error: String,
    /// When it was given up.
    pub at: Timestamp,
}

/// The most dead letters that are kept; the oldest go first.
pub const MOST_DEAD_LETTERS: usize = 1000;

/// A word to whichever worker has a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Someone wants the run to stop.
    Stop(RunId),
}

/// Why a broker could not do something.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The lease ran out, and perhaps someone else has the run.
    #[error("the lease on run {run} is lost")]
    LeaseLost {
        /// Which run.
        run: RunId,
    },
    /// It cannot be reached or cannot write.
    #[error("the queue cannot be used: {0}")]
    Unavailable(String),
}

/// How much there is to do in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDepth {
    /// Its name.
    pub queue: String,
    /// Jobs that wait: for a worker, for their time, or because their worker died.
    pub waiting: u64,
    /// Jobs that a worker has.
    pub taken: u64,
}

/// Hands each waiting job to one worker at a time: at least once, in the order of submits within a queue and priority.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Adds a job to a queue. One whose run is already there, waiting or taken, stays as it is.
    async fn enqueue(&self, queue: &str, job: &Job) -> Result<(), BrokerError>;

    /// Takes the next job that waits or whose lease ran out, for so long. None if there is none.
    async fn take(&self, queues: &[&str], worker: &str, lease: Duration) -> Result<Option<Delivery>, BrokerError>;

    /// Waits until something may be there to take: a new job, or a while has passed.
    async fn wait(&self, queues: &[&str], at_most: Duration);

    /// Holds on to a job for so long from now.
    async fn renew(&self, delivery: &Delivery, lease: Duration) -> Result<(), BrokerError>;

    /// Tells whoever submitted a job through the queue how far it is: an object with `progress`, 0 to 100.
    async fn report(&self, delivery: &Delivery, progress: &Value) -> Result<(), BrokerError>;

    /// The job needs nobody any more. Also for one whose lease is lost: it is an error then.
    async fn acknowledge(&self, delivery: &Delivery, outcome: &Outcome) -> Result<(), BrokerError>;

    /// Gives a job back, to be taken again at once.
    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError>;

    /// Takes a run out of its queue that nobody has; whether it was there.
    async fn withdraw(&self, run: &RunId) -> Result<bool, BrokerError>;

    /// The jobs that were given up, newest first.
    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, BrokerError>;

    /// Takes a run out of the dead letters; none if it is not there.
    async fn remove_dead_letter(&self, run: &RunId) -> Result<Option<DeadLetter>, BrokerError>;

    /// Each queue that has been used, by name.
    async fn queues(&self) -> Result<Vec<QueueDepth>, BrokerError>;

    /// Of all queues together: jobs that wait, and jobs that are taken.
    async fn depth(&self) -> Result<(u64, u64), BrokerError> {
        let queues = self.queues().await?;
        let sum = |count: fn(&QueueDepth) -> u64| queues.iter().map(count).sum();
        Ok((sum(|queue| queue.waiting), sum(|queue| queue.taken)))
    }

    /// Tells every worker something.
    async fn signal(&self, signal: Signal) -> Result<(), BrokerError>;

    /// What is told from now on. A receiver that lags may miss some; workers also look at the row.
    fn signals(&self) -> tokio::sync::broadcast::Receiver<Signal>;
}

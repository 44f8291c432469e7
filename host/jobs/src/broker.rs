//! The port for who does what next.

use crate::{ModelId, Run, RunId, RunState};
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
    /// Judge what its last training gave.
    Evaluate,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [JobKind; 2] = [JobKind::Train, JobKind::Evaluate];

    /// The original's name of the task.
    pub const fn task(self) -> &'static str {
        match self {
            JobKind::Train => "app.tasks.ai.train_model",
            JobKind::Evaluate => "app.tasks.ai.evaluate_model",
        }
    }

    /// The original's queue of the task.
    pub const fn queue(self) -> &'static str {
        match self {
            JobKind::Train => "ai_training",
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
            kind: JobKind::Train,
            model: run.model_id,
            config: json!({
                "training_dataset": run.training_dataset,
                "training_parameters": run.training_parameters,
            }),
            priority: 0,
        }
    }
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
    /// Somebody stopped it.
    Stopped,
}

impl Outcome {
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

    /// Jobs that wait and jobs that are taken, of all queues.
    async fn depth(&self) -> Result<(u64, u64), BrokerError>;

    /// Tells every worker something.
    async fn signal(&self, signal: Signal) -> Result<(), BrokerError>;

    /// What is told from now on. A receiver that lags may miss some; workers also look at the row.
    fn signals(&self) -> tokio::sync::broadcast::Receiver<Signal>;
}

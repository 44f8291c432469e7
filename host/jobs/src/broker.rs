//! The port for who does what next.

use crate::RunId;
use async_trait::async_trait;
use std::time::Duration;

/// A run that a worker has taken for as long as it renews the lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Which run.
    pub run: RunId,
    /// Names this delivery; a later one of the same run has another.
    pub receipt: String,
    /// Deliveries of this run so far, this one included.
    pub deliveries: u32,
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

/// Hands each waiting run to one worker at a time: at least once, in the order of submits within a queue.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Adds a run to a queue. One that is already there, waiting or taken, stays as it is.
    async fn enqueue(&self, queue: &str, run: &RunId) -> Result<(), BrokerError>;

    /// Takes the next run that waits or whose lease ran out, for so long. None if there is none.
    async fn take(&self, queues: &[&str], worker: &str, lease: Duration) -> Result<Option<Delivery>, BrokerError>;

    /// Waits until something may be there to take: a new run, or a while has passed.
    async fn wait(&self, queues: &[&str], at_most: Duration);

    /// Holds on to a run for so long from now.
    async fn renew(&self, delivery: &Delivery, lease: Duration) -> Result<(), BrokerError>;

    /// The run needs nobody any more. Also for one whose lease is lost: it is an error then.
    async fn acknowledge(&self, delivery: &Delivery) -> Result<(), BrokerError>;

    /// Gives a run back, to be taken again at once.
    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError>;

    /// Takes a run out of its queue that nobody has; whether it was there.
    async fn withdraw(&self, run: &RunId) -> Result<bool, BrokerError>;

    /// Runs that wait and runs that are taken, of all queues.
    async fn depth(&self) -> Result<(u64, u64), BrokerError>;

    /// Tells every worker something.
    async fn signal(&self, signal: Signal) -> Result<(), BrokerError>;

    /// What is told from now on. A receiver that lags may miss some; workers also look at the row.
    fn signals(&self) -> tokio::sync::broadcast::Receiver<Signal>;
}

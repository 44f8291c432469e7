//! The port for what happens right now.

use crate::{Entry, Event, ModelId, Run, RunId, RunState};
use async_trait::async_trait;

/// What a subscriber gets.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedItem {
    /// The next event.
    Entry(std::sync::Arc<Entry>),
    /// The events between were dropped before this subscriber read them.
    Gap {
        /// The last number that it had; 0 at the start.
        after: u64,
        /// The number that comes next.
        next: u64,
    },
}

/// A reader of one model's feed, at its own pace.
#[async_trait]
pub trait Subscription: Send {
    /// The next item; waits until there is one. `None` when the feed is closed. Safe to drop while it waits.
    async fn next(&mut self) -> Option<FeedItem>;
}

/// Events by model, with a short memory: the last 1000 lines of the log and the last 2000 other events, for an hour after
/// the last of them. Publishing never waits for a reader.
#[async_trait]
pub trait Feed: Send + Sync {
    /// Adds an event; gives its number. Loses it rather than fail: the row is the truth.
    async fn publish(&self, model: ModelId, run: &RunId, event: Event) -> u64;

    /// Reads from after a number; from the start of what is remembered when there is none. A number from before what is
    /// remembered gives a gap first, and so does one from the future, such as of a lost feed.
    async fn subscribe(&self, model: ModelId, after: Option<u64>) -> Box<dyn Subscription>;

    /// The last lines of the log, oldest first.
    async fn last_logs(&self, model: ModelId, count: usize) -> Vec<std::sync::Arc<Entry>>;

    /// Forgets a model.
    async fn forget(&self, model: ModelId);
}

impl dyn Feed {
    /// Adds an event of a run to the feed of its model. Of trials nothing is told there: the model is none of theirs.
    pub async fn tell(&self, run: &Run, event: Event) {
        if run.sweep_id.is_none() {
            self.publish(run.model_id, &run.id, event).await;
        }
    }

    /// Tells where a run is.
    pub async fn tell_status(&self, run: &Run) {
        let status = Event::Status {
            status: run.state,
            progress: run.progress,
            attempt: run.attempt,
        };
        self.tell(run, status).await;
    }

    /// Tells that a run is over, and why it failed if it did.
    pub async fn tell_end(&self, run: &Run) {
        self.tell_status(run).await;
        let end = Event::End {
            status: run.state,
            error: match run.state {
                RunState::Error => run.error_log.clone(),
                _ => None,
            },
        };
        self.tell(run, end).await;
    }
}

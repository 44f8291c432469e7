//! The port for what happens right now.

use crate::{Entry, Event, ModelId, RunId};
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

//! Adapters on Redis, for any number of servers and workers: the queue speaks Celery's protocol (kombu's Redis transport,
//! results, events and remote control), so that producers, `AsyncResult`, `inspect`, `revoke` and Flower find what they
//! know, and workers of Celery may serve the same queues.

mod broker;
mod celery;
mod connection;
mod control;
mod events;
mod feed;
mod waking;

pub use broker::{RedisBroker, RedisBrokerOptions};
pub use connection::{Redis, Settings};
pub use feed::RedisFeed;

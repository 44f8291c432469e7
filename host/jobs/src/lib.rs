//! Models, their training runs, plugins and data sets, and the life of a job.
//!
//! - [`state`] is the state machine: what may follow what. Every change of a run goes through it, inside the transaction
//!   that writes the row, guarded by the run's fencing token.
//! - Four ports say what the rest of Trainyard needs from outside: [`Store`] (rows), [`Broker`] (which run is to be done
//!   next, and who has it), [`Feed`] (what happens right now) and [`Artifacts`] (files). Each has an adapter that needs
//!   nothing installed ([`sqlite`], [`local`]) and one that many machines share ([`postgres`], [`redis`]). **The row is the
//!   truth**; the broker only dispatches.
//! - A fifth, [`Compute`], is what the server asks of a worker: to look at a plugin or a file, to predict, to evaluate.
//!
//! WebAssembly and HTTP are unknown here.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(
    clippy::duplicate_mod,
    reason = "the statements in `sql` are compiled once for each database"
)]

mod artifacts;
mod broker;
mod compute;
mod dataset;
mod device;
mod event;
mod feed;
mod fetched;
pub mod local;
pub mod machine;
mod model;
mod objects;
mod plugin;
pub mod postgres;
pub mod redis;
mod run;
pub mod s3;
pub mod schedule;
mod sql;
pub mod sqlite;
pub mod state;
mod store;
pub mod submission;
pub mod sweep;
mod token;
mod worker;

pub use artifacts::{ArtifactError, Artifacts, ByteStream, StoredObject};
pub use broker::{
    Broker, BrokerError, DeadLetter, Delivery, Job, JobKind, MOST_LABELS, Outcome, QueueDepth, Signal, labelled, served,
};
pub use compute::{
    Attempt, Compute, ComputeError, DataReport, Evaluation, PluginReport, PredictInput, PredictOptions, Prediction,
    Rows, Tried,
};
pub use dataset::{PreprocessOptions, RowColumns, Source, StoredDataset, TrainingDataset};
pub use device::{CARD_LABEL, DeviceChoice};
pub use event::{Entry, Event, LogLevel};
pub use feed::{Feed, FeedItem, Subscription};
pub use model::{Model, ModelFilter, ModelPatch, ModelStatus, NewModel, Page};
pub use plugin::PluginVersion;
pub use run::{Finished, NewRun, ResourceUsage, Run, RunFilter, RunLimits, RunState, SeriesPoint};
pub use store::{Claim, IdempotentRequest, Replay, Store, StoreError};
pub use token::{NewToken, Scope, Token};
pub use worker::{CardDetails, WorkerDetails, WorkerRow};

/// The time, as rows and events have it.
pub type Timestamp = chrono::DateTime<chrono::Utc>;
/// A model's number, given by the store.
pub type ModelId = i64;
/// A run's name, a random UUID; the original's `task_id`.
pub type RunId = String;

//! Does the jobs: takes them under a lease, starts a runner process for each, watches over it, and stores what comes of it.
//!
//! - The **worker** ([`Worker`]) is trusted. It holds what is needed to reach the store, the queue and the data.
//! - A **runner** ([`runner`]) is not: a process that can reach nothing but the files that it was handed, and its scratch
//!   folder. All plugins and all foreign files are read in one.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod cards;
mod code;
mod compute;
mod failure;
mod heartbeat;
mod job;
mod options;
mod pool;
mod recorder;
mod results;
mod source;
mod trying;
mod usage;
mod watch;
mod worker;

pub mod artifact;
pub mod prediction;
pub mod process;
pub mod protocol;
pub mod runner;

pub use cards::{Devices, Found, examine};
pub use options::WorkerOptions;
pub use worker::{Services, Worker, WorkerError};

//! Adapters on one SQLite file: rows and queue, for one machine with nothing installed.
//!
//! Several processes on that machine may share the file. `store` gathers what the other modules do; every change of a
//! run's state is in `lifecycle`.

mod broker;
mod catalog;
mod database;
mod error;
mod ledger;
mod lifecycle;
mod models;
mod rows;
mod runs;
mod store;
#[cfg(test)]
mod tests;

pub use broker::SqliteBroker;
pub use database::Database;
pub use store::SqliteStore;

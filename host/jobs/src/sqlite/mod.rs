//! Adapters on one SQLite file: rows and queue, for one machine with nothing installed.
//!
//! Several processes on that machine may share the file. The statements are in `sql`, shared with PostgreSQL.

mod broker;
#[path = "../sql/catalog.rs"]
mod catalog;
mod database;
mod dialect;
#[path = "../sql/ledger.rs"]
mod ledger;
#[path = "../sql/lifecycle.rs"]
mod lifecycle;
#[path = "../sql/models.rs"]
mod models;
mod rows;
#[path = "../sql/runs.rs"]
mod runs;
#[path = "../sql/schedules.rs"]
mod schedules;
#[path = "../sql/store.rs"]
mod store;
#[path = "../sql/sweeps.rs"]
mod sweeps;
#[cfg(test)]
mod tests;
#[path = "../sql/workers.rs"]
mod workers;

pub use broker::SqliteBroker;
pub use database::Database;
pub use store::SqlStore as SqliteStore;

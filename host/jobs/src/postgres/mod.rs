//! The rows in a PostgreSQL database that any number of servers and workers share.
//!
//! The statements are in `sql`, shared with SQLite: each file there is compiled once for each database, and the modules
//! `dialect`, `rows`, `database` and `error` beside it say how the two differ.

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
#[path = "../sql/workers.rs"]
mod workers;

pub use database::Database;
pub use store::SqlStore as PostgresStore;

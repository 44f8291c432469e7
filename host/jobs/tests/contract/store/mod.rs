//! The rows: what a `Store` has to keep to.

pub mod catalog;
pub mod ledger;
pub mod lifecycle;
pub mod models;
pub mod runs;
pub mod sweeps;

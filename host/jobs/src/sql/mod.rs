//! Rows in a SQL database, written once for SQLite and PostgreSQL.
//!
//! `catalog`, `ledger`, `lifecycle`, `models`, `runs` and `store` beside this file are compiled twice, as modules of
//! [`crate::sqlite`] and of [`crate::postgres`], whose own `dialect`, `rows` and `database` say how the two differ. `store`
//! gathers what the others do; every change of a run's state is in `lifecycle`.

pub(crate) mod error;

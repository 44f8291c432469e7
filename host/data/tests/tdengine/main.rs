//! Rows from TDengine, against a server that speaks its protocol: the captured answers of a real one, and every way of
//! failing that a test can wish for.
#![allow(clippy::unwrap_used)]

mod cache;
mod captured;
mod common;
mod faults;
mod injection;
mod suite;

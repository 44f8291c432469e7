//! The server as its clients see it: real sockets, real adapters, and a worker that only pretends.

#![allow(clippy::unwrap_used)]

mod access;
mod client;
mod compute;
mod devices;
mod fixture;
mod hostile;
mod live;
mod models;
mod operation;
mod results;
mod schedules;
mod socket;
mod sweeps;
mod training;
mod uploads;

//! The service end to end: a real `trainyard up`, real plugins, and requests as `curl` would send them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cards;
mod celery;
mod chaos;
mod devices;
mod failures;
mod harness;
mod life;
mod many;
mod operating;
mod sources;
mod stand_in;
mod stopping;

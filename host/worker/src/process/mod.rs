//! The worker's side of a runner: starting it, talking to it, measuring it, ending it.
//!
//! A runner is taken to be hostile from its first byte on. Whatever it does to its socket, its standard error or its
//! scratch folder, the worker gets an error and goes on.

mod channel;
mod check;
mod child;
mod folder;
mod launcher;
mod runner;
mod words;

pub(crate) use check::CheckProblem;
pub use child::Kept;
pub use launcher::Launcher;
pub use runner::{Runner, Usage};

/// Why a runner is of no use, or of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("the runner could not be started: {0}")]
    Start(String),
    /// It was started, and said nothing for too long.
    #[error("the runner was not ready after {seconds} s")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
    },
    /// It ended.
    #[error("the runner {how}{}", last(.stderr))]
    Died {
        /// `was killed by signal 9 (SIGKILL)`, `ended with exit code 1`.
        how: String,
        /// The last lines that it wrote to its standard error.
        stderr: Vec<String>,
    },
    /// It said something that makes no sense.
    #[error("the runner does not keep to the protocol: {0}")]
    Protocol(String),
    /// It does not read what it is told.
    #[error("the runner does not take its orders")]
    Deaf,
    /// A file that it should have left is not there, or is no plain file.
    #[error("the runner's file {name} cannot be used: {problem}")]
    Result {
        /// The file.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The last line, for a message of one line.
fn last(stderr: &[String]) -> String {
    stderr.last().map_or_else(String::new, |line| format!(" ({line})"))
}

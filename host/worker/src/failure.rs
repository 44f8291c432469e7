//! Why a job, or work that somebody waits for, came to nothing.

use crate::process::ProcessError;
use serde_json::Value;
use trainyard_jobs::{ArtifactError, BrokerError, ComputeError, StoreError};

/// One line, and what is to follow from it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The job itself is at fault: another try would end the same.
    #[error("{message}")]
    Job {
        /// A stable name.
        code: String,
        /// What was wrong, where, and what to do.
        message: String,
        /// More of it, for programs.
        details: Box<Value>,
        /// The plugin's last words.
        log: Vec<String>,
    },
    /// The runner ended without a word. Another may do better.
    #[error("{0}")]
    Died(String),
    /// The card that it was on is of no use. Another may do better.
    #[error("{0}")]
    Card(String),
    /// The run is not ours any more: nothing may be written.
    #[error("the run was taken by another worker")]
    Fenced,
    /// Something of ours failed: disk, database, queue.
    #[error("{0}")]
    Ours(String),
}

impl Failure {
    pub fn job(code: &str, message: impl Into<String>) -> Self {
        Failure::Job {
            code: code.to_owned(),
            message: message.into(),
            details: Box::default(),
            log: Vec::new(),
        }
    }

    pub fn ours(what: &str, error: impl std::fmt::Display) -> Self {
        Failure::Ours(format!("{what}: {error}"))
    }
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Self {
        match error {
            // That is this machine's doing, not the plugin's.
            ProcessError::Start(_) | ProcessError::NotReady { .. } => Failure::Ours(error.to_string()),
            error => Failure::Died(error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced { .. } | StoreError::Illegal { .. } => Failure::Fenced,
            StoreError::NotFound { what, id } => Failure::job("not-found", format!("there is no {what} {id} any more")),
            error => Failure::Ours(error.to_string()),
        }
    }
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Self {
        Failure::Ours(error.to_string())
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::LeaseLost { .. } => Failure::Fenced,
            error @ BrokerError::Unavailable(_) => Failure::Ours(error.to_string()),
        }
    }
}

impl From<Failure> for ComputeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Job {
                code, message, details, ..
            } => ComputeError::Refused {
                code,
                message,
                details: *details,
            },
            failure => ComputeError::Failed(failure.to_string()),
        }
    }
}

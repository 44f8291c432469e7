//! Why a command failed, and the exit code that says so to a script.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trainyard_data::DataError;
use trainyard_sandbox::SandboxError;

/// The result of a command.
pub type Result<T> = std::result::Result<T, Failure>;

/// One line that says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Data(#[from] DataError),
    #[error("{0}")]
    Sandbox(#[from] SandboxError),
    #[error("{0}")]
    Toolchain(#[from] trainyard_toolchain::Error),
    #[error("{path}: cannot {what}: {source}", path = path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {problem}; {remedy}", path = path.display())]
    Artifact {
        path: PathBuf,
        problem: String,
        remedy: &'static str,
    },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Parameter(String),
}

impl Failure {
    pub fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
        let path = path.to_path_buf();
        move |source| Failure::File { what, path, source }
    }

    /// A short name that never changes.
    pub fn code(&self) -> &str {
        match self {
            Failure::Data(error) => error.code(),
            Failure::Sandbox(error) => error.code(),
            Failure::Toolchain(_) => "toolchain",
            Failure::File { .. } => "file",
            Failure::Artifact { .. } => "artifact",
            Failure::Usage(_) => "usage",
            Failure::Parameter(_) => "invalid-parameters",
        }
    }

    /// What the plugin logged before it failed.
    pub fn log(&self) -> &[String] {
        match self {
            Failure::Sandbox(error) => error.last_log(),
            _ => &[],
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Toolchain(_) | Failure::File { .. } => 1,
            Failure::Usage(_) => 2,
            Failure::Data(_) => 3,
            Failure::Artifact { .. } => 4,
            Failure::Parameter(_) => 5,
            Failure::Sandbox(error) => match error.code() {
                "unsuitable" => 2,
                "not-a-plugin" | "contract-mismatch" | "invalid-description" => 4,
                "invalid-parameters" => 5,
                "timeout" | "guest-memory" | "limit" | "out-of-memory" => 7,
                "cancelled" => 130,
                "cache" | "io" | "engine" | "session" | "host-panic" => 1,
                _ => 6,
            },
        })
    }
}

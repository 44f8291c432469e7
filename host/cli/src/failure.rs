//! Why a command failed, and the exit code that says so to a script.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trainyard_data::DataError;
use trainyard_data::tdengine::TdengineError;
use trainyard_sandbox::SandboxError;

/// The result of a command.
pub type Result<T> = std::result::Result<T, Failure>;

/// One line that says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Data(#[from] DataError),
    #[error("{0}")]
    Tdengine(#[from] TdengineError),
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
    /// The plugin has to be mended first; what is wrong with it has been said.
    #[error("{0}")]
    Plugin(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Parameter(String),
    #[error("{0}")]
    Config(String),
    /// The service cannot start or go on.
    #[error("{0}")]
    Service(String),
    #[error(
        "no server answers at {url} ({reason}); start one with `trainyard up`, or give its address with --url or TRAINYARD_URL"
    )]
    Unreachable { url: String, reason: String },
    #[error("the connection to {url} was lost ({reason}); try again")]
    Connection { url: String, reason: String },
    #[error("{url} does not answer as a Trainyard server does ({problem}); check the address")]
    Stranger { url: String, problem: String },
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// A training on a server ended without a result. The code is the host's name for what happened.
    #[error("{message}")]
    Training {
        code: String,
        message: String,
        log: Vec<String>,
    },
}

/// What a server said when it did not do something.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}{}", remedy.as_ref().map_or_else(String::new, |remedy| format!("; {remedy}")))]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// A stable name, such as `already-training`.
    pub error: String,
    /// What was wrong, in one line.
    pub message: String,
    /// What to do.
    pub remedy: Option<String>,
    /// More of it; null where there is nothing.
    pub details: Value,
}

impl Refusal {
    /// The single reasons, where there are several.
    fn reasons(&self) -> Vec<String> {
        let list = match &self.details {
            Value::Array(list) => Some(list),
            Value::Object(object) => object.values().find_map(Value::as_array),
            _ => None,
        };
        let spelled = |reason: &Value| {
            let text = |name: &str| reason.get(name).and_then(Value::as_str).map(str::to_owned);
            let parameter = text("parameter").map(|name| format!("{name}: ")).unwrap_or_default();
            let expected = text("expected")
                .map(|text| format!(", expected `{text}`"))
                .unwrap_or_default();
            let found = text("found")
                .map(|text| format!(", found `{text}`"))
                .unwrap_or_default();
            let todo = text("remedy")
                .or_else(|| text("allowed"))
                .map(|text| format!("; {text}"))
                .unwrap_or_default();
            let problem = text("problem")
                .or_else(|| text("message"))
                .or_else(|| reason.as_str().map(str::to_owned));
            let problem = problem.unwrap_or_else(|| reason.to_string());
            trainyard_parameters::one_line(&format!("{parameter}{problem}{expected}{found}{todo}"))
        };
        // A single one is in the message already.
        list.filter(|list| list.len() > 1)
            .map(|list| list.iter().map(spelled).collect())
            .unwrap_or_default()
    }
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
            Failure::Tdengine(error) => error.code(),
            Failure::Sandbox(error) => error.code(),
            Failure::Toolchain(_) => "toolchain",
            Failure::File { .. } => "file",
            Failure::Artifact { .. } => "artifact",
            Failure::Plugin(_) => "plugin",
            Failure::Usage(_) => "usage",
            Failure::Parameter(_) => "invalid-parameters",
            Failure::Config(_) => "configuration",
            Failure::Service(_) => "service",
            Failure::Unreachable { .. } => "unreachable",
            Failure::Connection { .. } => "connection",
            Failure::Stranger { .. } => "not-a-server",
            Failure::Refused(refusal) => &refusal.error,
            Failure::Training { code, .. } => code,
        }
    }

    /// The single reasons, where one line cannot hold them.
    pub fn reasons(&self) -> Vec<String> {
        match self {
            Failure::Refused(refusal) => refusal.reasons(),
            _ => Vec::new(),
        }
    }

    /// More for programs; null where there is nothing.
    pub fn details(&self) -> &Value {
        match self {
            Failure::Refused(refusal) => &refusal.details,
            _ => &Value::Null,
        }
    }

    /// What the plugin logged before it failed.
    pub fn log(&self) -> &[String] {
        match self {
            Failure::Sandbox(error) => error.last_log(),
            Failure::Training { log, .. } => log,
            _ => &[],
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Toolchain(_) | Failure::File { .. } | Failure::Service(_) => 1,
            Failure::Unreachable { .. } | Failure::Connection { .. } | Failure::Stranger { .. } => 1,
            Failure::Tdengine(_) => 1,
            Failure::Usage(_) | Failure::Config(_) => 2,
            Failure::Data(_) => 3,
            Failure::Artifact { .. } | Failure::Plugin(_) => 4,
            Failure::Parameter(_) => 5,
            Failure::Sandbox(error) => exit_code_of(error.code()).unwrap_or(6),
            // What a runner on the server says has the names that it has here.
            Failure::Training { code, .. } => exit_code_of(code).unwrap_or(6),
            Failure::Refused(refusal) => exit_code_of(&refusal.error).unwrap_or(match refusal.status {
                400 | 404 | 405 | 415 | 422 => 2,
                _ => 1,
            }),
        })
    }
}

/// The exit code of a failure by its name; none for names that say nothing of their kind.
fn exit_code_of(code: &str) -> Option<u8> {
    Some(match code {
        code if code.starts_with("data.") => 3,
        "tdengine.bad-request" | "tdengine.not-found" | "tdengine.no-rows" | "tdengine.refused" => 3,
        "tdengine.limit" => 7,
        code if code.starts_with("tdengine.") => 1,
        "file" | "dataset" | "no-dataset" => 3,
        "unsuitable" => 2,
        "not-a-plugin" | "contract-mismatch" | "invalid-description" | "python-source" => 4,
        "invalid-parameters" => 5,
        "timeout" | "guest-memory" | "limit" | "out-of-memory" | "time-limit" | "memory-limit" => 7,
        "cancelled" => 130,
        "no-python-engine" | "cache" | "code" | "io" | "engine" | "session" | "host-panic" | "host" | "runner-died" => {
            1
        }
        _ => return None,
    })
}

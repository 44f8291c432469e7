//! What could not be done, in the words of [`Report::Failed`].

use crate::artifact::ModelFileError;
use crate::protocol::Report;
use serde_json::{Value, json};
use std::path::Path;
use trainyard_data::DataError;
use trainyard_parameters::one_line;
use trainyard_sandbox::{PluginError, SandboxError};

/// Why something could not be done.
#[derive(Debug)]
pub(super) struct Refusal {
    code: String,
    message: String,
    /// Apart, to keep what every function here may give back small.
    details: Box<Value>,
    log: Vec<String>,
}

impl Refusal {
    pub fn new(code: &str, message: impl ToString) -> Self {
        Refusal {
            code: code.to_owned(),
            message: message.to_string(),
            details: Box::default(),
            log: Vec::new(),
        }
    }

    pub fn with_details(self, details: Value) -> Self {
        Refusal {
            details: Box::new(details),
            ..self
        }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// A file in the scratch folder that cannot be written.
    pub fn scratch(path: &Path, error: &std::io::Error) -> Self {
        Refusal::new(
            "scratch",
            format!(
                "{}: cannot be written: {error}; the worker's scratch folder must stay in place and have room",
                path.display()
            ),
        )
    }

    /// A fault of ours, caught.
    pub fn panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let said = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a panic without a message");
        Refusal::new(
            "host-panic",
            format!("a fault of the host, please report it: {}", one_line(said)),
        )
    }
}

impl From<Refusal> for Report {
    fn from(refusal: Refusal) -> Self {
        Report::Failed {
            code: refusal.code,
            message: refusal.message,
            details: *refusal.details,
            log: refusal.log,
        }
    }
}

impl From<SandboxError> for Refusal {
    fn from(error: SandboxError) -> Self {
        let details = match &error {
            SandboxError::ContractMismatch(problems) => json!({ "problems": problems }),
            SandboxError::InvalidParameters(problems) => json!({ "problems": problems }),
            SandboxError::Trap(trap) => json!({ "function": trap.function, "backtrace": trap.backtrace }),
            error => match (error.raised(), exceeded(error)) {
                (Some(raised), None) => json!({ "exception": raised }),
                (Some(raised), Some(limit)) => json!({ "exception": raised, "limit": limit }),
                (None, Some(limit)) => json!({ "limit": limit }),
                (None, None) => Value::Null,
            },
        };
        Refusal {
            code: error.code().to_owned(),
            message: error.to_string(),
            details: Box::new(details),
            log: error.last_log().to_vec(),
        }
    }
}

/// The name of the memory that was not enough.
fn exceeded(error: &SandboxError) -> Option<&str> {
    let error = match error {
        SandboxError::Session(error) => error,
        SandboxError::Plugin { error, .. } => match &**error {
            PluginError::Host(error) => error,
            _ => return None,
        },
        _ => return None,
    };
    match error {
        trainyard_kernels::Error::OutOfMemory(limit) => Some(&limit.limit),
        _ => None,
    }
}

impl From<DataError> for Refusal {
    fn from(error: DataError) -> Self {
        Refusal::new(error.code(), error)
    }
}

impl From<ModelFileError> for Refusal {
    fn from(error: ModelFileError) -> Self {
        let details = json!({ "file": error.file });
        Refusal::new("artifact", error).with_details(details)
    }
}

impl From<trainyard_kernels::Error> for Refusal {
    fn from(error: trainyard_kernels::Error) -> Self {
        SandboxError::Session(error).into()
    }
}

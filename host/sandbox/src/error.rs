//! What can go wrong with a plugin. Each is one line for a person, and has a code that never changes.

use crate::inspect::Problem;
use crate::python::Raised;
use std::path::PathBuf;
use std::time::Duration;
use trainyard_kernels::bytes;
use trainyard_parameters::{ParameterProblem, one_line};

/// Why a plugin could not be loaded, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The file is something else.
    #[error("not a plugin: {found}; {remedy}")]
    NotAPlugin {
        /// What it is instead.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// It needs something that this host does not have, or lacks something that every plugin has.
    #[error("the plugin does not fit this host: {}", list(.0))]
    ContractMismatch(Vec<Problem>),
    /// What it says about itself makes no sense.
    #[error("the plugin's description is not usable: {0}")]
    InvalidDescription(String),
    /// Parameters that it does not take.
    #[error("{}", list(.0))]
    InvalidParameters(Vec<ParameterProblem>),
    /// The job is not one for this plugin.
    #[error("{0}")]
    Unsuitable(String),
    /// It stopped in a way that WebAssembly forbids.
    #[error("{}", .0.message())]
    Trap(Box<Trap>),
    /// It ran longer than it may.
    #[error("`{function}` was stopped: the plugin ran longer than {} (--timeout)", seconds(*.limit))]
    Timeout {
        /// Which of the plugin's functions.
        function: &'static str,
        /// How long it may run.
        limit: Duration,
    },
    /// The card that computed for it failed.
    #[error(
        "`{function}` failed through no fault of the plugin: {error}; the job can be done on another card or on the processor"
    )]
    Device {
        /// Which of the plugin's functions.
        function: &'static str,
        /// What became of the card.
        error: trainyard_kernels::DeviceError,
    },
    /// Someone asked to stop.
    #[error("`{function}` was cancelled")]
    Cancelled {
        /// Which of the plugin's functions.
        function: &'static str,
    },
    /// It used more of its own memory than it may.
    #[error(
        "`{function}` failed: the plugin needed more than {} of its own memory (it asked for {})",
        bytes(*.limit), bytes(*.requested)
    )]
    GuestMemory {
        /// Which of the plugin's functions.
        function: &'static str,
        /// Bytes that it may use.
        limit: u64,
        /// Bytes that it asked for.
        requested: u64,
    },
    /// It went over another limit.
    #[error("`{function}` failed: {limit}")]
    Limit {
        /// Which of the plugin's functions.
        function: &'static str,
        /// Which limit, and by how much.
        limit: LimitExceeded,
    },
    /// The plugin said itself that it failed.
    #[error("`{function}` failed: {}", raised.as_ref().map_or_else(|| error.to_string(), ToString::to_string))]
    Plugin {
        /// Which of the plugin's functions.
        function: &'static str,
        /// What it said.
        error: Box<PluginError>,
        /// The exception behind it, in a plugin of Python.
        raised: Option<Box<Raised>>,
    },
    /// Python source that cannot be loaded, or holds no algorithm.
    #[error("the Python source cannot be used: {0}")]
    PythonSource(Box<Raised>),
    /// There is no Python engine to run Python source.
    #[error("{0}")]
    NoPythonEngine(String),
    /// It gave back something that cannot be used.
    #[error("`{function}` gave back something that cannot be used: {problem}")]
    InvalidResult {
        /// Which of the plugin's functions.
        function: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A fault of the host while it worked for the plugin.
    #[error("`{function}` failed through a fault of the host, please report it: {message}")]
    HostPanic {
        /// Which of the plugin's functions.
        function: &'static str,
        /// What the panic said.
        message: String,
    },
    /// The tensors of the job could not be set up.
    #[error("the job cannot start: {0}")]
    Session(#[from] trainyard_kernels::Error),
    /// A folder of compiled plugins that cannot be trusted.
    #[error(
        "the compile cache {folder} is not safe to use: {problem}; make it yours alone (chown, chmod 700), or choose another",
        folder = folder.display()
    )]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of machine code that is of no use here.
    #[error("the plugin's machine code cannot be used: {0}; compile the plugin again")]
    Code(String),
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was to be done.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// WebAssembly could not be set up on this machine.
    #[error("the WebAssembly engine refused: {0}")]
    Engine(String),
}

impl SandboxError {
    /// A short name of the kind of failure. It never changes.
    pub fn code(&self) -> &'static str {
        match self {
            SandboxError::NotAPlugin { .. } => "not-a-plugin",
            SandboxError::ContractMismatch(_) => "contract-mismatch",
            SandboxError::InvalidDescription(_) => "invalid-description",
            SandboxError::InvalidParameters(_) => "invalid-parameters",
            SandboxError::Unsuitable(_) => "unsuitable",
            SandboxError::Trap(_) => "trap",
            SandboxError::Timeout { .. } => "timeout",
            SandboxError::Device { .. } | SandboxError::Session(trainyard_kernels::Error::Device(_)) => "device",
            SandboxError::Cancelled { .. } => "cancelled",
            SandboxError::GuestMemory { .. } => "guest-memory",
            SandboxError::Limit { .. } => "limit",
            SandboxError::Plugin { error, .. } => error.code(),
            SandboxError::PythonSource(_) => "python-source",
            SandboxError::NoPythonEngine(_) => "no-python-engine",
            SandboxError::InvalidResult { .. } => "invalid-result",
            SandboxError::HostPanic { .. } => "host-panic",
            SandboxError::Session(_) => "session",
            SandboxError::Cache { .. } => "cache",
            SandboxError::Code(_) => "code",
            SandboxError::Io { .. } => "io",
            SandboxError::Engine(_) => "engine",
        }
    }

    pub(crate) fn engine(error: wasmtime::Error) -> Self {
        SandboxError::Engine(one_line(&format!("{error:#}")))
    }

    /// The exception behind it, where it is one of an author's Python.
    pub fn raised(&self) -> Option<&Raised> {
        match self {
            SandboxError::Plugin { raised, .. } => raised.as_deref(),
            SandboxError::PythonSource(raised) => Some(raised),
            _ => None,
        }
    }

    /// Who said `log` last, for an error that only the plugin's own words explain.
    pub fn last_log(&self) -> &[String] {
        match self {
            SandboxError::Trap(trap) => &trap.log,
            _ => &[],
        }
    }
}

/// How and where a plugin stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// Which of the plugin's functions was called.
    pub function: &'static str,
    /// What happened.
    pub reason: String,
    /// The plugin's innermost functions, the one that stopped first.
    pub backtrace: Vec<String>,
    /// What the plugin logged last.
    pub log: Vec<String>,
}

impl Trap {
    fn message(&self) -> String {
        let place = self
            .backtrace
            .first()
            .map(|at| format!(", in `{at}`"))
            .unwrap_or_default();
        format!("`{}` crashed: {}{place}", self.function, self.reason)
    }
}

/// A limit that a plugin went over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitExceeded {
    /// What is limited.
    pub name: String,
    /// The most that is allowed.
    pub limit: u64,
    /// What was in use.
    pub current: u64,
    /// What was asked for on top.
    pub requested: u64,
}

impl std::fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let in_bytes = ["memory", "bytes", "size"].iter().any(|unit| self.name.ends_with(unit));
        let text = |n: u64| if in_bytes { bytes(n) } else { n.to_string() };
        write!(f, "over the limit of {} for {}", text(self.limit), self.name)?;
        if self.requested > 0 {
            write!(f, ": {} asked for", text(self.requested))?;
        }
        if self.current > 0 {
            write!(f, " with {} in use", text(self.current))?;
        }
        Ok(())
    }
}

/// An error that a plugin gave back: mostly one that the host gave it before.
#[derive(Debug, Clone, PartialEq)]
pub enum PluginError {
    /// An operation of the host refused what it was given, or ran out of its budget.
    Host(trainyard_kernels::Error),
    /// The data set cannot give what was asked.
    Data(String),
    /// The algorithm's own error.
    Algorithm(String),
}

impl PluginError {
    fn code(&self) -> &'static str {
        use trainyard_kernels::Error;
        match self {
            PluginError::Host(error) => match error {
                Error::Shape(_) => "shape",
                Error::DType(_) => "dtype",
                Error::InvalidArgument(_) => "invalid-argument",
                Error::Numerical(_) => "numerical",
                Error::OutOfMemory(_) => "out-of-memory",
                Error::Limit(_) => "limit",
                Error::MissingGradient(_) => "missing-gradient",
                // A job that is really being cancelled never gets here.
                Error::Cancelled => "algorithm",
                Error::Device(_) => "device",
            },
            PluginError::Data(_) => "data",
            PluginError::Algorithm(_) => "algorithm",
        }
    }
}

impl std::fmt::Display for PluginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Every text in it may be the plugin's own.
        f.write_str(&match self {
            PluginError::Host(trainyard_kernels::Error::Cancelled) => {
                "it says that it was cancelled, and it was not".to_owned()
            }
            PluginError::Host(error) => one_line(&error.to_string()),
            PluginError::Data(message) => one_line(message),
            PluginError::Algorithm(message) if message.is_empty() => "the algorithm gave no reason".to_owned(),
            PluginError::Algorithm(message) => one_line(message),
        })
    }
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}

/// The first few of several, on one line.
fn list<T: std::fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 3;
    let mut text = items
        .iter()
        .take(SHOWN)
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join("; ");
    if items.len() > SHOWN {
        text.push_str(&format!("; and {} more", items.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_text_cannot_break_the_line_or_the_terminal() {
        let error = SandboxError::Plugin {
            function: "train",
            error: Box::new(PluginError::Algorithm(format!("a\nb\x1b[31m{}", "x".repeat(5_000)))),
            raised: None,
        };
        let line = error.to_string();
        assert!(line.starts_with("`train` failed: a b\u{fffd}[31mxxx"), "{line}");
        assert!(line.ends_with(" …") && line.chars().count() < 2_050);
        assert_eq!(error.code(), "algorithm");
    }

    #[test]
    fn limits_print_their_unit() {
        let exceeded = |name: &str| LimitExceeded {
            name: name.into(),
            limit: 1 << 20,
            current: 0,
            requested: 3 << 20,
        };
        assert_eq!(
            exceeded("message size").to_string(),
            "over the limit of 1 MiB for message size: 3 MiB asked for"
        );
        assert_eq!(
            exceeded("handles").to_string(),
            "over the limit of 1048576 for handles: 3145728 asked for"
        );
    }
}

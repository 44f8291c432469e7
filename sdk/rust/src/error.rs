//! One error type for everything: what the host refused, and what the algorithm itself reports.

use crate::bindings::types;
use std::fmt;

pub use types::{Error as ErrorKind, LimitError, OpError};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done. `?` passes it on, and the host shows it to the person who runs the job.
///
/// ```
/// use trainyard_sdk::{Error, ErrorKind};
///
/// let error = Error::from("the series is shorter than one season");
/// assert_eq!(error.to_string(), "the series is shorter than one season");
/// assert!(matches!(error.kind(), ErrorKind::Algorithm(_)));
/// ```
// Boxed: a result is passed at every call, and errors are rare.
pub struct Error(Box<ErrorKind>);

impl Error {
    /// The algorithm's own error, with a message for the person who runs the job.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(ErrorKind::Algorithm(message.into())))
    }

    /// What kind of error it is, to react to one of them.
    ///
    /// ```no_run
    /// # use trainyard_sdk::{linalg, ErrorKind, Result, Tensor};
    /// # fn weights(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    /// match linalg::solve(a, b) {
    ///     Err(error) if matches!(error.kind(), ErrorKind::Numerical(_)) => linalg::lstsq(a, b),
    ///     result => result,
    /// }
    /// # }
    /// ```
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Whether the job is being stopped: return as soon as possible.
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.0, ErrorKind::Cancelled)
    }

    pub(crate) fn into_kind(self) -> ErrorKind {
        *self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            ErrorKind::Shape(e) | ErrorKind::Dtype(e) | ErrorKind::InvalidArgument(e) | ErrorKind::Numerical(e) => {
                write!(f, "{}: {}", e.operation, e.message)
            }
            ErrorKind::OutOfMemory(e) | ErrorKind::Limit(e) => write!(
                f,
                "{}: over the limit of {}: {} allowed, {} in use, {} more asked for",
                e.operation, e.limit, e.allowed, e.used, e.requested
            ),
            ErrorKind::MissingGradient(name) => {
                write!(
                    f,
                    "the loss does not depend on the parameter `{name}`, so that it has no gradient"
                )
            }
            ErrorKind::Data(message) | ErrorKind::Algorithm(message) => f.write_str(message),
            ErrorKind::Cancelled => f.write_str("the job is being stopped"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// Returns early with the algorithm's own error; the arguments are those of [`format!`].
///
/// ```
/// # use trainyard_sdk::{bail, Result};
/// fn check(kernel: usize) -> Result<()> {
///     if kernel % 2 == 0 {
///         bail!("the kernel must be odd, and {kernel} is even");
///     }
///     Ok(())
/// }
/// assert_eq!(check(4).unwrap_err().to_string(), "the kernel must be odd, and 4 is even");
/// ```
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::std::format!($($message)+)))
    };
}

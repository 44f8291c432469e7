//! What can go wrong, with the values that went wrong: the operation, the shapes, the element types.

use crate::dtype::DType;
use std::fmt;

/// The result of every operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation was not done. Its text is one line for a person.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Shapes that do not fit together.
    #[error("{0}")]
    Shape(OpError),
    /// Element types that do not fit the operation.
    #[error("{0}")]
    DType(OpError),
    /// Any other argument out of its range.
    #[error("{0}")]
    InvalidArgument(OpError),
    /// A result that does not exist, such as the inverse of a singular matrix.
    #[error("{0}")]
    Numerical(OpError),
    /// The tensors of the session would exceed its budget; nothing was allocated.
    #[error("{0}")]
    OutOfMemory(LimitError),
    /// Any other limit.
    #[error("{0}")]
    Limit(LimitError),
    /// A trainable parameter that the loss does not depend on.
    #[error(
        "parameter `{0}` received no gradient: the loss does not depend on it; use it in the model, or freeze it with set-trainable"
    )]
    MissingGradient(String),
    /// The job is being stopped.
    #[error("the job was cancelled")]
    Cancelled,
    /// The card broke off its work: nothing that its session holds can be trusted any more.
    #[error("{0}")]
    Device(DeviceError),
}

/// What became of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceError {
    /// Which card, such as `cuda:0`.
    pub device: String,
    /// The driver's own words, in one line.
    pub message: String,
    /// The operation that heard of it first; an earlier one may have caused it.
    pub operation: String,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed during {}: {}", self.device, self.operation, self.message)
    }
}

/// An operation that could not be done with what it was given.
#[derive(Debug, Clone, PartialEq)]
pub struct OpError {
    /// As the contract spells it, for example `tensor.matmul`.
    pub operation: String,
    /// One sentence: what was wrong, and what would be right.
    pub message: String,
    /// The operands' shapes.
    pub shapes: Vec<Vec<usize>>,
    /// The operands' element types.
    pub dtypes: Vec<DType>,
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)?;
        if self.shapes.is_empty() {
            return Ok(());
        }
        f.write_str(" (got ")?;
        for (i, (shape, dtype)) in self.shapes.iter().zip(&self.dtypes).enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{dtype}{shape:?}")?;
        }
        f.write_str(")")
    }
}

/// A budget that would have been exceeded.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitError {
    /// Which budget.
    pub limit: String,
    /// The most that is allowed, in the limit's own unit (bytes for memory).
    pub allowed: u64,
    /// What is in use already.
    pub used: u64,
    /// What was asked for on top.
    pub requested: u64,
    /// The operation that asked.
    pub operation: String,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.limit.ends_with("memory") && self.requested == 0 {
            write!(
                f,
                "{}: out of {}: {} of {} in use",
                self.operation,
                self.limit,
                bytes(self.used),
                bytes(self.allowed)
            )
        } else if self.limit.ends_with("memory") {
            write!(
                f,
                "{}: out of {}: {} asked for with {} of {} in use",
                self.operation,
                self.limit,
                bytes(self.requested),
                bytes(self.used),
                bytes(self.allowed)
            )
        } else {
            write!(
                f,
                "{}: over the limit of {}: {} asked for with {} of {} in use",
                self.operation, self.limit, self.requested, self.used, self.allowed
            )
        }
    }
}

/// A number of bytes as a person writes it: `512 B`, `1.5 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value.fract() == 0.0 {
        format!("{value} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

//! Tensors with derivatives, on candle's storage and kernels.
//!
//! ```
//! use trainyard_kernels::{Session, SessionOptions, Tensor, autograd, optim::{Optimizer, SgdOptions}};
//!
//! # fn main() -> Result<(), trainyard_kernels::Error> {
//! let session = Session::new(SessionOptions::default())?;
//! let x = Tensor::from_f32(&session, vec![1.0, 2.0, 3.0], &[3])?;
//! let w = autograd::parameter(&session, "w", &Tensor::from_f32(&session, vec![0.5], &[1])?)?;
//! let loss = w.mul(&x)?.sub(&x)?.square()?.mean(&[], false)?;
//! let mut sgd = Optimizer::sgd(&[&w], SgdOptions { learning_rate: 0.1, ..Default::default() })?;
//! sgd.minimize(&loss)?;
//! // d/dw mean((w x - x)^2) = 2 (w - 1) mean(x^2) = -14/3
//! assert!((w.item()? - (0.5 + 0.1 * 14.0 / 3.0)).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```
//!
//! - Shapes, broadcasting and defaults are PyTorch's. No operation panics on bad operands: it returns an [`Error`] that
//!   names the operation, the shapes and the element types.
//! - Derivatives are recorded by this crate, not by candle, whose fused operations lose them silently. An operation here
//!   cannot be written without saying what its derivative is.
//! - Every byte of every living tensor is booked on its [`Session`] before it is allocated.

pub mod autograd;
pub mod cpu;
mod dtype;
mod error;
mod gpu;
pub mod linalg;
pub mod nn;
mod ops;
pub mod optim;
mod raw;
mod session;
mod tensor;
mod threads;

pub use dtype::DType;
pub use error::{DeviceError, Error, LimitError, OpError, Result, bytes};
pub use session::{Cancel, CardReport, Device, Session, SessionOptions};
pub use tensor::Tensor;
pub use threads::configure_threads;

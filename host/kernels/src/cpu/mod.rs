//! Numeric kernels on plain slices: no tensors, no graph of derivatives, no accounting.
//!
//! Every function is generic over [`Real`] (`f32`, `f64`), reads contiguous row-major input and writes into slices that
//! the caller allocated; a family that needs working space beyond a bounded few megabytes takes it as a slice too. The
//! lengths of the slices are the caller's duty: a mismatch is a bug in the host and panics. What a plugin can get wrong
//! (an index, a singular matrix) is an error value.
//!
//! Results do not depend on the number of threads: work is cut into chunks of a fixed size, reductions combine their
//! chunks in order, and loops use a fixed number of lanes without fused multiply-add, so that wide and narrow vector
//! units give the same bits. Only matrix products (the `gemm` and `faer` crates) may differ between kinds of processor.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test it is the assertion"))]

pub mod activation;
pub mod attention;
pub mod conv;
pub mod gemm;
pub mod index;
pub mod linalg;
pub mod loss;
pub mod norm;
pub mod optim;
pub mod pool;
pub mod random;
pub mod real;
pub mod reduce;
pub mod rnn;
pub mod softmax;

mod math;
mod par;

pub use real::Real;

/// The caller asked to stop; what was written to the outputs so far is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Asked between the parts of a long computation: true stops it. May be called from several threads.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

#[cfg(test)]
mod testing;

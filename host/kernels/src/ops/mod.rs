//! The operations of the contract's `tensor` interface, one file a family. Each says what its derivative is.

mod arithmetic;
mod comparison;
mod index;
mod matmul;
mod random;
mod reduction;
mod shape;
mod unary;

pub(crate) use unary::{fused, fused_backward};

use crate::error::{Error, Result};
use crate::raw::{Raw, Shape, op_error};

/// The shape that two shapes broadcast to: from the last dimension on, equal sizes or a size of one.
pub(crate) fn broadcast_shape(op: &'static str, a: &Raw, b: &Raw) -> Result<Shape> {
    let (x, y) = (a.shape(), b.shape());
    let rank = x.len().max(y.len());
    let size = |shape: &[usize], i: usize| match (i + shape.len()).checked_sub(rank) {
        Some(i) => shape[i],
        None => 1,
    };
    let mut shape = Shape::with_capacity(rank);
    for i in 0..rank {
        shape.push(match (size(x, i), size(y, i)) {
            (m, n) if m == n => m,
            (1, n) => n,
            (m, 1) => m,
            (m, n) => {
                return Err(Error::Shape(op_error(
                    op,
                    format!("the shapes do not broadcast: sizes {m} and {n} differ in dimension {i} of {rank}, and neither is 1"),
                    &[a, b],
                )));
            }
        });
    }
    Ok(shape)
}

/// A dimension counted from the end where negative.
pub(crate) fn dimension(op: &'static str, dim: i32, raw: &Raw) -> Result<usize> {
    within(op, dim, raw.rank(), raw)
}

/// As [`dimension`], for an operation that has `rank` dimensions to choose from.
pub(crate) fn within(op: &'static str, dim: i32, rank: usize, raw: &Raw) -> Result<usize> {
    let index = if dim < 0 {
        i64::from(dim) + rank as i64
    } else {
        i64::from(dim)
    };
    if (0..rank as i64).contains(&index) {
        return Ok(index as usize);
    }
    let message = match rank {
        0 => format!("there is no dimension {dim}: the tensor is a scalar"),
        _ => format!("there is no dimension {dim}: use -{rank} to {}", rank - 1),
    };
    Err(Error::InvalidArgument(op_error(op, message, &[raw])))
}

/// Distinct dimensions, rising; all of them when none is named.
pub(crate) fn dimensions(op: &'static str, dims: &[i32], raw: &Raw) -> Result<Shape> {
    if dims.is_empty() {
        return Ok((0..raw.rank()).collect());
    }
    let mut found: Shape = dims.iter().map(|&d| dimension(op, d, raw)).collect::<Result<_>>()?;
    found.sort_unstable();
    if found.windows(2).any(|w| w[0] == w[1]) {
        return Err(Error::InvalidArgument(op_error(
            op,
            "the same dimension is named twice",
            &[raw],
        )));
    }
    Ok(found)
}

/// Refuses operands of different element types.
pub(crate) fn same_dtype(op: &'static str, operands: &[&Raw]) -> Result<()> {
    if operands.windows(2).all(|w| w[0].dtype() == w[1].dtype()) {
        return Ok(());
    }
    Err(Error::DType(op_error(
        op,
        "the operands must have one element type; cast one of them",
        operands,
    )))
}

/// Refuses what is not floating-point.
pub(crate) fn floating(op: &'static str, operands: &[&Raw]) -> Result<()> {
    if operands.iter().all(|r| r.dtype().is_float()) {
        return Ok(());
    }
    Err(Error::DType(op_error(
        op,
        "needs floating-point tensors; cast to f32 or f64",
        operands,
    )))
}

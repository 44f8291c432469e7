//! Rows of a table by their indices.

use crate::error::{Error, Result};
use crate::raw::op_error;
use crate::tensor::Tensor;

/// Rows of `weight` [entries, width] by `u32` or `i64` indices of any shape: [.., width].
pub fn embedding(indices: &Tensor, weight: &Tensor) -> Result<Tensor> {
    const OP: &str = "nn.embedding";
    let &[entries, width] = weight.shape() else {
        return Err(Error::Shape(op_error(
            OP,
            "the weight must be [entries, width]",
            &[indices.raw(), weight.raw()],
        )));
    };
    let checked = indices.raw().indices(OP, entries)?.reshape(OP, &[indices.count()])?;
    let rows = weight.index_select(0, &Tensor::constant(checked))?;
    let mut shape: Vec<i32> = indices.shape().iter().map(|&d| d as i32).collect();
    shape.push(width as i32);
    rows.reshape(&shape)
}

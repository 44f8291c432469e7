//! Matrix products. On the processor they go to the same `gemm` as candle's, with strides, so that a transpose costs nothing.

use super::{floating, same_dtype};
use crate::autograd::Gradients;
use crate::cpu::gemm::{View, ViewMut, gemm};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Matrix, Product};
use crate::raw::{Raw, Shape, op_error, with_float};
use crate::tensor::Tensor;
use smallvec::smallvec;

impl Raw {
    /// `self` [.., m, k] times `other` [.., k, n]; the dimensions before broadcast.
    pub(crate) fn matmul(&self, op: &'static str, other: &Raw) -> Result<Raw> {
        let (&[ref a_batch @ .., m, k], &[ref b_batch @ .., k2, n]) = (self.shape(), other.shape()) else {
            return Err(Error::Shape(op_error(op, "needs matrices", &[self, other])));
        };
        if k != k2 {
            return Err(Error::Shape(op_error(
                op,
                format!("the inner sizes differ: a [{m}, {k}] matrix times a [{k2}, {n}] matrix"),
                &[self, other],
            )));
        }
        // Rows of all matrices on the left are rows of one matrix when the right one is shared.
        if b_batch.iter().all(|&d| d == 1) && !a_batch.is_empty() && self.is_contiguous() {
            let rows = self.reshape(op, &[self.count() / k.max(1), k])?;
            if k > 0 {
                let right = other.reshape_view(op, &[k, n])?;
                let mut shape: Shape = a_batch.into();
                while shape.len() < b_batch.len() {
                    shape.insert(0, 1);
                }
                shape.extend([m, n]);
                return rows.matmul(op, &right)?.reshape(op, &shape);
            }
        }
        let batch = batch_shape(op, self, other)?;
        let wide = |raw: &Raw, rows, columns| {
            let mut shape = batch.clone();
            shape.extend([rows, columns]);
            raw.broadcast_to(op, &shape)
        };
        let (a, b) = (wide(self, m, k)?, wide(other, k, n)?);
        let mut shape = batch.clone();
        shape.extend([m, n]);
        if let Some(gpu) = self.session().gpu() {
            return gpu_product(op, gpu, [&a, &b], (m, n, k), &batch, &shape);
        }
        if self.dtype().is_half() {
            let (a, b) = if batch.is_empty() {
                (a, b)
            } else {
                (a.contiguous(op)?, b.contiguous(op)?)
            };
            return Raw::make(op, self.session(), &shape, self.dtype(), || {
                a.candle().matmul(b.candle())
            });
        }
        with_float!(op, self, T => {
            let (x, y) = (a.strided::<T>(op)?, b.strided::<T>(op)?);
            let (sx, sy) = (a.candle().stride(), b.candle().stride());
            let rank = shape.len();
            Raw::build::<T>(op, self.session(), &shape, |out| {
                if m * n == 0 {
                    return Ok(());
                }
                for (i, out) in out.chunks_exact_mut(m * n).enumerate() {
                    self.session().check_cancelled()?;
                    let (at, bt) = (offset(i, &batch, sx), offset(i, &batch, sy));
                    let left = View { data: &x[at..], row: sx[rank - 2], column: sx[rank - 1], batch: 0 };
                    let right = View { data: &y[bt..], row: sy[rank - 2], column: sy[rank - 1], batch: 0 };
                    gemm((m, n, k), 1.0, left, right, 0.0, ViewMut::new(out, n));
                }
                Ok(())
            })
        })
    }

    /// A view as another shape where the layout allows it, else a copy.
    fn reshape_view(&self, op: &'static str, shape: &[usize]) -> Result<Raw> {
        if self.rank() == shape.len() {
            return Ok(self.clone());
        }
        // Leading dimensions of size one fall away without a copy, whatever the strides.
        let mut raw = self.clone();
        while raw.rank() > shape.len() {
            raw = raw.view(op, |t| t.squeeze(0))?;
        }
        Ok(raw)
    }
}

/// On the card: in place where the matrices of a batch are evenly spaced, and their rows or columns lie side by side; else of copies.
fn gpu_product(
    op: &'static str,
    gpu: &Gpu,
    [a, b]: [&Raw; 2],
    (m, n, k): (usize, usize, usize),
    batch: &[usize],
    shape: &[usize],
) -> Result<Raw> {
    let session = a.session();
    session.check_cancelled()?;
    if k == 0 {
        return Raw::full(op, session, shape, 0.0, a.dtype());
    }
    let (a, b) = (even(op, a)?, even(op, b)?);
    let out = crate::gpu::empty(op, session, shape, a.dtype())?;
    let matrix = |raw| -> Matrix<'_> {
        let raw: &Raw = raw;
        let strides = raw.candle().stride();
        let rank = strides.len();
        Matrix {
            raw,
            start: 0,
            row: strides[rank - 2],
            column: strides[rank - 1],
            batch: spacing(raw).unwrap_or_default(),
        }
    };
    let product = Product {
        size: (m, n, k),
        batch: batch.iter().product(),
        alpha: 1.0,
        a: matrix(&a),
        b: matrix(&b),
        beta: 0.0,
        c: Matrix::of(&out, n).every(m * n),
    };
    gpu.product(op, session, &product)?;
    Ok(out)
}

/// The distance between the matrices of a batch, if they are evenly spaced.
fn spacing(raw: &Raw) -> Option<usize> {
    let (sizes, strides) = (raw.shape(), raw.candle().stride());
    let batch = raw.rank() - 2;
    let mut dims = (0..batch).rev().filter(|&d| sizes[d] != 1);
    let Some(last) = dims.next() else { return Some(0) };
    let mut next = strides[last] * sizes[last];
    for d in dims {
        if strides[d] != next {
            return None;
        }
        next *= sizes[d];
    }
    Some(strides[last])
}

/// The tensor itself, or a copy where cuBLAS could not read its matrices.
fn even(op: &'static str, raw: &Raw) -> Result<Raw> {
    let (sizes, strides) = (raw.shape(), raw.candle().stride());
    let rank = raw.rank();
    let by_rows = strides[rank - 1] == 1 && (strides[rank - 2] >= sizes[rank - 1] || sizes[rank - 2] == 1);
    let by_columns = strides[rank - 2] == 1 && (strides[rank - 1] >= sizes[rank - 2] || sizes[rank - 1] == 1);
    if (by_rows || by_columns) && spacing(raw).is_some() {
        return Ok(raw.clone());
    }
    raw.copy(op)
}

/// Where matrix `i` of a batch begins.
fn offset(mut i: usize, batch: &[usize], strides: &[usize]) -> usize {
    let mut at = 0;
    for (&size, &stride) in batch.iter().zip(strides).rev() {
        at += (i % size) * stride;
        i /= size;
    }
    at
}

fn batch_shape(op: &'static str, a: &Raw, b: &Raw) -> Result<Shape> {
    let (x, y) = (&a.shape()[..a.rank() - 2], &b.shape()[..b.rank() - 2]);
    let rank = x.len().max(y.len());
    let size = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    (0..rank)
        .map(|i| match (size(x, i), size(y, i)) {
            (m, n) if m == n || n == 1 => Ok(m),
            (1, n) => Ok(n),
            (m, n) => Err(Error::Shape(op_error(
                op,
                format!("batches of {m} and {n} matrices do not broadcast"),
                &[a, b],
            ))),
        })
        .collect()
}

impl Tensor {
    /// Matrix product of the last two dimensions, the others broadcast. A vector on the left is a row, on the right a column, whose
    /// dimension the result lacks.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.matmul";
        let (a, b) = (self.raw(), other.raw());
        same_dtype(OP, &[a, b])?;
        floating(OP, &[a, b])?;
        if a.rank() == 0 || b.rank() == 0 {
            return Err(Error::Shape(op_error(OP, "a scalar is no matrix; use mul", &[a, b])));
        }
        if a.rank() == 1 || b.rank() == 1 {
            let left = if a.rank() == 1 {
                self.unsqueeze(0)?
            } else {
                self.clone()
            };
            let right = if b.rank() == 1 {
                other.unsqueeze(1)?
            } else {
                other.clone()
            };
            let mut product = left.matmul(&right)?;
            if b.rank() == 1 {
                product = product.squeeze(-1)?;
            }
            if a.rank() == 1 {
                product = product.squeeze(if b.rank() == 1 { -1 } else { -2 })?;
            }
            return Ok(product);
        }
        let raw = a.matmul(OP, b)?;
        let (a, b) = (a.save(), b.save());
        Ok(Tensor::record(raw, &[self, other], move |g, need| {
            let (a, b) = (a.get()?, b.get()?);
            let gradients: Gradients = smallvec![
                need.then(0, || product_to(OP, g, &turned(OP, b)?, a.shape()))?,
                need.then(1, || {
                    // With one right matrix for all, the sum over the batch is a longer product.
                    if b.rank() == 2 && a.rank() > 2 && a.is_contiguous() {
                        let rows = a.count() / b.shape()[0].max(1);
                        let left = a.reshape(OP, &[rows, b.shape()[0]])?;
                        let right = g.reshape(OP, &[rows, b.shape()[1]])?;
                        return turned(OP, &left)?.matmul(OP, &right);
                    }
                    product_to(OP, &turned(OP, a)?, g, b.shape())
                })?,
            ];
            Ok(gradients)
        }))
    }
}

/// The transposed matrices, as a view.
fn turned(op: &'static str, raw: &Raw) -> Result<Raw> {
    raw.transpose(op, raw.rank() - 2, raw.rank() - 1)
}

/// A product, summed over what was broadcast.
fn product_to(op: &'static str, a: &Raw, b: &Raw, shape: &[usize]) -> Result<Raw> {
    a.matmul(op, b)?.sum_to(op, shape)
}

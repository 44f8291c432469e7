//! Reductions. On floating-point tensors they run over `[outer, size, inner]` in one pass.

use super::{dimension, dimensions, floating};
use crate::cpu::index::{self, Dims};
use crate::cpu::reduce;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Binary, Unary};
use crate::raw::{Raw, Shape, op_error, with_float};
use crate::tensor::Tensor;
use smallvec::smallvec;

/// A tensor laid out so that the reduced dimensions are one.
struct Lanes {
    raw: Raw,
    dims: Dims,
    /// The shape that is left.
    shape: Shape,
}

impl Raw {
    fn lanes(&self, op: &'static str, dims: &[usize]) -> Result<Lanes> {
        let shape: Shape = (0..self.rank())
            .filter(|d| !dims.contains(d))
            .map(|d| self.shape()[d])
            .collect();
        let size = dims.iter().map(|&d| self.shape()[d]).product();
        let neighbours = dims.windows(2).all(|w| w[1] == w[0] + 1);
        if neighbours {
            let first = dims.first().copied().unwrap_or(self.rank());
            let outer = self.shape()[..first].iter().product();
            let inner = self.shape()[(first + dims.len()).min(self.rank())..].iter().product();
            return Ok(Lanes {
                raw: self.contiguous(op)?,
                dims: Dims { outer, n: size, inner },
                shape,
            });
        }
        let order: Shape = (0..self.rank())
            .filter(|d| !dims.contains(d))
            .chain(dims.iter().copied())
            .collect();
        let raw = self.view(op, |t| t.permute(&order[..]))?.contiguous(op)?;
        Ok(Lanes {
            raw,
            dims: Dims {
                outer: shape.iter().product(),
                n: size,
                inner: 1,
            },
            shape,
        })
    }

    /// The sum over some dimensions, which fall away.
    pub(crate) fn sum(&self, op: &'static str, dims: &[usize]) -> Result<Raw> {
        self.scaled_sum(op, dims, 1.0)
    }

    /// The sum over some dimensions times a factor. A short float is rounded at the end alone: its sum may be too large where its mean
    /// is not.
    pub(crate) fn scaled_sum(&self, op: &'static str, dims: &[usize], scale: f64) -> Result<Raw> {
        let dtype = self.dtype();
        if dtype.is_half() && !(dims.is_empty() && scale == 1.0) {
            return self.cast(op, DType::F32)?.scaled_sum(op, dims, scale)?.cast(op, dtype);
        }
        if !dtype.is_float() || dims.is_empty() {
            let shape: Shape = (0..self.rank())
                .filter(|d| !dims.contains(d))
                .map(|d| self.shape()[d])
                .collect();
            let sum = match dims {
                [] => self.clone(),
                dims => Raw::make(op, self.session(), &shape, dtype, || {
                    self.candle().contiguous()?.sum(dims)
                })?,
            };
            return if scale == 1.0 {
                Ok(sum)
            } else {
                sum.affine(op, scale, 0.0)
            };
        }
        let lanes = self.lanes(op, dims)?;
        if let Some(gpu) = self.session().gpu() {
            return gpu.sum(op, &lanes.raw, lanes.dims, &lanes.shape, scale);
        }
        let sum = with_float!(op, self, T => {
            let x = lanes.raw.elements::<T>(op)?;
            Raw::build::<T>(op, self.session(), &lanes.shape, |out| {
                reduce::sum(lanes.dims, &x, out);
                Ok(())
            })
        })?;
        if scale == 1.0 {
            Ok(sum)
        } else {
            sum.affine(op, scale, 0.0)
        }
    }

    /// Puts reduced dimensions back with size one.
    fn kept(&self, op: &'static str, from: &[usize], dims: &[usize]) -> Result<Raw> {
        let shape: Shape = from
            .iter()
            .enumerate()
            .map(|(d, &n)| if dims.contains(&d) { 1 } else { n })
            .collect();
        self.reshape(op, &shape)
    }
}

/// The largest or smallest of each lane.
fn extreme(op: &'static str, lanes: &Lanes, largest: bool) -> Result<Raw> {
    let session = lanes.raw.session();
    if let Some(gpu) = session.gpu() {
        return gpu.extreme(op, &lanes.raw, lanes.dims, &lanes.shape, largest);
    }
    with_float!(op, &lanes.raw, T => {
        let elements = lanes.raw.elements::<T>(op)?;
        Raw::build::<T>(op, session, &lanes.shape, |out| {
            if largest {
                reduce::max(lanes.dims, &elements, out);
            } else {
                reduce::min(lanes.dims, &elements, out);
            }
            Ok(())
        })
    })
}

/// A reduced result, with or without its dimensions of one.
fn finish(op: &'static str, raw: Raw, from: &[usize], dims: &[usize], keep: bool) -> Result<Raw> {
    if keep { raw.kept(op, from, dims) } else { Ok(raw) }
}

impl Tensor {
    /// The sum over dimensions; all of them when none is named.
    pub fn sum(&self, dims: &[i32], keep: bool) -> Result<Tensor> {
        self.scaled_sum("tensor.sum", dims, keep, |_| 1.0)
    }

    /// The mean over dimensions; all of them when none is named. The mean of nothing is NaN.
    pub fn mean(&self, dims: &[i32], keep: bool) -> Result<Tensor> {
        const OP: &str = "tensor.mean";
        floating(OP, &[self.raw()])?;
        self.scaled_sum(OP, dims, keep, |n| 1.0 / n as f64)
    }

    fn scaled_sum(&self, op: &'static str, dims: &[i32], keep: bool, scale: fn(usize) -> f64) -> Result<Tensor> {
        let x = self.raw();
        let dims = dimensions(op, dims, x)?;
        let scale = scale(dims.iter().map(|&d| x.shape()[d]).product());
        let raw = x.scaled_sum(op, &dims, scale)?;
        let from: Shape = x.shape().into();
        let raw = finish(op, raw, &from, &dims, keep)?;
        Ok(Tensor::record1(raw, self, move |g| {
            let g = if scale == 1.0 {
                g.clone()
            } else {
                g.affine(op, scale, 0.0)?
            };
            g.kept(op, &from, &dims)?.broadcast_to(op, &from)
        }))
    }

    /// The variance over dimensions, divided by n - `correction`.
    pub fn variance(&self, dims: &[i32], correction: f64, keep: bool) -> Result<Tensor> {
        const OP: &str = "tensor.variance";
        let x = self.widened(OP)?;
        let raw = x.raw();
        let dims = dimensions(OP, dims, raw)?;
        let count: usize = dims.iter().map(|&d| raw.shape()[d]).product();
        let from: Shape = raw.shape().into();
        let scale = 1.0 / (count as f64 - correction).max(0.0);
        let mean = raw.scaled_sum(OP, &dims, 1.0 / count as f64)?.kept(OP, &from, &dims)?;
        let centred = raw.sub(OP, &mean)?;
        let variance = centred.mul(OP, &centred)?.scaled_sum(OP, &dims, scale)?;
        let result = finish(OP, variance, &from, &dims, keep)?;
        let centred = centred.save();
        Tensor::record1(result, &x, move |g| {
            g.affine(OP, 2.0 * scale, 0.0)?
                .kept(OP, &from, &dims)?
                .mul(OP, centred.get()?)
        })
        .cast(self.dtype())
    }

    /// The largest over dimensions. Equal ones share the gradient.
    pub fn max(&self, dims: &[i32], keep: bool) -> Result<Tensor> {
        self.extremum("tensor.max", dims, keep, true)
    }

    /// The smallest over dimensions. Equal ones share the gradient.
    pub fn min(&self, dims: &[i32], keep: bool) -> Result<Tensor> {
        self.extremum("tensor.min", dims, keep, false)
    }

    fn extremum(&self, op: &'static str, dims: &[i32], keep: bool, largest: bool) -> Result<Tensor> {
        let x = self.widened(op)?;
        let dims = dimensions(op, dims, x.raw())?;
        let from: Shape = x.shape().into();
        let lanes = x.raw().lanes(op, &dims)?;
        if lanes.dims.n == 0 {
            return Err(Error::Shape(op_error(
                op,
                "there is no extreme of no elements",
                &[self.raw()],
            )));
        }
        let raw = extreme(op, &lanes, largest)?;
        let (saved, extreme) = (x.raw().save(), raw.save());
        let result = finish(op, raw, &from, &dims, keep)?;
        Tensor::record1(result, &x, move |g| {
            let best = extreme.get()?.kept(op, &from, &dims)?;
            let hits = saved
                .get()?
                .map2(op, &best, Binary::Equal, |x, m| f64::from(u8::from(x == m)))?;
            let shares = g
                .kept(op, &from, &dims)?
                .div(op, &hits.sum(op, &dims)?.kept(op, &from, &dims)?)?;
            hits.mul(op, &shares)
        })
        .cast(self.dtype())
    }

    /// Where the largest is along a dimension, as `u32`; of equal ones the first.
    pub fn argmax(&self, dim: i32, keep: bool) -> Result<Tensor> {
        self.place("tensor.argmax", dim, keep, true)
    }

    /// Where the smallest is along a dimension, as `u32`; of equal ones the first.
    pub fn argmin(&self, dim: i32, keep: bool) -> Result<Tensor> {
        self.place("tensor.argmin", dim, keep, false)
    }

    fn place(&self, op: &'static str, dim: i32, keep: bool, largest: bool) -> Result<Tensor> {
        let dim = dimension(op, dim, self.raw())?;
        // Every integer type fits f64 as far as indices and counts go.
        let x = if self.dtype().is_float() {
            self.widened(op)?.raw().clone()
        } else {
            self.raw().cast(op, DType::F64)?
        };
        let dims = Dims::new(x.shape(), dim);
        if dims.n == 0 {
            return Err(Error::Shape(op_error(
                op,
                "there is no extreme of no elements",
                &[self.raw()],
            )));
        }
        let mut shape: Shape = x.shape().into();
        if keep {
            shape[dim] = 1;
        } else {
            shape.remove(dim);
        }
        if let Some(gpu) = x.session().gpu() {
            return gpu
                .place(op, &x.contiguous(op)?, dims, &shape, largest)
                .map(Tensor::constant);
        }
        with_float!(op, &x, T => {
            let elements = x.elements::<T>(op)?;
            Raw::build::<u32>(op, x.session(), &shape, |out| {
                if largest {
                    reduce::argmax(dims, &elements, out);
                } else {
                    reduce::argmin(dims, &elements, out);
                }
                Ok(())
            })
        })
        .map(Tensor::constant)
    }

    /// ln of the sum of exponentials over dimensions, without overflow.
    pub fn logsumexp(&self, dims: &[i32], keep: bool) -> Result<Tensor> {
        const OP: &str = "tensor.logsumexp";
        let x = self.widened(OP)?;
        let dims = dimensions(OP, dims, x.raw())?;
        let from: Shape = x.shape().into();
        let lanes = x.raw().lanes(OP, &dims)?;
        if lanes.dims.n == 0 {
            return Err(Error::Shape(op_error(OP, "needs at least one element", &[self.raw()])));
        }
        let largest = extreme(OP, &lanes, true)?;
        // An infinite largest element must not turn into NaN by its own subtraction.
        let shift = largest.map(OP, Unary::FiniteOrZero, |m| if m.is_finite() { m } else { 0.0 })?;
        let scaled = x
            .raw()
            .sub(OP, &shift.kept(OP, &from, &dims)?)?
            .candle1(OP, candle_core::Tensor::exp)?;
        let sum = scaled.sum(OP, &dims)?;
        let raw = sum.candle1(OP, candle_core::Tensor::log)?.add(OP, &shift)?;
        let result = finish(OP, raw, &from, &dims, keep)?;
        let (scaled, sum) = (scaled.save(), sum.save());
        Tensor::record1(result, &x, move |g| {
            let share = g.kept(OP, &from, &dims)?.div(OP, &sum.get()?.kept(OP, &from, &dims)?)?;
            scaled.get()?.mul(OP, &share)
        })
        .cast(self.dtype())
    }

    /// Running sum along a dimension.
    pub fn cumsum(&self, dim: i32) -> Result<Tensor> {
        const OP: &str = "tensor.cumsum";
        let x = self.widened(OP)?;
        let dim = dimension(OP, dim, x.raw())?;
        let dims = Dims::new(x.shape(), dim);
        let run = move |raw: &Raw, backward: bool| {
            if let Some(gpu) = raw.session().gpu() {
                return gpu.cumsum(OP, raw, dims, backward);
            }
            with_float!(OP, raw, T => {
                let elements = raw.elements::<T>(OP)?;
                Raw::build::<T>(OP, raw.session(), raw.shape(), |out| {
                    index::cumsum(dims, backward, &elements, out);
                    Ok(())
                })
            })
        };
        let raw = run(x.raw(), false)?;
        Tensor::record1(raw, &x, move |g| run(g, true)).cast(self.dtype())
    }

    /// Sorted values along a dimension, and their places as `u32`. Stable; NaN last.
    pub fn sort(&self, dim: i32, descending: bool) -> Result<(Tensor, Tensor)> {
        const OP: &str = "tensor.sort";
        let dim = dimension(OP, dim, self.raw())?;
        let x = self.raw();
        let dims = Dims::new(x.shape(), dim);
        let wide = x.cast(OP, DType::F64)?;
        let places = match x.session().gpu() {
            Some(gpu) => gpu.sort(OP, &wide, dims, descending)?,
            None => {
                let elements = wide.elements::<f64>(OP)?;
                let mut places = vec![0u32; elements.len()];
                let mut values = vec![0f64; elements.len()];
                index::sort(dims, descending, &elements, &mut values, &mut places);
                Raw::from_vec(OP, x.session(), places, x.shape())?
            }
        };
        let sorted = x.gather(OP, dim, &places)?;
        let (back, shape): (_, Shape) = (places.save(), x.shape().into());
        let [sorted, places] = Tensor::record_many([sorted, places], &[self], move |gradients, _| {
            let Some(g) = &gradients[0] else {
                return Ok(smallvec![None]);
            };
            Ok(smallvec![Some(g.scattered(OP, dim, back.get()?, &shape)?)])
        });
        Ok((sorted, places))
    }
}

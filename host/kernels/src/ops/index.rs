//! Reading and writing by indices, and sliding windows.

use super::{dimension, same_dtype};
use crate::autograd::Gradients;
use crate::cpu::index::{self, Dims};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::raw::{Elements, Raw, Shape, op_error, with_any};
use crate::tensor::Tensor;
use smallvec::smallvec;

impl Raw {
    /// Indices as `u32`, each checked to lie below `size`.
    pub(crate) fn indices(&self, op: &'static str, size: usize) -> Result<Raw> {
        // With nothing to point at there is no place that an index could be taken for: it is looked at here.
        if let (Some(gpu), true) = (
            self.session().gpu(),
            self.dtype().is_index() && (size > 0 || self.count() == 0),
        ) {
            return gpu.indices(op, self, size);
        }
        let refuse = |value: i64| {
            Error::InvalidArgument(op_error(
                op,
                format!("index {value} is out of range: there are {size} entries, counted from 0"),
                &[self],
            ))
        };
        match self.dtype() {
            DType::U32 => {
                let values: Elements<u32> = self.elements(op)?;
                match values.iter().find(|&&i| i as usize >= size) {
                    Some(&i) => Err(refuse(i64::from(i))),
                    None => self.contiguous(op),
                }
            }
            DType::I64 => {
                let values: Elements<i64> = self.elements(op)?;
                match values.iter().find(|&&i| i < 0 || i as usize >= size) {
                    Some(&i) => Err(refuse(i)),
                    None => self.cast(op, DType::U32)?.contiguous(op),
                }
            }
            _ => Err(Error::DType(op_error(
                op,
                "indices must be u32 or i64; cast them",
                &[self],
            ))),
        }
    }

    /// Whole slices along a dimension, by checked `u32` indices [k].
    pub(crate) fn select(&self, op: &'static str, dim: usize, indices: &Raw) -> Result<Raw> {
        let source = self.contiguous(op)?;
        let mut shape: Shape = self.shape().into();
        shape[dim] = indices.count();
        if let Some(gpu) = self.session().gpu() {
            return gpu.select(op, self, Dims::new(self.shape(), dim), indices, &shape);
        }
        Raw::make(op, self.session(), &shape, self.dtype(), || {
            source.candle().index_select(indices.candle(), dim)
        })
    }

    /// One element per checked `u32` index along a dimension.
    pub(crate) fn gather(&self, op: &'static str, dim: usize, indices: &Raw) -> Result<Raw> {
        let source = self.contiguous(op)?;
        Raw::make(op, self.session(), indices.shape(), self.dtype(), || {
            source.candle().gather(indices.candle(), dim)
        })
    }

    /// A copy with `source` added at the checked `u32` indices along a dimension. Short floats are added up in `f32`.
    pub(crate) fn scatter_add(&self, op: &'static str, dim: usize, indices: &Raw, source: &Raw) -> Result<Raw> {
        let dtype = self.dtype();
        if dtype.is_half() {
            let (base, source) = (self.cast(op, DType::F32)?, source.cast(op, DType::F32)?);
            return base.scatter_add(op, dim, indices, &source)?.cast(op, dtype);
        }
        if let (Some(gpu), true) = (self.session().gpu(), dtype.is_float()) {
            let out = self.copy(op)?;
            gpu.scatter_add(op, &out, Dims::new(self.shape(), dim), indices, source)?;
            return Ok(out);
        }
        let (base, source) = (self.contiguous(op)?, source.contiguous(op)?);
        Raw::make(op, self.session(), self.shape(), dtype, || {
            base.candle().scatter_add(indices.candle(), source.candle(), dim)
        })
    }

    /// Zeros of a shape with these gradients added at the checked `u32` indices (of their shape) along a dimension.
    pub(crate) fn scattered(&self, op: &'static str, dim: usize, indices: &Raw, shape: &[usize]) -> Result<Raw> {
        let dtype = self.dtype();
        if dtype.is_half() {
            return self
                .cast(op, DType::F32)?
                .scattered(op, dim, indices, shape)?
                .cast(op, dtype);
        }
        let zeros = Raw::full(op, self.session(), shape, 0.0, dtype)?;
        let Some(gpu) = self.session().gpu() else {
            return zeros.scatter_add(op, dim, indices, self);
        };
        gpu.scatter_add(op, &zeros, Dims::new(shape, dim), indices, self)?;
        Ok(zeros)
    }

    /// The derivative of [`Raw::select`], with these gradients: zeros of a shape with each slice added at its index. Short floats are
    /// added up in `f32`: in a sum of many of them the next would no longer count.
    fn select_backward(&self, op: &'static str, dim: usize, indices: &Raw, shape: &[usize]) -> Result<Raw> {
        let dtype = self.dtype();
        if dtype.is_half() {
            return self
                .cast(op, DType::F32)?
                .select_backward(op, dim, indices, shape)?
                .cast(op, dtype);
        }
        if let Some(gpu) = self.session().gpu() {
            return gpu.select_backward(op, self, Dims::new(shape, dim), indices, shape);
        }
        let zeros = Raw::full(op, self.session(), shape, 0.0, dtype)?;
        let gradients = self.contiguous(op)?;
        Raw::make(op, self.session(), shape, dtype, || {
            zeros.candle().index_add(indices.candle(), gradients.candle(), dim)
        })
    }
}

impl Tensor {
    /// Whole slices along a dimension, by a vector of `u32` or `i64` indices.
    pub fn index_select(&self, dim: i32, indices: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.index-select";
        let x = self.raw();
        let dim = dimension(OP, dim, x)?;
        if indices.rank() != 1 {
            return Err(Error::Shape(op_error(
                OP,
                "the indices must be a vector",
                &[x, indices.raw()],
            )));
        }
        let indices = indices.raw().indices(OP, x.shape()[dim])?;
        let raw = x.select(OP, dim, &indices)?;
        let (indices, shape): (_, Shape) = (indices.save(), x.shape().into());
        Ok(Tensor::record1(raw, self, move |g| {
            g.select_backward(OP, dim, indices.get()?, &shape)
        }))
    }

    /// `out[i][j][k] = self[i][indices[i][j][k]][k]` for dimension 1, and so on: one element per index.
    pub fn gather(&self, dim: i32, indices: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.gather";
        let x = self.raw();
        let dim = dimension(OP, dim, x)?;
        check_alike(OP, dim, &[x, indices.raw()])?;
        let indices = indices.raw().indices(OP, x.shape()[dim])?;
        let raw = x.gather(OP, dim, &indices)?;
        let (indices, shape): (_, Shape) = (indices.save(), x.shape().into());
        Ok(Tensor::record1(raw, self, move |g| {
            g.scattered(OP, dim, indices.get()?, &shape)
        }))
    }

    /// A copy with `source` added at `indices` (of the source's shape) along a dimension.
    pub fn scatter_add(&self, dim: i32, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.scatter-add";
        let x = self.raw();
        same_dtype(OP, &[x, source.raw()])?;
        let dim = dimension(OP, dim, x)?;
        check_alike(OP, dim, &[x, indices.raw(), source.raw()])?;
        if indices.shape() != source.shape() {
            return Err(Error::Shape(op_error(
                OP,
                "indices and source must have one shape",
                &[x, indices.raw(), source.raw()],
            )));
        }
        let indices = indices.raw().indices(OP, x.shape()[dim])?;
        let raw = x.scatter_add(OP, dim, &indices, source.raw())?;
        let indices = indices.save();
        Ok(Tensor::record(raw, &[self, source], move |g, need| {
            let gradients: Gradients = smallvec![
                need.then(0, || Ok(g.clone()))?,
                need.then(1, || g.gather(OP, dim, indices.get()?))?,
            ];
            Ok(gradients)
        }))
    }

    /// Sliding windows of `size` along a dimension, `step` apart, in a new last dimension.
    pub fn unfold(&self, dim: i32, size: usize, step: usize) -> Result<Tensor> {
        const OP: &str = "tensor.unfold";
        let x = self.raw();
        let dim = dimension(OP, dim, x)?;
        let length = x.shape()[dim];
        if size == 0 || step == 0 || size > length {
            return Err(Error::InvalidArgument(op_error(
                OP,
                format!(
                    "no window of {size} elements, {step} apart, fits the {length} of dimension {dim}; size and step must be at least 1"
                ),
                &[x],
            )));
        }
        let windows = index::windows(length, size, step);
        let mut shape: Shape = x.shape().into();
        shape[dim] = windows;
        shape.push(size);
        let dims = Dims::new(x.shape(), dim);
        let raw = match x.session().gpu() {
            Some(gpu) => gpu.unfold(OP, x, dims, size, step, &shape)?,
            None => with_any!(x, T => {
                let elements = x.elements::<T>(OP)?;
                Raw::build::<T>(OP, x.session(), &shape, |out| {
                    index::unfold(dims, size, step, &elements, out);
                    Ok(())
                })
            })?,
        };
        let from: Shape = x.shape().into();
        let dtype = x.dtype();
        Ok(Tensor::record1(raw, self, move |g| {
            let g = if dtype.is_half() {
                g.cast(OP, DType::F32)?
            } else {
                g.clone()
            };
            if let Some(gpu) = g.session().gpu() {
                return gpu.fold(OP, &g, dims, size, step, &from)?.cast(OP, dtype);
            }
            crate::raw::with_float!(OP, &g, T => {
                let elements = g.elements::<T>(OP)?;
                Raw::build::<T>(OP, g.session(), &from, |out| {
                    index::fold(dims, size, step, &elements, out);
                    Ok(())
                })
            })?
            .cast(OP, dtype)
        }))
    }
}

/// As PyTorch's `gather`: as many dimensions, and no size larger than the tensor's but along `dim`.
fn check_alike(op: &'static str, dim: usize, raws: &[&Raw]) -> Result<()> {
    let x = raws[0];
    let fits = |r: &&Raw| r.rank() == x.rank() && (0..x.rank()).all(|d| d == dim || r.shape()[d] == x.shape()[d]);
    if raws[1..].iter().all(fits) {
        return Ok(());
    }
    Err(Error::Shape(op_error(
        op,
        format!("the shapes must agree in every dimension but {dim}"),
        raws,
    )))
}

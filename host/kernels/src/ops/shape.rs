//! Shape and place: most of these are views and copy nothing.

use super::{dimension, dimensions, same_dtype, within};
use crate::autograd::Gradients;
use crate::cpu::index::{self as cpu, Dims};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::raw::{Raw, Shape, op_error, with_any, with_float};
use crate::tensor::Tensor;
use candle_core::Tensor as Candle;

impl Tensor {
    /// The same elements in another shape. One size may be -1: it follows from the others.
    pub fn reshape(&self, shape: &[i32]) -> Result<Tensor> {
        const OP: &str = "tensor.reshape";
        let raw = self.raw();
        let refuse = |message: String| Error::Shape(op_error(OP, message, &[raw]));
        let known = shape
            .iter()
            .filter(|&&d| d >= 0)
            .try_fold(1usize, |n, &d| n.checked_mul(d as usize));
        let (Some(known), unknown) = (known, shape.iter().filter(|&&d| d < 0).count()) else {
            return Err(refuse(format!("{shape:?} has more elements than any machine holds")));
        };
        if unknown > 1 || shape.iter().any(|&d| d < -1) {
            return Err(refuse(format!(
                "{shape:?} is no shape: only one size may be -1, the others must not be negative"
            )));
        }
        let rest = if unknown == 1 && known > 0 {
            raw.count() / known
        } else {
            0
        };
        let sizes: Shape = shape.iter().map(|&d| if d < 0 { rest } else { d as usize }).collect();
        if sizes.iter().product::<usize>() != raw.count() {
            return Err(refuse(format!(
                "{} elements do not fit the shape {shape:?}",
                raw.count()
            )));
        }
        self.reshaped(OP, &sizes)
    }

    fn reshaped(&self, op: &'static str, shape: &[usize]) -> Result<Tensor> {
        let raw = self.raw().reshape(op, shape)?;
        let from: Shape = self.shape().into();
        Ok(Tensor::record1(raw, self, move |g| g.reshape(op, &from)))
    }

    /// Two dimensions change places.
    pub fn transpose(&self, first: i32, second: i32) -> Result<Tensor> {
        const OP: &str = "tensor.transpose";
        let (first, second) = (dimension(OP, first, self.raw())?, dimension(OP, second, self.raw())?);
        let raw = self.raw().transpose(OP, first, second)?;
        Ok(Tensor::record1(raw, self, move |g| g.transpose(OP, first, second)))
    }

    /// The dimensions in another order; each must be named once.
    pub fn permute(&self, dims: &[i32]) -> Result<Tensor> {
        const OP: &str = "tensor.permute";
        let order: Shape = dims
            .iter()
            .map(|&d| dimension(OP, d, self.raw()))
            .collect::<Result<_>>()?;
        let mut back = Shape::from_elem(usize::MAX, self.rank());
        for (i, &d) in order.iter().enumerate() {
            back[d] = i;
        }
        if order.len() != self.rank() || back.contains(&usize::MAX) {
            return Err(Error::InvalidArgument(op_error(
                OP,
                format!("{dims:?} must name each of the {} dimensions once", self.rank()),
                &[self.raw()],
            )));
        }
        let raw = self.raw().view(OP, |t| t.permute(&order[..]))?;
        Ok(Tensor::record1(raw, self, move |g| {
            g.view(OP, |t| t.permute(&back[..]))
        }))
    }

    /// Removes a dimension of size one; any other stays.
    pub fn squeeze(&self, dim: i32) -> Result<Tensor> {
        const OP: &str = "tensor.squeeze";
        let dim = dimension(OP, dim, self.raw())?;
        if self.shape()[dim] != 1 {
            return Ok(self.clone());
        }
        let raw = self.raw().view(OP, |t| t.squeeze(dim))?;
        Ok(Tensor::record1(raw, self, move |g| g.view(OP, |t| t.unsqueeze(dim))))
    }

    /// Adds a dimension of size one at a place.
    pub fn unsqueeze(&self, dim: i32) -> Result<Tensor> {
        const OP: &str = "tensor.unsqueeze";
        let dim = within(OP, dim, self.rank() + 1, self.raw())?;
        let raw = self.raw().view(OP, |t| t.unsqueeze(dim))?;
        Ok(Tensor::record1(raw, self, move |g| g.view(OP, |t| t.squeeze(dim))))
    }

    /// Stretches sizes of one, and adds dimensions in front; copies nothing.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Tensor> {
        const OP: &str = "tensor.broadcast-to";
        let from: Shape = self.shape().into();
        let fits = shape.len() >= from.len()
            && from
                .iter()
                .rev()
                .zip(shape.iter().rev())
                .all(|(&f, &s)| f == s || f == 1);
        if !fits {
            return Err(Error::Shape(op_error(
                OP,
                format!("does not broadcast to {shape:?}: every size must agree or be 1"),
                &[self.raw()],
            )));
        }
        if shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .is_none_or(|n| n > isize::MAX as usize)
        {
            return Err(Error::Shape(op_error(
                OP,
                format!("{shape:?} has more elements than any machine holds"),
                &[self.raw()],
            )));
        }
        let raw = self.raw().broadcast_to(OP, shape)?;
        Ok(Tensor::record1(raw, self, move |g| g.sum_to(OP, &from)))
    }

    /// `length` elements from `start` on along a dimension; copies nothing.
    pub fn narrow(&self, dim: i32, start: usize, length: usize) -> Result<Tensor> {
        const OP: &str = "tensor.narrow";
        let dim = dimension(OP, dim, self.raw())?;
        let size = self.shape()[dim];
        if start.checked_add(length).is_none_or(|end| end > size) {
            return Err(Error::InvalidArgument(op_error(
                OP,
                format!("{length} elements from {start} on do not lie within the {size} of dimension {dim}"),
                &[self.raw()],
            )));
        }
        let raw = self.raw().view(OP, |t| t.narrow(dim, start, length))?;
        Ok(Tensor::record1(raw, self, move |g| {
            g.pad_zeros(OP, dim, start, size - start - length)
        }))
    }

    /// Every `step`-th element from `start` up to but without `end` along a dimension.
    pub fn slice(&self, dim: i32, start: usize, end: usize, step: usize) -> Result<Tensor> {
        const OP: &str = "tensor.slice";
        let index = dimension(OP, dim, self.raw())?;
        let size = self.shape()[index];
        if step == 0 || start > end || end > size {
            return Err(Error::InvalidArgument(op_error(
                OP,
                format!(
                    "{start}..{end} by {step} is no slice of the {size} elements of dimension {index}; the step must be at least 1"
                ),
                &[self.raw()],
            )));
        }
        if step == 1 {
            return self.narrow(dim, start, end - start);
        }
        let picks: Vec<u32> = (start..end).step_by(step).map(|i| i as u32).collect();
        let count = picks.len();
        let picks = Tensor::constant(Raw::from_vec(OP, self.session(), picks, &[count])?);
        self.index_select(dim, &picks)
    }

    /// The elements in reverse order along some dimensions.
    pub fn flip(&self, dims: &[i32]) -> Result<Tensor> {
        const OP: &str = "tensor.flip";
        let dims = if dims.is_empty() {
            Shape::new()
        } else {
            dimensions(OP, dims, self.raw())?
        };
        let flip = move |raw: &Raw| -> Result<Raw> {
            dims.iter().try_fold(raw.clone(), |raw, &dim| {
                if let Some(gpu) = raw.session().gpu() {
                    return gpu.flip(OP, &raw, Dims::new(raw.shape(), dim));
                }
                let size = raw.shape()[dim] as u32;
                let back = Raw::from_vec(
                    OP,
                    raw.session(),
                    (0..size).rev().collect::<Vec<u32>>(),
                    &[size as usize],
                )?;
                raw.select(OP, dim, &back)
            })
        };
        let raw = flip(self.raw())?;
        Ok(Tensor::record1(raw, self, move |g| flip(g)))
    }

    /// `before` and `after` times `value` along a dimension.
    pub fn pad(&self, dim: i32, before: usize, after: usize, value: f64) -> Result<Tensor> {
        const OP: &str = "tensor.pad";
        let dim = dimension(OP, dim, self.raw())?;
        let size = self.shape()[dim];
        let (mut first, mut last) = (self.shape().to_vec(), self.shape().to_vec());
        (first[dim], last[dim]) = (before, after);
        let session = self.session();
        let first = Raw::full(OP, session, &first, value, self.dtype())?;
        let last = Raw::full(OP, session, &last, value, self.dtype())?;
        let raw = Raw::concat(OP, &[&first, self.raw(), &last], dim)?;
        Ok(Tensor::record1(raw, self, move |g| {
            g.view(OP, |t| t.narrow(dim, before, size))
        }))
    }

    /// `before` copies of the first and `after` copies of the last element along a dimension.
    pub fn pad_edge(&self, dim: i32, before: usize, after: usize) -> Result<Tensor> {
        const OP: &str = "tensor.pad-edge";
        let index = dimension(OP, dim, self.raw())?;
        let size = self.shape()[index];
        if size == 0 {
            return Err(Error::Shape(op_error(
                OP,
                format!("dimension {index} is empty: there is no edge to copy"),
                &[self.raw()],
            )));
        }
        let x = self.raw();
        let dims = Dims::new(x.shape(), index);
        let mut shape: Shape = x.shape().into();
        shape[index] = size.saturating_add(before).saturating_add(after);
        let raw = match x.session().gpu() {
            Some(gpu) => gpu.pad_edge(OP, x, dims, before, &shape)?,
            None => with_any!(x, T => {
                let elements = x.elements::<T>(OP)?;
                Raw::build::<T>(OP, x.session(), &shape, |out| {
                    cpu::pad_edge(dims, before, after, &elements, out);
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
                return gpu.pad_edge_backward(OP, &g, dims, before, &from)?.cast(OP, dtype);
            }
            with_float!(OP, &g, T => {
                let elements = g.elements::<T>(OP)?;
                Raw::build::<T>(OP, g.session(), &from, |out| {
                    cpu::pad_edge_backward(dims, before, after, &elements, out);
                    Ok(())
                })
            })?
            .cast(OP, dtype)
        }))
    }

    /// The tensor `times` times along a dimension.
    pub fn repeat(&self, dim: i32, times: usize) -> Result<Tensor> {
        const OP: &str = "tensor.repeat";
        let dim = dimension(OP, dim, self.raw())?;
        let Dims { outer, n: size, inner } = Dims::new(self.shape(), dim);
        let mut shape = self.shape().to_vec();
        shape[dim] = size.saturating_mul(times);
        let raw = Raw::make(OP, self.session(), &shape, self.dtype(), || {
            self.raw()
                .candle()
                .reshape((outer, 1, size, inner))?
                .broadcast_as((outer, times, size, inner))?
                .force_contiguous()?
                .reshape(&shape[..])
        })?;
        let from: Shape = self.shape().into();
        Ok(Tensor::record1(raw, self, move |g| {
            g.reshape(OP, &[outer, times, size, inner])?
                .sum(OP, &[1])?
                .reshape(OP, &from)
        }))
    }

    /// Lower triangle of the last two dimensions: zero above `diagonal` (0 the main one, 1 the one above it).
    pub fn tril(&self, diagonal: i32) -> Result<Tensor> {
        self.triangle("tensor.tril", diagonal, true)
    }

    /// Upper triangle of the last two dimensions: zero below `diagonal`.
    pub fn triu(&self, diagonal: i32) -> Result<Tensor> {
        self.triangle("tensor.triu", diagonal, false)
    }

    fn triangle(&self, op: &'static str, diagonal: i32, lower: bool) -> Result<Tensor> {
        let raw = self.raw();
        let &[.., rows, columns] = raw.shape() else {
            return Err(Error::Shape(op_error(op, "needs at least two dimensions", &[raw])));
        };
        let mask = match raw.session().gpu() {
            Some(gpu) => gpu.triangle(op, raw.session(), [rows, columns], diagonal, lower)?,
            None => Raw::build::<u8>(op, raw.session(), &[rows, columns], |out| {
                for (i, o) in out.iter_mut().enumerate() {
                    let distance = (i % columns) as i64 - (i / columns) as i64;
                    let kept = if lower {
                        distance <= diagonal.into()
                    } else {
                        distance >= diagonal.into()
                    };
                    *o = u8::from(kept);
                }
                Ok(())
            })?,
        };
        let cut = move |raw: &Raw| -> Result<Raw> {
            let zero = Raw::full(op, raw.session(), &[], 0.0, raw.dtype())?.broadcast_to(op, raw.shape())?;
            mask.broadcast_to(op, raw.shape())?.choose(op, raw, &zero)
        };
        let result = cut(raw)?;
        Ok(Tensor::record1(result, self, move |g| cut(g)))
    }

    /// One tensor after the other along an existing dimension.
    pub fn concat(tensors: &[&Tensor], dim: i32) -> Result<Tensor> {
        Tensor::joined("tensor.concat", tensors, dim)
    }

    fn joined(op: &'static str, tensors: &[&Tensor], dim: i32) -> Result<Tensor> {
        let raws: Vec<&Raw> = tensors.iter().map(|t| t.raw()).collect();
        let Some(first) = raws.first() else {
            return Err(Error::InvalidArgument(op_error(op, "needs at least one tensor", &[])));
        };
        same_dtype(op, &raws)?;
        let dim = dimension(op, dim, first)?;
        let alike =
            |r: &&Raw| r.rank() == first.rank() && (0..r.rank()).all(|d| d == dim || r.shape()[d] == first.shape()[d]);
        if !raws.iter().all(alike) {
            return Err(Error::Shape(op_error(
                op,
                format!("the tensors may differ in dimension {dim} alone"),
                &raws,
            )));
        }
        let raw = Raw::concat(op, &raws, dim)?;
        let sizes: Vec<usize> = raws.iter().map(|r| r.shape()[dim]).collect();
        Ok(Tensor::record(raw, tensors, move |g, need| {
            let mut start = 0;
            let mut gradients = Gradients::new();
            for (i, &size) in sizes.iter().enumerate() {
                gradients.push(need.then(i, || g.view(op, |t| t.narrow(dim, start, size)))?);
                start += size;
            }
            Ok(gradients)
        }))
    }

    /// Tensors of one shape along a new dimension.
    pub fn stack(tensors: &[&Tensor], dim: i32) -> Result<Tensor> {
        const OP: &str = "tensor.stack";
        let wide: Vec<Tensor> = tensors.iter().map(|t| t.unsqueeze(dim)).collect::<Result<_>>()?;
        if wide.windows(2).any(|w| w[0].shape() != w[1].shape()) {
            let raws: Vec<&Raw> = tensors.iter().map(|t| t.raw()).collect();
            return Err(Error::Shape(op_error(OP, "the tensors must have one shape", &raws)));
        }
        // A negative dimension counts from the end of the stacked tensor, which is how `unsqueeze` read it, too.
        Tensor::joined(OP, &wide.iter().collect::<Vec<_>>(), dim)
    }
}

impl Raw {
    pub(crate) fn concat(op: &'static str, parts: &[&Raw], dim: usize) -> Result<Raw> {
        let first = parts[0];
        let mut shape: Shape = first.shape().into();
        shape[dim] = parts.iter().fold(0usize, |n, p| n.saturating_add(p.shape()[dim]));
        Raw::make(op, first.session(), &shape, first.dtype(), || {
            let parts: Vec<&Candle> = parts
                .iter()
                .map(|p| p.candle())
                .filter(|t| t.elem_count() > 0)
                .collect();
            match parts.len() {
                0 => Candle::zeros(&shape[..], first.candle().dtype(), first.session().candle()),
                // candle would hand a single part back as it is.
                1 => parts[0].force_contiguous(),
                _ => Candle::cat(&parts, dim)?.contiguous(),
            }
        })
    }

    /// The elements with zeros before and after along a dimension.
    pub(crate) fn pad_zeros(&self, op: &'static str, dim: usize, before: usize, after: usize) -> Result<Raw> {
        let (mut first, mut last): (Shape, Shape) = (self.shape().into(), self.shape().into());
        (first[dim], last[dim]) = (before, after);
        let first = Raw::full(op, self.session(), &first, 0.0, self.dtype())?;
        let last = Raw::full(op, self.session(), &last, 0.0, self.dtype())?;
        Raw::concat(op, &[&first, self, &last], dim)
    }
}

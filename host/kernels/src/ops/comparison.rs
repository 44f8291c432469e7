//! Comparisons, which give `u8` tensors of 0 and 1 and have no derivative, and the choice between two tensors.

use super::{broadcast_shape, same_dtype};
use crate::autograd::Gradients;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::raw::{Raw, op_error, with_any};
use crate::tensor::Tensor;
use candle_core::Tensor as Candle;
use smallvec::smallvec;

impl Tensor {
    fn compare(
        &self,
        op: &'static str,
        other: &Tensor,
        compute: impl FnOnce(&Candle, &Candle) -> candle_core::Result<Candle>,
    ) -> Result<Tensor> {
        let (a, b) = (self.raw(), other.raw());
        same_dtype(op, &[a, b])?;
        let shape = broadcast_shape(op, a, b)?;
        Raw::make(op, a.session(), &shape, DType::U8, || compute(a.candle(), b.candle())).map(Tensor::constant)
    }

    /// 1 where both are equal.
    pub fn eq(&self, other: &Tensor) -> Result<Tensor> {
        self.compare("tensor.eq", other, Candle::broadcast_eq)
    }

    /// 1 where they differ.
    pub fn ne(&self, other: &Tensor) -> Result<Tensor> {
        self.compare("tensor.ne", other, Candle::broadcast_ne)
    }

    /// 1 where this is less.
    pub fn lt(&self, other: &Tensor) -> Result<Tensor> {
        self.compare("tensor.lt", other, Candle::broadcast_lt)
    }

    /// 1 where this is less or equal.
    pub fn le(&self, other: &Tensor) -> Result<Tensor> {
        self.compare("tensor.le", other, Candle::broadcast_le)
    }

    /// 1 where this is greater.
    pub fn gt(&self, other: &Tensor) -> Result<Tensor> {
        self.compare("tensor.gt", other, Candle::broadcast_gt)
    }

    /// 1 where this is greater or equal.
    pub fn ge(&self, other: &Tensor) -> Result<Tensor> {
        self.compare("tensor.ge", other, Candle::broadcast_ge)
    }

    /// 1 where both are not zero.
    pub fn logical_and(&self, other: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.logical-and";
        let (a, b) = (self.raw().is_not_zero(OP)?, other.raw().is_not_zero(OP)?);
        a.mul(OP, &b).map(Tensor::constant)
    }

    /// 1 where either is not zero.
    pub fn logical_or(&self, other: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.logical-or";
        let (a, b) = (self.raw().is_not_zero(OP)?, other.raw().is_not_zero(OP)?);
        a.add(OP, &b)?.is_not_zero(OP).map(Tensor::constant)
    }

    /// 1 where it is zero.
    pub fn logical_not(&self) -> Result<Tensor> {
        const OP: &str = "tensor.logical-not";
        let zero = Raw::full(OP, self.session(), &[], 0.0, self.dtype())?;
        self.compare(OP, &Tensor::constant(zero), Candle::broadcast_eq)
    }

    /// 1 where an element is neither NaN nor infinite.
    pub fn is_finite(&self) -> Result<Tensor> {
        const OP: &str = "tensor.is-finite";
        let raw = self.raw();
        if let Some(gpu) = raw.session().gpu() {
            return gpu.is_finite(OP, raw).map(Tensor::constant);
        }
        with_any!(raw, T => {
            let x = raw.elements::<T>(OP)?;
            Raw::build::<u8>(OP, raw.session(), raw.shape(), |out| {
                for (o, &v) in out.iter_mut().zip(x.iter()) {
                    *o = u8::from(candle_core::WithDType::to_f64(v).is_finite());
                }
                Ok(())
            })
        })
        .map(Tensor::constant)
    }

    /// `on_true` where this (of type `u8`) is not zero, else `on_false`; all three broadcast.
    pub fn where_(&self, on_true: &Tensor, on_false: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.where";
        let (mask, a, b) = (self.raw(), on_true.raw(), on_false.raw());
        if mask.dtype() != DType::U8 {
            return Err(Error::DType(op_error(
                OP,
                "the mask must be u8; make it by a comparison, or cast",
                &[mask, a, b],
            )));
        }
        same_dtype(OP, &[a, b])?;
        let both = broadcast_shape(OP, a, b)?;
        let shape = broadcast_shape(OP, mask, &a.broadcast_to(OP, &both)?)?;
        let mask = mask.broadcast_to(OP, &shape)?;
        let (wide_a, wide_b) = (a.broadcast_to(OP, &shape)?, b.broadcast_to(OP, &shape)?);
        let raw = mask.choose(OP, &wide_a, &wide_b)?;
        let (a_shape, b_shape): (crate::raw::Shape, crate::raw::Shape) = (a.shape().into(), b.shape().into());
        let mask = mask.save();
        Ok(Tensor::record(raw, &[on_true, on_false], move |g, need| {
            let zero = Raw::full(OP, g.session(), &[], 0.0, g.dtype())?.broadcast_to(OP, g.shape())?;
            let gradients: Gradients = smallvec![
                need.then(0, || mask.get()?.choose(OP, g, &zero)?.sum_to(OP, &a_shape))?,
                need.then(1, || mask.get()?.choose(OP, &zero, g)?.sum_to(OP, &b_shape))?,
            ];
            Ok(gradients)
        }))
    }
}

impl Raw {
    /// `a` where this is not zero, else `b`; all of one shape.
    pub(crate) fn choose(&self, op: &'static str, a: &Raw, b: &Raw) -> Result<Raw> {
        Raw::make(op, a.session(), a.shape(), a.dtype(), || {
            self.candle().where_cond(a.candle(), b.candle())
        })
    }

    fn is_not_zero(&self, op: &'static str) -> Result<Raw> {
        let zero = Raw::full(op, self.session(), &[], 0.0, self.dtype())?;
        Raw::make(op, self.session(), self.shape(), DType::U8, || {
            self.candle().broadcast_ne(zero.candle())
        })
    }
}

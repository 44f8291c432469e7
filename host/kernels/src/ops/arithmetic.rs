//! Arithmetic of two tensors with broadcasting, and of a tensor with a number.

use super::{broadcast_shape, floating, same_dtype};
use crate::autograd::Gradients;
use crate::cpu::Real;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Binary, Unary};
use crate::raw::{Raw, op_error, with_float};
use crate::tensor::Tensor;
use candle_core::Tensor as Candle;
use smallvec::smallvec;

impl Raw {
    /// An operation of candle's on two tensors, broadcast.
    fn zip(
        &self,
        op: &'static str,
        other: &Raw,
        compute: impl FnOnce(&Candle, &Candle) -> candle_core::Result<Candle>,
    ) -> Result<Raw> {
        same_dtype(op, &[self, other])?;
        let shape = broadcast_shape(op, self, other)?;
        Raw::make(op, self.session(), &shape, self.dtype(), || {
            compute(self.candle(), other.candle())
        })
    }

    pub(crate) fn add(&self, op: &'static str, other: &Raw) -> Result<Raw> {
        self.zip(op, other, Candle::broadcast_add)
    }

    pub(crate) fn sub(&self, op: &'static str, other: &Raw) -> Result<Raw> {
        self.zip(op, other, Candle::broadcast_sub)
    }

    pub(crate) fn mul(&self, op: &'static str, other: &Raw) -> Result<Raw> {
        self.zip(op, other, Candle::broadcast_mul)
    }

    pub(crate) fn div(&self, op: &'static str, other: &Raw) -> Result<Raw> {
        self.zip(op, other, Candle::broadcast_div)
    }

    /// `self * scale + shift`
    pub(crate) fn affine(&self, op: &'static str, scale: f64, shift: f64) -> Result<Raw> {
        Raw::make(op, self.session(), self.shape(), self.dtype(), || {
            self.candle().affine(scale, shift)
        })
    }

    pub(crate) fn neg(&self, op: &'static str) -> Result<Raw> {
        Raw::make(op, self.session(), self.shape(), self.dtype(), || self.candle().neg())
    }

    /// Element by element through a function of `f64`, for what candle has no kernel of. `f16` and `bf16` keep their type.
    /// `on_card` names the same function.
    pub(crate) fn map(&self, op: &'static str, on_card: Unary, f: impl Fn(f64) -> f64) -> Result<Raw> {
        if let Some(gpu) = self.session().gpu() {
            return gpu.unary(op, self, on_card);
        }
        if self.dtype().is_half() {
            return self.cast(op, DType::F32)?.map(op, on_card, f)?.cast(op, self.dtype());
        }
        with_float!(op, self, T => {
            let x = self.elements::<T>(op)?;
            Raw::build::<T>(op, self.session(), self.shape(), |out| {
                for (o, &v) in out.iter_mut().zip(x.iter()) {
                    *o = Real::from_f64(f(Real::to_f64(v)));
                }
                Ok(())
            })
        })
    }

    /// As [`Raw::map`], of two tensors that broadcast.
    pub(crate) fn map2(
        &self,
        op: &'static str,
        other: &Raw,
        on_card: Binary,
        f: impl Fn(f64, f64) -> f64,
    ) -> Result<Raw> {
        same_dtype(op, &[self, other])?;
        if let Some(gpu) = self.session().gpu() {
            let shape = broadcast_shape(op, self, other)?;
            return gpu.binary(
                op,
                &self.broadcast_to(op, &shape)?,
                &other.broadcast_to(op, &shape)?,
                on_card,
            );
        }
        if self.dtype().is_half() {
            let other = other.cast(op, DType::F32)?;
            return self
                .cast(op, DType::F32)?
                .map2(op, &other, on_card, f)?
                .cast(op, self.dtype());
        }
        let shape = broadcast_shape(op, self, other)?;
        let (a, b) = (self.broadcast_to(op, &shape)?, other.broadcast_to(op, &shape)?);
        with_float!(op, self, T => {
            let (x, y) = (a.elements::<T>(op)?, b.elements::<T>(op)?);
            Raw::build::<T>(op, self.session(), &shape, |out| {
                for ((o, &v), &w) in out.iter_mut().zip(x.iter()).zip(y.iter()) {
                    *o = Real::from_f64(f(Real::to_f64(v), Real::to_f64(w)));
                }
                Ok(())
            })
        })
    }

    /// Sums a gradient over the dimensions that broadcasting added or stretched.
    pub(crate) fn sum_to(&self, op: &'static str, shape: &[usize]) -> Result<Raw> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let added = self.rank() - shape.len();
        let dims: crate::raw::Shape = (0..self.rank())
            .filter(|&d| d < added || (shape[d - added] == 1 && self.shape()[d] != 1))
            .collect();
        self.sum(op, &dims)?.reshape(op, shape)
    }
}

/// Records an operation of two broadcast operands. `backward` gives the gradient before it is summed over what was broadcast.
fn record2(
    op: &'static str,
    raw: Raw,
    a: &Tensor,
    b: &Tensor,
    to_a: impl FnOnce(&Raw) -> Result<Raw> + Send + 'static,
    to_b: impl FnOnce(&Raw) -> Result<Raw> + Send + 'static,
) -> Tensor {
    let (a_shape, b_shape): (crate::raw::Shape, crate::raw::Shape) = (a.shape().into(), b.shape().into());
    Tensor::record(raw, &[a, b], move |gradient, need| {
        let gradients: Gradients = smallvec![
            need.then(0, || to_a(gradient)?.sum_to(op, &a_shape))?,
            need.then(1, || to_b(gradient)?.sum_to(op, &b_shape))?,
        ];
        Ok(gradients)
    })
}

impl Tensor {
    /// Sum of two tensors that broadcast.
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.add";
        let raw = self.raw().add(OP, other.raw())?;
        Ok(record2(OP, raw, self, other, |g| Ok(g.clone()), |g| Ok(g.clone())))
    }

    /// Difference of two tensors that broadcast.
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.sub";
        let raw = self.raw().sub(OP, other.raw())?;
        Ok(record2(OP, raw, self, other, |g| Ok(g.clone()), |g| g.neg(OP)))
    }

    /// Product of two tensors that broadcast.
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.mul";
        let raw = self.raw().mul(OP, other.raw())?;
        let (a, b) = (self.raw().save(), other.raw().save());
        Ok(record2(
            OP,
            raw,
            self,
            other,
            move |g| g.mul(OP, b.get()?),
            move |g| g.mul(OP, a.get()?),
        ))
    }

    /// Quotient of two tensors that broadcast. Integers are divided without rest.
    pub fn div(&self, other: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.div";
        if !self.dtype().is_float() {
            floating(OP, &[self.raw(), other.raw()])?;
        }
        let raw = self.raw().div(OP, other.raw())?;
        let (a, b) = (self.raw().save(), other.raw().save());
        let again = other.raw().save();
        Ok(record2(
            OP,
            raw,
            self,
            other,
            move |g| g.div(OP, b.get()?),
            move |g| {
                let b = again.get()?;
                g.mul(OP, a.get()?)?.div(OP, &b.mul(OP, b)?)?.neg(OP)
            },
        ))
    }

    /// `self` to the power of `exponent`; both broadcast. A negative base needs a whole exponent, else the result is NaN.
    pub fn pow(&self, exponent: &Tensor) -> Result<Tensor> {
        const OP: &str = "tensor.pow";
        floating(OP, &[self.raw(), exponent.raw()])?;
        let raw = self.raw().map2(OP, exponent.raw(), Binary::Pow, f64::powf)?;
        let (a, b, a2, y) = (self.raw().save(), exponent.raw().save(), self.raw().save(), raw.save());
        Ok(record2(
            OP,
            raw,
            self,
            exponent,
            move |g| {
                g.mul(
                    OP,
                    &a.get()?.map2(OP, b.get()?, Binary::PowByBase, |x, e| {
                        if e == 0.0 { 0.0 } else { e * x.powf(e - 1.0) }
                    })?,
                )
            },
            // As PyTorch: at a base of zero the derivative by the exponent is zero.
            move |g| {
                g.mul(
                    OP,
                    &y.get()?.map2(OP, a2.get()?, Binary::PowByExponent, |y, x| {
                        if x == 0.0 { 0.0 } else { y * x.ln() }
                    })?,
                )
            },
        ))
    }

    /// The larger of both, which broadcast. Where they are equal, the gradient is shared in halves.
    pub fn maximum(&self, other: &Tensor) -> Result<Tensor> {
        self.extreme(
            "tensor.maximum",
            other,
            Candle::broadcast_maximum,
            Binary::ShareLarger,
            |a, b| a > b,
        )
    }

    /// The smaller of both, which broadcast. Where they are equal, the gradient is shared in halves.
    pub fn minimum(&self, other: &Tensor) -> Result<Tensor> {
        self.extreme(
            "tensor.minimum",
            other,
            Candle::broadcast_minimum,
            Binary::ShareSmaller,
            |a, b| a < b,
        )
    }

    fn extreme(
        &self,
        op: &'static str,
        other: &Tensor,
        compute: impl FnOnce(&Candle, &Candle) -> candle_core::Result<Candle>,
        on_card: Binary,
        wins: fn(f64, f64) -> bool,
    ) -> Result<Tensor> {
        let raw = self.raw().zip(op, other.raw(), compute)?;
        let share = move |a: f64, b: f64| {
            if wins(a, b) {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        };
        let (a, b, a2, b2) = (
            self.raw().save(),
            other.raw().save(),
            self.raw().save(),
            other.raw().save(),
        );
        Ok(record2(
            op,
            raw,
            self,
            other,
            move |g| g.mul(op, &a.get()?.map2(op, b.get()?, on_card, share)?),
            move |g| g.mul(op, &b2.get()?.map2(op, a2.get()?, on_card, share)?),
        ))
    }

    /// Every element plus `value`.
    pub fn add_scalar(&self, value: f64) -> Result<Tensor> {
        let raw = self.raw().affine("tensor.add-scalar", 1.0, value)?;
        Ok(Tensor::record1(raw, self, |g| Ok(g.clone())))
    }

    /// Every element times `value`.
    pub fn mul_scalar(&self, value: f64) -> Result<Tensor> {
        const OP: &str = "tensor.mul-scalar";
        let raw = self.raw().affine(OP, value, 0.0)?;
        Ok(Tensor::record1(raw, self, move |g| g.affine(OP, value, 0.0)))
    }

    /// Every element to the power of `exponent`.
    pub fn pow_scalar(&self, exponent: f64) -> Result<Tensor> {
        const OP: &str = "tensor.pow-scalar";
        floating(OP, &[self.raw()])?;
        let raw = self.raw().map(OP, Unary::Pow(exponent), |x| x.powf(exponent))?;
        let x = self.raw().save();
        Ok(Tensor::record1(raw, self, move |g| {
            let slope = |x: f64| {
                if exponent == 0.0 {
                    0.0
                } else {
                    exponent * x.powf(exponent - 1.0)
                }
            };
            g.mul(OP, &x.get()?.map(OP, Unary::PowSlope(exponent), slope)?)
        }))
    }

    /// Elements below `low` become `low`, above `high` become `high`. The gradient passes strictly between
    /// the bounds.
    pub fn clamp(&self, low: Option<f64>, high: Option<f64>) -> Result<Tensor> {
        const OP: &str = "tensor.clamp";
        let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
        if low > high || low.is_nan() || high.is_nan() {
            return Err(Error::InvalidArgument(op_error(
                OP,
                format!("the lower bound {low} must not be above the upper bound {high}"),
                &[self.raw()],
            )));
        }
        floating(OP, &[self.raw()])?;
        let raw = self.raw().map(OP, Unary::Clamp(low, high), |x| {
            if x < low {
                low
            } else if x > high {
                high
            } else {
                x
            }
        })?;
        let x = self.raw().save();
        Ok(Tensor::record1(raw, self, move |g| {
            let inside = |x: f64| f64::from(u8::from(low < x && x < high));
            g.mul(OP, &x.get()?.map(OP, Unary::Inside(low, high), inside)?)
        }))
    }
}

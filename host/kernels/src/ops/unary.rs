//! Functions of one tensor, element by element.

use super::floating;
use crate::cpu::activation;
use crate::dtype::DType;
use crate::error::Result;
use crate::gpu::Unary;
use crate::raw::{Raw, with_float};
use crate::tensor::Tensor;
use candle_core::Tensor as Candle;

impl Raw {
    /// A function of candle's, element by element.
    pub(crate) fn candle1(
        &self,
        op: &'static str,
        compute: impl FnOnce(&Candle) -> candle_core::Result<Candle>,
    ) -> Result<Raw> {
        Raw::make(op, self.session(), self.shape(), self.dtype(), || {
            compute(self.candle())
        })
    }
}

/// A fused function of one tensor and its derivative, from `cpu::activation`: forward `x -> y`, backward by `x` or by `y`. On a card it has
/// another name.
macro_rules! fused {
    ($x:expr, $op:expr, $function:ident, $on_card:expr) => {{
        let (op, x): (&'static str, &Raw) = ($op, $x);
        match x.session().gpu() {
            Some(gpu) => gpu.unary(op, x, $on_card),
            None => with_float!(op, x, T => {
                let elements = x.elements::<T>(op)?;
                Raw::build::<T>(op, x.session(), x.shape(), |out| {
                    activation::$function(&elements, out);
                    Ok(())
                })
            }),
        }
    }};
}

/// The backward half: `$function(saved, gradient, out)`.
macro_rules! fused_backward {
    ($saved:expr, $gradient:expr, $op:expr, $function:ident, $on_card:expr) => {{
        let (op, saved, gradient): (&'static str, &Raw, &Raw) = ($op, $saved, $gradient);
        match saved.session().gpu() {
            Some(gpu) => gpu.unary_backward(op, saved, gradient, $on_card),
            None => with_float!(op, saved, T => {
                let (s, g) = (saved.elements::<T>(op)?, gradient.elements::<T>(op)?);
                Raw::build::<T>(op, saved.session(), saved.shape(), |out| {
                    activation::$function(&s, &g, out);
                    Ok(())
                })
            }),
        }
    }};
}
pub(crate) use {fused, fused_backward};

impl Tensor {
    /// The tensor in a type that fused functions compute in: `f16` and `bf16` as `f32`.
    pub(crate) fn widened(&self, op: &'static str) -> Result<Tensor> {
        floating(op, &[self.raw()])?;
        if !self.dtype().is_half() {
            return Ok(self.clone());
        }
        let wide = self.cast(DType::F32)?;
        wide.raw().set_widened();
        Ok(wide)
    }

    /// The tensor in a type that functions of single elements are computed from: the processor widens `f16` and `bf16` first, kernels on a
    /// card do so by themselves.
    pub(crate) fn for_elements(&self, op: &'static str) -> Result<Tensor> {
        match self.session().gpu() {
            Some(_) if self.dtype().is_half() => Ok(self.clone()),
            _ => self.widened(op),
        }
    }

    /// Minus the tensor.
    pub fn neg(&self) -> Result<Tensor> {
        const OP: &str = "tensor.neg";
        let raw = self.raw().neg(OP)?;
        Ok(Tensor::record1(raw, self, |g| g.neg(OP)))
    }

    /// Absolute values; the derivative at zero is zero.
    pub fn abs(&self) -> Result<Tensor> {
        const OP: &str = "tensor.abs";
        let raw = self.raw().candle1(OP, Candle::abs)?;
        let x = self.raw().save();
        Ok(Tensor::record1(raw, self, move |g| g.mul(OP, &x.get()?.sign(OP)?)))
    }

    /// -1, 0 or 1. The derivative is zero.
    pub fn sign(&self) -> Result<Tensor> {
        const OP: &str = "tensor.sign";
        floating(OP, &[self.raw()])?;
        self.flat(OP, self.raw().sign(OP)?)
    }

    /// To the integer below. The derivative is zero.
    pub fn floor(&self) -> Result<Tensor> {
        const OP: &str = "tensor.floor";
        floating(OP, &[self.raw()])?;
        self.flat(OP, self.raw().candle1(OP, Candle::floor)?)
    }

    /// To the integer above. The derivative is zero.
    pub fn ceil(&self) -> Result<Tensor> {
        const OP: &str = "tensor.ceil";
        floating(OP, &[self.raw()])?;
        self.flat(OP, self.raw().candle1(OP, Candle::ceil)?)
    }

    /// To the nearest integer, halves to the even one. The derivative is zero.
    pub fn round(&self) -> Result<Tensor> {
        const OP: &str = "tensor.round";
        floating(OP, &[self.raw()])?;
        self.flat(OP, self.raw().map(OP, Unary::Round, f64::round_ties_even)?)
    }

    /// A result whose derivative is zero wherever it exists.
    fn flat(&self, op: &'static str, raw: Raw) -> Result<Tensor> {
        Ok(Tensor::record1(raw, self, move |g| {
            Raw::full(op, g.session(), g.shape(), 0.0, g.dtype())
        }))
    }

    /// e to the power of each element.
    pub fn exp(&self) -> Result<Tensor> {
        const OP: &str = "tensor.exp";
        let x = self.for_elements(OP)?;
        let raw = fused!(x.raw(), OP, exp, Unary::Exp)?;
        let saved = raw.save();
        Tensor::record1(raw, &x, move |g| {
            fused_backward!(saved.get()?, g, OP, exp_backward, Unary::Exp)
        })
        .cast(self.dtype())
    }

    /// Natural logarithm.
    pub fn log(&self) -> Result<Tensor> {
        const OP: &str = "tensor.log";
        let x = self.for_elements(OP)?;
        let raw = fused!(x.raw(), OP, log, Unary::Log)?;
        let saved = x.raw().save();
        Tensor::record1(raw, &x, move |g| {
            fused_backward!(saved.get()?, g, OP, log_backward, Unary::Log)
        })
        .cast(self.dtype())
    }

    /// ln(1 + x), exact for small x.
    pub fn log1p(&self) -> Result<Tensor> {
        const OP: &str = "tensor.log1p";
        let x = self.for_elements(OP)?;
        let raw = fused!(x.raw(), OP, log1p, Unary::Log1p)?;
        let saved = x.raw().save();
        Tensor::record1(raw, &x, move |g| {
            fused_backward!(saved.get()?, g, OP, log1p_backward, Unary::Log1p)
        })
        .cast(self.dtype())
    }

    /// exp(x) - 1, exact for small x.
    pub fn expm1(&self) -> Result<Tensor> {
        const OP: &str = "tensor.expm1";
        let x = self.for_elements(OP)?;
        let raw = fused!(x.raw(), OP, expm1, Unary::Expm1)?;
        let saved = raw.save();
        Tensor::record1(raw, &x, move |g| {
            fused_backward!(saved.get()?, g, OP, expm1_backward, Unary::Expm1)
        })
        .cast(self.dtype())
    }

    /// Square root.
    pub fn sqrt(&self) -> Result<Tensor> {
        const OP: &str = "tensor.sqrt";
        floating(OP, &[self.raw()])?;
        let raw = self.raw().candle1(OP, Candle::sqrt)?;
        let y = raw.save();
        Ok(Tensor::record1(raw, self, move |g| {
            g.affine(OP, 0.5, 0.0)?.div(OP, y.get()?)
        }))
    }

    /// 1 / sqrt(x)
    pub fn rsqrt(&self) -> Result<Tensor> {
        const OP: &str = "tensor.rsqrt";
        floating(OP, &[self.raw()])?;
        let raw = self.raw().candle1(OP, |t| t.sqrt()?.recip())?;
        let y = raw.save();
        Ok(Tensor::record1(raw, self, move |g| {
            let y = y.get()?;
            g.mul(OP, &y.mul(OP, y)?.mul(OP, y)?.affine(OP, -0.5, 0.0)?)
        }))
    }

    /// The square of each element.
    pub fn square(&self) -> Result<Tensor> {
        const OP: &str = "tensor.square";
        let raw = self.raw().mul(OP, self.raw())?;
        let x = self.raw().save();
        Ok(Tensor::record1(raw, self, move |g| {
            g.mul(OP, &x.get()?.affine(OP, 2.0, 0.0)?)
        }))
    }

    /// 1 / x
    pub fn reciprocal(&self) -> Result<Tensor> {
        const OP: &str = "tensor.reciprocal";
        floating(OP, &[self.raw()])?;
        let raw = self.raw().candle1(OP, Candle::recip)?;
        let y = raw.save();
        Ok(Tensor::record1(raw, self, move |g| {
            let y = y.get()?;
            g.mul(OP, &y.mul(OP, y)?)?.neg(OP)
        }))
    }

    /// Sine.
    pub fn sin(&self) -> Result<Tensor> {
        const OP: &str = "tensor.sin";
        floating(OP, &[self.raw()])?;
        let raw = self.raw().candle1(OP, Candle::sin)?;
        let x = self.raw().save();
        Ok(Tensor::record1(raw, self, move |g| {
            g.mul(OP, &x.get()?.candle1(OP, Candle::cos)?)
        }))
    }

    /// Cosine.
    pub fn cos(&self) -> Result<Tensor> {
        const OP: &str = "tensor.cos";
        floating(OP, &[self.raw()])?;
        let raw = self.raw().candle1(OP, Candle::cos)?;
        let x = self.raw().save();
        Ok(Tensor::record1(raw, self, move |g| {
            g.mul(OP, &x.get()?.candle1(OP, Candle::sin)?)?.neg(OP)
        }))
    }

    /// Hyperbolic tangent.
    pub fn tanh(&self) -> Result<Tensor> {
        const OP: &str = "tensor.tanh";
        let x = self.for_elements(OP)?;
        let raw = fused!(x.raw(), OP, tanh, Unary::Tanh)?;
        let saved = raw.save();
        Tensor::record1(raw, &x, move |g| {
            fused_backward!(saved.get()?, g, OP, tanh_backward, Unary::Tanh)
        })
        .cast(self.dtype())
    }

    /// 1 / (1 + exp(-x))
    pub fn sigmoid(&self) -> Result<Tensor> {
        const OP: &str = "tensor.sigmoid";
        let x = self.for_elements(OP)?;
        let raw = fused!(x.raw(), OP, sigmoid, Unary::Sigmoid)?;
        let saved = raw.save();
        Tensor::record1(raw, &x, move |g| {
            fused_backward!(saved.get()?, g, OP, sigmoid_backward, Unary::Sigmoid)
        })
        .cast(self.dtype())
    }

    /// The Gauss error function.
    pub fn erf(&self) -> Result<Tensor> {
        const OP: &str = "tensor.erf";
        let x = self.for_elements(OP)?;
        let raw = fused!(x.raw(), OP, erf, Unary::Erf)?;
        let saved = x.raw().save();
        Tensor::record1(raw, &x, move |g| {
            fused_backward!(saved.get()?, g, OP, erf_backward, Unary::Erf)
        })
        .cast(self.dtype())
    }
}

impl Raw {
    pub(crate) fn sign(&self, op: &'static str) -> Result<Raw> {
        self.candle1(op, Candle::sign)
    }
}

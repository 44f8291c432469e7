//! Element-wise mathematics, comparisons and products.

use super::Tensor;
use crate::error::Result;

/// The other side of a comparison, of `maximum` and the like: a tensor or a number.
pub trait Operand {
    #[doc(hidden)]
    fn beside(&self, other: &Tensor) -> Result<Tensor>;
}

impl Operand for Tensor {
    fn beside(&self, _: &Tensor) -> Result<Tensor> {
        Ok(self.clone())
    }
}

impl Operand for &Tensor {
    fn beside(&self, _: &Tensor) -> Result<Tensor> {
        Ok(Tensor::clone(self))
    }
}

impl Operand for f64 {
    fn beside(&self, other: &Tensor) -> Result<Tensor> {
        Tensor::scalar(*self, other.dtype())
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])+ $name:ident)+) => {
        /// Of each element.
        impl Tensor {
            $($(#[$doc])+
            pub fn $name(&self) -> Result<Self> {
                Self::wrap(self.0.$name())
            })+
        }
    };
}

unary! {
    /// The absolute value.
    abs
    /// -1, 0 or 1. Its gradient is zero.
    sign
    /// Down to an integer. Its gradient is zero.
    floor
    /// Up to an integer. Its gradient is zero.
    ceil
    /// To the nearest integer, halves to the even one. Its gradient is zero.
    round
    /// e^x
    exp
    /// The natural logarithm.
    log
    /// ln(1 + x), exact for small x.
    log1p
    /// e^x - 1, exact for small x.
    expm1
    /// The square root.
    sqrt
    /// 1 / sqrt(x)
    rsqrt
    /// x²
    square
    /// 1 / x
    reciprocal
    /// The sine, of radians.
    sin
    /// The cosine, of radians.
    cos
    /// The hyperbolic tangent.
    tanh
    /// 1 / (1 + e^-x)
    sigmoid
    /// The Gauss error function.
    erf
    /// A `u8` tensor: 1 where the element is zero. For tensors of 0 and 1.
    logical_not
    /// A `u8` tensor: 1 where an element is neither NaN nor infinite.
    is_finite
}

macro_rules! binary {
    ($($(#[$doc:meta])+ $name:ident)+) => {
        /// With another tensor, which broadcasts, or with a number. Comparisons give `u8` tensors of 0 and 1, without gradient.
        impl Tensor {
            $($(#[$doc])+
            pub fn $name(&self, other: impl Operand) -> Result<Self> {
                Self::wrap(self.0.$name(&other.beside(self)?.0))
            })+
        }
    };
}

binary! {
    /// Equal.
    eq
    /// Not equal.
    ne
    /// Less.
    lt
    /// Less or equal.
    le
    /// Greater.
    gt
    /// Greater or equal.
    ge
    /// Both not zero.
    logical_and
    /// At least one not zero.
    logical_or
    /// The larger. Where both are equal, the gradient is shared in halves.
    maximum
    /// The smaller. Where both are equal, the gradient is shared in halves.
    minimum
}

/// Powers, choices and products.
impl Tensor {
    /// x^exponent, element by element.
    pub fn pow(&self, exponent: &Tensor) -> Result<Self> {
        Self::wrap(self.0.pow(&exponent.0))
    }

    /// x^exponent.
    pub fn powf(&self, exponent: f64) -> Result<Self> {
        Self::wrap(self.0.pow_scalar(exponent))
    }

    /// Elements below `low` become `low`, above `high` become `high`; either may be infinite.
    pub fn clamp(&self, low: f64, high: f64) -> Result<Self> {
        let low = (low != f64::NEG_INFINITY).then_some(low);
        let high = (high != f64::INFINITY).then_some(high);
        Self::wrap(self.0.clamp(low, high))
    }

    /// `on_true` where this (a `u8` tensor, from a comparison) is not zero, else `on_false`; all three broadcast.
    pub fn where_cond(&self, on_true: &Tensor, on_false: &Tensor) -> Result<Self> {
        Self::wrap(self.0.where_(&on_true.0, &on_false.0))
    }

    /// The matrix product of the last two dimensions, the others broadcast; vectors as PyTorch's `matmul`.
    pub fn matmul(&self, other: &Tensor) -> Result<Self> {
        Self::wrap(self.0.matmul(&other.0))
    }
}

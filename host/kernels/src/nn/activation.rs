//! Activations, element by element, and softmax over a dimension.

use super::widen;
use crate::cpu::{activation, softmax as rows};
use crate::error::Result;
use crate::gpu::Unary;
use crate::ops::{dimension, fused, fused_backward};
use crate::raw::{Raw, with_float};
use crate::tensor::Tensor;

/// An activation whose derivative is computed from its input.
macro_rules! by_input {
    ($(#[$doc:meta])* $name:ident, $op:literal, $backward:ident, $on_card:expr) => {
        $(#[$doc])*
        pub fn $name(x: &Tensor) -> Result<Tensor> {
            const OP: &str = $op;
            let wide = x.for_elements(OP)?;
            let raw = fused!(wide.raw(), OP, $name, $on_card)?;
            let saved = wide.raw().save();
            Tensor::record1(raw, &wide, move |g| fused_backward!(saved.get()?, g, OP, $backward, $on_card)).cast(x.dtype())
        }
    };
}

by_input!(
    /// max(x, 0); the derivative at zero is zero.
    relu, "nn.relu", relu_backward, Unary::Relu
);
by_input!(
    /// x times the normal distribution function, by the error function (Hendrycks and Gimpel 2016).
    gelu, "nn.gelu", gelu_backward, Unary::Gelu
);
by_input!(
    /// The approximation of `gelu` by the hyperbolic tangent.
    gelu_tanh, "nn.gelu-tanh", gelu_tanh_backward, Unary::GeluTanh
);
by_input!(
    /// x times sigmoid(x).
    silu, "nn.silu", silu_backward, Unary::Silu
);
by_input!(
    /// ln(1 + exp(x)); x itself above 20.
    softplus, "nn.softplus", softplus_backward, Unary::Softplus
);

/// An activation with a number of its own.
macro_rules! with_number {
    ($(#[$doc:meta])* $name:ident, $op:literal, $number:ident, $backward:ident, $on_card:expr) => {
        $(#[$doc])*
        pub fn $name(x: &Tensor, $number: f64) -> Result<Tensor> {
            const OP: &str = $op;
            let wide = x.for_elements(OP)?;
            let raw = wide.raw();
            let y = match raw.session().gpu() {
                Some(gpu) => gpu.unary(OP, raw, $on_card($number))?,
                None => with_float!(OP, raw, T => {
                    let elements = raw.elements::<T>(OP)?;
                    Raw::build::<T>(OP, raw.session(), raw.shape(), |out| {
                        activation::$name($number, &elements, out);
                        Ok(())
                    })
                })?,
            };
            let saved = raw.save();
            Tensor::record1(y, &wide, move |g| {
                let x = saved.get()?;
                if let Some(gpu) = x.session().gpu() {
                    return gpu.unary_backward(OP, x, g, $on_card($number));
                }
                with_float!(OP, x, T => {
                    let (s, g) = (x.elements::<T>(OP)?, g.elements::<T>(OP)?);
                    Raw::build::<T>(OP, x.session(), x.shape(), |out| {
                        activation::$backward($number, &s, &g, out);
                        Ok(())
                    })
                })
            })
            .cast(x.dtype())
        }
    };
}

with_number!(
    /// x where positive, else `slope` times x.
    leaky_relu, "nn.leaky-relu", slope, leaky_relu_backward, Unary::LeakyRelu
);
with_number!(
    /// x where positive, else `alpha` (exp(x) - 1).
    elu, "nn.elu", alpha, elu_backward, Unary::Elu
);

macro_rules! per_row {
    ($op:expr, $x:expr, |$elements:ident, $n:ident, $out:ident| $call:expr) => {{
        let x: &Raw = $x;
        let $n = x.shape().last().copied().unwrap_or(1);
        with_float!($op, x, T => {
            let elements = x.elements::<T>($op)?;
            let $elements: &[T] = &elements;
            Raw::build::<T>($op, x.session(), x.shape(), |$out| {
                if $n > 0 {
                    $call;
                }
                Ok(())
            })
        })
    }};
}

macro_rules! per_row_backward {
    ($op:expr, $y:ident, $gradient:ident, |$ys:ident, $gs:ident, $n:ident, $out:ident| $call:expr) => {{
        let $n = $y.shape().last().copied().unwrap_or(1);
        with_float!($op, $y, T => {
            let (ys, gs) = ($y.elements::<T>($op)?, $gradient.elements::<T>($op)?);
            let ($ys, $gs): (&[T], &[T]) = (&ys, &gs);
            Raw::build::<T>($op, $y.session(), $y.shape(), |$out| {
                if $n > 0 {
                    $call;
                }
                Ok(())
            })
        })
    }};
}

/// Exponentials over a dimension, divided by their sum.
pub fn softmax(x: &Tensor, dim: i32) -> Result<Tensor> {
    const OP: &str = "nn.softmax";
    along_last(OP, x, dim, |x| {
        let raw = match x.session().gpu() {
            Some(gpu) => gpu.softmax(OP, x.raw(), false)?,
            None => per_row!(OP, x.raw(), |elements, n, out| rows::softmax(n, elements, out))?,
        };
        let y = raw.save();
        Ok(Tensor::record1(raw, x, move |g| {
            let y = y.get()?;
            if let Some(gpu) = y.session().gpu() {
                return gpu.softmax_backward(OP, y, g, false);
            }
            per_row_backward!(OP, y, g, |ys, gs, n, out| rows::softmax_backward(n, ys, gs, out))
        }))
    })
}

/// The logarithm of [`softmax`], without overflow.
pub fn log_softmax(x: &Tensor, dim: i32) -> Result<Tensor> {
    const OP: &str = "nn.log-softmax";
    along_last(OP, x, dim, |x| {
        let raw = match x.session().gpu() {
            Some(gpu) => gpu.softmax(OP, x.raw(), true)?,
            None => per_row!(OP, x.raw(), |elements, n, out| rows::log_softmax(n, elements, out))?,
        };
        let y = raw.save();
        Ok(Tensor::record1(raw, x, move |g| {
            let y = y.get()?;
            if let Some(gpu) = y.session().gpu() {
                return gpu.softmax_backward(OP, y, g, true);
            }
            per_row_backward!(OP, y, g, |ys, gs, n, out| rows::log_softmax_backward(n, ys, gs, out))
        }))
    })
}

/// Applies what works on the last dimension to any.
fn along_last(op: &'static str, x: &Tensor, dim: i32, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let [wide] = widen(op, [x])?;
    if x.rank() == 0 && (dim == 0 || dim == -1) {
        return f(&wide)?.cast(x.dtype());
    }
    let dim = dimension(op, dim, x.raw())?;
    if dim + 1 == x.rank() {
        return f(&wide)?.cast(x.dtype());
    }
    let turned = wide.transpose(dim as i32, -1)?;
    f(&turned)?.transpose(dim as i32, -1)?.cast(x.dtype())
}

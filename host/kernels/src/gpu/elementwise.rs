//! Element by element.

use super::{Arg, Gpu, Launch, empty, suffix};
use crate::cpu::random;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::raw::{Raw, op_error};
use crate::session::Session;

/// A function of one element; the numbers are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unary {
    Relu,
    LeakyRelu(f64),
    Elu(f64),
    Gelu,
    GeluTanh,
    Silu,
    Softplus,
    Sigmoid,
    Tanh,
    Exp,
    Log,
    Log1p,
    Expm1,
    Erf,
    /// To a power.
    Pow(f64),
    /// The derivative of that.
    PowSlope(f64),
    Clamp(f64, f64),
    /// 1 strictly between two numbers, else 0.
    Inside(f64, f64),
    /// To the nearest integer, halves to the even one.
    Round,
    FiniteOrZero,
}

impl Unary {
    /// Its number and its own numbers.
    fn code(self) -> (u32, f64, f64) {
        match self {
            Unary::Relu => (0, 0.0, 0.0),
            Unary::LeakyRelu(slope) => (1, slope, 0.0),
            Unary::Elu(alpha) => (2, alpha, 0.0),
            Unary::Gelu => (3, 0.0, 0.0),
            Unary::GeluTanh => (4, 0.0, 0.0),
            Unary::Silu => (5, 0.0, 0.0),
            Unary::Softplus => (6, 0.0, 0.0),
            Unary::Sigmoid => (7, 0.0, 0.0),
            Unary::Tanh => (8, 0.0, 0.0),
            Unary::Exp => (9, 0.0, 0.0),
            Unary::Log => (10, 0.0, 0.0),
            Unary::Log1p => (11, 0.0, 0.0),
            Unary::Expm1 => (12, 0.0, 0.0),
            Unary::Erf => (13, 0.0, 0.0),
            Unary::Pow(exponent) => (14, exponent, 0.0),
            Unary::PowSlope(exponent) => (15, exponent, 0.0),
            Unary::Clamp(low, high) => (16, low, high),
            Unary::Inside(low, high) => (17, low, high),
            Unary::Round => (18, 0.0, 0.0),
            Unary::FiniteOrZero => (19, 0.0, 0.0),
        }
    }
}

/// A function of two elements; the numbers are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Binary {
    Pow = 0,
    /// The derivative of a power by its base.
    PowByBase = 1,
    /// From the power and its base, the derivative by its exponent over the power.
    PowByExponent = 2,
    /// 1 where the first is larger, 1/2 where both are equal, else 0.
    ShareLarger = 3,
    ShareSmaller = 4,
    Equal = 5,
}

fn float(op: &'static str, raw: &Raw) -> Result<&'static str> {
    if raw.dtype().is_float() {
        return Ok(suffix(raw.dtype()));
    }
    Err(Error::DType(op_error(
        op,
        "needs a floating-point tensor; cast first",
        &[raw],
    )))
}

impl Gpu {
    pub(crate) fn unary(&self, op: &'static str, x: &Raw, function: Unary) -> Result<Raw> {
        let (x, of) = (x.contiguous(op)?, float(op, x)?);
        let y = empty(op, x.session(), x.shape(), x.dtype())?;
        let (number, a, b) = function.code();
        let args = [
            Arg::Size(x.count()),
            Arg::U32(number),
            Arg::F64(a),
            Arg::F64(b),
            Arg::Of(&x),
            Arg::Of(&y),
        ];
        self.launch(
            op,
            x.session(),
            ("elementwise", "unary", of),
            Launch::each(x.count()),
            &args,
        )?;
        Ok(y)
    }

    /// The derivative: from what was kept (input or output, as in `cpu::activation`) and the gradient.
    pub(crate) fn unary_backward(&self, op: &'static str, kept: &Raw, gradient: &Raw, function: Unary) -> Result<Raw> {
        let (kept, gradient, of) = (kept.contiguous(op)?, gradient.contiguous(op)?, float(op, kept)?);
        let dx = empty(op, kept.session(), kept.shape(), kept.dtype())?;
        let (number, a, _) = function.code();
        let n = kept.count();
        let args = [
            Arg::Size(n),
            Arg::U32(number),
            Arg::F64(a),
            Arg::Of(&kept),
            Arg::Of(&gradient),
            Arg::Of(&dx),
        ];
        self.launch(
            op,
            kept.session(),
            ("elementwise", "unary_backward", of),
            Launch::each(n),
            &args,
        )?;
        Ok(dx)
    }

    /// Of two tensors of one shape.
    pub(crate) fn binary(&self, op: &'static str, x: &Raw, y: &Raw, function: Binary) -> Result<Raw> {
        let (x, y, of) = (x.contiguous(op)?, y.contiguous(op)?, float(op, x)?);
        let out = empty(op, x.session(), x.shape(), x.dtype())?;
        let args = [
            Arg::Size(x.count()),
            Arg::U32(function as u32),
            Arg::Of(&x),
            Arg::Of(&y),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            x.session(),
            ("elementwise", "binary", of),
            Launch::each(x.count()),
            &args,
        )?;
        Ok(out)
    }

    /// x += more, of one shape, in place.
    pub(crate) fn accumulate(&self, op: &'static str, x: &Raw, more: &Raw) -> Result<()> {
        let (more, of) = (more.contiguous(op)?, float(op, x)?);
        let args = [Arg::Size(x.count()), Arg::Of(x), Arg::Of(&more)];
        self.launch(
            op,
            x.session(),
            ("elementwise", "accumulate", of),
            Launch::each(x.count()),
            &args,
        )?;
        x.changed();
        Ok(())
    }

    /// 1 where an element is neither NaN nor infinite.
    pub(crate) fn is_finite(&self, op: &'static str, x: &Raw) -> Result<Raw> {
        if !x.dtype().is_float() {
            return Raw::full(op, x.session(), x.shape(), 1.0, DType::U8);
        }
        let (x, of) = (x.contiguous(op)?, suffix(x.dtype()));
        let out = empty(op, x.session(), x.shape(), DType::U8)?;
        let args = [Arg::Size(x.count()), Arg::Of(&x), Arg::Of(&out)];
        self.launch(
            op,
            x.session(),
            ("elementwise", "finite", of),
            Launch::each(x.count()),
            &args,
        )?;
        Ok(out)
    }

    /// Fills every row of `out` with the same one.
    pub(crate) fn fill_rows(&self, op: &'static str, row: &Raw, out: &Raw) -> Result<()> {
        let (row, of) = (row.contiguous(op)?, float(op, out)?);
        let args = [
            Arg::Size(out.count()),
            Arg::Size(row.count()),
            Arg::Of(&row),
            Arg::Of(out),
        ];
        self.launch(
            op,
            out.session(),
            ("elementwise", "fill_rows", of),
            Launch::each(out.count()),
            &args,
        )
    }

    /// Adds a number for each channel to y [batch, channels, positions].
    pub(crate) fn add_channels(&self, op: &'static str, bias: &Raw, y: &Raw, positions: usize) -> Result<()> {
        let (bias, of) = (bias.contiguous(op)?, float(op, y)?);
        let n = y.count();
        let args = [
            Arg::Size(n),
            Arg::Size(bias.count()),
            Arg::Size(positions.max(1)),
            Arg::Of(&bias),
            Arg::Of(y),
        ];
        self.launch(
            op,
            y.session(),
            ("elementwise", "add_channels", of),
            Launch::each(n),
            &args,
        )
    }

    /// As [`random::dropout`], with the same random numbers.
    pub(crate) fn dropout(&self, op: &'static str, x: &Raw, seed: u64, offset: u64, probability: f64) -> Result<Raw> {
        let threshold = (probability.clamp(0.0, 1.0) * 4_294_967_296.0).round();
        if threshold > f64::from(u32::MAX) {
            return Raw::full(op, x.session(), x.shape(), 0.0, x.dtype());
        }
        let (x, of) = (x.contiguous(op)?, float(op, x)?);
        let out = empty(op, x.session(), x.shape(), x.dtype())?;
        let counters = random::dropout_counters(x.count()) as usize;
        let args = [
            Arg::Size(x.count()),
            Arg::U64(seed),
            Arg::U64(offset),
            Arg::U32(threshold as u32),
            Arg::F64(1.0 / (1.0 - probability)),
            Arg::Of(&x),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            x.session(),
            ("elementwise", "dropout", of),
            Launch::each(counters),
            &args,
        )?;
        Ok(out)
    }

    /// As [`random::fill_uniform`] of `f64`, with the same random numbers.
    pub(crate) fn uniform(
        &self,
        op: &'static str,
        session: &Session,
        shape: &[usize],
        (low, high): (f64, f64),
    ) -> Result<Raw> {
        let out = empty(op, session, shape, DType::F64)?;
        let counters = random::counters(out.count());
        let offset = session.take_random(counters);
        let last = if low < high { high.next_down() } else { high };
        let args = [
            Arg::Size(out.count()),
            Arg::U64(session.seed()),
            Arg::U64(offset),
            Arg::F64(low),
            Arg::F64(high),
            Arg::F64(last),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            session,
            ("elementwise", "uniform", "f64"),
            Launch::each(counters as usize),
            &args,
        )?;
        Ok(out)
    }

    /// As [`random::fill_normal`] of `f64`: the same random numbers, but for the last bits of logarithm, sine and cosine.
    pub(crate) fn normal(
        &self,
        op: &'static str,
        session: &Session,
        shape: &[usize],
        (mean, deviation): (f64, f64),
    ) -> Result<Raw> {
        let out = empty(op, session, shape, DType::F64)?;
        let counters = random::counters(out.count());
        let offset = session.take_random(counters);
        let args = [
            Arg::Size(out.count()),
            Arg::U64(session.seed()),
            Arg::U64(offset),
            Arg::F64(mean),
            Arg::F64(deviation),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            session,
            ("elementwise", "normal", "f64"),
            Launch::each(counters as usize),
            &args,
        )?;
        Ok(out)
    }

    /// `u8` [rows, columns]: 1 where column - row is at most the diagonal (`lower`), or at least.
    pub(crate) fn triangle(
        &self,
        op: &'static str,
        session: &Session,
        [rows, columns]: [usize; 2],
        diagonal: i32,
        lower: bool,
    ) -> Result<Raw> {
        let out = empty(op, session, &[rows, columns], DType::U8)?;
        let args = [
            Arg::Size(rows),
            Arg::Size(columns),
            Arg::I64(diagonal.into()),
            Arg::I32(lower.into()),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            session,
            ("elementwise", "triangle", "u8"),
            Launch::each(out.count()),
            &args,
        )?;
        Ok(out)
    }
}

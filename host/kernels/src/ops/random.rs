//! Random tensors, from the session's counter-based generator: the same numbers on every device.

use crate::cpu::random;
use crate::dtype::DType;
use crate::error::{Error, OpError, Result};
use crate::raw::Raw;
use crate::session::Session;
use crate::tensor::Tensor;

fn check(op: &'static str, dtype: DType, fine: bool, message: impl FnOnce() -> String) -> Result<()> {
    let fault = |message: String| OpError {
        operation: op.into(),
        message,
        shapes: vec![],
        dtypes: vec![dtype],
    };
    if !dtype.is_float() {
        return Err(Error::DType(fault(
            "random numbers are floating-point; cast them afterwards".into(),
        )));
    }
    if fine {
        Ok(())
    } else {
        Err(Error::InvalidArgument(fault(message())))
    }
}

impl Tensor {
    /// Uniform in [low, high).
    pub fn random_uniform(session: &Session, shape: &[usize], low: f64, high: f64, dtype: DType) -> Result<Tensor> {
        const OP: &str = "tensor.random-uniform";
        check(OP, dtype, low <= high && (high - low).is_finite(), || {
            format!("{low} to {high} is no range")
        })?;
        if let Some(gpu) = session.gpu() {
            return gpu
                .uniform(OP, session, shape, (low, high))?
                .cast(OP, dtype)
                .map(Tensor::constant);
        }
        fill(OP, session, shape, dtype, |counter, out| {
            random::fill_uniform(session.seed(), counter, low, high, out)
        })
    }

    /// Normal, with a mean and a standard deviation.
    pub fn random_normal(session: &Session, shape: &[usize], mean: f64, std: f64, dtype: DType) -> Result<Tensor> {
        const OP: &str = "tensor.random-normal";
        check(OP, dtype, mean.is_finite() && std >= 0.0 && std.is_finite(), || {
            format!(
                "a mean of {mean} and a standard deviation of {std} are no normal distribution; the deviation must not be negative"
            )
        })?;
        if let Some(gpu) = session.gpu() {
            return gpu
                .normal(OP, session, shape, (mean, std))?
                .cast(OP, dtype)
                .map(Tensor::constant);
        }
        fill(OP, session, shape, dtype, |counter, out| {
            random::fill_normal(session.seed(), counter, mean, std, out)
        })
    }

    /// 0 .. size in random order, as `u32`.
    pub fn random_permutation(session: &Session, size: usize) -> Result<Tensor> {
        const OP: &str = "tensor.random-permutation";
        Raw::build::<u32>(OP, session, &[size], |out| {
            let counter = session.take_random(random::counters(size));
            random::permutation(session.seed(), counter, out);
            Ok(())
        })
        .map(Tensor::constant)
    }
}

/// Numbers are drawn as `f64` and rounded to the type, so that every type sees the same ones.
fn fill(
    op: &'static str,
    session: &Session,
    shape: &[usize],
    dtype: DType,
    draw: impl Fn(u64, &mut [f64]),
) -> Result<Tensor> {
    let raw = Raw::build::<f64>(op, session, shape, |out| {
        let counter = session.take_random(random::counters(out.len()));
        draw(counter, out);
        Ok(())
    })?;
    raw.cast(op, dtype).map(Tensor::constant)
}

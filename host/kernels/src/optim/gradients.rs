//! What is done to gradients between the backward pass and the step: are they finite, how long are they, make them shorter. On the
//! processor each is one pass in place; on another device candle's operations, with one number read back.

use super::with_stored;
use crate::cpu::optim as step;
use crate::dtype::DType;
use crate::error::Result;
use crate::raw::Raw;

/// Whether no element of any gradient is NaN or infinite.
pub(super) fn all_finite(op: &'static str, gradients: &[Raw]) -> Result<bool> {
    let Some(first) = gradients.first() else {
        return Ok(true);
    };
    if !first.session().is_cpu() {
        return all_finite_on_device(op, gradients);
    }
    for gradient in gradients {
        let fine = with_stored!(op, gradient, T => Ok(step::all_finite(&gradient.elements::<T>(op)?)))?;
        if !fine {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Zero times what is not finite is NaN, and so is a sum with it.
fn all_finite_on_device(op: &'static str, gradients: &[Raw]) -> Result<bool> {
    Ok(!total(op, gradients, |gradient| gradient.affine(op, 0.0, 0.0))?.is_nan())
}

/// The sum of the squares of all elements.
pub(super) fn norm_squared(op: &'static str, gradients: &[Raw]) -> Result<f64> {
    let Some(first) = gradients.first() else { return Ok(0.0) };
    if !first.session().is_cpu() {
        return norm_squared_on_device(op, gradients);
    }
    let mut sum = 0.0;
    for gradient in gradients {
        sum += with_stored!(op, gradient, T => Ok(step::norm_squared(&gradient.elements::<T>(op)?)))?;
    }
    Ok(sum)
}

fn norm_squared_on_device(op: &'static str, gradients: &[Raw]) -> Result<f64> {
    total(op, gradients, |gradient| {
        let wide = widened(op, gradient)?;
        Raw::make(op, wide.session(), wide.shape(), wide.dtype(), || wide.candle().sqr())
    })
}

/// Multiplies all elements in place.
pub(super) fn scale(op: &'static str, gradient: &Raw, factor: f64) -> Result<()> {
    if !gradient.session().is_cpu() {
        return scale_on_device(op, gradient, factor);
    }
    with_stored!(op, gradient, T => gradient.write::<T>(op, |values| {
        step::scale(values, factor);
        Ok(())
    }))
}

fn scale_on_device(op: &'static str, gradient: &Raw, factor: f64) -> Result<()> {
    let scaled = widened(op, gradient)?.affine(op, factor, 0.0)?;
    gradient.overwrite(op, &scaled.cast(op, gradient.dtype())?)
}

/// Clamps all elements to -limit .. limit in place.
pub(super) fn clamp(op: &'static str, gradient: &Raw, limit: f64) -> Result<()> {
    if !gradient.session().is_cpu() {
        return clamp_on_device(op, gradient, limit);
    }
    with_stored!(op, gradient, T => gradient.write::<T>(op, |values| {
        step::clamp(values, -limit, limit);
        Ok(())
    }))
}

fn clamp_on_device(op: &'static str, gradient: &Raw, limit: f64) -> Result<()> {
    let wide = widened(op, gradient)?;
    let clamped = Raw::make(op, wide.session(), wide.shape(), wide.dtype(), || {
        wide.candle().clamp(-limit, limit)
    })?;
    gradient.overwrite(op, &clamped.cast(op, gradient.dtype())?)
}

fn widened(op: &'static str, gradient: &Raw) -> Result<Raw> {
    if gradient.dtype().is_half() {
        gradient.cast(op, DType::F32)
    } else {
        Ok(gradient.clone())
    }
}

/// The sum of all elements of what `of` makes of each gradient, read back once.
fn total(op: &'static str, gradients: &[Raw], of: impl Fn(&Raw) -> Result<Raw>) -> Result<f64> {
    let mut total: Option<Raw> = None;
    for gradient in gradients {
        let part = of(gradient)?;
        let sum = Raw::make(op, part.session(), &[], part.dtype(), || part.candle().sum_all())?;
        let sum = sum.cast(op, DType::F64)?;
        total = Some(match total {
            Some(earlier) => earlier.add(op, &sum)?,
            None => sum,
        });
    }
    total.map_or(Ok(0.0), |total| total.item(op))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Session, SessionOptions, Tensor};

    const OP: &str = "test";

    fn raw(values: &[f64], dtype: DType) -> Raw {
        let session = Session::new(SessionOptions::default()).unwrap();
        let t = Tensor::from_f64(&session, values.to_vec(), &[values.len()]).unwrap();
        t.cast(dtype).unwrap().raw().clone()
    }

    /// candle's operations are the same on every device: here they run on the processor.
    #[test]
    fn a_device_is_told_the_same_as_the_processor() {
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
            let fine = [raw(&[1.0, -2.5, 0.0], dtype), raw(&[3.0], dtype)];
            assert!(all_finite(OP, &fine).unwrap() && all_finite_on_device(OP, &fine).unwrap());
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let gradients = [fine[0].clone(), raw(&[0.5, bad], dtype), fine[1].clone()];
                assert!(!all_finite(OP, &gradients).unwrap(), "{dtype} {bad}");
                assert!(!all_finite_on_device(OP, &gradients).unwrap(), "{dtype} {bad}");
            }
            let expected = 1.0 + 6.25 + 9.0;
            assert_eq!(norm_squared(OP, &fine).unwrap(), expected);
            assert_eq!(norm_squared_on_device(OP, &fine).unwrap(), expected);

            let (ours, devices) = (raw(&[1.0, -2.5, 4.0], dtype), raw(&[1.0, -2.5, 4.0], dtype));
            scale(OP, &ours, 0.3).unwrap();
            scale_on_device(OP, &devices, 0.3).unwrap();
            clamp(OP, &ours, 1.0).unwrap();
            clamp_on_device(OP, &devices, 1.0).unwrap();
            assert_eq!(ours.to_vec::<f64>(OP).unwrap(), devices.to_vec::<f64>(OP).unwrap());
            assert_eq!(ours.to_vec::<f64>(OP).unwrap()[2], 1.0);
        }
    }
}

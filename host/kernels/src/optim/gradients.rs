//! What is done to gradients between the backward pass and the step: are they finite, how long are they, make them shorter. On the
//! processor each is one pass in place; so it is on a card, with one number read back.

use super::with_stored;
use crate::cpu::optim as step;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::raw::Raw;

/// Whether no element of any gradient is NaN or infinite.
pub(super) fn all_finite(op: &'static str, gradients: &[Raw]) -> Result<bool> {
    let Some(first) = gradients.first() else {
        return Ok(true);
    };
    if let Some(gpu) = first.session().gpu() {
        return Ok(squares(op, gpu, gradients)?.is_finite());
    }
    for gradient in gradients {
        let fine = with_stored!(op, gradient, T => Ok(step::all_finite(&gradient.elements::<T>(op)?)))?;
        if !fine {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The sum of the squares of all elements, read back once; not finite where an element is not.
fn squares(op: &'static str, gpu: &Gpu, gradients: &[Raw]) -> Result<f64> {
    gpu.gradient_squares(op, gradients)?.map_or(Ok(0.0), |sum| sum.item(op))
}

/// The sum of the squares of all elements.
pub(super) fn norm_squared(op: &'static str, gradients: &[Raw]) -> Result<f64> {
    let Some(first) = gradients.first() else { return Ok(0.0) };
    if let Some(gpu) = first.session().gpu() {
        return squares(op, gpu, gradients);
    }
    let mut sum = 0.0;
    for gradient in gradients {
        sum += with_stored!(op, gradient, T => Ok(step::norm_squared(&gradient.elements::<T>(op)?)))?;
    }
    Ok(sum)
}

/// Multiplies all elements in place; of contiguous gradients.
pub(super) fn scale(op: &'static str, gradients: &[Raw], factor: f64) -> Result<()> {
    if let Some(gpu) = gradients.first().and_then(|gradient| gradient.session().gpu()) {
        return gpu.scale(op, gradients, factor);
    }
    for gradient in gradients {
        with_stored!(op, gradient, T => gradient.write::<T>(op, |values| {
            step::scale(values, factor);
            Ok(())
        }))?;
    }
    Ok(())
}

/// Clamps all elements to -limit .. limit in place; of contiguous gradients.
pub(super) fn clamp(op: &'static str, gradients: &[Raw], limit: f64) -> Result<()> {
    if let Some(gpu) = gradients.first().and_then(|gradient| gradient.session().gpu()) {
        return gpu.limit(op, gradients, limit);
    }
    for gradient in gradients {
        with_stored!(op, gradient, T => gradient.write::<T>(op, |values| {
            step::clamp(values, -limit, limit);
            Ok(())
        }))?;
    }
    Ok(())
}

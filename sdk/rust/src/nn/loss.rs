//! Losses: the mean over all elements, a scalar. Those of class indices are computed in `F32` where the network is of a shorter type.

use crate::bindings::nn as raw;
use crate::error::Result;
use crate::tensor::{DType, Tensor};

/// The mean squared error of tensors of one shape.
pub fn mse_loss(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::mse_loss(prediction.raw(), target.raw()))
}

/// The mean absolute error of tensors of one shape.
pub fn l1_loss(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::l1_loss(prediction.raw(), target.raw()))
}

/// Quadratic up to `delta`, linear beyond.
pub fn huber_loss(prediction: &Tensor, target: &Tensor, delta: f64) -> Result<Tensor> {
    Tensor::wrap(raw::huber_loss(prediction.raw(), target.raw(), delta))
}

/// The pinball loss of the `quantile`-quantile, in (0, 1).
pub fn quantile_loss(prediction: &Tensor, target: &Tensor, quantile: f64) -> Result<Tensor> {
    Tensor::wrap(raw::quantile_loss(prediction.raw(), target.raw(), quantile))
}

/// As autocast has it: a loss of `Bf16` or `F16` would be rounded, and loss scaling could make it infinite.
fn wide(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::Bf16 | DType::F16 => x.cast(DType::F32),
        _ => Ok(x.clone()),
    }
}

/// Of logits [batch, classes] and class indices `[batch]` of `u32` or `i64`.
pub fn cross_entropy(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    cross_entropy_smoothed(logits, target, 0.0)
}

/// As [`cross_entropy`], with a part `smoothing` of each target, from 0 to 1, spread over all classes.
pub fn cross_entropy_smoothed(logits: &Tensor, target: &Tensor, smoothing: f64) -> Result<Tensor> {
    Tensor::wrap(raw::cross_entropy(wide(logits)?.raw(), target.raw(), smoothing))
}

/// As [`cross_entropy`], of log-probabilities.
pub fn nll_loss(log_probabilities: &Tensor, target: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::nll_loss(wide(log_probabilities)?.raw(), target.raw()))
}

/// Of logits and targets from 0 to 1, of one shape.
pub fn binary_cross_entropy_with_logits(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::binary_cross_entropy_with_logits(logits.raw(), target.raw()))
}

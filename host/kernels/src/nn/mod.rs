//! Differentiable blocks, one call each. Weights are laid out as in PyTorch, so that a `state_dict` fits.
//!
//! `f16` and `bf16` go in and come out, but are computed in `f32`.

mod activation;
mod attention;
mod convolution;
mod dropout;
mod embedding;
mod linear;
mod loss;
mod normalization;
mod pooling;
mod recurrent;

pub use activation::{elu, gelu, gelu_tanh, leaky_relu, log_softmax, relu, silu, softmax, softplus};
pub use attention::attention;
pub use convolution::{ConvOptions, conv_transpose1d, conv1d, conv2d};
pub use dropout::dropout;
pub use embedding::embedding;
pub use linear::linear;
pub use loss::{
    binary_cross_entropy_with_logits, cross_entropy, huber_loss, l1_loss, mse_loss, nll_loss, quantile_loss,
};
pub use normalization::{batch_norm, layer_norm, rms_norm};
pub use pooling::{avg_pool1d, avg_pool2d, max_pool1d, max_pool2d};
pub use recurrent::{RnnWeights, gru, lstm};

use crate::error::{Error, Result};
use crate::ops::same_dtype;
use crate::raw::{Raw, op_error};
use crate::tensor::Tensor;

/// Operands of one floating-point type, `f16` and `bf16` widened to `f32`.
fn widen<const N: usize>(op: &'static str, tensors: [&Tensor; N]) -> Result<[Tensor; N]> {
    let raws = tensors.map(Tensor::raw);
    same_dtype(op, &raws)?;
    let mut wide = tensors.map(Tensor::clone);
    for t in &mut wide {
        *t = t.widened(op)?;
    }
    Ok(wide)
}

/// As [`widen`], of an operand that may be absent.
fn widen_option(op: &'static str, like: &Tensor, tensor: Option<&Tensor>) -> Result<Option<Tensor>> {
    let Some(tensor) = tensor else { return Ok(None) };
    same_dtype(op, &[like.raw(), tensor.raw()])?;
    tensor.widened(op).map(Some)
}

/// Refuses an operand whose shape is not the one it must have.
fn expect_shape(op: &'static str, what: &str, tensor: &Raw, shape: &[usize], operands: &[&Raw]) -> Result<()> {
    if tensor.shape() == shape {
        return Ok(());
    }
    Err(Error::Shape(op_error(
        op,
        format!("{what} must be {shape:?}, not {:?}", tensor.shape()),
        operands,
    )))
}

//! Normalisation layers.

use super::{Init, Module, Scope, functional};
use crate::error::Result;
use crate::tensor::Tensor;

/// Normalises the last dimension to mean 0 and variance 1, then scales and shifts. Parameters: `weight`, `bias` `[width]`.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Over a last dimension of that width, with epsilon 1e-5.
    pub fn new(scope: &Scope, width: usize) -> Result<Self> {
        let weight = scope.parameter("weight", width, Init::Constant(1.0))?;
        let bias = scope.parameter("bias", width, Init::Constant(0.0))?;
        Ok(Self {
            weight,
            bias,
            epsilon: 1e-5,
        })
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::layer_norm(x, Some(&self.weight), Some(&self.bias), self.epsilon)
    }
}

/// Divides the last dimension by its root mean square, then scales (Zhang and Sennrich 2019). Parameter: `weight` `[width]`.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    weight: Tensor,
    epsilon: f64,
}

impl RmsNorm {
    /// Over a last dimension of that width, with epsilon 1e-6.
    pub fn new(scope: &Scope, width: usize) -> Result<Self> {
        Ok(Self {
            weight: scope.parameter("weight", width, Init::Constant(1.0))?,
            epsilon: 1e-6,
        })
    }
}

impl Module for RmsNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::rms_norm(x, Some(&self.weight), self.epsilon)
    }
}

/// Normalises each channel over the batch (Ioffe and Szegedy 2015): by the batch's statistics in training, by running ones
/// (momentum 0.1) otherwise. Parameters: `weight`, `bias`; buffers: `running_mean`, `running_var`; all `[channels]`.
#[derive(Clone)]
pub struct BatchNorm1d {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    scope: Scope,
}

impl BatchNorm1d {
    /// Over x [batch, channels] or [batch, channels, length], with epsilon 1e-5.
    pub fn new(scope: &Scope, channels: usize) -> Result<Self> {
        Ok(Self {
            weight: scope.parameter("weight", channels, Init::Constant(1.0))?,
            bias: scope.parameter("bias", channels, Init::Constant(0.0))?,
            running_mean: scope.buffer("running_mean", channels, 0.0)?,
            running_var: scope.buffer("running_var", channels, 1.0)?,
            scope: scope.clone(),
        })
    }
}

impl Module for BatchNorm1d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::batch_norm(
            x,
            Some(&self.weight),
            Some(&self.bias),
            &self.running_mean,
            &self.running_var,
            self.scope.is_training(),
            0.1,
            1e-5,
        )
    }
}

//! Convolution along time.

use super::{Init, Module, Scope, functional};
use crate::error::Result;
use crate::tensor::Tensor;

/// A convolution over x [batch, in, length]. Parameters: `weight` [out, in / groups, kernel], `bias` `[out]`.
#[derive(Clone, Debug)]
pub struct Conv1d {
    /// [out, in / groups, kernel]
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
    options: Conv1dOptions,
}

/// What [`Conv1d::with`] can change.
#[derive(Clone, Copy, Debug)]
pub struct Conv1dOptions {
    /// Steps between the places where the kernel is applied.
    pub stride: usize,
    /// Zeros on either side.
    pub padding: usize,
    /// Steps between the elements of the kernel.
    pub dilation: usize,
    /// Independent groups of channels; must divide both numbers of channels.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Default for Conv1dOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: 0,
            dilation: 1,
            groups: 1,
            bias: true,
        }
    }
}

impl Conv1d {
    /// Stride 1, no padding, with a bias, initialised as PyTorch does.
    pub fn new(scope: &Scope, inputs: usize, outputs: usize, kernel: usize) -> Result<Self> {
        Self::with(scope, inputs, outputs, kernel, Conv1dOptions::default())
    }

    /// With options.
    pub fn with(scope: &Scope, inputs: usize, outputs: usize, kernel: usize, options: Conv1dOptions) -> Result<Self> {
        let inputs = inputs / options.groups.max(1);
        let weight = scope.parameter("weight", (outputs, inputs, kernel), Init::FanIn)?;
        let bias_init = Init::Uniform(((inputs * kernel) as f64).sqrt().recip());
        let bias = options
            .bias
            .then(|| scope.parameter("bias", outputs, bias_init))
            .transpose()?;
        Ok(Self { weight, bias, options })
    }
}

impl Module for Conv1d {
    /// x [batch, in, length] gives [batch, out, positions].
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Conv1dOptions {
            stride,
            padding,
            dilation,
            groups,
            ..
        } = self.options;
        let options = functional::ConvOptions {
            stride,
            padding,
            dilation,
            groups,
        };
        functional::conv1d(x, &self.weight, self.bias.as_ref(), options)
    }
}

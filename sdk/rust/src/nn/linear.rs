//! The fully connected layer.

use super::{Init, Module, Scope, functional};
use crate::error::Result;
use crate::tensor::Tensor;

/// y = x weightᵀ + bias. Parameters: `weight` [out, in], `bias` `[out]`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// [out, in]
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
}

/// What [`Linear::with`] can change.
#[derive(Clone, Copy, Debug)]
pub struct LinearOptions {
    /// Whether a bias is added.
    pub bias: bool,
    /// Initial values of the weight; the bias always begins uniform with bound 1 / sqrt(in).
    pub init: Init,
}

impl Default for LinearOptions {
    fn default() -> Self {
        Self {
            bias: true,
            init: Init::FanIn,
        }
    }
}

impl Linear {
    /// With a bias, initialised as PyTorch does.
    pub fn new(scope: &Scope, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with(scope, inputs, outputs, LinearOptions::default())
    }

    /// With options:
    ///
    /// ```no_run
    /// # use trainyard_sdk::{nn::{Init, Linear, LinearOptions, Scope}, Result};
    /// # fn example(scope: &Scope) -> Result<()> {
    /// let plain = LinearOptions { bias: false, ..Default::default() };
    /// let projection = Linear::with(&scope.sub("projection"), 64, 8, plain)?;
    /// # Ok(()) }
    /// ```
    pub fn with(scope: &Scope, inputs: usize, outputs: usize, options: LinearOptions) -> Result<Self> {
        let weight = scope.parameter("weight", (outputs, inputs), options.init)?;
        let bias_init = Init::Uniform((inputs as f64).sqrt().recip());
        let bias = options
            .bias
            .then(|| scope.parameter("bias", outputs, bias_init))
            .transpose()?;
        Ok(Self { weight, bias })
    }
}

impl Module for Linear {
    /// x [.., in] gives [.., out].
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::linear(x, &self.weight, self.bias.as_ref())
    }
}

//! Activations, and dropout.

use super::{Module, Scope, functional};
use crate::Choice;
use crate::error::Result;
use crate::tensor::Tensor;

/// A non-linearity; also usable as the type of a parameter, where a user writes `"relu"`, `"leaky_relu"`, ...
#[derive(Choice, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x, or 0.01 x where it is negative.
    LeakyRelu,
    /// x, or e^x - 1 where it is negative.
    Elu,
    /// x Φ(x), exact.
    Gelu,
    /// x sigmoid(x)
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// ln(1 + e^x)
    Softplus,
}

impl Module for Activation {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Relu => x.relu(),
            Activation::LeakyRelu => x.leaky_relu(0.01),
            Activation::Elu => x.elu(1.0),
            Activation::Gelu => x.gelu(),
            Activation::Silu => x.silu(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Softplus => x.softplus(),
        }
    }
}

/// In training, each element becomes zero with a probability, and the others grow to make up for it. Otherwise nothing.
#[derive(Clone)]
pub struct Dropout {
    probability: f64,
    scope: Scope,
}

impl Dropout {
    /// With that probability, from 0 up to but without 1.
    pub fn new(scope: &Scope, probability: f64) -> Self {
        Self {
            probability,
            scope: scope.clone(),
        }
    }
}

impl Module for Dropout {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.probability == 0.0 || !self.scope.is_training() {
            return Ok(x.clone());
        }
        functional::dropout(x, self.probability)
    }
}

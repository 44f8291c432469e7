//! Optimisers and learning-rate schedules. Formulas and defaults are PyTorch's.
//!
//! ```no_run
//! # use trainyard_sdk::{nn::Scope, optim::AdamW, Result, Tensor};
//! # fn example(scope: &Scope, loss: &Tensor) -> Result<()> {
//! let optimizer = AdamW::new(1e-3).weight_decay(0.05).build(&scope.parameters())?;
//! optimizer.minimize(loss)?;
//! # Ok(()) }
//! ```
//!
//! Parameters can be of `bf16` or `f16`, for a GPU: the processor is quickest with `f32`. What a network computes then takes half the
//! memory. The optimiser keeps a master copy of the parameters in `f32`, in which small steps add up. `f16` wants
//! [loss scaling](LossScaling) as well, since its small gradients would become zero. Inputs are cast to the type of the parameters,
//! and predictions back to `f32` before the loss:
//!
//! ```no_run
//! # use trainyard_sdk::{data, data::Split, DType, nn::{mse_loss, Linear, Module, Scope}, optim::{AdamW, LossScaling}, Result};
//! # fn example() -> Result<()> {
//! let scope = Scope::with_dtype(DType::F16);
//! let net = Linear::new(&scope, 8, 1)?;
//! let optimizer = AdamW::new(1e-3)
//!     .loss_scaling(LossScaling::Dynamic)
//!     .build(&scope.parameters())?;
//! for batch in data::batches(Split::Train) {
//!     let batch = batch?;
//!     let prediction = net.forward(&batch.x.cast(scope.dtype())?)?;
//!     optimizer.minimize(&mse_loss(&prediction.cast(DType::F32)?, &batch.y)?)?;
//! }
//! # Ok(()) }
//! ```
//!
//! [`Precision`] makes that choice a parameter of an algorithm.

mod precision;
mod scaling;
mod schedule;

pub use precision::Precision;
pub use scaling::LossScaling;
pub use schedule::Schedule;

use crate::Choice;
use crate::bindings::optim as raw;
use crate::error::Result;
use crate::tensor::{Tensor, borrow_all};

/// Stochastic gradient descent, with momentum if wanted.
#[derive(Clone, Copy, Debug)]
pub struct Sgd(raw::SgdOptions, LossScaling);

impl Sgd {
    /// With that learning rate, and neither momentum nor weight decay.
    pub fn new(learning_rate: f64) -> Self {
        let options = raw::SgdOptions {
            learning_rate,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
        };
        Self(options, LossScaling::None)
    }

    /// The part of the last step that is taken again, from 0 up to but without 1.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.0.momentum = momentum;
        self
    }

    /// How much less of a new gradient enters the momentum; 0 by default.
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.0.dampening = dampening;
        self
    }

    /// Times the weight, added to the gradient.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.0.weight_decay = weight_decay;
        self
    }

    /// Nesterov's momentum.
    pub fn nesterov(mut self) -> Self {
        self.0.nesterov = true;
        self
    }

    /// Scales losses; for parameters of `f16`.
    pub fn loss_scaling(mut self, scaling: LossScaling) -> Self {
        self.1 = scaling;
        self
    }

    /// The optimiser of those parameters.
    pub fn build(self, parameters: &[Tensor]) -> Result<Optimizer> {
        Optimizer(raw::Optimizer::sgd(&borrow_all(parameters), self.0)?).scaled(self.1)
    }
}

fn adam_options(learning_rate: f64, weight_decay: f64) -> raw::AdamOptions {
    raw::AdamOptions {
        learning_rate,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay,
    }
}

macro_rules! adam {
    ($(#[$doc:meta])+ $name:ident, $constructor:ident, $decay:literal, $decay_doc:literal) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug)]
        pub struct $name(raw::AdamOptions, LossScaling);

        impl $name {
            /// With that learning rate, betas 0.9 and 0.999, epsilon 1e-8.
            pub fn new(learning_rate: f64) -> Self {
                Self(adam_options(learning_rate, $decay), LossScaling::None)
            }

            /// How slowly the averages of the gradient and of its square follow, each from 0 up to but without 1.
            pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
                (self.0.beta1, self.0.beta2) = (beta1, beta2);
                self
            }

            /// What is added to the divisor.
            pub fn epsilon(mut self, epsilon: f64) -> Self {
                self.0.epsilon = epsilon;
                self
            }

            #[doc = $decay_doc]
            pub fn weight_decay(mut self, weight_decay: f64) -> Self {
                self.0.weight_decay = weight_decay;
                self
            }

            /// Scales losses; for parameters of `f16`.
            pub fn loss_scaling(mut self, scaling: LossScaling) -> Self {
                self.1 = scaling;
                self
            }

            /// The optimiser of those parameters.
            pub fn build(self, parameters: &[Tensor]) -> Result<Optimizer> {
                Optimizer(raw::Optimizer::$constructor(&borrow_all(parameters), self.0)?).scaled(self.1)
            }
        }
    };
}

adam!(
    /// Adam (Kingma and Ba 2015).
    Adam,
    adam,
    0.0,
    "Times the weight, added to the gradient; 0 by default."
);
adam!(
    /// Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019).
    AdamW,
    adamw,
    0.01,
    "Times the learning rate, taken off the weight; 0.01 by default."
);

/// Which optimiser, as a parameter of an algorithm: `"sgd"`, `"adam"` or `"adamw"`.
#[derive(Choice, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Sgd`] with momentum 0.9.
    Sgd,
    /// [`Adam`].
    Adam,
    /// [`AdamW`].
    Adamw,
}

impl Kind {
    /// The optimiser of those parameters.
    pub fn build(self, learning_rate: f64, weight_decay: f64, parameters: &[Tensor]) -> Result<Optimizer> {
        match self {
            Kind::Sgd => Sgd::new(learning_rate)
                .momentum(0.9)
                .weight_decay(weight_decay)
                .build(parameters),
            Kind::Adam => Adam::new(learning_rate).weight_decay(weight_decay).build(parameters),
            Kind::Adamw => AdamW::new(learning_rate).weight_decay(weight_decay).build(parameters),
        }
    }
}

/// Changes parameters by their gradients, in place.
pub struct Optimizer(raw::Optimizer);

impl Optimizer {
    // A plugin that scales nothing then has no code for it.
    #[inline(always)]
    fn scaled(self, scaling: LossScaling) -> Result<Self> {
        if !matches!(scaling, LossScaling::None) {
            self.set_loss_scaling(scaling)?;
        }
        Ok(self)
    }

    /// A whole training step in one call: forgets the gradients, computes those of `loss`, and changes every trainable
    /// parameter by its gradient. A parameter that the loss does not depend on is an error that names it. With
    /// [loss scaling](LossScaling) the loss is scaled here.
    pub fn minimize(&self, loss: &Tensor) -> Result<()> {
        self.0.minimize(loss.raw())
    }

    /// Changes every trainable parameter by its gradient, after [`Tensor::backward`]. One without a gradient is an error that
    /// names it. With loss scaling, go backward from [`scale_loss`](Self::scale_loss).
    pub fn step(&self) -> Result<()> {
        self.0.step()
    }

    /// Switches loss scaling on or off, from the beginning.
    pub fn set_loss_scaling(&self, scaling: LossScaling) -> Result<()> {
        self.0.set_loss_scaling(scaling.to_raw())
    }

    /// The loss times the scale: what to go backward from before [`step`](Self::step). Without loss scaling it is the loss itself.
    pub fn scale_loss(&self, loss: &Tensor) -> Result<Tensor> {
        Tensor::wrap(self.0.scale_loss(loss.raw()))
    }

    /// What losses are multiplied by now; 1 without loss scaling.
    pub fn loss_scale(&self) -> f64 {
        self.0.loss_scale()
    }

    /// Steps that loss scaling has skipped, because a gradient was not finite.
    pub fn skipped_steps(&self) -> usize {
        self.0.skipped_steps() as usize
    }

    /// Forgets the gradients of all parameters.
    pub fn zero_grad(&self) -> Result<()> {
        self.0.clear_gradients()
    }

    /// The learning rate.
    pub fn learning_rate(&self) -> f64 {
        self.0.learning_rate()
    }

    /// Changes the learning rate.
    pub fn set_learning_rate(&self, value: f64) -> Result<()> {
        self.0.set_learning_rate(value)
    }

    /// Scales all gradients so that their joint norm is at most `max_norm`; gives the norm before. The loss's scale does not count.
    pub fn clip_grad_norm(&self, max_norm: f64) -> Result<f64> {
        self.0.clip_gradient_norm(max_norm)
    }

    /// Clamps every element of the gradients to -limit ..= limit.
    pub fn clip_grad_value(&self, limit: f64) -> Result<()> {
        self.0.clip_gradient_value(limit)
    }

    /// Moments, step count, master copies and loss scale by names of its own, for a checkpoint.
    pub fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(self
            .0
            .state()?
            .into_iter()
            .map(|(name, raw)| (name, Tensor::from_raw(raw)))
            .collect())
    }

    /// Goes on from a state that [`state_dict`](Self::state_dict) gave.
    pub fn load_state_dict(&self, state: &[(String, Tensor)]) -> Result<()> {
        let state: Vec<_> = state
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.raw()))
            .collect();
        self.0.load_state(&state)
    }
}

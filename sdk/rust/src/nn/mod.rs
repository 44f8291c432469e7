//! Layers, activations and losses.
//!
//! A layer is a struct made in a [`Scope`], which names its parameters as PyTorch's `state_dict` does. One function that
//! builds a network serves training, evaluation and prediction: in [`Scope::new`] its parameters are created and trainable, in
//! [`Scope::load`] they are those of a trained model.
//!
//! ```no_run
//! use trainyard_sdk::nn::{Activation, Dropout, Linear, Module, Scope, Sequential};
//! use trainyard_sdk::{Model, Result, Tensor};
//!
//! fn network(scope: &Scope) -> Result<Sequential> {
//!     Ok(Sequential::new()
//!         .add(Linear::new(&scope.sub("hidden"), 8, 64)?)
//!         .add(Activation::Gelu)
//!         .add(Dropout::new(scope, 0.1))
//!         .add(Linear::new(&scope.sub("head"), 64, 1)?))
//! }
//!
//! fn predict(model: &Model, x: &Tensor) -> Result<Tensor> {
//!     network(&Scope::load(model))?.forward(x)
//! }
//! ```

mod activation;
mod attention;
mod conv;
mod embedding;
pub mod functional;
mod init;
mod linear;
mod loss;
mod norm;
mod recurrent;
mod scope;
mod sequential;

pub use activation::{Activation, Dropout};
pub use attention::MultiHeadAttention;
pub use conv::{Conv1d, Conv1dOptions};
pub use embedding::Embedding;
pub use init::Init;
pub use linear::{Linear, LinearOptions};
pub use loss::{
    binary_cross_entropy_with_logits, cross_entropy, cross_entropy_smoothed, huber_loss, l1_loss, mse_loss, nll_loss,
    quantile_loss,
};
pub use norm::{BatchNorm1d, LayerNorm, RmsNorm};
pub use recurrent::{Gru, Lstm};
pub use scope::{Scope, StateDict};
pub use sequential::Sequential;

use crate::error::Result;
use crate::tensor::Tensor;

/// What turns one tensor into another: a layer, an activation, a whole network, a closure.
pub trait Module {
    /// The output for an input.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
}

impl<F: Fn(&Tensor) -> Result<Tensor>> Module for F {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self(x)
    }
}

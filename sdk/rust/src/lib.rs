//! Write training algorithms for Trainyard in Rust.
//!
//! An algorithm is a small WebAssembly plugin. Data, tensors, derivatives and the device belong to the host; a plugin
//! holds handles and says what is to be computed. This is a whole one, a straight line through the past of each target:
//!
//! ```
//! use trainyard_sdk::prelude::*;
//!
//! #[derive(Parameters)]
//! struct Settings {
//!     /// Passes over the training data.
//!     #[param(default = 10, range = 1..=1000)]
//!     epochs: usize,
//!     /// How far a training step goes.
//!     #[param(default = 0.005, exclusive_min = 0.0)]
//!     learning_rate: f64,
//! }
//!
//! struct Line;
//!
//! /// One layer from the past to the future, shared by all channels.
//! fn build(scope: &Scope) -> Result<impl Fn(&Tensor) -> Result<Tensor>> {
//!     let schema = data::schema()?;
//!     let channels = schema.target_channels()?;
//!     let layer = Linear::new(&scope.sub("line"), schema.lookback, schema.horizon)?;
//!     // [batch, lookback, features] to [batch, horizon, targets]
//!     Ok(move |x: &Tensor| layer.forward(&channels.of(x)?.t()?)?.t())
//! }
//!
//! impl Algorithm for Line {
//!     type Parameters = Settings;
//!     const TASKS: &'static [Task] = &[Task::Forecasting];
//!     const METRICS: &'static [MetricInfo] = &[metrics::MSE, metrics::MAE];
//!
//!     fn train(settings: Settings) -> Result<Model> {
//!         let scope = Scope::new();
//!         let line = build(&scope)?;
//!         let optimizer = Adam::new(settings.learning_rate).build(&scope.parameters())?;
//!         Epochs::new(settings.epochs)
//!             .patience(3)
//!             .fit(&scope, &optimizer, |batch| mse_loss(&line(&batch.x)?, &batch.y))?;
//!         Ok(scope.to_model())
//!     }
//!
//!     fn evaluate(_: Settings, model: &Model) -> Result<Vec<Metric>> {
//!         Ok(metrics::regression(Split::Test, build(&Scope::load(model))?)?.report(Self::METRICS))
//!     }
//!
//!     fn predict(_: Settings, model: &Model) -> Result<Tensor> {
//!         data::predict(build(&Scope::load(model))?)
//!     }
//! }
//!
//! trainyard_sdk::export!(Line);
//! # fn main() {}
//! ```
//!
//! Build it with `trainyard plugin build`, run it with `trainyard run`.
//!
//! | module | what for |
//! |---|---|
//! | [`Tensor`] | arrays of numbers: creation, arithmetic, reductions, shapes |
//! | [`nn`] | layers, activations, losses |
//! | [`optim`] | optimisers, learning-rate schedules, training in `bf16` and `f16` |
//! | [`Epochs`] | the training loop: progress, validation, early stopping, best parameters, checkpoints |
//! | [`data`] | what is to be learned, and its batches |
//! | [`metrics`] | how good a model is |
//! | [`linalg`] | solve, factorise, least squares |
//! | [`autograd`] | parameters and gradients of your own |
//! | [`run`] | log, progress, stop, seed, checkpoints |
//!
//! What computes nothing in the host (parameters, schedules) can be tested as any Rust code, with `cargo test`. A call to the
//! host panics there: outside of it there is none.

// The generated bindings, and the macros that plugins use, name this crate by its name.
extern crate self as trainyard_sdk;

#[doc(hidden)]
pub mod algorithm;
pub mod autograd;
#[doc(hidden)]
#[allow(
    missing_docs,
    unused_variables,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    rustdoc::broken_intra_doc_links
)]
pub mod bindings;
pub mod data;
mod epochs;
mod error;
mod json;
pub mod linalg;
pub mod metrics;
mod model;
pub mod nn;
pub mod optim;
#[doc(hidden)]
pub mod parameters;
pub mod run;
mod shape;
mod tensor;

pub use algorithm::Algorithm;
pub use epochs::{Epoch, Epochs, History};
pub use error::{Error, ErrorKind, LimitError, OpError, Result};
pub use model::Model;
pub use parameters::{Choice, Parameters};
pub use shape::{Dims, Shape};
pub use tensor::{DType, Element, INFER, Operand, Tensor};

/// What most algorithms use.
pub mod prelude {
    pub use crate::data::{self, Batch, Split, Task, batches};
    pub use crate::metrics::{self, MetricInfo};
    pub use crate::nn::{
        self, Activation, BatchNorm1d, Dropout, LayerNorm, Linear, Module, Scope, Sequential, cross_entropy, mse_loss,
    };
    pub use crate::optim::{self, Adam, AdamW, Optimizer, Schedule, Sgd};
    pub use crate::run::{self, Metric};
    pub use crate::{Algorithm, Choice, DType, Epochs, Error, INFER, Model, Parameters, Result, Tensor};
    pub use crate::{bail, debug, error, info, linalg, warn};
}

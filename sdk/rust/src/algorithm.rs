//! [`Algorithm`]: what a plugin implements, and [`export!`](crate::export), which makes a plugin of it.

use crate::bindings::exports::trainyard::plugin::algorithm as raw;
use crate::bindings::run::{Level, Metric};
use crate::bindings::types;
use crate::data::Task;
use crate::error::Result;
use crate::metrics::MetricInfo;
use crate::model::Model;
use crate::parameters::Parameters;
use crate::run;
use crate::tensor::Tensor;
use std::marker::PhantomData;

/// An algorithm that the host can run. The plugin's name, version and summary are those of its `Cargo.toml`.
///
/// The host makes a fresh instance of the plugin for each call: what is to be kept goes into the [`Model`].
pub trait Algorithm {
    /// What a user can set; see [`Parameters`](derive@crate::Parameters). `()` for nothing.
    type Parameters: Parameters;

    /// What it can learn. The host refuses data for any other task before it calls the plugin.
    const TASKS: &'static [Task];

    /// What [`evaluate`](Algorithm::evaluate) gives.
    const METRICS: &'static [MetricInfo];

    /// Learns from the splits `Train` and `Validation`.
    fn train(parameters: Self::Parameters) -> Result<Model>;

    /// Metrics of a trained model on the split `Test`.
    fn evaluate(parameters: Self::Parameters, model: &Model) -> Result<Vec<Metric>>;

    /// One prediction for each sample of the split `Predict`, scaled as the targets are: [size, horizon, targets],
    /// [size, targets], or for classes their probabilities [size, classes].
    fn predict(parameters: Self::Parameters, model: &Model) -> Result<Tensor>;
}

/// The `Cargo.toml` of the plugin's crate. Implemented by [`export!`](crate::export).
#[doc(hidden)]
pub trait Package {
    const NAME: &'static str;
    const VERSION: &'static str;
    const SUMMARY: &'static str;
}

/// Makes the crate a plugin that offers one [`Algorithm`]. Once in a crate of type `cdylib`:
///
/// ```ignore
/// trainyard_sdk::export!(Mean);
/// ```
#[macro_export]
macro_rules! export {
    ($algorithm:ty) => {
        const _: () = {
            impl $crate::algorithm::Package for $algorithm {
                const NAME: &'static str = env!("CARGO_PKG_NAME");
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");
                const SUMMARY: &'static str = env!("CARGO_PKG_DESCRIPTION");
            }
            const {
                assert!(
                    !env!("CARGO_PKG_DESCRIPTION").is_empty(),
                    "give the plugin a `description` in its Cargo.toml: one line that says what it does"
                )
            }
            #[cfg(target_arch = "wasm32")]
            type TrainyardExports = $crate::algorithm::Plugin<$algorithm>;
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::export!(TrainyardExports with_types_in $crate::bindings);
            // Elsewhere, where a plugin's own tests run, there is no host to export to; but the code is in use.
            #[cfg(not(target_arch = "wasm32"))]
            const _: fn() -> $crate::algorithm::Exports = $crate::algorithm::exports::<$algorithm>;
        };
    };
}

/// What a plugin exports, as functions.
#[doc(hidden)]
pub type Exports = (fn() -> raw::Description, fn(String) -> Result<raw::Model, types::Error>);

#[doc(hidden)]
pub fn exports<A: Algorithm + Package>() -> Exports {
    use raw::Guest;
    (Plugin::<A>::describe, Plugin::<A>::train)
}

/// The contract's exports for an algorithm.
#[doc(hidden)]
pub struct Plugin<A>(PhantomData<A>);

impl<A: Algorithm + Package> raw::Guest for Plugin<A> {
    fn describe() -> raw::Description {
        report_panics();
        let metrics = A::METRICS.iter().map(|metric| raw::MetricDescription {
            name: metric.name.into(),
            summary: metric.summary.into(),
            maximize: metric.maximize,
        });
        raw::Description {
            name: A::NAME.into(),
            version: A::VERSION.into(),
            summary: A::SUMMARY.into(),
            tasks: A::TASKS.iter().map(|task| task.name().into()).collect(),
            parameters: A::Parameters::schema(),
            metrics: metrics.collect(),
        }
    }

    fn train(parameters: String) -> Result<raw::Model, types::Error> {
        report_panics();
        let train = || A::train(A::Parameters::from_json(&parameters)?)?.into_raw();
        train().map_err(crate::Error::into_kind)
    }

    fn evaluate(parameters: String, model: raw::Model) -> Result<Vec<Metric>, types::Error> {
        report_panics();
        let evaluate = || A::evaluate(A::Parameters::from_json(&parameters)?, &Model::from_raw(model));
        evaluate().map_err(crate::Error::into_kind)
    }

    fn predict(parameters: String, model: raw::Model) -> Result<raw::Tensor, types::Error> {
        report_panics();
        let predict = || A::predict(A::Parameters::from_json(&parameters)?, &Model::from_raw(model))?.into_raw();
        predict().map_err(crate::Error::into_kind)
    }
}

/// A panic ends the instance with a trap, which says nothing. Its message and place go into the log first.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        match panic.location() {
            Some(place) => {
                let (file, line) = (place.file(), place.line());
                run::log(
                    Level::Error,
                    &format!("the plugin panicked at {file}:{line}: {message}"),
                );
            }
            None => run::log(Level::Error, &format!("the plugin panicked: {message}")),
        }
    }));
}

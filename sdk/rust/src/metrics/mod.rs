//! How good a model is, computed over batches in the host: a few numbers cross the boundary at the end.
//!
//! ```no_run
//! # use trainyard_sdk::{data::Split, metrics, nn::Module, run::Metric, Result};
//! # fn evaluate(net: &dyn Module) -> Result<Vec<Metric>> {
//! let scores = metrics::regression(Split::Test, |x| net.forward(x))?;
//! Ok(scores.report(&[metrics::MSE, metrics::MAE]))
//! # }
//! ```

mod classification;
mod regression;

pub use classification::{Classification, classification};
pub use regression::{Regression, regression};

use crate::bindings::run::Metric;

/// A metric as it is declared: its name, one line of explanation, and whether larger is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricInfo {
    /// As it is reported, for example `mse`.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Whether larger is better.
    pub maximize: bool,
}

impl MetricInfo {
    /// A metric of your own.
    pub const fn new(name: &'static str, summary: &'static str, maximize: bool) -> Self {
        Self {
            name,
            summary,
            maximize,
        }
    }
}

/// The mean of (prediction - target)².
pub const MSE: MetricInfo = MetricInfo::new("mse", "mean squared error", false);
/// The mean of |prediction - target|.
pub const MAE: MetricInfo = MetricInfo::new("mae", "mean absolute error", false);
/// The square root of [`MSE`].
pub const RMSE: MetricInfo = MetricInfo::new("rmse", "root of the mean squared error", false);
/// 1 - (squared error / squared distance from the target's mean), averaged over the targets; of a constant target 1 when it
/// is met exactly, else 0.
pub const R2: MetricInfo = MetricInfo::new("r2", "part of the variance that is explained, at most 1", true);
/// The mean of 200 |prediction - target| / (|prediction| + |target|); 0 where both are zero.
pub const SMAPE: MetricInfo = MetricInfo::new("smape", "symmetric mean absolute percentage error, 0 to 200", false);
/// The part of the samples whose most probable class is theirs.
pub const ACCURACY: MetricInfo = MetricInfo::new("accuracy", "part of the samples that are classified correctly", true);
/// The mean over the classes of the harmonic mean of precision and recall, over those that occur or are predicted.
pub const MACRO_F1: MetricInfo = MetricInfo::new("macro_f1", "F1 score averaged over the classes", true);

/// What `evaluate` returns: those of `values` that are asked for, in the order in which they are asked for.
fn report(values: &[(MetricInfo, f64)], wanted: &[MetricInfo]) -> Vec<Metric> {
    let value = |wanted: &MetricInfo| values.iter().find(|(info, _)| info.name == wanted.name);
    wanted
        .iter()
        .filter_map(value)
        .map(|(info, value)| Metric::new(info.name, *value))
        .collect()
}

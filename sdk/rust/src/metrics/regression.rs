//! Errors of predicted numbers.

use super::{MAE, MSE, MetricInfo, R2, RMSE, SMAPE, report};
use crate::autograd::no_grad;
use crate::bindings::run::Metric;
use crate::data::{self, Split};
use crate::error::Result;
use crate::tensor::{DType, Tensor};

/// The errors of `predict` over a split, which gives the targets for a batch of inputs.
pub fn regression(split: Split, predict: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Regression> {
    let mut scores = Regression::new();
    no_grad(|| {
        for batch in data::batches(split) {
            let batch = batch?;
            scores.update(&predict(&batch.x)?, &batch.y)?;
        }
        scores.finish()
    })?;
    Ok(scores)
}

/// Errors gathered batch by batch. Sums are kept in the host, in `f64`, one for each target (the last dimension).
#[derive(Clone, Debug, Default)]
pub struct Regression {
    /// [sums, targets]: of squared errors, absolute errors, relative errors, targets, squared targets.
    sums: Option<Tensor>,
    /// Elements for each target.
    count: usize,
    values: Vec<(MetricInfo, f64)>,
}

impl Regression {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch: predictions and targets of one shape [.., targets].
    pub fn update(&mut self, prediction: &Tensor, target: &Tensor) -> Result<()> {
        let (dims, shape) = (target.dims(), target.shape());
        if prediction.shape() != shape {
            return Err(format!("predictions {} and targets {shape} differ in shape", prediction.shape()).into());
        }
        let columns = dims.last().copied().unwrap_or(1);
        let rows = target.element_count() / columns.max(1);
        let prediction = prediction.detach()?.cast(DType::F64)?.reshape((rows, columns))?;
        let target = target.cast(DType::F64)?.reshape((rows, columns))?;
        let error = (&prediction - &target)?;
        let absolute = error.abs()?;
        // The smallest number keeps 0 / 0 at 0.
        let scale = (prediction.abs()? + target.abs()?)?.maximum(f64::MIN_POSITIVE)?;
        let parts = [
            &error.square()?,
            &absolute,
            &(&absolute / &scale)?,
            &target,
            &target.square()?,
        ];
        let sums = parts.iter().map(|part| part.sum(0)).collect::<Result<Vec<_>>>()?;
        let sums = Tensor::stack(&sums, 0)?;
        self.sums = Some(match self.sums.take() {
            Some(earlier) => (earlier + sums)?,
            None => sums,
        });
        self.count += rows;
        Ok(())
    }

    /// Fetches the sums and computes the metrics.
    pub fn finish(&mut self) -> Result<()> {
        let sums = self.sums.as_ref().ok_or("there are no samples to evaluate on")?;
        self.values = from_sums(&sums.to_vec()?, self.count as f64);
        Ok(())
    }

    /// One metric; NaN for one that is not of regression, and before [`finish`](Self::finish).
    pub fn get(&self, metric: MetricInfo) -> f64 {
        self.values
            .iter()
            .find(|(info, _)| *info == metric)
            .map_or(f64::NAN, |(_, value)| *value)
    }

    /// What `evaluate` returns: those of [`MSE`], [`MAE`], [`RMSE`], [`R2`] and [`SMAPE`] that are in `metrics`.
    pub fn report(&self, metrics: &[MetricInfo]) -> Vec<Metric> {
        report(&self.values, metrics)
    }
}

/// From five rows of sums, one column a target, each over `count` elements.
fn from_sums(sums: &[f64], count: f64) -> Vec<(MetricInfo, f64)> {
    let columns = sums.len() / 5;
    let row = |index: usize| &sums[index * columns..][..columns];
    let mean = |index: usize| row(index).iter().sum::<f64>() / (count * columns as f64);
    let r2 = row(0)
        .iter()
        .zip(row(3))
        .zip(row(4))
        .map(|((&squared_error, &sum), &squares)| {
            let spread = squares - sum * sum / count;
            // Rounding leaves a little of the spread of a constant.
            match spread > squares * 1e-14 {
                true => 1.0 - squared_error / spread,
                false => f64::from(squared_error == 0.0),
            }
        });
    let r2 = r2.sum::<f64>() / columns as f64;
    vec![
        (MSE, mean(0)),
        (MAE, mean(1)),
        (RMSE, mean(0).sqrt()),
        (R2, r2),
        (SMAPE, 200.0 * mean(2)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums over targets [[1, 5], [2, 5], [3, 5]] and predictions [[1, 5], [2, 5], [4, 5]].
    #[test]
    fn metrics_follow_from_the_sums() {
        let relative = 1.0 / 7.0;
        let sums = [1.0, 0.0, 1.0, 0.0, relative, 0.0, 6.0, 15.0, 14.0, 75.0];
        let values = from_sums(&sums, 3.0);
        let get = |metric| values.iter().find(|(info, _)| *info == metric).unwrap().1;
        assert_eq!(get(MSE), 1.0 / 6.0);
        assert_eq!(get(MAE), 1.0 / 6.0);
        assert_eq!(get(RMSE), (1.0f64 / 6.0).sqrt());
        // 1 - 1/2 for the first target; the second is constant and met exactly.
        assert_eq!(get(R2), 0.75);
        assert!((get(SMAPE) - 200.0 * relative / 6.0).abs() < 1e-12);
        assert_eq!(report(&values, &[MAE]).len(), 1);
    }
}

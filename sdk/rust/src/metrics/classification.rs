//! How often classes are right.

use super::{ACCURACY, MACRO_F1, MetricInfo, report};
use crate::autograd::no_grad;
use crate::bindings::run::Metric;
use crate::data::{self, Split};
use crate::error::Result;
use crate::tensor::{DType, Tensor};

/// The scores of `predict` over a split, which gives logits or probabilities [size, classes] for a batch of inputs.
pub fn classification(split: Split, predict: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Classification> {
    let mut scores = Classification::new();
    no_grad(|| {
        for batch in data::batches(split) {
            let batch = batch?;
            scores.update(&predict(&batch.x)?, &batch.y)?;
        }
        scores.finish()
    })?;
    Ok(scores)
}

/// A confusion matrix gathered batch by batch, in the host.
#[derive(Clone, Debug, Default)]
pub struct Classification {
    /// How many samples of each class (row) were taken for each class (column), flat.
    confusion: Option<Tensor>,
    values: Vec<(MetricInfo, f64)>,
}

impl Classification {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch: logits or probabilities [size, classes], and class indices `[size]` of `U32`.
    pub fn update(&mut self, prediction: &Tensor, target: &Tensor) -> Result<()> {
        let classes = prediction.dim(-1)?;
        let confusion = match self.confusion.take() {
            Some(confusion) => confusion,
            None => Tensor::zeros(classes * classes, DType::F64)?,
        };
        let chosen = prediction.detach()?.argmax(-1)?.cast(DType::F64)?;
        let place = ((target.cast(DType::F64)? * classes as f64)? + chosen)?.cast(DType::U32)?;
        let ones = Tensor::ones(target.shape(), DType::F64)?;
        self.confusion = Some(confusion.scatter_add(0, &place, &ones)?);
        Ok(())
    }

    /// Fetches the matrix and computes the metrics.
    pub fn finish(&mut self) -> Result<()> {
        let confusion = self.confusion.as_ref().ok_or("there are no samples to evaluate on")?;
        self.values = from_confusion(&confusion.to_vec()?);
        Ok(())
    }

    /// One metric; NaN for one that is not of classification, and before [`finish`](Self::finish).
    pub fn get(&self, metric: MetricInfo) -> f64 {
        self.values
            .iter()
            .find(|(info, _)| *info == metric)
            .map_or(f64::NAN, |(_, value)| *value)
    }

    /// What `evaluate` returns: those of [`ACCURACY`] and [`MACRO_F1`] that are in `metrics`.
    pub fn report(&self, metrics: &[MetricInfo]) -> Vec<Metric> {
        report(&self.values, metrics)
    }
}

fn from_confusion(confusion: &[f64]) -> Vec<(MetricInfo, f64)> {
    let classes = confusion.len().isqrt();
    let row = |class: usize| confusion[class * classes..][..classes].iter().sum::<f64>();
    let column = |class: usize| confusion[class..].iter().step_by(classes).sum::<f64>();
    let hits = |class: usize| confusion[class * classes + class];
    // 2 precision recall / (precision + recall) = 2 hits / (actual + predicted), over the classes that there are.
    let occurrences = (0..classes)
        .map(|class| (hits(class), row(class) + column(class)))
        .filter(|(_, sum)| *sum > 0.0);
    let f1: Vec<f64> = occurrences.map(|(hits, sum)| 2.0 * hits / sum).collect();
    let accuracy = (0..classes).map(hits).sum::<f64>() / confusion.iter().sum::<f64>();
    vec![
        (ACCURACY, accuracy),
        (MACRO_F1, f1.iter().sum::<f64>() / f1.len() as f64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_follow_from_the_confusion_matrix() {
        // Two of class 0, one of which is taken for class 1; three of class 1, all right; class 2 is neither there nor predicted.
        let values = from_confusion(&[1.0, 1.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(values[0], (ACCURACY, 0.8));
        let expected = (2.0 / 3.0 + 6.0 / 7.0) / 2.0;
        assert!((values[1].1 - expected).abs() < 1e-12);
    }
}

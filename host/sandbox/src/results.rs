//! Checks on what a plugin gives back. Each gives the problem in words.

use crate::bindings::trainyard::plugin::run::Metric as WitMetric;
use crate::description::{Description, check_metric_name};
use crate::limits::Limits;
use crate::run::{Metric, TrainedModel};
use std::collections::HashSet;
use trainyard_data::{Dataset, SplitName, Task};
use trainyard_kernels::{DType, Tensor, bytes};
use trainyard_parameters::quoted;

pub(crate) fn check_model(model: &TrainedModel, limits: &Limits) -> Result<(), String> {
    if model.tensors.len() > limits.model_tensors {
        return Err(format!(
            "the model has {} tensors, more than {}",
            model.tensors.len(),
            limits.model_tensors
        ));
    }
    if model.note.len() > limits.note_bytes {
        return Err(format!(
            "the model's note has {}, more than {}",
            bytes(model.note.len() as u64),
            bytes(limits.note_bytes as u64)
        ));
    }
    if !model.note.is_empty() {
        serde_json::from_str::<serde::de::IgnoredAny>(&model.note)
            .map_err(|error| format!("the model's note is not JSON: {error}"))?;
    }
    let mut names = HashSet::new();
    for (name, tensor) in &model.tensors {
        if name.is_empty() || name.len() > limits.name_bytes || name.chars().any(char::is_control) {
            return Err(format!(
                "the name {} of a tensor must have 1 to {} bytes without control characters",
                quoted(name),
                limits.name_bytes
            ));
        }
        if !names.insert(name) {
            return Err(format!("the model has two tensors {}", quoted(name)));
        }
        check_numbers(&format!("the model's tensor {}", quoted(name)), tensor)?;
    }
    Ok(())
}

pub(crate) fn check_metrics(
    metrics: Vec<WitMetric>,
    description: &Description,
    limits: &Limits,
) -> Result<Vec<Metric>, String> {
    if metrics.len() > limits.metrics {
        return Err(format!("more than {} metrics", limits.metrics));
    }
    let mut names = HashSet::new();
    metrics
        .into_iter()
        .map(|metric| {
            check_metric_name(&metric.name)?;
            let name = quoted(&metric.name);
            let Some(declared) = description.metrics.iter().find(|m| m.name == metric.name) else {
                return Err(format!("the metric {name}, which `describe` does not name"));
            };
            if !names.insert(metric.name.clone()) {
                return Err(format!("two metrics {name}"));
            }
            if !metric.value.is_finite() {
                return Err(format!("the metric {name} is {}", metric.value));
            }
            Ok(Metric {
                name: metric.name,
                value: metric.value,
                maximize: declared.maximize,
            })
        })
        .collect()
}

pub(crate) fn check_prediction(prediction: &Tensor, dataset: &Dataset) -> Result<(), String> {
    let schema = dataset.schema();
    let size = dataset.len(SplitName::Predict);
    let (expected, meaning) = match schema.task {
        Task::Forecasting => (
            vec![size, schema.horizon as usize, schema.targets.len()],
            "[size, horizon, targets]",
        ),
        Task::Regression => (vec![size, schema.targets.len()], "[size, targets]"),
        Task::Classification => (vec![size, schema.classes.len()], "[size, classes]"),
    };
    if prediction.shape() != expected {
        return Err(format!(
            "a prediction of shape {:?}; it must be {expected:?}, {meaning}",
            prediction.shape()
        ));
    }
    if !prediction.dtype().is_float() {
        return Err(format!(
            "a prediction of {}; it must be floating-point",
            prediction.dtype()
        ));
    }
    check_numbers("the prediction", prediction)
}

/// Whether no element is NaN.
fn check_numbers(what: &str, tensor: &Tensor) -> Result<(), String> {
    if !tensor.dtype().is_float() || tensor.count() == 0 {
        return Ok(());
    }
    let check = || {
        // A sum is NaN if anything in it is, and costs no memory; but so is one of both infinities.
        if !tensor.sum(&[], false)?.item()?.is_nan() {
            return Ok(false);
        }
        let same = tensor.eq(tensor)?.cast(DType::F32)?;
        Ok(same.min(&[], false)?.item()? == 0.0)
    };
    let nan = check().map_err(|error: trainyard_kernels::Error| format!("{what} cannot be checked: {error}"))?;
    if nan {
        return Err(format!("{what} holds NaN"));
    }
    Ok(())
}

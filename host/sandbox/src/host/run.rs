//! The interface `run`.

use crate::bindings::trainyard::plugin::run::{Host as Functions, Level as WitLevel, Metric, SavedCheckpoint};
use crate::bindings::trainyard::plugin::types::{Error, OpError};
use crate::description::check_metric_name;
use crate::host::convert::{invalid_argument, limit_error, to_wit};
use crate::host::{Answer, Host, Phase};
use crate::report::{Checkpoint, Event, Level};
use std::collections::HashSet;
use trainyard_kernels::Tensor;
use trainyard_parameters::quoted;
use wasmtime::component::Resource;

impl Functions for Host {
    fn progress(&mut self, current: u32, total: u32, metrics: Vec<Metric>) -> Answer<()> {
        const OPERATION: &str = "run.progress";
        self.begin_as(OPERATION)?;
        if total == 0 || current > total {
            return Err(invalid_argument(
                OPERATION,
                format!("step {current} of {total} does not exist"),
            ));
        }
        check_metrics(OPERATION, &metrics, self.limits.metrics)?;
        self.reporter.event(Event::Progress {
            current,
            total,
            fraction: f64::from(current) / f64::from(total),
            metrics: metrics.into_iter().map(|metric| (metric.name, metric.value)).collect(),
        });
        Ok(())
    }

    fn log(&mut self, level: WitLevel, message: String) {
        let level = match level {
            WitLevel::Debug => Level::Debug,
            WitLevel::Info => Level::Info,
            WitLevel::Warn => Level::Warn,
            WitLevel::Error => Level::Error,
        };
        self.reporter.log(level, &message);
    }

    fn seed(&mut self) -> u32 {
        self.seed
    }

    fn device(&mut self) -> String {
        self.device.clone()
    }

    fn should_stop(&mut self) -> bool {
        self.control.should_stop()
    }

    fn checkpoint(&mut self, tensors: Vec<(String, Resource<Tensor>)>, note: String) -> Answer<()> {
        const OPERATION: &str = "run.checkpoint";
        self.begin_as(OPERATION)?;
        if self.phase != Phase::Train {
            return Err(invalid_argument(OPERATION, "only `train` makes checkpoints"));
        }
        let limits = &self.limits;
        if tensors.len() > limits.model_tensors {
            let (most, got) = (limits.model_tensors as u64, tensors.len() as u64);
            return Err(limit_error("tensors in a checkpoint", most, 0, got, OPERATION));
        }
        if note.len() > limits.note_bytes {
            let (most, got) = (limits.note_bytes as u64, note.len() as u64);
            return Err(limit_error("note size", most, 0, got, OPERATION));
        }
        let mut names = HashSet::new();
        let mut bytes = 0u64;
        let mut kept = Vec::with_capacity(tensors.len());
        for (name, handle) in &tensors {
            self.check_name(OPERATION, name)?;
            if !names.insert(name) {
                let message = format!("there are two tensors {}", quoted(name));
                return Err(invalid_argument(OPERATION, message));
            }
            let tensor = self.tensor(handle)?;
            bytes = bytes.saturating_add(size_in_bytes(tensor));
            kept.push((name.clone(), tensor.detach().map_err(to_wit)?));
        }
        if bytes > limits.checkpoint_bytes {
            let most = limits.checkpoint_bytes;
            return Err(limit_error("checkpoint size", most, 0, bytes, OPERATION));
        }
        self.reporter
            .event(Event::Checkpoint(Checkpoint { tensors: kept, note }));
        Ok(())
    }

    fn resume(&mut self) -> Answer<Option<SavedCheckpoint>> {
        const OPERATION: &str = "run.resume";
        self.begin_as(OPERATION)?;
        let Some(saved) = self.resume.clone() else {
            return Ok(None);
        };
        let mut copies = Vec::with_capacity(saved.tensors.len());
        for (name, tensor) in &saved.tensors {
            copies.push((name.clone(), tensor.copy().map_err(to_wit)?));
        }
        Ok(Some(SavedCheckpoint {
            tensors: self.keep_named(OPERATION, copies)?,
            note: saved.note,
        }))
    }
}

/// Bytes of a tensor's elements.
pub(crate) fn size_in_bytes(tensor: &Tensor) -> u64 {
    tensor.count() as u64 * tensor.dtype().size() as u64
}

fn check_metrics(operation: &str, metrics: &[Metric], most: usize) -> Answer<()> {
    if metrics.len() > most {
        let got = metrics.len() as u64;
        return Err(limit_error("metrics", most as u64, 0, got, operation));
    }
    let mut names = HashSet::new();
    for metric in metrics {
        check_metric_name(&metric.name).map_err(|problem| invalid_argument(operation, problem))?;
        if !names.insert(&metric.name) {
            let message = format!("there are two metrics {}", quoted(&metric.name));
            return Err(invalid_argument(operation, message));
        }
        if !metric.value.is_finite() {
            return Err(Error::Numerical(OpError {
                operation: operation.into(),
                message: format!(
                    "the metric {} is {}, not a finite number",
                    quoted(&metric.name),
                    metric.value
                ),
                shapes: vec![],
                dtypes: vec![],
            }));
        }
    }
    Ok(())
}

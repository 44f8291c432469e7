//! The interface `dataset`.

use crate::bindings::trainyard::plugin::dataset::{
    Batch, BatchOptions, DatasetSchema, Host as Functions, HostBatches, Split,
};
use crate::bindings::trainyard::plugin::types::{Dtype, Error, LimitError};
use crate::host::convert::{invalid_argument, limit_error, to_wit};
use crate::host::{Answer, Host, Phase};
use trainyard_data::{Buffer, DType, DataError, Dataset, SplitName};
use trainyard_kernels::{self as kernels, Session, Tensor};
use trainyard_parameters::{one_line, quoted};
use wasmtime::component::Resource;

/// One pass over a split.
pub struct Batches {
    pass: trainyard_data::Batches,
    /// Bytes of the batches that it keeps ready.
    ahead: u64,
}

/// Batches that exist besides the one that the plugin has: one that waits, one that is being made.
const BATCHES_AHEAD: u64 = 3;

impl Functions for Host {
    fn schema(&mut self) -> DatasetSchema {
        let Some(dataset) = &self.dataset else {
            return DatasetSchema {
                task: String::new(),
                features: vec![],
                targets: vec![],
                classes: vec![],
                lookback: 0,
                horizon: 0,
            };
        };
        let schema = dataset.schema();
        DatasetSchema {
            task: schema.task.to_string(),
            features: schema.features,
            targets: schema.targets,
            classes: schema.classes,
            lookback: schema.lookback,
            horizon: schema.horizon,
        }
    }

    fn size(&mut self, split: Split) -> u32 {
        match self.split("dataset.size", split) {
            Ok((dataset, split)) => u32::try_from(dataset.len(split)).unwrap_or(u32::MAX),
            Err(_) => 0,
        }
    }

    fn column(&mut self, split: Split, name: String, dtype: Dtype) -> Answer<Resource<Tensor>> {
        const OPERATION: &str = "dataset.column";
        self.begin_as(OPERATION)?;
        let dtype = float(OPERATION, dtype)?;
        let (dataset, split) = self.split(OPERATION, split)?;
        let rows = dataset.rows(split);
        self.check_room(OPERATION, rows as u64 * 8)?;
        let values = dataset.column(split, &name).map_err(|error| match error {
            // The message has the file's name, which is none of the plugin's business.
            DataError::NoSuchColumn { available, .. } => Error::Data(one_line(&format!(
                "there is no column {}; there are {}",
                quoted(&name),
                available.join(", ")
            ))),
            other => data(other),
        })?;
        let result = make(&self.session, values, &[rows], dtype);
        self.keep(OPERATION, result)
    }

    fn features(&mut self, split: Split, dtype: Dtype) -> Answer<Resource<Tensor>> {
        const OPERATION: &str = "dataset.features";
        self.begin_as(OPERATION)?;
        let dtype = float(OPERATION, dtype)?;
        let (dataset, split) = self.split(OPERATION, split)?;
        let columns = dataset.schema().features.len();
        self.check_room(OPERATION, dataset.rows(split) as u64 * columns as u64 * 8)?;
        let table = dataset.features(split);
        let result = make(&self.session, table.values, &[table.rows, table.columns], dtype);
        self.keep(OPERATION, result)
    }

    fn targets(&mut self, split: Split, dtype: Dtype) -> Answer<Resource<Tensor>> {
        const OPERATION: &str = "dataset.targets";
        self.begin_as(OPERATION)?;
        if split == Split::Predict {
            return Err(Error::Data("what is to be predicted is not known".into()));
        }
        let (dataset, split) = self.split(OPERATION, split)?;
        let result = if let Some(classes) = dataset.classes(split) {
            Tensor::from_u32(&self.session, classes.to_vec(), &[classes.len()])
        } else {
            let dtype = float(OPERATION, dtype)?;
            let columns = dataset.schema().targets.len();
            self.check_room(OPERATION, dataset.rows(split) as u64 * columns as u64 * 8)?;
            let table = dataset.targets(split);
            make(&self.session, table.values, &[table.rows, table.columns], dtype)
        };
        self.keep(OPERATION, result)
    }

    fn to_original_units(&mut self, values: Resource<Tensor>) -> Answer<Resource<Tensor>> {
        const OPERATION: &str = "dataset.to-original-units";
        self.begin()?;
        let dataset = self.dataset(OPERATION)?;
        let tensor = self.tensor(&values)?;
        let targets = dataset.schema().targets.len();
        if tensor.shape().last() != Some(&targets) {
            return Err(to_wit(kernels::Error::Shape(kernels::OpError {
                operation: OPERATION.into(),
                message: format!("the last dimension must be the {targets} targets"),
                shapes: vec![tensor.shape().to_vec()],
                dtypes: vec![tensor.dtype()],
            })));
        }
        self.check_room(OPERATION, tensor.count() as u64 * 8)?;
        let mut numbers = tensor.to_f64().map_err(to_wit)?;
        dataset.unscale_targets(&mut numbers).map_err(data)?;
        let result =
            Tensor::from_f64(&self.session, numbers, tensor.shape()).and_then(|back| back.cast(tensor.dtype()));
        self.keep(OPERATION, result)
    }
}

impl HostBatches for Host {
    fn open(&mut self, split: Split, options: BatchOptions) -> Answer<Resource<Batches>> {
        const OPERATION: &str = "dataset.batches.open";
        self.begin_as(OPERATION)?;
        let dtype = float(OPERATION, options.dtype)?;
        let (dataset, split) = self.split(OPERATION, split)?;
        if options.size == 0 {
            return Err(invalid_argument(OPERATION, "a batch has at least one sample"));
        }
        if dataset.is_empty(split) {
            return Err(Error::Data(format!("the split `{split}` has no samples")));
        }
        let size = (options.size as usize).min(dataset.len(split));
        let ahead = BATCHES_AHEAD.saturating_mul(dataset.batch_bytes(size, dtype) as u64);
        let others: u64 = self.batches.iter().map(|batches| batches.ahead).sum();
        self.check_room(OPERATION, ahead.saturating_add(others))?;
        let options = trainyard_data::BatchOptions {
            batch_size: options.size as usize,
            shuffle: options.shuffle.map(|epoch| (u64::from(self.seed), u64::from(epoch))),
            drop_last: options.drop_last,
            dtype,
        };
        let pass = dataset.batches(split, options).map_err(data)?;
        let batches = Batches { pass, ahead };
        self.batches.insert(batches).map_err(|_| {
            let capacity = self.batches.capacity() as u64;
            limit_error("open batches", capacity, capacity, 1, OPERATION)
        })
    }

    fn next(&mut self, batches: Resource<Batches>) -> Answer<Option<Batch>> {
        const OPERATION: &str = "dataset.batches.next";
        self.begin_as(OPERATION)?;
        let Some(batch) = self.batches.get_mut(&batches).and_then(|batches| batches.pass.next()) else {
            return Ok(None);
        };
        let x = of_buffer(&self.session, batch.x, &batch.x_shape).map_err(to_wit)?;
        let y = match batch.y {
            Some(y) => Some(of_buffer(&self.session, y, &batch.y_shape).map_err(to_wit)?),
            None => None,
        };
        let (x, y) = match y {
            Some(y) => {
                let (x, y) = self.keep_two(OPERATION, x, y)?;
                (x, Some(y))
            }
            None => (self.keep(OPERATION, Ok(x))?, None),
        };
        Ok(Some(Batch {
            x,
            y,
            size: batch.size as u32,
        }))
    }

    fn drop(&mut self, batches: Resource<Batches>) -> wasmtime::Result<()> {
        self.batches.remove(&batches);
        Ok(())
    }
}

impl Host {
    fn dataset(&self, operation: &str) -> Answer<&Dataset> {
        self.dataset
            .as_ref()
            .ok_or_else(|| Error::Data(format!("{operation}: this job has no data")))
    }

    /// The data, and the split if it exists in this phase.
    fn split(&self, operation: &str, split: Split) -> Answer<(&Dataset, SplitName)> {
        let dataset = self.dataset(operation)?;
        let name = match split {
            Split::Train => SplitName::Train,
            Split::Validation => SplitName::Validation,
            Split::Test => SplitName::Test,
            Split::Predict => SplitName::Predict,
        };
        if (split == Split::Predict) != (self.phase == Phase::Predict) {
            return Err(Error::Data(format!(
                "{operation}: there is no split `{name}` while `{}` runs",
                self.phase.name()
            )));
        }
        Ok((dataset, name))
    }

    /// Whether so many bytes would fit into the job's budget, before they are gathered outside of it.
    fn check_room(&self, operation: &str, bytes: u64) -> Answer<()> {
        let (allowed, used) = (self.limits.tensor_memory, self.session.used_bytes());
        if bytes > allowed.saturating_sub(used) {
            return Err(Error::OutOfMemory(LimitError {
                limit: "tensor memory".into(),
                allowed: allowed as f64,
                used: used as f64,
                requested: bytes as f64,
                operation: operation.into(),
            }));
        }
        Ok(())
    }
}

fn float(operation: &str, dtype: Dtype) -> Answer<DType> {
    match dtype {
        Dtype::F32 => Ok(DType::F32),
        Dtype::F64 => Ok(DType::F64),
        _ => Err(invalid_argument(
            operation,
            "data comes as f32 or f64; cast it afterwards",
        )),
    }
}

fn make(session: &Session, values: Vec<f64>, shape: &[usize], dtype: DType) -> kernels::Result<Tensor> {
    match dtype {
        DType::F32 => {
            let values = values.into_iter().map(|value| value as f32).collect();
            Tensor::from_f32(session, values, shape)
        }
        DType::F64 => Tensor::from_f64(session, values, shape),
    }
}

/// The buffer becomes the tensor's own.
fn of_buffer(session: &Session, buffer: Buffer, shape: &[usize]) -> kernels::Result<Tensor> {
    match buffer {
        Buffer::F32(values) => Tensor::from_f32(session, values, shape),
        Buffer::F64(values) => Tensor::from_f64(session, values, shape),
        Buffer::U32(values) => Tensor::from_u32(session, values, shape),
    }
}

fn data(error: DataError) -> Error {
    Error::Data(error.to_string())
}

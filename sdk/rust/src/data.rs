//! The job's data: cleaned, split by time, scaled by the training part alone, and delivered as tensors.
//!
//! ```no_run
//! # use trainyard_sdk::data::{batches, Split};
//! # fn example(epoch: usize) -> trainyard_sdk::Result<()> {
//! for batch in batches(Split::Train).size(32).shuffle(epoch) {
//!     let batch = batch?;
//!     println!("{:?} -> {:?}", batch.x, batch.y);
//! }
//! # Ok(()) }
//! ```

use crate::bindings::dataset as raw;
use crate::error::Result;
use crate::shape::count;
use crate::tensor::{DType, Tensor};
use std::str::FromStr;

/// A part of the data. `Predict` is what to predict for: it exists only while `predict` runs, and the other three only
/// outside it.
pub use raw::Split;

/// What is to be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The targets' next `horizon` rows from all features' last `lookback` rows.
    Forecasting,
    /// The targets of a row from its features.
    Regression,
    /// The class of a row from its features.
    Classification,
}

impl Task {
    /// The name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Task::Forecasting => "forecasting",
            Task::Regression => "regression",
            Task::Classification => "classification",
        }
    }
}

impl FromStr for Task {
    type Err = crate::Error;
    fn from_str(name: &str) -> Result<Self> {
        [Task::Forecasting, Task::Regression, Task::Classification]
            .into_iter()
            .find(|task| task.name() == name)
            .ok_or_else(|| format!("this plugin knows no task `{name}`").into())
    }
}

/// What the data consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// What is to be learned.
    pub task: Task,
    /// The names of the columns of x.
    pub features: Vec<String>,
    /// The names of the columns of y.
    pub targets: Vec<String>,
    /// The labels of a classification, in the order of the class indices.
    pub classes: Vec<String>,
    /// The rows that a forecast looks back on; 0 where there are no windows.
    pub lookback: usize,
    /// The rows that a forecast looks ahead; 0 where there are no windows.
    pub horizon: usize,
}

impl Schema {
    /// The numbers in one sample of x: features, times the lookback where there are windows.
    pub fn inputs(&self) -> usize {
        self.features.len() * self.lookback.max(1)
    }

    /// The numbers to give for one sample: classes, or targets, times the horizon where there are windows.
    pub fn outputs(&self) -> usize {
        match self.task {
            Task::Classification => self.classes.len(),
            _ => self.targets.len() * self.horizon.max(1),
        }
    }

    /// The targets among the features, for a forecast of each target from its own past. A target that is not a feature is
    /// an error.
    pub fn target_channels(&self) -> Result<Channels> {
        if self.targets == self.features {
            return Ok(Channels(None));
        }
        let place = |target: &String| self.features.iter().position(|feature| feature == target);
        let missing =
            |target| format!("the target `{target}` is not among the features, and is forecast from its own past");
        let places = self
            .targets
            .iter()
            .map(|target| Ok(place(target).ok_or_else(|| missing(target))? as u32));
        let places = places.collect::<Result<Vec<u32>>>()?;
        Ok(Channels(Some(Tensor::new(&places, places.len())?)))
    }
}

/// Some of the features, in an order of their own.
#[derive(Clone, Debug)]
pub struct Channels(Option<Tensor>);

impl Channels {
    /// Those of x [.., features]: [.., channels].
    pub fn of(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Some(places) => x.index_select(-1, places),
            None => Ok(x.clone()),
        }
    }
}

/// What the data consists of.
pub fn schema() -> Result<Schema> {
    let raw = raw::schema();
    Ok(Schema {
        task: raw.task.parse()?,
        features: raw.features,
        targets: raw.targets,
        classes: raw.classes,
        lookback: raw.lookback as usize,
        horizon: raw.horizon as usize,
    })
}

/// The samples of a split: windows of a forecasting data set, rows of any other. Zero where a split is empty.
pub fn size(split: Split) -> usize {
    raw::size(split) as usize
}

/// One column's rows `[rows]`, `F32` or `F64`.
pub fn column(split: Split, name: &str, dtype: DType) -> Result<Tensor> {
    Tensor::wrap(raw::column(split, name, dtype))
}

/// All feature columns [rows, features], `F32` or `F64`: rows, not windows.
pub fn features(split: Split, dtype: DType) -> Result<Tensor> {
    Tensor::wrap(raw::features(split, dtype))
}

/// All target columns [rows, targets], `F32` or `F64`: rows, not windows. Classes come as `[rows]` of `U32`.
pub fn targets(split: Split, dtype: DType) -> Result<Tensor> {
    Tensor::wrap(raw::targets(split, dtype))
}

/// Scaled targets (last dimension: targets) back in their own units. Without gradient.
pub fn to_original_units(values: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::to_original_units(values.raw()))
}

/// A batch of samples with their targets.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Windows: [size, lookback, features]; rows: [size, features].
    pub x: Tensor,
    /// Windows: [size, horizon, targets]; rows: [size, targets]; classes: `[size]` of `U32`.
    pub y: Tensor,
    /// The samples in it. The last batch of a pass may have fewer than the others.
    pub size: usize,
}

/// One pass over a split in batches of x and y. Not for [`Split::Predict`], which has no y: see [`inputs`].
pub fn batches(split: Split) -> Batches {
    Batches {
        split,
        options: options(),
    }
}

/// One pass over the split `predict`, in order: batches of x alone. [`predict`] does what is usually wanted.
pub fn inputs(size: usize) -> impl Iterator<Item = Result<Tensor>> {
    let mut pass = Pass::Closed(
        Split::Predict,
        raw::BatchOptions {
            size: count(size),
            ..options()
        },
    );
    std::iter::from_fn(move || pass.next(|batch| Ok(Tensor::from_raw(batch.x))))
}

/// Applies `compute` to the split `predict` in batches, without recording derivatives, and gives the results as one tensor
/// along the first dimension: what an algorithm's `predict` returns.
pub fn predict(compute: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    crate::autograd::no_grad(|| {
        let parts = inputs(EVALUATION_BATCH)
            .map(|x| compute(&x?))
            .collect::<Result<Vec<_>>>()?;
        Tensor::concat(&parts, 0)
    })
}

/// Samples in a batch where no gradient is computed: large, since it changes nothing but speed and memory.
pub(crate) const EVALUATION_BATCH: usize = 512;

fn options() -> raw::BatchOptions {
    raw::BatchOptions {
        size: EVALUATION_BATCH as u32,
        shuffle: None,
        drop_last: false,
        dtype: DType::F32,
    }
}

/// How to go over a split, to be used in a `for` loop. Made by [`batches`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is iterated"]
pub struct Batches {
    split: Split,
    options: raw::BatchOptions,
}

impl Batches {
    /// Samples in a batch; 512 by default.
    pub fn size(mut self, size: usize) -> Self {
        self.options.size = count(size);
        self
    }

    /// In random order, which follows from the number of the epoch and the job's seed. By default the order is that of time.
    pub fn shuffle(mut self, epoch: usize) -> Self {
        self.options.shuffle = Some(count(epoch));
        self
    }

    /// Leaves out a last batch that is not full.
    pub fn drop_last(mut self) -> Self {
        self.options.drop_last = true;
        self
    }

    /// `F32` (the default) or `F64`.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.options.dtype = dtype;
        self
    }

    /// The number of batches in a pass.
    pub fn count(&self) -> usize {
        let (samples, size) = (size(self.split), self.options.size.max(1) as usize);
        if self.options.drop_last {
            samples / size
        } else {
            samples.div_ceil(size)
        }
    }
}

impl IntoIterator for Batches {
    type Item = Result<Batch>;
    type IntoIter = BatchIter;
    fn into_iter(self) -> BatchIter {
        BatchIter(Pass::Closed(self.split, self.options))
    }
}

/// One pass over a split.
pub struct BatchIter(Pass);

impl Iterator for BatchIter {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(|batch| {
            let y = batch
                .y
                .ok_or("the split `predict` has no targets: go over it with `data::inputs`")?;
            Ok(Batch {
                x: Tensor::from_raw(batch.x),
                y: Tensor::from_raw(y),
                size: batch.size as usize,
            })
        })
    }
}

/// Opened at the first batch, so that a failure to open is the first item, and ended by an error.
enum Pass {
    Closed(Split, raw::BatchOptions),
    Open(raw::Batches),
    Done,
}

impl Pass {
    fn next<T>(&mut self, convert: impl FnOnce(raw::Batch) -> Result<T>) -> Option<Result<T>> {
        let item = self
            .advance()
            .and_then(|batch| batch.map(convert).transpose())
            .transpose();
        if !matches!(item, Some(Ok(_))) {
            *self = Pass::Done;
        }
        item
    }

    fn advance(&mut self) -> Result<Option<raw::Batch>> {
        if let Pass::Closed(split, options) = self {
            *self = Pass::Open(raw::Batches::open(*split, *options)?);
        }
        match self {
            Pass::Open(batches) => Ok(batches.next()?),
            _ => Ok(None),
        }
    }
}

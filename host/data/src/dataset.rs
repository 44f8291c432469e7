//! A prepared data set: one scaled matrix, and which of its rows and columns make up each sample.
//!
//! How it comes about is in `prepare` (for training) and `predict`; handing out batches is in `batches`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Batch, Buffer, DType, DataError, Preprocessing, SplitName, Table, Task, TimeFormat, Warning, Window,
    devices::DeviceSummary,
    matrix::{Element, Matrix, Pick},
    runs::Runs,
};

/// Data that is ready to train on or to predict for. A clone shares the same memory.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub(crate) inner: Arc<Inner>,
}

/// What a data set holds, for whoever writes an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// What is to be learned.
    pub task: Task,
    /// The names of the features, in order.
    pub features: Vec<String>,
    /// The names of the targets, in order.
    pub targets: Vec<String>,
    /// The labels of a classification, in the order of their indices.
    pub classes: Vec<String>,
    /// Rows that a forecast looks back on; 0 without windows.
    pub lookback: u32,
    /// Rows that it looks ahead; 0 without windows.
    pub horizon: u32,
}

/// Everything behind a [`Dataset`].
#[derive(Debug)]
pub(crate) struct Inner {
    pub source: String,
    /// Rows of the source, before any were left out.
    pub source_rows: usize,
    /// Scaled numbers of the rows that are used.
    pub matrix: Matrix,
    pub features: Pick,
    /// Columns of the targets; none in a classification, or when predicting.
    pub targets: Pick,
    /// Class indices of the rows.
    pub labels: Option<Vec<u32>>,
    /// Rows of the matrix that belong to each split.
    pub parts: [Runs; 4],
    /// Rows that the samples of each split start at.
    pub samples: [Runs; 4],
    pub preprocessing: Preprocessing,
    /// Times of the rows.
    pub times: Option<(Vec<i64>, TimeFormat)>,
    /// How many devices the device column tells apart, and the first of them.
    pub devices: (usize, Vec<DeviceSummary>),
    /// Which row of the source each row is, where rows were left out or moved.
    pub kept: Option<Vec<usize>>,
    pub missing: usize,
    pub warnings: Vec<Warning>,
    pub fingerprint: String,
}

impl Inner {
    pub fn window(&self) -> Option<Window> {
        self.preprocessing.window
    }

    pub fn part(&self, split: SplitName) -> &Runs {
        &self.parts[split as usize]
    }

    pub fn samples(&self, split: SplitName) -> &Runs {
        &self.samples[split as usize]
    }

    /// Whether samples have something to predict that is known.
    fn has_targets(&self) -> bool {
        self.labels.is_some() || self.targets.count() > 0
    }

    /// The batch of these samples, all of which exist.
    pub fn gather(&self, split: SplitName, samples: &[usize], dtype: DType) -> Batch {
        match dtype {
            DType::F32 => self.gather_as::<f32>(split, samples),
            DType::F64 => self.gather_as::<f64>(split, samples),
        }
    }

    fn gather_as<E: Element>(&self, split: SplitName, samples: &[usize]) -> Batch {
        let starts = samples.iter().map(|&sample| self.samples(split).get(sample));
        let starts: Vec<usize> = starts.collect();
        let size = samples.len();
        let (lookback, ahead, horizon) = match self.window() {
            Some(window) => (
                window.lookback as usize,
                window.lookback as usize,
                window.horizon as usize,
            ),
            None => (1, 0, 1),
        };
        let mut x = Vec::with_capacity(size * lookback * self.features.count());
        for &start in &starts {
            self.matrix.copy_rows::<E>(start, lookback, &self.features, &mut x);
        }
        let mut x_shape = vec![size, self.features.count()];
        if self.window().is_some() {
            x_shape.insert(1, lookback);
        }
        let (y, y_shape) = match &self.labels {
            _ if !self.has_targets() => (None, Vec::new()),
            Some(labels) => (
                Some(Buffer::U32(starts.iter().map(|&start| labels[start]).collect())),
                vec![size],
            ),
            None => {
                let mut y = Vec::with_capacity(size * horizon * self.targets.count());
                for &start in &starts {
                    self.matrix
                        .copy_rows::<E>(start + ahead, horizon, &self.targets, &mut y);
                }
                let mut y_shape = vec![size, self.targets.count()];
                if self.window().is_some() {
                    y_shape.insert(1, horizon);
                }
                (Some(E::wrap(y)), y_shape)
            }
        };
        Batch {
            x: E::wrap(x),
            x_shape,
            y,
            y_shape,
            size,
        }
    }

    /// Bytes of a batch of so many samples.
    pub fn batch_bytes(&self, size: usize, dtype: DType) -> usize {
        let (lookback, horizon) = self
            .window()
            .map_or((1, 1), |w| (w.lookback as usize, w.horizon as usize));
        let y = if self.labels.is_some() {
            4
        } else {
            horizon * self.targets.count() * dtype.bytes()
        };
        size * (lookback * self.features.count() * dtype.bytes() + y)
    }
}

impl Dataset {
    /// The names and sizes that an algorithm needs to know.
    pub fn schema(&self) -> Schema {
        let state = &self.inner.preprocessing;
        Schema {
            task: state.task,
            features: state.features.iter().map(|column| column.name.clone()).collect(),
            targets: state.targets.iter().map(|column| column.name.clone()).collect(),
            classes: state.classes.clone(),
            lookback: state.window.map_or(0, |window| window.lookback),
            horizon: state.window.map_or(0, |window| window.horizon),
        }
    }

    /// How many samples a split has: windows of a forecast, rows of any other task.
    pub fn len(&self, split: SplitName) -> usize {
        self.inner.samples(split).len()
    }

    /// Whether a split has no samples.
    pub fn is_empty(&self, split: SplitName) -> bool {
        self.len(split) == 0
    }

    /// How many rows a split has. Windows of validation and test also look back into rows before them.
    pub fn rows(&self, split: SplitName) -> usize {
        self.inner.part(split).len()
    }

    /// The state to store with a model.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.inner.preprocessing
    }

    /// What a person should know about the data.
    pub fn warnings(&self) -> &[Warning] {
        &self.inner.warnings
    }

    /// SHA-256 of the columns and times that are used, as read, in hexadecimal. Does not depend on the file's name or format.
    pub fn fingerprint(&self) -> &str {
        &self.inner.fingerprint
    }

    /// One feature or target of a split's rows, scaled; classes as their indices. Several devices' rows come one device after
    /// the other, here and wherever a split's rows are given. A forecast's rows with a missing value
    /// that was not filled (`missing: drop`) hold the training mean.
    pub fn column(&self, split: SplitName, name: &str) -> Result<Vec<f64>, DataError> {
        let inner = &self.inner;
        let state = &inner.preprocessing;
        let nth = |pick: &Pick, index: usize| match pick {
            Pick::Neighbours { first, .. } => first + index,
            Pick::Scattered(columns) => columns[index],
        };
        if let Some(index) = state.features.iter().position(|column| column.name == name) {
            return Ok(self
                .pick_rows(split, &Pick::new(vec![nth(&inner.features, index)]))
                .values);
        }
        let no_such_column = || DataError::NoSuchColumn {
            file: inner.source.clone(),
            column: name.to_owned(),
            available: state
                .features
                .iter()
                .chain(&state.targets)
                .map(|column| column.name.clone())
                .collect(),
        };
        let index = state
            .targets
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(no_such_column)?;
        match &inner.labels {
            Some(labels) => Ok(inner.part(split).values(labels).map(f64::from).collect()),
            None if inner.targets.count() == 0 => Err(no_such_column()),
            None => Ok(self
                .pick_rows(split, &Pick::new(vec![nth(&inner.targets, index)]))
                .values),
        }
    }

    /// All features of a split's rows, scaled.
    pub fn features(&self, split: SplitName) -> Table {
        self.pick_rows(split, &self.inner.features)
    }

    /// All targets of a split's rows, scaled; no columns in a classification (see [`Dataset::classes`]) or to predict.
    pub fn targets(&self, split: SplitName) -> Table {
        self.pick_rows(split, &self.inner.targets)
    }

    /// The class indices of a split's rows; `None` unless this is a classification with known labels.
    pub fn classes(&self, split: SplitName) -> Option<&[u32]> {
        let labels = self.inner.labels.as_ref()?;
        // The parts of a table are in one piece.
        let rows = self.inner.part(split).iter().next().unwrap_or_default();
        Some(&labels[rows])
    }

    fn pick_rows(&self, split: SplitName, pick: &Pick) -> Table {
        let part = self.inner.part(split);
        let mut values = Vec::with_capacity(part.len() * pick.count());
        for rows in part.iter() {
            self.inner
                .matrix
                .copy_rows::<f64>(rows.start, rows.len(), pick, &mut values);
        }
        Table {
            values,
            rows: part.len(),
            columns: pick.count(),
        }
    }

    /// The batch of any samples, in the given order.
    pub fn gather(&self, split: SplitName, samples: &[usize], dtype: DType) -> Result<Batch, DataError> {
        let size = self.len(split);
        match samples.iter().find(|&&sample| sample >= size) {
            Some(&index) => Err(DataError::NoSuchSample {
                index,
                split: split.to_string(),
                size,
            }),
            None => Ok(self.inner.gather(split, samples, dtype)),
        }
    }

    /// Bytes that a batch of `size` samples takes, to be checked against a budget beforehand.
    pub fn batch_bytes(&self, size: usize, dtype: DType) -> usize {
        self.inner.batch_bytes(size, dtype)
    }

    /// Brings scaled targets back to their own units in place. The last dimension of `values` is the targets.
    pub fn unscale_targets(&self, values: &mut [f64]) -> Result<(), DataError> {
        self.inner.preprocessing.unscale_targets(values)
    }

    /// How times are written in the source, if it has a time column.
    pub fn time_format(&self) -> Option<TimeFormat> {
        self.inner.times.as_ref().map(|(_, format)| *format)
    }

    /// The rows of the source, counted from 0 and in order of time (several devices one after the other), that a sample predicts: one, or the window's look ahead.
    /// A forecast of what comes after the source goes on counting.
    pub fn target_rows(&self, split: SplitName, sample: usize) -> Result<Vec<usize>, DataError> {
        let size = self.len(split);
        if sample >= size {
            return Err(DataError::NoSuchSample {
                index: sample,
                split: split.to_string(),
                size,
            });
        }
        let start = self.inner.samples(split).get(sample);
        Ok(match self.inner.window() {
            Some(window) => {
                let first = start + window.lookback as usize;
                (first..first + window.horizon as usize).collect()
            }
            None => vec![self.inner.kept.as_ref().map_or(start, |kept| kept[start])],
        })
    }

    /// The times of [`Dataset::target_rows`]; after the source's last time, further ones at its usual step. `None` without
    /// a time column, or where a single row leaves the step unknown.
    pub fn target_times(&self, split: SplitName, sample: usize) -> Result<Option<Vec<i64>>, DataError> {
        let rows = self.target_rows(split, sample)?;
        let Some((times, _)) = &self.inner.times else {
            return Ok(None);
        };
        if self.inner.window().is_none() {
            return Ok(Some(vec![times[self.inner.samples(split).get(sample)]]));
        }
        let after_the_last = |row: usize| {
            let steps = u32::try_from(row + 1 - times.len()).ok()?;
            Some(self.inner.preprocessing.step?.after(*times.last()?, steps))
        };
        Ok(rows
            .into_iter()
            .map(|row| times.get(row).copied().or_else(|| after_the_last(row)))
            .collect())
    }
}

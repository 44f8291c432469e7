//! Ordered rows, cut into training, validation and test part, and the checks that every task makes on them.

use std::{borrow::Cow, ops::Range};

use crate::{
    DataError, FittedColumn, Frame, Missing, PrepareSpec, Preprocessing, SplitName, Warning, devices::Devices,
    missing::fill, runs::Runs, scaling,
};

/// The splits of a data set for training.
pub(crate) const TRAINABLE: [SplitName; 3] = [SplitName::Train, SplitName::Validation, SplitName::Test];

/// Where the parts of a frame are.
pub(crate) struct Cut<'a> {
    pub frame: &'a Frame,
    pub devices: &'a Devices,
    /// The parts of each device's rows.
    pub device_parts: Vec<[Range<usize>; 3]>,
    /// The rows of each part, without those of devices that are too short for it.
    pub parts: [Runs; 3],
    pub missing: Missing,
    /// The model whose scales and classes are to be used, if there is one already.
    pub model: Option<&'a Preprocessing>,
}

/// What a task makes of a cut: whole columns, not yet scaled.
pub(crate) struct Prepared<'a> {
    pub columns: Vec<Raw<'a>>,
    /// Which of the columns are features.
    pub features: Vec<usize>,
    /// Which of the columns are targets; none in a classification.
    pub targets: Vec<usize>,
    pub target_names: Vec<String>,
    /// Class indices of a classification.
    pub labels: Option<Vec<u32>>,
    pub classes: Vec<String>,
    pub parts: [Runs; 3],
    pub samples: [Runs; 3],
    /// The rows that are left in their order, where some were left out or moved.
    pub kept: Option<Vec<usize>>,
    /// Missing values before any were filled.
    pub missing: usize,
}

/// A column of numbers, and the mean of its training rows.
pub(crate) struct Raw<'a> {
    pub name: String,
    /// The frame's own, unless some had to be filled or moved.
    pub values: Cow<'a, [f64]>,
    pub mean: f64,
}

impl<'a> Cut<'a> {
    /// Cuts each device's rows. Every part that matters has rows for one sample, or is meant to have none.
    pub fn new(
        frame: &'a Frame,
        devices: &'a Devices,
        spec: &PrepareSpec,
        model: Option<&'a Preprocessing>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, DataError> {
        // A device may be shorter than what is asked for, but not all of them.
        let longest = devices.rows.iter().map(Range::len).max().unwrap_or(0);
        spec.split.ranges(longest, frame.source())?;
        let mut cut = Self {
            frame,
            devices,
            device_parts: devices
                .rows
                .iter()
                .map(|rows| spec.split.ranges_of_device(rows))
                .collect(),
            parts: Default::default(),
            missing: spec.missing_policy(),
            model,
        };
        cut.parts = cut.long_enough(spec.window, warnings)?;
        Ok(cut)
    }

    /// Rows that columns hold: up to the last one that belongs to some part.
    pub fn used(&self) -> usize {
        self.device_parts.last().map_or(0, |parts| parts[2].end)
    }

    /// The rows of devices but the last that belong to no part.
    fn left_over(&self) -> impl Iterator<Item = Range<usize>> {
        let ends = self.device_parts.iter().map(|parts| parts[2].end);
        ends.zip(self.device_parts.iter().skip(1))
            .map(|(end, next)| end..next[0].start)
    }

    /// Whether a part has to have samples, if it has rows: to judge a model, the test part alone.
    pub fn matters(&self, split: SplitName) -> bool {
        self.model.is_none() || split == SplitName::Test
    }

    /// The used rows of columns, all finite or missing, with something in the training rows.
    pub fn numbers<'n>(&self, names: impl Iterator<Item = &'n String>) -> Result<Vec<Raw<'a>>, DataError> {
        let read = |name: &String| {
            let mut values = Cow::Borrowed(&self.frame.numbers(name)?[..self.used()]);
            // Whatever stands in rows of no part, it does not count as missing or as infinite.
            self.left_over().for_each(|rows| values.to_mut()[rows].fill(0.0));
            self.frame.check_finite(name, &values)?;
            let mean = match self.known(name) {
                Some(column) => column.mean,
                None => scaling::mean(self.parts[0].values(&values)),
            };
            if mean.is_nan() {
                return Err(DataError::AllMissing {
                    file: self.frame.source().to_owned(),
                    column: name.clone(),
                    part: SplitName::Train.part(),
                    rows: self.parts[0].len(),
                });
            }
            Ok(Raw {
                name: name.clone(),
                values,
                mean,
            })
        };
        names.map(read).collect()
    }

    /// Fills a column's missing values, device by device and part by part.
    pub fn fill(&self, column: &mut Raw<'_>, policy: Missing) {
        if !column.values.iter().any(|value| value.is_nan()) {
            return;
        }
        for parts in &self.device_parts {
            fill(column.values.to_mut(), parts, policy, column.mean);
        }
    }

    /// A column of the model.
    fn known(&self, name: &str) -> Option<&FittedColumn> {
        let model = self.model?;
        let mut columns = model.features.iter().chain(&model.targets);
        columns.find(|column| column.name == name)
    }

    /// The first missing value is an error, if that was asked for.
    pub fn check_missing(&self, columns: &[Raw<'_>]) -> Result<(), DataError> {
        let named = columns.iter().map(|column| (column.name.as_str(), &*column.values));
        match first_missing(named) {
            Some((row, name, count)) if self.missing == Missing::Error => Err(DataError::MissingValue {
                file: self.frame.source().to_owned(),
                place: self.frame.place(row),
                column: name.to_owned(),
                count,
            }),
            _ => Ok(()),
        }
    }

    /// Warns of parts, and of devices' training rows, in which a column has no value.
    pub fn warn_of_empty_parts(&self, columns: &[Raw<'_>], warnings: &mut Vec<Warning>) {
        for column in columns {
            for (part, split) in self.parts.iter().zip(TRAINABLE) {
                if !part.is_empty() && part.values(&column.values).all(f64::is_nan) {
                    warnings.push(Warning::EmptyPart {
                        column: column.name.clone(),
                        part: split.part(),
                    });
                }
            }
            let training = self
                .device_parts
                .iter()
                .map(|[training, ..]| &column.values[training.clone()]);
            let empty = training
                .enumerate()
                .filter(|(_, values)| !values.is_empty() && values.iter().all(|value| value.is_nan()));
            let devices: Vec<String> = empty.map(|(device, _)| self.devices.name(device).to_owned()).collect();
            if self.devices.count() > 1 && !devices.is_empty() {
                warnings.push(Warning::EmptyDevices {
                    column: column.name.clone(),
                    devices,
                });
            }
        }
    }
}

/// The first row with a missing value, the column it is in, and how many that column has.
pub(crate) fn first_missing<'a>(
    columns: impl Iterator<Item = (&'a str, &'a [f64])>,
) -> Option<(usize, &'a str, usize)> {
    let first_in = |(name, values): (&'a str, &'a [f64])| {
        let row = values.iter().position(|value| value.is_nan())?;
        Some((row, name, values.iter().filter(|value| value.is_nan()).count()))
    };
    columns.filter_map(first_in).min_by_key(|(row, ..)| *row)
}

pub(crate) fn count_missing(columns: &[Raw<'_>]) -> usize {
    columns
        .iter()
        .flat_map(|column| column.values.iter())
        .filter(|value| value.is_nan())
        .count()
}

/// For each row whether any column misses a value.
pub(crate) fn any_missing<'a>(columns: impl Iterator<Item = &'a [f64]>, rows: usize) -> Vec<bool> {
    let mut any = vec![false; rows];
    for column in columns {
        any.iter_mut()
            .zip(column)
            .for_each(|(any, value)| *any |= value.is_nan());
    }
    any
}

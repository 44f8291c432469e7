//! Ordered rows, cut into training, validation and test part, and the checks that every task makes on them.

use std::ops::Range;

use crate::{
    DataError, FittedColumn, Frame, Missing, PrepareSpec, Preprocessing, SplitName, Warning, Window, scaling,
    window::Starts,
};

/// The splits of a data set for training.
pub(crate) const TRAINABLE: [SplitName; 3] = [SplitName::Train, SplitName::Validation, SplitName::Test];

/// Where the parts of a frame are.
pub(crate) struct Cut<'a> {
    pub frame: &'a Frame,
    pub parts: [Range<usize>; 3],
    pub missing: Missing,
    /// The model whose scales and classes are to be used, if there is one already.
    pub model: Option<&'a Preprocessing>,
}

/// What a task makes of a cut: whole columns, not yet scaled.
pub(crate) struct Prepared {
    pub columns: Vec<Raw>,
    /// Which of the columns are features.
    pub features: Vec<usize>,
    /// Which of the columns are targets; none in a classification.
    pub targets: Vec<usize>,
    pub target_names: Vec<String>,
    /// Class indices of a classification.
    pub labels: Option<Vec<u32>>,
    pub classes: Vec<String>,
    pub parts: [Range<usize>; 3],
    pub samples: [Starts; 3],
    /// The rows that are left, where some were left out.
    pub kept: Option<Vec<usize>>,
    /// Missing values before any were filled.
    pub missing: usize,
}

/// A column of numbers, and the mean of its training rows.
pub(crate) struct Raw {
    pub name: String,
    pub values: Vec<f64>,
    pub mean: f64,
}

impl<'a> Cut<'a> {
    pub fn new(frame: &'a Frame, spec: &PrepareSpec, model: Option<&'a Preprocessing>) -> Result<Self, DataError> {
        let parts = spec.split.ranges(frame.rows(), frame.source())?;
        Ok(Self {
            frame,
            parts,
            missing: spec.missing_policy(),
            model,
        })
    }

    /// Rows that belong to some part.
    pub fn used(&self) -> usize {
        self.parts[2].end
    }

    /// Whether a part has to have samples, if it has rows: to judge a model, the test part alone.
    pub fn matters(&self, split: SplitName) -> bool {
        self.model.is_none() || split == SplitName::Test
    }

    /// Every part that matters has rows for one sample, or is meant to have none.
    pub fn check_sizes(&self, window: Option<Window>) -> Result<(), DataError> {
        for (part, split) in self.parts.iter().zip(TRAINABLE) {
            if !self.matters(split) {
                continue;
            }
            let training = split == SplitName::Train;
            let (needed, needs, remedy) = match window {
                Some(window @ Window { lookback, horizon }) if training => (
                    window.rows(),
                    format!(
                        "one window needs {} (lookback {lookback} + horizon {horizon})",
                        window.rows()
                    ),
                    "choose a smaller --lookback or --horizon, another --split, or give more data",
                ),
                Some(Window { horizon, .. }) => (
                    horizon as usize,
                    format!("one window needs {horizon} (horizon {horizon}; it looks back into the rows before)"),
                    "choose a smaller --horizon, another --split, or give more data",
                ),
                None => (
                    1,
                    "it needs at least 1".to_owned(),
                    "choose another --split, or give more data",
                ),
            };
            if (training || !part.is_empty()) && part.len() < needed {
                return Err(self.too_few(split, needs, remedy));
            }
        }
        Ok(())
    }

    pub fn too_few(&self, split: SplitName, needs: String, remedy: &'static str) -> DataError {
        let (file, part) = (self.frame.source().to_owned(), split.part());
        DataError::TooFewRows {
            file,
            part,
            rows: self.parts[split as usize].len(),
            total: self.frame.rows(),
            needs,
            remedy,
        }
    }

    /// The used rows of columns, all finite or missing, with something in the training rows.
    pub fn numbers<'n>(&self, names: impl Iterator<Item = &'n String>) -> Result<Vec<Raw>, DataError> {
        let read = |name: &String| {
            let values = self.frame.numbers(name)?[..self.used()].to_vec();
            self.frame.check_finite(name, &values)?;
            let mean = match self.known(name) {
                Some(column) => column.mean,
                None => scaling::mean(&values[self.parts[0].clone()]),
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

    /// A column of the model.
    fn known(&self, name: &str) -> Option<&FittedColumn> {
        let model = self.model?;
        let mut columns = model.features.iter().chain(&model.targets);
        columns.find(|column| column.name == name)
    }

    /// The first missing value is an error, if that was asked for.
    pub fn check_missing(&self, columns: &[Raw]) -> Result<(), DataError> {
        let named = columns
            .iter()
            .map(|column| (column.name.as_str(), column.values.as_slice()));
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

    pub fn warn_of_empty_parts(&self, columns: &[Raw], warnings: &mut Vec<Warning>) {
        for column in columns {
            for (part, split) in self.parts.iter().zip(TRAINABLE) {
                if !part.is_empty() && column.values[part.clone()].iter().all(|value| value.is_nan()) {
                    warnings.push(Warning::EmptyPart {
                        column: column.name.clone(),
                        part: split.part(),
                    });
                }
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

pub(crate) fn count_missing(columns: &[Raw]) -> usize {
    columns
        .iter()
        .flat_map(|column| &column.values)
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

//! What was learned from the training rows: stored with a model, and applied again to what it predicts for.

use serde::{Deserialize, Serialize};

use crate::{
    DataError, Duplicates, Missing, PrepareSpec, ReadOptions, Scaling, Split, Step, Task, Window, matrix::unscale,
};

/// The state that turns a new file into the numbers a model was trained on. Survives JSON to the last bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// What was learned.
    pub task: Task,
    /// The time column, where the order of rows depends on it.
    pub time: Option<String>,
    /// The column that tells devices apart, where it was learned from several.
    #[serde(default)]
    pub device: Option<String>,
    /// What it was learned from, in the order of the model's inputs.
    pub features: Vec<FittedColumn>,
    /// What is predicted, in the order of the model's outputs.
    pub targets: Vec<FittedColumn>,
    /// The labels of a classification, in the order of their indices.
    pub classes: Vec<String>,
    /// What happens to missing values; never `auto`.
    pub missing: Missing,
    /// How columns were scaled.
    pub scaling: Scaling,
    /// Sizes of a forecast's window.
    pub window: Option<Window>,
    /// The usual distance between rows.
    pub step: Option<Step>,
    /// Whether rows are sorted by time.
    pub sort: bool,
    /// What happens to repeated times.
    pub duplicates: Duplicates,
}

/// A column's name and what its training rows said about it. Scaled values are `(value - center) / scale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedColumn {
    /// The name in the file.
    pub name: String,
    /// What is subtracted.
    pub center: f64,
    /// What it is divided by; never 0.
    pub scale: f64,
    /// The mean, in the column's own units.
    pub mean: f64,
}

impl FittedColumn {
    /// Whether two columns hold the same numbers, so that one serves for both.
    pub(crate) fn same_numbers(&self, other: &Self) -> bool {
        (&self.name, self.center, self.scale) == (&other.name, other.center, other.scale)
    }
}

impl Preprocessing {
    /// What to read of a file to predict for: the features, the time column if one is needed, and the device column if
    /// there is one.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            time: self.time.clone(),
            columns: Some(self.features.iter().map(|column| column.name.clone()).collect()),
            device: self.device.clone(),
        }
    }

    /// How rows are prepared to judge the model by: as those that it learned from. The split's test rows count.
    pub fn evaluation_spec(&self, split: Split) -> PrepareSpec {
        let names = |columns: &[FittedColumn]| columns.iter().map(|column| column.name.clone()).collect();
        PrepareSpec {
            time: self.time.clone(),
            device: self.device.clone(),
            features: Some(names(&self.features)),
            target: names(&self.targets),
            split,
            missing: self.missing,
            scaling: self.scaling,
            window: self.window,
            sort: self.sort,
            duplicates: self.duplicates,
            ..PrepareSpec::new(self.task)
        }
    }

    /// Brings scaled targets back to their own units in place. The last dimension of `values` is the targets.
    pub fn unscale_targets(&self, values: &mut [f64]) -> Result<(), DataError> {
        let scales: Vec<(f64, f64)> = self
            .targets
            .iter()
            .map(|column| (column.center, column.scale))
            .collect();
        unscale(values, &scales)
    }
}

//! What a model predicted, as a table: which rows or times the numbers are for, and what they are in the targets' own
//! units.

use crate::artifact::About;
use trainyard_data::{DataError, Dataset, SplitName, Task, format_time};

/// One value of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A time, or the name of a class.
    Text(String),
    /// The number of a row or of a forecast, counted from 0.
    Count(usize),
    /// What was predicted.
    Number(f64),
}

/// A header, and a row for each predicted row or step.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// `forecast` (with several windows), the time column or `row`, then the targets, or the class and a `p(class)` each.
    pub columns: Vec<String>,
    /// In the order of the columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// The table of what a model gave for a data set: `values` in the order of the split `predict`, the targets scaled.
    pub fn of(about: &About, dataset: &Dataset, mut values: Vec<f64>) -> Result<Self, DataError> {
        let state = &about.preprocessing;
        let time = dataset.time_format();
        let mut columns: Vec<String> = vec![if time.is_some() {
            state.time.clone().unwrap_or_else(|| "time".into())
        } else {
            "row".into()
        }];
        let classification = state.task == Task::Classification;
        let width = if classification {
            columns.push(state.targets.first().map_or("class", |t| t.name.as_str()).to_owned());
            columns.extend(state.classes.iter().map(|class| format!("p({class})")));
            state.classes.len()
        } else {
            dataset.unscale_targets(&mut values)?;
            columns.extend(about.schema.targets.iter().cloned());
            about.schema.targets.len()
        };
        let samples = dataset.len(SplitName::Predict);
        let steps = about.schema.horizon.max(1) as usize;
        let several = samples > 1 && about.schema.horizon > 0;
        if several {
            columns.insert(0, "forecast".into());
        }
        let mut rows = Vec::with_capacity(samples * steps);
        for sample in 0..samples {
            let places = dataset.target_rows(SplitName::Predict, sample)?;
            let times = dataset.target_times(SplitName::Predict, sample)?;
            for step in 0..steps {
                let mut row = Vec::with_capacity(columns.len());
                if several {
                    row.push(Cell::Count(sample));
                }
                row.push(match (&times, time) {
                    (Some(times), Some(format)) => Cell::Text(format_time(times[step], format)),
                    _ => places
                        .get(step)
                        .map_or_else(|| Cell::Text(String::new()), |&place| Cell::Count(place)),
                });
                let at = (sample * steps + step) * width;
                let values = &values[at..at + width];
                if classification {
                    let best = values
                        .iter()
                        .enumerate()
                        .max_by(|a, b| a.1.total_cmp(b.1))
                        .map_or(0, |(i, _)| i);
                    row.push(Cell::Text(state.classes[best].clone()));
                }
                row.extend(values.iter().map(|&value| Cell::Number(value)));
                rows.push(row);
            }
        }
        Ok(Table { columns, rows })
    }

    /// The same for whoever asked over the network, with what may be wrong.
    pub fn into_prediction(self, dataset: &Dataset) -> trainyard_jobs::Prediction {
        let value = |cell| match cell {
            Cell::Text(text) => text.into(),
            Cell::Count(count) => count.into(),
            // What JSON has no word for, it calls null.
            Cell::Number(number) => number.into(),
        };
        trainyard_jobs::Prediction {
            columns: self.columns,
            rows: self
                .rows
                .into_iter()
                .map(|row| row.into_iter().map(value).collect())
                .collect(),
            warnings: dataset.warnings().iter().map(ToString::to_string).collect(),
        }
    }
}

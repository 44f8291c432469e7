//! What a model predicted, as a table: which rows or times the numbers are for, and what they are in the targets' own
//! units.

use crate::artifact::About;
use trainyard_data::{DataError, Dataset, SplitName, Task, format_time};

/// The column of how far off forecasts are.
const SCORE: &str = "anomaly_score";

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
    /// The time of each row, in microseconds since 1970, where rows have one.
    pub times: Option<Vec<i64>>,
}

/// What forecasts are compared with: the values that came, scaled.
struct Came {
    /// A column for each target.
    columns: Vec<Vec<f64>>,
    /// How to scale what is predicted for each.
    scales: Vec<(f64, f64)>,
}

impl Came {
    fn of(about: &About, dataset: &Dataset) -> Result<Self, DataError> {
        let features = &about.preprocessing.features;
        let mut came = Came {
            columns: Vec::new(),
            scales: Vec::new(),
        };
        for target in &about.schema.targets {
            let Some(feature) = features.iter().find(|feature| feature.name == *target) else {
                return Err(DataError::BadRequest {
                    problem: format!(
                        "the model does not see the values of {target}, so they cannot be compared with what it predicts"
                    ),
                    remedy: "leave out the score, or train with the targets among the columns",
                });
            };
            came.columns.push(dataset.column(SplitName::Predict, target)?);
            came.scales.push((feature.center, feature.scale));
        }
        Ok(came)
    }

    /// The root of the mean square of a row's distances; `None` for a time that has not come.
    fn score(&self, row: usize, predicted: &[f64]) -> Option<f64> {
        let mut sum = 0.0;
        for ((column, (center, scale)), predicted) in self.columns.iter().zip(&self.scales).zip(predicted) {
            sum += ((predicted - center) / scale - column.get(row)?).powi(2);
        }
        Some((sum / self.columns.len().max(1) as f64).sqrt())
    }
}

impl Table {
    /// The table of what a model gave for a data set: `values` in the order of the split `predict`, the targets scaled.
    /// `score` adds the column `anomaly_score` to forecasts.
    pub fn of(about: &About, dataset: &Dataset, mut values: Vec<f64>, score: bool) -> Result<Self, DataError> {
        let state = &about.preprocessing;
        let came = match (score, state.task) {
            (false, _) => None,
            (true, Task::Forecasting) => Some(Came::of(about, dataset)?),
            (true, task) => {
                return Err(DataError::BadRequest {
                    problem: format!("a {task} is not compared with what came later"),
                    remedy: "leave out the score",
                });
            }
        };
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
        if came.is_some() {
            columns.push(SCORE.into());
        }
        let mut rows = Vec::with_capacity(samples * steps);
        let mut micros = Vec::new();
        for sample in 0..samples {
            let places = dataset.target_rows(SplitName::Predict, sample)?;
            let times = dataset.target_times(SplitName::Predict, sample)?;
            for step in 0..steps {
                let mut row = Vec::with_capacity(columns.len());
                if several {
                    row.push(Cell::Count(sample));
                }
                row.push(match (&times, time) {
                    (Some(times), Some(format)) => {
                        micros.push(times[step]);
                        Cell::Text(format_time(times[step], format))
                    }
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
                if let Some(came) = &came {
                    let score = places.get(step).and_then(|&place| came.score(place, values));
                    row.push(Cell::Number(score.unwrap_or(f64::NAN)));
                }
                rows.push(row);
            }
        }
        let times = (micros.len() == rows.len()).then_some(micros);
        Ok(Table { columns, rows, times })
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
            written: None,
        }
    }
}

//! From a frame and a model's stored state to a data set to predict for.

use std::{path::Path, sync::Arc};

use crate::{
    DataError, Dataset, Frame, Missing, Preprocessing, SplitName, Step, Task, Warning, Window,
    cut::{any_missing, first_missing},
    dataset::Inner,
    devices::{DeviceLabels, Devices},
    error::{listed, quoted},
    fingerprint::fingerprint,
    matrix::{Matrix, Pick},
    missing::fill,
    order::in_order,
    runs::Runs,
};

impl Dataset {
    /// Reads a file and prepares it for prediction as the model's training rows were.
    pub fn open_for_predict(path: &Path, state: &Preprocessing, rolling: bool) -> Result<Self, DataError> {
        Self::for_predict(Frame::read(path, &state.read_options())?, state, rolling)
    }

    /// Prepares a frame for prediction. Targets need not be there. Samples are in the split `predict`: every row of a
    /// table; of a series the last window alone, or with `rolling` every window there is. All rows are of one device.
    ///
    /// Where training dropped what was missing, a table's incomplete rows are left out ([`Dataset::target_rows`] tells
    /// which are there), and so are incomplete windows; an incomplete last window is an error.
    pub fn for_predict(frame: Frame, state: &Preprocessing, rolling: bool) -> Result<Self, DataError> {
        frame.check_not_empty()?;
        check_one_device(&frame, state)?;
        let frame = match state.task {
            Task::Forecasting => {
                let (frame, mut series) = Devices::group(frame, None)?;
                in_order(frame, &mut series.rows, state.sort, state.duplicates)?
            }
            // Predictions for a table come in the file's own order.
            Task::Regression | Task::Classification => frame,
        };
        let rows = frame.rows();
        let (mut columns, missing) = filled(&frame, state)?;
        let incomplete = any_missing(columns.iter().map(Vec::as_slice), rows);
        let mut warnings = frame.warnings().to_vec();
        let mut kept = None;
        let samples = match state.window {
            Some(window) => series(&frame, state, &columns, &incomplete, window, rolling)?,
            None => {
                let complete: Vec<usize> = (0..rows).filter(|&row| !incomplete[row]).collect();
                let count = complete.len();
                if count < rows {
                    warnings.push(Warning::RowsDropped { rows: rows - count });
                    columns
                        .iter_mut()
                        .for_each(|column| *column = complete.iter().map(|&row| column[row]).collect());
                    kept = Some(complete);
                }
                Runs::from(0..count)
            }
        };
        let used = kept.as_ref().map_or(rows, Vec::len);
        let mut preprocessing = state.clone();
        preprocessing.step = frame.time().and_then(|time| Step::infer(&time.micros)).or(state.step);
        Ok(Self {
            inner: Arc::new(Inner {
                source: frame.source().to_owned(),
                source_rows: rows,
                features: Pick::new((0..columns.len()).collect()),
                targets: Pick::new(Vec::new()),
                matrix: Matrix::scaled(columns.iter().map(Vec::as_slice).zip(&state.features)),
                labels: None,
                devices: (0, Vec::new()),
                parts: alone(Runs::from(0..used)),
                samples: alone(samples),
                preprocessing,
                times: frame.time().map(|time| time.of_rows(kept.as_deref(), rows)),
                kept,
                missing,
                warnings,
                fingerprint: fingerprint(&frame, state.features.iter().map(|feature| &feature.name)),
            }),
        })
    }
}

/// The rows to predict, which have no training, validation and test part beside them.
fn alone(predict: Runs) -> [Runs; 4] {
    [Runs::default(), Runs::default(), Runs::default(), predict]
}

/// Rows of several devices are refused: a forecast starts after the last row of one.
fn check_one_device(frame: &Frame, state: &Preprocessing) -> Result<(), DataError> {
    let there = |name: &&String| frame.columns().iter().any(|column| column.name == **name);
    let Some(column) = state.device.as_ref().filter(there) else {
        return Ok(());
    };
    match &DeviceLabels::read(frame, column)?.names[..] {
        [] | [_] => Ok(()),
        devices => Err(DataError::BadRequest {
            problem: format!(
                "{}: column {} tells {} devices apart ({})",
                frame.source(),
                quoted(column),
                devices.len(),
                listed(devices)
            ),
            remedy: "predict for one device at a time",
        }),
    }
}

/// The features, filled as in training, and how many values were missing.
fn filled(frame: &Frame, state: &Preprocessing) -> Result<(Vec<Vec<f64>>, usize), DataError> {
    let file = || frame.source().to_owned();
    let mut columns = Vec::with_capacity(state.features.len());
    for feature in &state.features {
        let values = frame.numbers(&feature.name)?.to_vec();
        frame.check_finite(&feature.name, &values)?;
        if state.missing != Missing::Mean && values.iter().all(|value| value.is_nan()) {
            let (column, part) = (feature.name.clone(), SplitName::Predict.part());
            return Err(DataError::AllMissing {
                file: file(),
                column,
                part,
                rows: frame.rows(),
            });
        }
        columns.push(values);
    }
    if let (Missing::Error, Some((row, name, count))) = (state.missing, first_missing(named(state, &columns, 0))) {
        let (place, column) = (frame.place(row), name.to_owned());
        return Err(DataError::MissingValue {
            file: file(),
            place,
            column,
            count,
        });
    }
    let missing = columns.iter().flatten().filter(|value| value.is_nan()).count();
    for (values, feature) in columns.iter_mut().zip(&state.features) {
        fill(
            values,
            std::slice::from_ref(&(0..frame.rows())),
            state.missing,
            feature.mean,
        );
    }
    Ok((columns, missing))
}

/// Columns from a row on, with the features' names.
fn named<'a>(
    state: &'a Preprocessing,
    columns: &'a [Vec<f64>],
    from: usize,
) -> impl Iterator<Item = (&'a str, &'a [f64])> {
    state
        .features
        .iter()
        .map(|feature| feature.name.as_str())
        .zip(columns.iter().map(move |column| &column[from..]))
}

/// The windows to forecast from: their look back alone has to be there.
fn series(
    frame: &Frame,
    state: &Preprocessing,
    columns: &[Vec<f64>],
    incomplete: &[bool],
    window: Window,
    rolling: bool,
) -> Result<Runs, DataError> {
    let (rows, lookback) = (frame.rows(), window.lookback as usize);
    let Some(last) = rows.checked_sub(lookback) else {
        return Err(DataError::TooFewRows {
            file: frame.source().to_owned(),
            part: SplitName::Predict.part(),
            rows,
            total: rows,
            needs: format!("the model looks back on {lookback}"),
            remedy: "give it more rows before the time to forecast",
        });
    };
    let first = if rolling { 0 } else { last };
    let starts = Runs::from(first..last + 1).whole(lookback, incomplete);
    match first_missing(named(state, columns, last)) {
        Some((row, name, _)) if starts.is_empty() => Err(DataError::MissingInLastWindow {
            file: frame.source().to_owned(),
            place: frame.place(last + row),
            column: name.to_owned(),
            lookback: window.lookback,
        }),
        _ => Ok(starts),
    }
}

//! From a frame and a spec to a data set for training.
//!
//! The order matters. Rows are put in order of time, then cut into parts; only then are missing values seen to, part by
//! part, and scales fitted to the training part. So whatever happens in later rows, the training rows stay what they are.

use std::path::Path;

use crate::{
    DataError, Dataset, Duplicates, Frame, PrepareSpec, ReadOptions, Task,
    assemble::assemble,
    cut::Cut,
    order::{in_order, sorted},
    select::Names,
};

impl Dataset {
    /// Reads a file and prepares it.
    pub fn open(path: &Path, spec: &PrepareSpec) -> Result<Self, DataError> {
        let columns = named_columns(spec);
        let time = spec.time.clone();
        Self::prepare(Frame::read(path, &ReadOptions { time, columns })?, spec)
    }

    /// Prepares a frame: see [`PrepareSpec`] for what is done.
    pub fn prepare(frame: Frame, spec: &PrepareSpec) -> Result<Self, DataError> {
        let window = spec.checked_window()?;
        frame.check_not_empty()?;
        let mut warnings = frame.warnings().to_vec();
        let names = Names::resolve(&frame, spec, &mut warnings)?;
        let frame = ordered(frame, spec)?;
        let cut = Cut::new(&frame, spec)?;
        cut.check_sizes(window)?;
        let prepared = match window {
            Some(window) => cut.series(&names, window, &mut warnings)?,
            None => cut.table(&names, spec.task, &mut warnings)?,
        };
        assemble(&frame, spec, prepared, warnings)
    }
}

/// The only columns to read, where the spec names them all.
fn named_columns(spec: &PrepareSpec) -> Option<Vec<String>> {
    let mut columns = spec.features.clone()?;
    if spec.target.is_empty() && spec.task != Task::Forecasting {
        return None;
    }
    columns.extend(
        spec.target
            .iter()
            .filter(|name| spec.features.iter().flatten().all(|other| other != *name))
            .cloned(),
    );
    Some(columns)
}

/// Order is checked where it means something: always for a forecast, otherwise when a time column was asked for.
fn ordered(frame: Frame, spec: &PrepareSpec) -> Result<Frame, DataError> {
    let forecasting = spec.task == Task::Forecasting;
    if !forecasting && spec.time.is_none() && !spec.sort {
        return Ok(frame);
    }
    // Tables may hold several things at one time, so repeats count only if something is to be done about them.
    if !forecasting && spec.duplicates == Duplicates::Error {
        return sorted(frame, spec.sort);
    }
    in_order(frame, spec.sort, spec.duplicates)
}

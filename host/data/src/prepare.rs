//! From a frame and a spec to a data set for training.
//!
//! The order matters. Each device's rows are put in order of time, then cut into parts; only then are missing values seen to, part by
//! part, and scales fitted to the training part. So whatever happens in later rows, the training rows stay what they are.

use std::path::Path;

use crate::{
    DataError, Dataset, Duplicates, Frame, PrepareSpec, Preprocessing, ReadOptions, Task,
    assemble::assemble,
    cut::Cut,
    devices::Devices,
    order::{in_order, sorted},
    select::Names,
};

impl Dataset {
    /// Reads a file and prepares it.
    pub fn open(path: &Path, spec: &PrepareSpec) -> Result<Self, DataError> {
        Self::prepare(Frame::read(path, &spec.read_options())?, spec)
    }

    /// Prepares a frame: see [`PrepareSpec`] for what is done.
    pub fn prepare(frame: Frame, spec: &PrepareSpec) -> Result<Self, DataError> {
        Self::prepare_as(frame, spec, None)
    }

    /// Prepares a frame to judge a model by: in the model's scales and classes, with the columns that it knows. The spec is
    /// [`Preprocessing::evaluation_spec`]. Only the test rows need be there.
    pub fn for_evaluation(frame: Frame, spec: &PrepareSpec, model: &Preprocessing) -> Result<Self, DataError> {
        Self::prepare_as(frame, spec, Some(model))
    }

    fn prepare_as(frame: Frame, spec: &PrepareSpec, model: Option<&Preprocessing>) -> Result<Self, DataError> {
        let window = spec.checked_window()?;
        frame.check_not_empty()?;
        let mut warnings = frame.warnings().to_vec();
        let names = Names::resolve(&frame, spec, &mut warnings)?;
        let (frame, mut devices) = Devices::group(frame, spec.device.as_deref())?;
        let frame = ordered(frame, &mut devices, spec)?;
        let cut = Cut::new(&frame, &devices, spec, model, &mut warnings)?;
        let prepared = match window {
            Some(window) => cut.series(&names, window, &mut warnings)?,
            None => cut.table(&names, spec.task, &mut warnings)?,
        };
        assemble(&cut, spec, prepared, warnings)
    }
}

impl PrepareSpec {
    /// What to read of a file: time and device column, and the only columns that are needed where the spec names them all.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            time: self.time.clone(),
            columns: self.named_columns(),
            device: self.device.clone(),
        }
    }

    fn named_columns(&self) -> Option<Vec<String>> {
        let mut columns = self.features.clone()?;
        if self.target.is_empty() && self.task != Task::Forecasting {
            return None;
        }
        let more = self.target.iter().chain(&self.device);
        let more = more.filter(|name| !columns.contains(name)).cloned();
        let more: Vec<String> = more.collect();
        columns.extend(more);
        Some(columns)
    }
}

/// Order is checked where it means something: always for a forecast, otherwise when a time column was asked for.
fn ordered(frame: Frame, devices: &mut Devices, spec: &PrepareSpec) -> Result<Frame, DataError> {
    let forecasting = spec.task == Task::Forecasting;
    if !forecasting && spec.time.is_none() && !spec.sort {
        return Ok(frame);
    }
    // Tables may hold several things at one time, so repeats count only if something is to be done about them.
    if !forecasting && spec.duplicates == Duplicates::Error {
        return sorted(frame, &devices.rows, spec.sort);
    }
    in_order(frame, &mut devices.rows, spec.sort, spec.duplicates)
}

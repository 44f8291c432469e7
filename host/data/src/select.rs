//! Which columns are learned from and which are predicted: what was asked for, or what makes sense by default.

use std::collections::HashSet;

use crate::{DataError, Frame, PrepareSpec, Task, Values, Warning, error::quoted};

/// The columns to learn from and to predict.
pub(crate) struct Names {
    pub features: Vec<String>,
    pub targets: Vec<String>,
}

impl Names {
    /// Settles the defaults and refuses what cannot be.
    pub fn resolve(frame: &Frame, spec: &PrepareSpec, warnings: &mut Vec<Warning>) -> Result<Self, DataError> {
        let time = frame.time().map(|time| &time.name);
        if let Some(wanted) = spec.time.as_ref().filter(|wanted| Some(*wanted) != time) {
            frame.column(wanted)?;
            return Err(DataError::BadRequest {
                problem: format!(
                    "{}: was read without {} as its time column",
                    frame.source(),
                    quoted(wanted)
                ),
                remedy: "name the time column when reading the file",
            });
        }
        let tabular = spec.task != Task::Forecasting;
        if tabular && spec.target.is_empty() {
            return Err(DataError::NoTarget {
                file: frame.source().to_owned(),
                task: spec.task.to_string(),
                available: frame.names(),
            });
        }
        let device = spec.device.as_deref();
        if let Some(device) = device {
            refuse_time(frame, device, "tells no devices apart")?;
            frame.column(device)?;
        }
        for names in [Some(&spec.target), spec.features.as_ref()].into_iter().flatten() {
            check_names(frame, names, device)?;
        }
        if spec.task == Task::Classification && spec.target.len() > 1 {
            return Err(DataError::BadRequest {
                problem: format!("a classification of {} targets was asked for", spec.target.len()),
                remedy: "name one target column",
            });
        }
        let features = match &spec.features {
            Some(features) => features.clone(),
            None => default_features(frame, if tabular { &spec.target } else { &[] }, device, warnings),
        };
        if features.is_empty() {
            return Err(DataError::NoFeatures {
                file: frame.source().to_owned(),
                available: frame.names(),
            });
        }
        if tabular && let Some(both) = spec.target.iter().find(|target| features.contains(target)) {
            return Err(DataError::BadRequest {
                problem: format!("column {} is both a feature and the target", quoted(both)),
                remedy: "leave it out of the features",
            });
        }
        let targets = if spec.target.is_empty() {
            features.clone()
        } else {
            spec.target.clone()
        };
        Ok(Self { features, targets })
    }
}

fn refuse_time(frame: &Frame, name: &str, so: &str) -> Result<(), DataError> {
    if frame.time().is_none_or(|time| time.name != name) {
        return Ok(());
    }
    Err(DataError::BadRequest {
        problem: format!("{}: column {} is the time, so it {so}", frame.source(), quoted(name)),
        remedy: "choose other columns, or another time column (--time)",
    })
}

/// Refuses names that do not exist, twice the same, the time column, or the device column.
fn check_names(frame: &Frame, names: &[String], device: Option<&str>) -> Result<(), DataError> {
    let mut seen = HashSet::new();
    for name in names {
        refuse_time(frame, name, "is neither feature nor target")?;
        if device == Some(name) {
            return Err(DataError::BadRequest {
                problem: format!(
                    "{}: column {} tells devices apart, so it is neither feature nor target",
                    frame.source(),
                    quoted(name)
                ),
                remedy: "choose other columns, or no device column",
            });
        }
        frame.column(name)?;
        if !seen.insert(name) {
            return Err(DataError::BadRequest {
                problem: format!("column {} is named twice", quoted(name)),
                remedy: "name it once",
            });
        }
    }
    Ok(())
}

/// Every column of numbers that is no target and not the devices. One that is numbers but for a few texts is among them: it is an error later,
/// rather than something that goes missing without a word.
fn default_features(
    frame: &Frame,
    targets: &[String],
    device: Option<&str>,
    warnings: &mut Vec<Warning>,
) -> Vec<String> {
    let (mut features, mut texts) = (Vec::new(), Vec::new());
    let others = frame
        .columns()
        .iter()
        .filter(|column| Some(column.name.as_str()) != device);
    for column in others.filter(|column| !targets.contains(&column.name)) {
        match &column.values {
            Values::Text(text) if text.stray.is_none() => texts.push(column.name.clone()),
            _ => features.push(column.name.clone()),
        }
    }
    if !texts.is_empty() {
        warnings.push(Warning::TextLeftOut { columns: texts });
    }
    features
}

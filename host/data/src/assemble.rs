//! Fits the scales to the training rows and puts the scaled columns side by side.

use std::sync::Arc;

use crate::{
    DataError, Dataset, FittedColumn, Frame, PrepareSpec, Preprocessing, Step, Task, Warning,
    cut::{Cut, Prepared, Raw},
    dataset::Inner,
    error::quoted,
    fingerprint::fingerprint,
    matrix::{Matrix, Pick},
    runs::Runs,
    scaling::fit,
};

/// The data set of prepared columns, scaled by their training rows, or as a model's columns are.
pub(crate) fn assemble(
    cut: &Cut<'_>,
    spec: &PrepareSpec,
    prepared: Prepared<'_>,
    mut warnings: Vec<Warning>,
) -> Result<Dataset, DataError> {
    let frame = cut.frame;
    let (features, targets) = match cut.model {
        // They were read in the model's order.
        Some(model) if prepared.labels.is_some() => (model.features.clone(), Vec::new()),
        Some(model) => (model.features.clone(), model.targets.clone()),
        None => fitted(frame, spec, &prepared, &mut warnings)?,
    };

    // A target that is also a feature, scaled alike, is the same column of the matrix.
    let mut columns: Vec<(&Raw<'_>, &FittedColumn)> = prepared
        .features
        .iter()
        .map(|&column| &prepared.columns[column])
        .zip(&features)
        .collect();
    let mut positions = Vec::new();
    for (&column, fitted) in prepared.targets.iter().zip(&targets) {
        let shared = features.iter().position(|feature| feature.same_numbers(fitted));
        positions.push(shared.unwrap_or(columns.len()));
        if shared.is_none() {
            columns.push((&prepared.columns[column], fitted));
        }
    }
    let matrix = Matrix::scaled(columns.into_iter().map(|(raw, fitted)| (&*raw.values, fitted)));

    let class = |name: &String| FittedColumn {
        name: name.clone(),
        center: 0.0,
        scale: 1.0,
        mean: 0.0,
    };
    let ordered = frame
        .time()
        .filter(|_| spec.task == Task::Forecasting || spec.time.is_some());
    let preprocessing = Preprocessing {
        task: spec.task,
        time: ordered.map(|time| time.name.clone()),
        device: spec.device.clone(),
        targets: match prepared.labels {
            Some(_) => prepared.target_names.iter().map(class).collect(),
            None => targets,
        },
        classes: prepared.classes,
        missing: spec.missing_policy(),
        scaling: spec.scaling,
        window: spec.window,
        step: ordered.and_then(|time| {
            let devices = cut.devices.rows.iter();
            Step::of_devices(devices.map(|rows| &time.micros[rows.clone()]))
        }),
        sort: spec.sort,
        duplicates: spec.duplicates,
        features,
    };
    let names = prepared
        .columns
        .iter()
        .map(|column| &column.name)
        .chain(&prepared.target_names)
        .chain(&spec.device);
    let used = prepared.columns.first().map_or(0, |column| column.values.len());
    let [train, validation, test] = prepared.parts;
    let [train_samples, validation_samples, test_samples] = prepared.samples;
    Ok(Dataset {
        inner: Arc::new(Inner {
            source: frame.source().to_owned(),
            source_rows: frame.rows(),
            features: Pick::new((0..preprocessing.features.len()).collect()),
            targets: Pick::new(positions),
            matrix,
            labels: prepared.labels,
            times: frame.time().map(|time| time.of_rows(prepared.kept.as_deref(), used)),
            devices: cut.devices.summary(),
            parts: [train, validation, test, Runs::default()],
            samples: [train_samples, validation_samples, test_samples, Runs::default()],
            preprocessing,
            kept: prepared.kept,
            missing: prepared.missing,
            warnings,
            fingerprint: fingerprint(frame, names),
        }),
    })
}

/// Features and targets with their scales, from the training rows.
fn fitted(
    frame: &Frame,
    spec: &PrepareSpec,
    prepared: &Prepared<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<(Vec<FittedColumn>, Vec<FittedColumn>), DataError> {
    let mut fitted = Vec::with_capacity(prepared.columns.len());
    for column in &prepared.columns {
        let fit = fit(prepared.parts[0].values(&column.values), spec.scaling);
        if fit.constant {
            warnings.push(Warning::ConstantColumn {
                column: column.name.clone(),
            });
        }
        if !(fit.center.is_finite() && fit.scale.is_finite()) {
            return Err(DataError::BadRequest {
                problem: format!(
                    "{}: column {} is too large to be scaled",
                    frame.source(),
                    quoted(&column.name)
                ),
                remedy: "use other units for it, or no scaling (--scaling none)",
            });
        }
        fitted.push(FittedColumn {
            name: column.name.clone(),
            center: fit.center,
            scale: fit.scale,
            mean: column.mean,
        });
    }
    let features = prepared.features.iter().map(|&column| fitted[column].clone()).collect();
    let target = |&column: &usize| match spec.scale_target {
        true => fitted[column].clone(),
        false => FittedColumn {
            center: 0.0,
            scale: 1.0,
            ..fitted[column].clone()
        },
    };
    Ok((features, prepared.targets.iter().map(target).collect()))
}

//! `trainyard predict`: a stored model on new data, in the targets' own units.

use crate::args::PredictOptions;
use crate::artifact;
use crate::failure::{Failure, Result};
use crate::output::{self, Display};
use crate::{library, stop};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use trainyard_data::{Dataset, SplitName, Task, format_time};
use trainyard_kernels::Tensor;
use trainyard_sandbox::{Control, Event, Job, Limits, Plugin, Runner, SandboxError};

/// What is printed: a header, and a row for each predicted row or step.
struct Rows {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

pub fn predict(options: &PredictOptions) -> Result<()> {
    let artifact = artifact::read(&options.artifact)?;
    let about = &artifact.about;
    let plugin = Plugin::load(&library::engine()?, &artifact.plugin)?;
    if plugin.digest() != about.plugin.digest {
        return Err(Failure::Artifact {
            path: options.artifact.join("plugin.wasm"),
            problem: format!(
                "is not the plugin that the model was trained with (digest {}, not {})",
                &plugin.digest()[..12],
                about.plugin.digest.get(..12).unwrap_or("unknown")
            ),
            remedy: "put the original file back, or train again",
        });
    }
    let dataset = Dataset::open_for_predict(&options.file, &about.preprocessing, options.rolling)?;
    let display = Display::new(options.json);
    for warning in dataset.warnings() {
        display.warn(&warning.to_string());
    }
    let control = Control::new();
    stop::on_interrupt(control.clone());
    let job = Job {
        parameters: about.parameters.clone(),
        seed: about.seed,
        dataset: Some(dataset.clone()),
        device: options.limits.device,
        limits: Limits {
            tensor_memory: options.limits.memory << 20,
            wall_time: Duration::from_secs(options.limits.timeout),
            ..Limits::default()
        },
        control,
    };
    let display = Arc::new(Mutex::new(display));
    let shown = display.clone();
    let mut runner = Runner::new(&plugin, job, move |event: Event| {
        shown.lock().unwrap_or_else(PoisonError::into_inner).event(&event);
    })?;
    let model = artifact.model(runner.session())?;
    let outcome = runner.predict(&model);
    display.lock().unwrap_or_else(PoisonError::into_inner).finish();
    let rows = rows(about, &dataset, read(&outcome?)?)?;
    write(options, &rows)
}

fn read(prediction: &Tensor) -> Result<Vec<f64>> {
    prediction
        .to_f64()
        .map_err(|e| Failure::Sandbox(SandboxError::Session(e)))
}

fn rows(about: &artifact::About, dataset: &Dataset, mut values: Vec<f64>) -> Result<Rows> {
    let time = dataset.time_format();
    let mut header: Vec<String> = vec![if time.is_some() {
        about.preprocessing.time.clone().unwrap_or_else(|| "time".into())
    } else {
        "row".into()
    }];
    let classes = &about.preprocessing.classes;
    let width = if about.preprocessing.task == Task::Classification {
        header.push(
            about
                .preprocessing
                .targets
                .first()
                .map_or("class", |t| t.name.as_str())
                .to_owned(),
        );
        header.extend(classes.iter().map(|class| format!("p({class})")));
        classes.len()
    } else {
        dataset.unscale_targets(&mut values)?;
        header.extend(about.schema.targets.iter().cloned());
        about.schema.targets.len()
    };
    let samples = dataset.len(SplitName::Predict);
    let steps = about.schema.horizon.max(1) as usize;
    let several = samples > 1 && about.schema.horizon > 0;
    if several {
        header.insert(0, "forecast".into());
    }
    let mut rows = Vec::with_capacity(samples * steps);
    for sample in 0..samples {
        let places = dataset.target_rows(SplitName::Predict, sample)?;
        let times = dataset.target_times(SplitName::Predict, sample)?;
        for step in 0..steps {
            let mut row = Vec::new();
            if several {
                row.push(sample.to_string());
            }
            row.push(match (&times, time) {
                (Some(times), Some(format)) => format_time(times[step], format),
                _ => places.get(step).map_or_else(String::new, ToString::to_string),
            });
            let at = (sample * steps + step) * width;
            let values = &values[at..at + width];
            if about.preprocessing.task == Task::Classification {
                let best = values
                    .iter()
                    .enumerate()
                    .max_by(|a, b| a.1.total_cmp(b.1))
                    .map_or(0, |(i, _)| i);
                row.push(classes[best].clone());
            }
            row.extend(values.iter().map(|&v| digits(v)));
            rows.push(row);
        }
    }
    Ok(Rows { header, rows })
}

/// Seven significant digits, which is what a model of `f32` can say.
fn digits(value: f64) -> String {
    let whole = if value == 0.0 {
        0
    } else {
        value.abs().log10().floor() as i32
    };
    if !(-5..15).contains(&whole) {
        return format!("{value:e}");
    }
    let text = format!("{value:.*}", (6 - whole).max(0) as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn write(options: &PredictOptions, rows: &Rows) -> Result<()> {
    if options.json && options.out.is_none() {
        for row in &rows.rows {
            let object: serde_json::Map<_, _> = rows
                .header
                .iter()
                .zip(row)
                .map(|(name, text)| {
                    let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
                    (name.clone(), number.map_or_else(|| json!(text), |n| json!(n)))
                })
                .collect();
            output::print_json(&json!({"event": "prediction", "values": object}));
        }
        output::print_json(&json!({"event": "result", "rows": rows.rows.len()}));
        return Ok(());
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    let written = csv
        .write_record(&rows.header)
        .and_then(|()| rows.rows.iter().try_for_each(|row| csv.write_record(row)));
    let bytes = written
        .map_err(std::io::Error::from)
        .and_then(|()| csv.into_inner().map_err(|e| e.into_error()));
    match &options.out {
        Some(path) => {
            let bytes = bytes.map_err(Failure::file("write", path))?;
            std::fs::write(path, bytes).map_err(Failure::file("write", path))?;
            if options.json {
                output::print_json(&json!({"event": "result", "rows": rows.rows.len(), "file": path}));
            } else {
                eprintln!("{} rows: {}", rows.rows.len(), path.display());
            }
        }
        None => {
            let bytes = bytes.map_err(Failure::file("write", std::path::Path::new("standard output")))?;
            // Whoever reads may have gone away, as `head` does.
            let _ = std::io::stdout().write_all(&bytes);
        }
    }
    Ok(())
}

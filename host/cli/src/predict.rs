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
use trainyard_data::Dataset;
use trainyard_kernels::Tensor;
use trainyard_sandbox::{Control, Event, Job, Limits, Plugin, Runner, SandboxError};
use trainyard_worker::prediction::{Cell, Table};

pub fn predict(options: &PredictOptions) -> Result<()> {
    let Some(file) = &options.file else {
        return Err(Failure::Usage(format!(
            "{}: a model in a folder predicts for --data FILE; --dataset is for a model on a server",
            options.artifact.display()
        )));
    };
    let artifact = artifact::read(&options.artifact)?;
    let about = &artifact.about;
    let plugin = Plugin::load_named(&library::engine()?, &artifact.plugin, &about.plugin.source_name())?;
    if plugin.digest() != about.plugin.digest {
        return Err(Failure::Artifact {
            path: artifact.plugin_file.clone(),
            problem: format!(
                "is not the plugin that the model was trained with (digest {}, not {})",
                &plugin.digest()[..12],
                about.plugin.digest.get(..12).unwrap_or("unknown")
            ),
            remedy: "put the original file back, or train again",
        });
    }
    let dataset = Dataset::open_for_predict(file, &about.preprocessing, options.rolling || options.score)?;
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
        device: options.limits.device(),
        tf32: options.limits.tf32,
        limits: Limits {
            tensor_memory: options.limits.memory << 20,
            wall_time: Duration::from_secs(options.limits.timeout),
            ..Limits::default()
        },
        control,
        profile: false,
    };
    let display = Arc::new(Mutex::new(display));
    let shown = display.clone();
    let mut runner = Runner::new(&plugin, job, move |event: Event| {
        shown.lock().unwrap_or_else(PoisonError::into_inner).event(&event);
    })?;
    let model = artifact.model(runner.session())?;
    let outcome = runner.predict(&model);
    display.lock().unwrap_or_else(PoisonError::into_inner).finish();
    let table = Table::of(about, &dataset, read(&outcome?)?, options.score)?;
    write(options, &table.columns, &text(table.rows))
}

fn read(prediction: &Tensor) -> Result<Vec<f64>> {
    prediction
        .to_f64()
        .map_err(|e| Failure::Sandbox(SandboxError::Session(e)))
}

fn text(rows: Vec<Vec<Cell>>) -> Vec<Vec<String>> {
    let text = |cell| match cell {
        Cell::Text(text) => text,
        Cell::Count(count) => count.to_string(),
        Cell::Number(number) => digits(number),
    };
    rows.into_iter()
        .map(|row| row.into_iter().map(text).collect())
        .collect()
}

/// Seven significant digits, which is what a model of `f32` can say.
pub fn digits(value: f64) -> String {
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

/// Prints or stores a header and rows as the options say.
pub fn write(options: &PredictOptions, header: &[String], rows: &[Vec<String>]) -> Result<()> {
    if options.json && options.out.is_none() {
        for row in rows {
            let object: serde_json::Map<_, _> = header
                .iter()
                .zip(row)
                .map(|(name, text)| {
                    let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
                    (name.clone(), number.map_or_else(|| json!(text), |n| json!(n)))
                })
                .collect();
            output::print_json(&json!({"event": "prediction", "values": object}));
        }
        output::print_json(&json!({"event": "result", "rows": rows.len()}));
        return Ok(());
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    let written = csv
        .write_record(header)
        .and_then(|()| rows.iter().try_for_each(|row| csv.write_record(row)));
    let bytes = written
        .map_err(std::io::Error::from)
        .and_then(|()| csv.into_inner().map_err(|e| e.into_error()));
    match &options.out {
        Some(path) => {
            let bytes = bytes.map_err(Failure::file("write", path))?;
            std::fs::write(path, bytes).map_err(Failure::file("write", path))?;
            if options.json {
                output::print_json(&json!({"event": "result", "rows": rows.len(), "file": path}));
            } else {
                eprintln!("{} rows: {}", rows.len(), path.display());
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

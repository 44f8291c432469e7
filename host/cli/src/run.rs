//! `trainyard run`: data, plugin, training, evaluation, model.

use crate::args::RunOptions;
use crate::artifact;
use crate::failure::{Failure, Result};
use crate::output::{self, Display};
use crate::{data, library, stop, typed};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use trainyard_kernels::Device;
use trainyard_sandbox::{Control, Description, Event, Job, Limits, Runner};
use trainyard_worker::artifact::{About, Origin};

pub fn run(options: &RunOptions) -> Result<()> {
    let start = Instant::now();
    let device = options.limits.device();
    let limits = Limits {
        tensor_memory: options.limits.memory << 20,
        wall_time: Duration::from_secs(options.limits.timeout),
        ..Limits::default()
    };
    let (plugin, content) = library::load(&options.plugin)?;
    let description = plugin.describe(&limits)?;
    // What was typed wrong is said before anything large is read.
    let parameters = parameters(&options.parameters, &description)?;
    let checkpoint = match (&options.out, options.resume) {
        (Some(folder), true) => Some(artifact::read_checkpoint(folder)?),
        _ => None,
    };
    let dataset = data::prepare(&options.data, &description)?;
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}-model", description.name)));

    let display = Display::new(options.json);
    if options.json {
        output::print_json(&json!({
            "event": "start",
            "plugin": {"name": description.name, "version": description.version, "digest": plugin.digest()},
            "parameters": parameters,
            "seed": options.seed,
            "device": device.to_string(),
            "data": dataset.summary(),
        }));
    } else {
        display.say(&dataset.summary().to_string());
        display.say(&format!(
            "training {} {} with {}{}",
            description.name,
            description.version,
            spelled(&parameters),
            match device {
                Device::Cpu => String::new(),
                card => format!(" on {card}"),
            }
        ));
    }
    for warning in dataset.warnings() {
        display.warn(&warning.to_string());
    }

    let control = Control::new();
    stop::on_interrupt(control.clone());
    let display = Arc::new(Mutex::new(display));
    let (shown, folder) = (display.clone(), out.clone());
    let on_event = move |event: Event| {
        let mut display = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Checkpoint(checkpoint) = &event
            && let Err(failure) = artifact::write_checkpoint(&folder, checkpoint)
        {
            display.warn(&format!("the checkpoint could not be stored: {failure}"));
        }
        display.event(&event);
    };
    let job = Job {
        parameters: parameters.clone(),
        seed: options.seed,
        dataset: Some(dataset.clone()),
        device,
        tf32: options.limits.tf32,
        limits,
        control,
        profile: false,
    };
    let mut runner = Runner::new(&plugin, job, on_event)?;
    if let Some(bytes) = checkpoint {
        runner.resume_from(artifact::decode_checkpoint(&out, &bytes, runner.session())?);
    }
    let outcome = runner.train().and_then(|model| {
        let metrics = runner.evaluate(&model)?;
        Ok((
            model,
            metrics.into_iter().map(|m| (m.name, m.value)).collect::<Vec<_>>(),
        ))
    });
    display.lock().unwrap_or_else(PoisonError::into_inner).finish();
    let (model, metrics) = outcome?;

    let origin = Origin {
        description: &description,
        digest: plugin.digest(),
        engine: plugin.engine_digest(),
        parameters,
        seed: options.seed,
        dataset: &dataset,
    };
    let about = About::of(origin, &model, &metrics);
    artifact::write(&out, &about, &model, (&content, plugin.kind()))?;
    artifact::remove_checkpoint(&out);

    let seconds = start.elapsed();
    if options.json {
        output::print_json(&json!({
            "event": "result",
            "metrics": output::metrics_json(&metrics),
            "artifact": out,
            "seconds": seconds.as_secs_f64(),
            "tensor_memory_peak": runner.session().peak_bytes(),
        }));
    } else {
        println!("{}", table(&description, &metrics));
        println!(
            "{} in {}, tensors took at most {}",
            description.name,
            output::duration(seconds),
            trainyard_kernels::bytes(runner.session().peak_bytes())
        );
        println!(
            "model: {}   use it: trainyard predict {} --data FILE",
            out.display(),
            out.display()
        );
    }
    Ok(())
}

/// The typed parameters, read by the plugin's schema, with its defaults.
pub fn parameters(typed: &[String], description: &Description) -> Result<Value> {
    let schema = &description.parameters;
    let given = typed::parameters(typed, schema)?;
    schema
        .complete(&Value::Object(given))
        .map_err(|problems| Failure::Parameter(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

fn spelled(parameters: &Value) -> String {
    let pairs = parameters.as_object().into_iter().flatten();
    let text: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    if text.is_empty() {
        "no parameters".into()
    } else {
        text.join(" ")
    }
}

pub fn table(description: &Description, metrics: &[(String, f64)]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(["test metric", "value", ""]);
    for (name, value) in metrics {
        let about = description.metrics.iter().find(|m| m.name == *name);
        let about = about.map(|m| format!("{}{}", m.summary, if m.maximize { " (larger is better)" } else { "" }));
        table.add_row([name.clone(), output::number(*value), about.unwrap_or_default()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

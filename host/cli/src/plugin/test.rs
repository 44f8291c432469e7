//! `trainyard plugin test`: train, evaluate and predict in the real sandbox, on a sample or on one's own data, with what they
//! used and where the time went.

use crate::args::{DataOptions, TestOptions};
use crate::failure::{Failure, Result};
use crate::output::{self, Display};
use crate::plugin::{check, watch};
use crate::{data, library, project, run};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use trainyard_data::{DataFormat, Dataset, Frame, ReadOptions, Task};
use trainyard_kernels::bytes;
use trainyard_sandbox::{Control, Description, Engine, Event, Job, Limits, Plugin, Profile, Runner};
use trainyard_worker::artifact::{About, ModelFileError, Origin, encode_weights};

/// Four years of weather in Seattle, where one's own data is not given.
const SAMPLE: &[u8] = include_bytes!("../../../../examples/data/seattle-weather.csv");
const SAMPLE_NAME: &str = "the sample (weather in Seattle)";
/// Rows that a forecast of the sample looks back on and ahead.
const LOOKBACK: u32 = 30;
const HORIZON: u32 = 7;

pub fn test(options: &TestOptions) -> Result<()> {
    let path = plugin_file(&options.plugin)?;
    let engine = library::engine()?;
    watch::repeat(options.watch, &path, || once(&engine, &path, options))
}

/// The plugin's file; a folder of a Rust plugin is built first.
fn plugin_file(plugin: &str) -> Result<PathBuf> {
    if Path::new(plugin).join("Cargo.toml").is_file() {
        return super::built(Path::new(plugin), None);
    }
    library::find(plugin)
}

fn once(engine: &Engine, path: &Path, options: &TestOptions) -> Result<()> {
    let limits = Limits {
        tensor_memory: options.limits.memory << 20,
        wall_time: Duration::from_secs(options.limits.timeout),
        ..Limits::default()
    };
    let content = project::content(path)?;
    let plugin = Plugin::load_named(engine, &content, &path.display().to_string())?;
    check::refuse(&plugin.findings(&limits)?, path, options.json)?;
    let description = plugin.describe(&limits)?;
    for task in tasks(options, &description)? {
        let data = Data::read(options, task)?;
        one(&plugin, &description, options, limits.clone(), &data)?;
    }
    Ok(())
}

/// What is tried: what the data is for, or with the sample everything that the plugin does.
fn tasks(options: &TestOptions, description: &Description) -> Result<Vec<Option<Task>>> {
    if options.data.file.is_some() {
        return Ok(vec![None]);
    }
    match options.data.task {
        Some(task) => Ok(vec![Some(task)]),
        None => Ok(description.tasks.iter().map(|task| task.parse().ok()).collect()),
    }
}

/// The rows, and what to make of them.
struct Data {
    options: DataOptions,
    name: String,
}

impl Data {
    fn read(options: &TestOptions, task: Option<Task>) -> Result<Self> {
        let mut data = options.data.clone();
        if let Some(file) = &data.file {
            let name = file.display().to_string();
            return Ok(Data { options: data, name });
        }
        data.task = task;
        match task {
            Some(Task::Forecasting) => {
                data.lookback.get_or_insert(LOOKBACK);
                data.horizon.get_or_insert(HORIZON);
            }
            Some(Task::Classification) if data.target.is_empty() => data.target = vec!["weather".into()],
            Some(Task::Regression) if data.target.is_empty() => data.target = vec!["temp_max".into()],
            _ => {}
        }
        Ok(Data {
            options: data,
            name: SAMPLE_NAME.to_owned(),
        })
    }

    fn frame(&self) -> Result<Frame> {
        let options = ReadOptions {
            time: self.options.time.clone(),
            ..ReadOptions::default()
        };
        Ok(match &self.options.file {
            Some(file) => Frame::read(file, &options)?,
            None => Frame::from_bytes(SAMPLE, SAMPLE_NAME, DataFormat::Csv, &options)?,
        })
    }
}

fn one(plugin: &Plugin, description: &Description, options: &TestOptions, limits: Limits, data: &Data) -> Result<()> {
    let parameters = run::parameters(&options.parameters, description)?;
    let frame = data.frame()?;
    let dataset = data::prepared(frame.clone(), &data.options, description)?;
    let task = dataset.schema().task;
    let display = Display::new(options.json);
    display.say(&format!("{} on {}: {task}", description.name, data.name));
    let display = Arc::new(Mutex::new(display));
    let job = Job {
        parameters,
        seed: options.seed,
        dataset: Some(dataset.clone()),
        device: options.limits.device(),
        tf32: options.limits.tf32,
        limits,
        control: Control::new(),
        profile: true,
    };
    let shown = display.clone();
    let mut runner = Runner::new(plugin, job.clone(), move |event: Event| {
        shown.lock().unwrap_or_else(PoisonError::into_inner).event(&event);
    })?;
    let outcome = runner.train().and_then(|model| {
        let metrics = runner.evaluate(&model)?;
        Ok((model, metrics))
    });
    display.lock().unwrap_or_else(PoisonError::into_inner).finish();
    let (model, metrics) = outcome?;
    // Stored and read back, as a model is on its way to whoever predicts with it.
    let about = About::of(
        Origin {
            description,
            digest: plugin.digest(),
            engine: plugin.engine_digest(),
            parameters: job.parameters.clone(),
            seed: job.seed,
            dataset: &dataset,
        },
        &model,
        &[],
    );
    let weights = encode_weights(&model).map_err(unusable)?;
    let rows = Dataset::for_predict(frame, dataset.preprocessing(), false)?;
    let predict = Job {
        dataset: Some(rows),
        ..job
    };
    let mut predictor = Runner::new(plugin, predict, |_| {})?;
    let model = about.model(&weights, predictor.session()).map_err(unusable)?;
    let predicted = predictor.predict(&model)?;
    let mut profile = runner.profile().unwrap_or_default();
    profile.add(&predictor.profile().unwrap_or_default());
    let peak = runner.session().peak_bytes();
    if options.json {
        output::print_json(&json!({
            "event": "result",
            "task": task.to_string(),
            "metrics": metrics,
            "predicted": predicted.shape(),
            "tensor_memory_peak": peak,
            "profile": profile,
        }));
        return Ok(());
    }
    let metrics: Vec<(String, f64)> = metrics.into_iter().map(|m| (m.name, m.value)).collect();
    output::print(&run::table(description, &metrics).to_string());
    output::print(&spent(&profile).to_string());
    output::print(&format!(
        "tensors took at most {} in {} handles, the plugin itself {}; it predicted {:?}",
        bytes(peak),
        profile.handles,
        bytes(profile.guest_memory),
        predicted.shape()
    ));
    Ok(())
}

fn unusable(error: ModelFileError) -> Failure {
    Failure::Plugin(error.to_string())
}

/// Where the time went: the plugin's functions, then its own code and the host's functions by their share.
fn spent(profile: &Profile) -> Table {
    const SHOWN: usize = 8;
    let total = profile.total();
    let share = |time: Duration| format!("{:.0} %", 100.0 * time.as_secs_f64() / total.as_secs_f64().max(1e-9));
    let ms = |time: Duration| format!("{:.1} ms", 1e3 * time.as_secs_f64());
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(["where the time went", "time", "share", "calls"]);
    for (name, time) in &profile.functions {
        table.add_row([(*name).to_owned(), ms(*time), share(*time), String::new()]);
    }
    let own = total.saturating_sub(profile.host());
    table.add_row(["  the plugin's own code".to_owned(), ms(own), share(own), String::new()]);
    let mut operations: Vec<_> = profile.operations.iter().collect();
    operations.sort_by_key(|(_, calls)| std::cmp::Reverse(calls.time));
    for (name, calls) in operations.into_iter().take(SHOWN) {
        table.add_row([
            format!("  {name}"),
            ms(calls.time),
            share(calls.time),
            calls.count.to_string(),
        ]);
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

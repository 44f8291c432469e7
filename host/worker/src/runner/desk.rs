//! Where a runner does its tasks, one after the other, and keeps what is to last between them: the
//! engine, an open model, and what trials of a sweep have in common.

use super::Bit;
use super::card::CARD;
use super::connection::Connection;
use super::refusal::Refusal;
use super::scratch::Scratch;
use super::train::{Prepared, Rows, Training};
use crate::artifact::{About, check_weights};
use crate::prediction::Table;
use crate::protocol::{DataFile, LONGEST_MESSAGE, PluginIdentity, Report, Task, TaskLimits, files};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use trainyard_data::{DataFormat, Dataset, Frame, OverviewOptions, ReadOptions};
use trainyard_jobs::{DataReport, Evaluation, LogLevel, TrainingDataset};
use trainyard_kernels::Device;
use trainyard_sandbox::{
    Control, Description, Engine, EngineOptions, Event, Inspection, Job, Level, Limits, Plugin, Runner, SandboxError,
};

/// Lines a second that a log may have. The worker bounds its size, and wants all of it.
const LOG_LINES: u32 = 1_000_000;

/// Does tasks.
pub(super) struct Desk {
    connection: Arc<Connection>,
    scratch: Scratch,
    engine: Engine,
    open: Option<OpenModel>,
    trained: Option<Trained>,
    prepared: Option<Prepared>,
}

/// The plugin of the last training.
struct Trained {
    identity: PluginIdentity,
    plugin: Plugin,
    description: Description,
}

/// A model to predict and judge with.
struct OpenModel {
    plugin: Plugin,
    about: About,
    weights: Vec<u8>,
    limits: Limits,
}

impl Desk {
    pub fn new(connection: Arc<Connection>, scratch: PathBuf) -> Result<Self, SandboxError> {
        Ok(Desk {
            connection,
            scratch: Scratch::new(scratch),
            engine: Engine::new(EngineOptions::default())?,
            open: None,
            trained: None,
            prepared: None,
        })
    }

    /// Does a task, and reports how it ended.
    pub fn perform(&mut self, task: Task, files: Vec<File>, bit: Bit) {
        let done = catch_unwind(AssertUnwindSafe(|| self.done(task, files, bit)));
        let report = match done {
            Ok(Ok(report)) => report,
            Ok(Err(refusal)) => refusal.into(),
            Err(payload) => Refusal::panic(payload.as_ref()).into(),
        };
        match self.connection.say(&report) {
            Ok(true) => {}
            Ok(false) => {
                let long = format!(
                    "the answer has more than {}; ask for less at a time",
                    trainyard_kernels::bytes(LONGEST_MESSAGE as u64)
                );
                // Whether anyone still listens shows when the next order is read.
                let _ = self.connection.say(&Refusal::new("too-long", long).into());
            }
            Err(_) => {}
        }
    }

    fn done(&mut self, task: Task, files: Vec<File>, bit: Bit) -> Result<Report, Refusal> {
        let mut files = Files(files.into_iter());
        match task {
            Task::Train {
                plugin,
                dataset,
                data,
                parameters,
                seed,
                limits,
                resume,
            } => {
                let device = if limits.on_card { CARD } else { Device::Cpu };
                let tf32 = limits.tf32;
                let limits = limits_of(&limits);
                let (file, code) = (files.next("plugin")?, files.next("code")?);
                let trained = match self.trained.take().filter(|trained| trained.identity == plugin) {
                    Some(trained) => trained,
                    None => {
                        let loaded = self.plugin(&plugin, file, code)?;
                        Trained {
                            identity: plugin,
                            description: loaded.describe(&limits)?,
                            plugin: loaded,
                        }
                    }
                };
                let Trained {
                    plugin, description, ..
                } = self.trained.insert(trained);
                Training {
                    connection: &self.connection,
                    scratch: &self.scratch,
                    plugin,
                    description,
                    data: Rows {
                        dataset,
                        data,
                        file: files.next("data")?,
                        prepared: &mut self.prepared,
                    },
                    parameters,
                    seed,
                    limits,
                    device,
                    tf32,
                    checkpoint: resume.then(|| files.next("checkpoint")).transpose()?,
                }
                .run(bit)
            }
            Task::Open { plugin, limits } => {
                self.open = None;
                self.open = Some(OpenModel {
                    plugin: self.plugin(&plugin, files.next("plugin")?, files.next("code")?)?,
                    limits: limits_of(&limits),
                    weights: content(&files.next("weights")?)?,
                    about: About::decode(&content(&files.next("about")?)?)?,
                });
                self.model()?.check(&plugin)?;
                Ok(Report::Opened)
            }
            Task::Predict {
                format,
                name,
                rolling,
                score,
            } => self.predict(files.next("rows")?, (format, &name), (rolling, score), bit.control),
            Task::Evaluate { dataset, data } => self.evaluate(&dataset, files.next("data")?, &data, bit.control),
            Task::Inspect { name, engine } => {
                let plugin = files.next("plugin")?;
                match engine {
                    None => self.inspect(&plugin),
                    Some(engine) => self.inspect_python(&plugin, &name, &engine, &files.next("code")?),
                }
            }
            Task::Compile => {
                let code = Plugin::machine_code(&self.engine, &content(&files.next("component")?)?)?;
                self.scratch.leave(files::CODE, &code)?;
                Ok(Report::Compiled)
            }
            Task::Data(DataFile { format, name, columns }) => {
                let options = ReadOptions {
                    time: columns.time,
                    device: columns.device.clone(),
                    columns: None,
                };
                let frame = Frame::from_file(files.next("data")?, &name, format, &options)?;
                Ok(Report::Data(data_report(&frame, columns.device)?))
            }
        }
    }

    /// A plugin from its machine code; from its own file, if the code is of no use.
    fn plugin(&self, identity: &PluginIdentity, plugin: File, code: File) -> Result<Plugin, Refusal> {
        if let Some(engine) = &identity.engine {
            let loaded = self.python(engine, &code, &plugin, &identity.source_name())?;
            return same(loaded, identity);
        }
        // SAFETY: the descriptor is the worker's, who alone can write to the file, keeps it as the compiler made it, and
        // never changes it once it is there.
        match unsafe { Plugin::from_code(&self.engine, &identity.digest, &code) } {
            Err(SandboxError::Code(_)) => {}
            loaded => return Ok(loaded?),
        }
        same(Plugin::load(&self.engine, &content(&plugin)?)?, identity)
    }

    /// Python source on the engine's machine code.
    fn python(&self, engine: &str, code: &File, plugin: &File, name: &str) -> Result<Plugin, Refusal> {
        let content = content(plugin)?;
        // SAFETY: as of `plugin`.
        Ok(unsafe { Plugin::python_from_code(&self.engine, engine, code, &content, name) }?)
    }

    fn model(&self) -> Result<&OpenModel, Refusal> {
        self.open
            .as_ref()
            .ok_or_else(|| Refusal::new("no-model", "no model is open in this runner"))
    }

    fn predict(
        &self,
        rows: File,
        (format, name): (DataFormat, &str),
        (rolling, score): (bool, bool),
        control: Control,
    ) -> Result<Report, Refusal> {
        let model = self.model()?;
        let state = &model.about.preprocessing;
        let frame = Frame::from_file(rows, name, format, &state.read_options())?;
        let dataset = Dataset::for_predict(frame, state, rolling)?;
        let mut runner = self.runner(model, &dataset, control)?;
        let trained = model.about.model(&model.weights, runner.session())?;
        let values = runner.predict(&trained)?.to_f64()?;
        let mut table = Table::of(&model.about, &dataset, values, score)?;
        Ok(Report::Predicted {
            times: table.times.take(),
            prediction: table.into_prediction(&dataset),
        })
    }

    fn evaluate(
        &self,
        dataset: &TrainingDataset,
        file: File,
        data: &DataFile,
        control: Control,
    ) -> Result<Report, Refusal> {
        let model = self.model()?;
        let state = &model.about.preprocessing;
        let mut spec = state.evaluation_spec(dataset.split);
        spec.device = data.columns.device.clone();
        let frame = Frame::from_file(file, &data.name, data.format, &spec.read_options())?;
        let dataset = Dataset::for_evaluation(frame, &spec, state)?;
        let mut runner = self.runner(model, &dataset, control)?;
        let trained = model.about.model(&model.weights, runner.session())?;
        let metrics = runner.evaluate(&trained)?;
        Ok(Report::Evaluated(Evaluation {
            metrics: metrics.into_iter().map(|m| (m.name, json!(m.value))).collect(),
            warnings: dataset.warnings().iter().map(ToString::to_string).collect(),
        }))
    }

    /// A job with an open model. Its log goes where a training's goes.
    fn runner(&self, model: &OpenModel, dataset: &Dataset, control: Control) -> Result<Runner, Refusal> {
        let job = Job {
            parameters: model.about.parameters.clone(),
            seed: model.about.seed,
            dataset: Some(dataset.clone()),
            limits: model.limits.clone(),
            control,
            ..Job::default()
        };
        let connection = self.connection.clone();
        let log = move |event| {
            if let Some(report) = report(event) {
                // Whether anyone still listens shows when the next order is read.
                let _ = connection.say(&report);
            }
        };
        Ok(Runner::new(&model.plugin, job, log)?)
    }

    fn inspect(&self, plugin: &File) -> Result<Report, Refusal> {
        let content = content(plugin)?;
        let mut inspection = Inspection::of(&content)?;
        if let Err(error) = inspection.check() {
            let details = serde_json::to_value(&inspection).unwrap_or_default();
            return Err(Refusal::from(error).with_details(details));
        }
        let (plugin, code) = Plugin::compile(&self.engine, &content)?;
        inspection.description = Some(plugin.describe(&Limits::default())?);
        self.scratch.leave(files::CODE, &code)?;
        inspected(&inspection)
    }

    fn inspect_python(&self, plugin: &File, name: &str, engine: &str, code: &File) -> Result<Report, Refusal> {
        let mut inspection = Inspection::of(&content(plugin)?)?;
        let plugin = self.python(engine, code, plugin, name)?;
        inspection.description = Some(plugin.describe(&Limits::default())?);
        inspected(&inspection)
    }
}

fn inspected(inspection: &Inspection) -> Result<Report, Refusal> {
    let inspection = serde_json::to_value(inspection)
        .map_err(|error| Refusal::new("inspection", format!("the inspection cannot be written: {error}")))?;
    Ok(Report::Inspected { inspection })
}

/// The plugin, if it is the one that was meant.
fn same(plugin: Plugin, identity: &PluginIdentity) -> Result<Plugin, Refusal> {
    if plugin.digest() == identity.digest {
        return Ok(plugin);
    }
    Err(Refusal::new(
        "plugin",
        format!("the file of the plugin {} is not the one that was meant", identity.name),
    ))
}

impl OpenModel {
    /// Whether the files belong together and are whole.
    fn check(&self, plugin: &PluginIdentity) -> Result<(), Refusal> {
        check_weights(&self.weights)?;
        if self.about.plugin.digest != plugin.digest {
            return Err(Refusal::new(
                "artifact",
                format!(
                    "{}: the model was trained with another plugin ({} {}, digest {}); give that one",
                    files::ABOUT,
                    self.about.plugin.name,
                    self.about.plugin.version,
                    self.about.plugin.digest.get(..12).unwrap_or("unknown")
                ),
            ));
        }
        Ok(())
    }
}

/// The files of an order, in its order.
struct Files(std::vec::IntoIter<File>);

impl Files {
    fn next(&mut self, what: &str) -> Result<File, Refusal> {
        self.0
            .next()
            .ok_or_else(|| Refusal::new("protocol", format!("the order came without the file of the {what}")))
    }
}

/// All of a file, whoever else has read from its descriptor.
pub(super) fn content(mut file: &File) -> Result<Vec<u8>, Refusal> {
    let mut content = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut content));
    read.map_err(|error| Refusal::new("io", format!("cannot read a file of the order: {error}")))?;
    Ok(content)
}

fn limits_of(limits: &TaskLimits) -> Limits {
    Limits {
        tensor_memory: limits.tensor_memory,
        wall_time: Duration::from_secs(limits.time_seconds),
        log_lines_per_second: LOG_LINES,
        ..Limits::default()
    }
}

/// What an event is to the worker; a checkpoint is more than a word.
pub(super) fn report(event: Event) -> Option<Report> {
    Some(match event {
        Event::Progress {
            current,
            total,
            fraction,
            metrics,
        } => Report::Progress {
            timestamp: chrono::Utc::now(),
            current,
            total,
            fraction,
            metrics,
        },
        Event::Log { level, message } => Report::Log {
            level: match level {
                Level::Debug => LogLevel::Debug,
                Level::Info => LogLevel::Info,
                Level::Warn => LogLevel::Warning,
                Level::Error => LogLevel::Error,
            },
            message,
        },
        Event::LogDropped { lines } => Report::Log {
            level: LogLevel::Warning,
            message: format!("{lines} log lines were dropped: too many in a second"),
        },
        Event::Checkpoint(_) => return None,
    })
}

/// The tasks that a plugin can do.
pub(super) fn tasks(description: &Description) -> Vec<trainyard_data::Task> {
    description.tasks.iter().filter_map(|task| task.parse().ok()).collect()
}

fn data_report(frame: &Frame, device: Option<String>) -> Result<DataReport, Refusal> {
    let overview = frame.overview_with(&OverviewOptions { device })?;
    let object = |column| match serde_json::to_value(column) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    let devices = json!({"count": overview.device_count, "first": overview.devices});
    Ok(DataReport {
        rows: overview.rows as u64,
        columns: overview.columns.iter().map(object).collect(),
        time: overview.time,
        head: overview.head,
        warnings: overview.warnings.iter().map(ToString::to_string).collect(),
        gaps: overview.gaps.and_then(|gaps| serde_json::to_value(gaps).ok()),
        devices: (overview.device_count > 0).then_some(devices),
        counted: None,
    })
}

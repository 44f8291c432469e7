//! Work that somebody waits for: inspections, predictions, evaluations. All of it is done by runners.

use crate::code::{CodeStore, PluginFiles};
use crate::failure::Failure;
use crate::process::Runner;
use crate::protocol::{DataFile, Order, PluginIdentity, Report, Task, TaskLimits, files};
use crate::source::{self, OpenData};
use crate::worker::Shared;
use async_trait::async_trait;
use chrono::Utc;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use trainyard_data::DataFormat;
use trainyard_data::tdengine::{Sink, SinkColumn, SinkRows};
use trainyard_jobs::{
    Attempt, Compute, ComputeError, DataReport, Evaluation, PluginReport, PluginVersion, PredictInput, PredictOptions,
    Prediction, RowColumns, Rows, Run, TrainingDataset, Tried,
};

/// How long a request waits for its turn before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rows of each device that a preview reads.
const PREVIEWED: u64 = 1_000_000;
/// What messages call rows that came with a request.
const ROWS: &str = "the rows";
/// What Python calls an uploaded file.
pub(crate) const UNNAMED: &str = "plugin.py";
/// How often a runner's memory is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What the server calls.
pub(crate) struct Desk {
    shared: Arc<Shared>,
    turns: Semaphore,
    open: Mutex<HashMap<String, Arc<OpenModel>>>,
}

/// A model that a runner holds open; empty until someone needs it, and after a failure.
struct OpenModel {
    runner: tokio::sync::Mutex<Option<Runner>>,
    used: Mutex<Instant>,
}

impl Desk {
    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        let desk = Arc::new(Desk {
            turns: Semaphore::new(shared.options.compute_slots),
            open: Mutex::default(),
            shared,
        });
        let weak = Arc::downgrade(&desk);
        let idle = desk.shared.options.open_idle;
        tokio::spawn(async move {
            let mut clock = tokio::time::interval((idle / 4).max(Duration::from_millis(100)));
            while let Some(desk) = weak.upgrade() {
                desk.close_idle(idle);
                drop(desk);
                clock.tick().await;
            }
        });
        desk
    }

    pub(crate) fn code(&self) -> &CodeStore {
        &self.shared.code
    }

    /// Closes every open model.
    pub fn close(&self) {
        self.lock().clear();
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, ComputeError> {
        match tokio::time::timeout(PATIENCE, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(ComputeError::Busy),
        }
    }

    /// Asks a fresh runner one thing. Whoever asked ends the runner.
    async fn once(&self, task: Task, files: &[&File]) -> Result<(Report, Runner), ComputeError> {
        self.once_hearing(task, files, &mut |_| {}).await
    }

    /// The same, and passes on what the runner says on the way.
    pub(crate) async fn once_hearing(
        &self,
        task: Task,
        files: &[&File],
        heard: &mut (dyn FnMut(Report) + Send),
    ) -> Result<(Report, Runner), ComputeError> {
        let _turn = self.turn().await?;
        let mut runner = self.shared.pool.take().await.map_err(Failure::from)?;
        match self.ask_hearing(&mut runner, task, files, heard).await {
            Ok(report) => Ok((report, runner)),
            Err(error) => {
                runner.kill().await;
                Err(error)
            }
        }
    }

    async fn ask(&self, runner: &mut Runner, task: Task, files: &[&File]) -> Result<Report, ComputeError> {
        self.ask_hearing(runner, task, files, &mut |_| {}).await
    }

    async fn ask_hearing(
        &self,
        runner: &mut Runner,
        task: Task,
        files: &[&File],
        heard: &mut (dyn FnMut(Report) + Send),
    ) -> Result<Report, ComputeError> {
        let options = &self.shared.options;
        let memory = options.compute_memory_mb << 20;
        match tokio::time::timeout(options.compute_time, ask(runner, task, files, memory, heard)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(ComputeError::Timeout {
                seconds: options.compute_time.as_secs(),
            }),
        }
    }

    /// Asks the runner that holds a run's result open; opens it first if need be.
    async fn ask_model(&self, run: &Run, task: Task, file: &File) -> Result<Report, ComputeError> {
        let _turn = self.turn().await?;
        let model = self.model(&run.id);
        let mut slot = model.runner.lock().await;
        let mut runner = match slot.take().filter(|runner| runner.usage().is_some()) {
            Some(runner) => runner,
            None => self.open(run).await?,
        };
        let answer = self.ask(&mut runner, task, &[file]).await;
        *model.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        match &answer {
            // What was asked was at fault, the runner is not.
            Ok(_) | Err(ComputeError::Refused { .. }) => *slot = Some(runner),
            Err(_) => runner.kill().await,
        }
        answer
    }

    async fn open(&self, run: &Run) -> Result<Runner, ComputeError> {
        let Some(prefix) = &run.file_path else {
            return Err(ComputeError::Failed(format!("run {} has no result", run.id)));
        };
        let artifacts = &self.shared.artifacts;
        let load = async {
            let PluginFiles { plugin, code, engine } = self.shared.code.files(&run.plugin_digest).await?;
            let weights = artifacts.open(&format!("{prefix}/{}", files::WEIGHTS)).await?;
            let about = artifacts.open(&format!("{prefix}/{}", files::ABOUT)).await?;
            Ok::<_, Failure>(([plugin, code, weights, about], engine))
        };
        let (opened, engine) = load.await?;
        let mut runner = self.shared.pool.take().await.map_err(Failure::from)?;
        let task = Task::Open {
            plugin: identity(run, engine),
            limits: self.limits(),
        };
        let answer = self.ask(&mut runner, task, &opened.each_ref()).await;
        match answer {
            Ok(Report::Opened) => Ok(runner),
            Ok(other) => {
                runner.kill().await;
                Err(unexpected(&other).into())
            }
            Err(error) => {
                runner.kill().await;
                Err(error)
            }
        }
    }

    /// Opens or fetches what a data set names, no longer than somebody waits for it.
    pub(crate) async fn rows(&self, dataset: &TrainingDataset, most: Option<u64>) -> Result<OpenData, ComputeError> {
        let limit = self.shared.options.compute_time;
        match tokio::time::timeout(limit, source::open(&self.shared, dataset, most, &|_| {})).await {
            Ok(opened) => Ok(opened?),
            Err(_) => Err(ComputeError::Timeout {
                seconds: limit.as_secs(),
            }),
        }
    }

    /// Writes a prediction to a table of the user's.
    async fn write(
        &self,
        run: &Run,
        sink: &Sink,
        prediction: &Prediction,
        times: Option<Vec<i64>>,
    ) -> Result<u64, ComputeError> {
        let Some(tdengine) = &self.shared.tdengine else {
            return Err(source::not_configured().into());
        };
        let Some(times) = times else {
            let message = "the rows have no times, so the prediction cannot be written to a table of times";
            return Err(Failure::job("sink", message).into());
        };
        let rows = sink_rows(run, prediction, times);
        Ok(tdengine.write(sink, &rows).await.map_err(Failure::from)?)
    }

    pub(crate) fn limits(&self) -> TaskLimits {
        let options = &self.shared.options;
        TaskLimits {
            time_seconds: options.compute_time.as_secs(),
            tensor_memory: (options.compute_memory_mb << 20) / 4 * 3,
            threads: options.threads,
            on_card: false,
            tf32: false,
        }
    }

    /// The place of a model; the one that was used longest ago makes room.
    fn model(&self, run: &str) -> Arc<OpenModel> {
        let mut open = self.lock();
        if let Some(model) = open.get(run) {
            return model.clone();
        }
        if open.len() >= self.shared.options.open_models.max(1) {
            let oldest = open
                .iter()
                .min_by_key(|(_, model)| *model.used.lock().unwrap_or_else(PoisonError::into_inner))
                .map(|(run, _)| run.clone());
            // Whoever is being served by it keeps it until then.
            oldest.and_then(|run| open.remove(&run));
        }
        let model = Arc::new(OpenModel {
            runner: tokio::sync::Mutex::new(None),
            used: Mutex::new(Instant::now()),
        });
        open.insert(run.to_owned(), model.clone());
        model
    }

    fn close_idle(&self, idle: Duration) {
        self.lock().retain(|_, model| {
            model.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < idle
                || model.runner.try_lock().is_err()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<OpenModel>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Compute for Desk {
    async fn inspect_plugin(&self, file: PathBuf) -> Result<PluginReport, ComputeError> {
        let file = open(&file)?;
        let engine = self.shared.code.engine_for(&file).await?;
        let task = Task::Inspect {
            name: UNNAMED.to_owned(),
            engine: engine.as_ref().map(|(digest, _)| digest.clone()),
        };
        let code = engine.as_ref().map(|(_, code)| code);
        let files: Vec<&File> = std::iter::once(&file).chain(code).collect();
        let (report, runner) = self.once(task, &files).await?;
        let read = match report {
            Report::Inspected { inspection } => {
                described(&inspection).map(|plugin| PluginReport { plugin, inspection })
            }
            other => Err(unexpected(&other)),
        };
        if engine.is_none()
            && let Ok(report) = &read
            && let Err(failure) = self.shared.code.keep(&report.plugin.digest, &runner).await
        {
            // The first training compiles it, then.
            tracing::warn!(%failure, "a compiled plugin could not be kept");
        }
        runner.kill().await;
        Ok(read?)
    }

    async fn try_plugin(&self, attempt: Attempt) -> Result<Tried, ComputeError> {
        self.attempt(attempt).await
    }

    async fn inspect_data(&self, file: PathBuf, name: &str, format: DataFormat) -> Result<DataReport, ComputeError> {
        let data = DataFile {
            format,
            name: name.to_owned(),
            columns: RowColumns::default(),
        };
        let file = open(&file)?;
        let (report, runner) = self.once(Task::Data(data), &[&file]).await?;
        runner.kill().await;
        match report {
            Report::Data(report) => Ok(report),
            other => Err(unexpected(&other).into()),
        }
    }

    async fn preview(&self, dataset: TrainingDataset) -> Result<DataReport, ComputeError> {
        let opened = self.rows(&dataset, Some(PREVIEWED)).await?;
        let (report, runner) = self.once(Task::Data(opened.data), &[&opened.file]).await?;
        runner.kill().await;
        match report {
            Report::Data(mut report) => {
                let fetched = opened.fetched.as_ref();
                report.counted = fetched
                    .map(|fetched| fetched.counted)
                    .filter(|counted| *counted != report.rows);
                report
                    .warnings
                    .extend(fetched.iter().flat_map(|fetched| fetched.notes.clone()));
                Ok(report)
            }
            other => Err(unexpected(&other).into()),
        }
    }

    async fn predict(
        &self,
        run: &Run,
        input: PredictInput,
        options: PredictOptions,
    ) -> Result<Prediction, ComputeError> {
        let (file, format, name, device) = match input {
            PredictInput::Rows(Rows { format, content }) => {
                let file = in_memory(&content).map_err(|error| ComputeError::Failed(error.to_string()))?;
                (file, format, ROWS.to_owned(), None)
            }
            PredictInput::Dataset(dataset) => {
                let opened = self.rows(&dataset, None).await?;
                let only = opened.fetched.as_ref().and_then(|fetched| match &fetched.devices[..] {
                    [only] => Some(only.name.clone()),
                    _ => None,
                });
                (opened.file, opened.data.format, opened.data.name, only)
            }
        };
        let task = Task::Predict {
            format,
            name,
            rolling: options.rolling,
            score: options.score,
        };
        match self.ask_model(run, task, &file).await? {
            Report::Predicted { mut prediction, times } => {
                if let Some(mut sink) = options.sink {
                    sink.device_id = sink.device_id.or(device);
                    prediction.written = Some(self.write(run, &sink, &prediction, times).await?);
                }
                Ok(prediction)
            }
            other => Err(unexpected(&other).into()),
        }
    }

    async fn evaluate(&self, run: &Run, dataset: Option<TrainingDataset>) -> Result<Evaluation, ComputeError> {
        let dataset = match dataset {
            Some(dataset) => dataset,
            None => TrainingDataset::parse(&run.training_dataset).map_err(ComputeError::Failed)?,
        };
        let opened = self.rows(&dataset, None).await?;
        let task = Task::Evaluate {
            dataset,
            data: opened.data,
        };
        match self.ask_model(run, task, &opened.file).await? {
            Report::Evaluated(evaluation) => Ok(evaluation),
            other => Err(unexpected(&other).into()),
        }
    }
}

/// Has a runner compile a component of the contract.
pub(crate) async fn compile(runner: &mut Runner, component: &File) -> Result<(), Failure> {
    match ask(runner, Task::Compile, &[component], u64::MAX, &mut |_| {}).await? {
        Report::Compiled => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// Gives a task and waits for what comes of it. A runner that holds more memory than it may is killed.
async fn ask(
    runner: &mut Runner,
    task: Task,
    files: &[&File],
    memory: u64,
    heard: &mut (dyn FnMut(Report) + Send),
) -> Result<Report, Failure> {
    let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    runner.send(&Order::Do(Box::new(task)), &files).await?;
    let mut clock = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            report = runner.next() => match report? {
                Report::Failed { code, message, details, log } => {
                    return Err(Failure::Job { code, message, details: Box::new(details), log });
                }
                report @ (Report::Log { .. } | Report::Progress { .. } | Report::Prepared { .. }) => heard(report),
                // Nobody goes on from it.
                Report::Checkpoint => runner.send(&Order::CheckpointStored, &[]).await?,
                report => return Ok(report),
            },
            _ = clock.tick() => {
                let held = runner.usage().map_or(0, |usage| usage.resident_bytes);
                if held > memory {
                    return Err(Failure::Died(format!("it held {} MiB, and {} are allowed", held >> 20, memory >> 20)));
                }
            }
        }
    }
}

/// What to store of an inspected plugin.
fn described(inspection: &Value) -> Result<PluginVersion, Failure> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let read = || {
        let description = inspection.get("description")?;
        let tasks = description.get("tasks")?.as_array()?;
        Some(PluginVersion {
            name: text(description, "name")?,
            version: text(description, "version")?,
            digest: text(inspection, "digest")?,
            size: inspection.get("size")?.as_u64()?,
            summary: text(description, "summary")?,
            tasks: tasks
                .iter()
                .filter_map(|task| task.as_str().map(str::to_owned))
                .collect(),
            parameters: description.get("parameters")?.clone(),
            metrics: description.get("metrics")?.clone(),
            contract: text(inspection, "contract"),
            created_at: Utc::now(),
        })
    };
    read().ok_or_else(|| Failure::ours("inspection", "the runner's report makes no sense"))
}

/// Which plugin a run is of.
pub(crate) fn identity(run: &Run, engine: Option<String>) -> PluginIdentity {
    PluginIdentity {
        name: run.plugin.clone(),
        version: run.plugin_version.clone(),
        digest: run.plugin_digest.clone(),
        engine,
    }
}

/// A prediction as columns, without what only numbers its rows.
fn sink_rows(run: &Run, prediction: &Prediction, times: Vec<i64>) -> SinkRows {
    // The first column is the time, or, with several forecasts, their number.
    let first = 1 + usize::from(prediction.columns.first().is_some_and(|name| name == "forecast"));
    let column = |at: usize| {
        let cells = prediction.rows.iter().map(|row| &row[at]);
        match prediction.rows.first().map(|row| &row[at]) {
            Some(Value::String(_)) => {
                SinkColumn::Texts(cells.map(|cell| cell.as_str().unwrap_or_default().to_owned()).collect())
            }
            _ => SinkColumn::Numbers(cells.map(|cell| cell.as_f64().unwrap_or(f64::NAN)).collect()),
        }
    };
    // `p(class)` is no name of a column.
    let name = |name: &String| match name.strip_prefix("p(").and_then(|rest| rest.strip_suffix(')')) {
        Some(class) => format!("p_{class}"),
        None => name.clone(),
    };
    SinkRows {
        run_id: run.id.clone(),
        model_id: run.model_id,
        times,
        columns: prediction
            .columns
            .iter()
            .enumerate()
            .skip(first)
            .map(|(at, called)| (name(called), column(at)))
            .collect(),
    }
}

pub(crate) fn unexpected(report: &Report) -> Failure {
    let text = format!("{report:?}");
    let word: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    Failure::Died(format!("it answered {word} to something else"))
}

fn open(path: &PathBuf) -> Result<File, ComputeError> {
    File::open(path).map_err(|error| ComputeError::Failed(format!("{}: {error}", path.display())))
}

/// Rows as a file that only we and the runner can see.
pub(crate) fn in_memory(content: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("rows", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

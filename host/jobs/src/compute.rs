//! The port for what the server asks a worker to do at once.

use crate::{PluginVersion, Run, SeriesPoint, TrainingDataset};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;
use trainyard_data::{DataFormat, tdengine::Sink};

/// Why something could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// What was given cannot be used; the user can mend it.
    #[error("{message}")]
    Refused {
        /// A stable name, such as `not-a-plugin`.
        code: String,
        /// What was wrong, where, and what to do.
        message: String,
        /// More of it, for programs; null where there is nothing.
        details: Value,
    },
    /// Too many requests at once; try again.
    #[error("all runners are busy; try again in a moment")]
    Busy,
    /// It took too long.
    #[error("it took longer than {seconds} s")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
    /// Something of ours failed.
    #[error("{0}")]
    Failed(String),
}

/// What a plugin's file turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginReport {
    /// What to store. `created_at` is now.
    pub plugin: PluginVersion,
    /// The whole inspection, as `trainyard plugin inspect --json` prints it.
    pub inspection: Value,
}

/// What a file of data turned out to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataReport {
    /// Its rows.
    pub rows: u64,
    /// Its columns: `name`, `type` (number, text, time), `missing`, and of numbers `min`, `max`, `mean`.
    pub columns: Vec<Map<String, Value>>,
    /// First and last time, where there is a time column.
    pub time: Option<(String, String)>,
    /// The first rows, as text or numbers or null, in the order of the columns.
    pub head: Vec<Vec<Value>>,
    /// What may be wrong.
    pub warnings: Vec<String>,
    /// Where rows are missing in time: `step` (the usual one), `count`, `rows` that are missing, and the `longest` few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gaps: Option<Value>,
    /// The devices, where there are several: their `count`, and the `first` fifty with `name` and `rows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Value>,
    /// Rows that the source has, where not all were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<u64>,
}

/// A training whose result nobody keeps, to try a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The plugin: Python source.
    pub source: String,
    /// What it learns from.
    pub dataset: TrainingDataset,
    /// The rows themselves. Where there are some, the data set says all but where they come from.
    pub rows: Option<Rows>,
    /// Parameters; those that are absent have their defaults.
    pub parameters: Map<String, Value>,
    /// What every random number follows from.
    pub seed: u32,
}

/// What came of trying a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// Figures on the test rows.
    pub metrics: Map<String, Value>,
    /// The figures that it told, the first 2000 points of each.
    pub series: Vec<SeriesPoint>,
    /// The first 1000 lines that it logged: `timestamp`, `level`, `message`.
    pub log: Vec<Value>,
    /// What may be wrong with the data.
    pub warnings: Vec<String>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Rows to predict for or to be judged on.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// How they are written.
    pub format: DataFormat,
    /// The content.
    pub content: bytes::Bytes,
}

/// What to predict for.
#[derive(Debug, Clone, PartialEq)]
pub enum PredictInput {
    /// Rows that came with the request.
    Rows(Rows),
    /// Rows of a source: where they come from is all that counts of the data set.
    Dataset(TrainingDataset),
}

/// How to predict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PredictOptions {
    /// From every window, not from the last one alone.
    pub rolling: bool,
    /// Adds a column `anomaly_score` to a rolling forecast: how far the values that came are from those that were
    /// predicted for them, in standard deviations of the training rows (the root of the mean square over the targets).
    pub score: bool,
    /// Where the prediction is written, too.
    pub sink: Option<Sink>,
}

/// Predicted values: a header and rows, in the targets' own units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// `forecast` (with several windows), the time column or `row`, then the targets, or the class and a `p(class)` each.
    pub columns: Vec<String>,
    /// In the order of the columns.
    pub rows: Vec<Vec<Value>>,
    /// What may be wrong.
    pub warnings: Vec<String>,
    /// Rows that were written to the sink, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
}

/// Figures of a model on some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// By name.
    pub metrics: Map<String, Value>,
    /// What may be wrong.
    pub warnings: Vec<String>,
}

/// Work that somebody waits for. All of it happens in runner processes.
#[async_trait]
pub trait Compute: Send + Sync {
    /// Inspects and compiles a plugin. Refused with the full reason.
    async fn inspect_plugin(&self, file: PathBuf) -> Result<PluginReport, ComputeError>;

    /// Trains with a plugin that is not stored anywhere, and keeps nothing of it.
    async fn try_plugin(&self, attempt: Attempt) -> Result<Tried, ComputeError>;

    /// Reads a file of data. `name` is what messages call it.
    async fn inspect_data(&self, file: PathBuf, name: &str, format: DataFormat) -> Result<DataReport, ComputeError>;

    /// Reads what a data set names: its rows, or the first million of each device.
    async fn preview(&self, dataset: TrainingDataset) -> Result<DataReport, ComputeError>;

    /// Predicts with a run's result.
    async fn predict(
        &self,
        run: &Run,
        input: PredictInput,
        options: PredictOptions,
    ) -> Result<Prediction, ComputeError>;

    /// Judges a run's result: on the test rows of a data set, its own when there is none.
    async fn evaluate(&self, run: &Run, dataset: Option<TrainingDataset>) -> Result<Evaluation, ComputeError>;
}

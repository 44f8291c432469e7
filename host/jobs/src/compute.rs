//! The port for what the server asks a worker to do at once.

use crate::{PluginVersion, Run};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;
use trainyard_data::DataFormat;

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
}

/// Rows to predict for or to be judged on.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// How they are written.
    pub format: DataFormat,
    /// The content.
    pub content: bytes::Bytes,
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

    /// Reads a file of data. `name` is what messages call it.
    async fn inspect_data(&self, file: PathBuf, name: &str, format: DataFormat) -> Result<DataReport, ComputeError>;

    /// Predicts with a run's result. `rolling`: from every window, not from the last one alone.
    async fn predict(&self, run: &Run, rows: Rows, rolling: bool) -> Result<Prediction, ComputeError>;

    /// Judges a run's result: on the test rows of a data set, its own when there is none.
    async fn evaluate(&self, run: &Run, dataset: Option<crate::TrainingDataset>) -> Result<Evaluation, ComputeError>;
}

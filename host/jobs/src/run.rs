//! A run: one training of a model. Runs are never forgotten while their model lives.

use crate::{DeviceChoice, ModelId, ModelStatus, RunId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a run is: as a model, and it can end by being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunState {
    /// Waits for a worker.
    Pending,
    /// A worker prepares the data.
    Preparing,
    /// The plugin trains and is judged.
    Training,
    /// Ended with a result.
    Trained,
    /// Ended without one; `error_log` says why.
    Error,
    /// Someone stopped it.
    Cancelled,
}

impl RunState {
    /// Every state.
    pub const ALL: [RunState; 6] = [
        RunState::Pending,
        RunState::Preparing,
        RunState::Training,
        RunState::Trained,
        RunState::Error,
        RunState::Cancelled,
    ];

    /// The name in rows and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunState::Pending => "PENDING",
            RunState::Preparing => "PREPARING",
            RunState::Training => "TRAINING",
            RunState::Trained => "TRAINED",
            RunState::Error => "ERROR",
            RunState::Cancelled => "CANCELLED",
        }
    }

    /// The state of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing can follow.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Trained | Self::Error | Self::Cancelled)
    }

    /// The status that the model has meanwhile; none for a stopped run, after which the model is what it was before.
    pub const fn model_status(self) -> Option<ModelStatus> {
        Some(match self {
            RunState::Pending => ModelStatus::Pending,
            RunState::Preparing => ModelStatus::Preparing,
            RunState::Training => ModelStatus::Training,
            RunState::Trained => ModelStatus::Trained,
            RunState::Error => ModelStatus::Error,
            RunState::Cancelled => return None,
        })
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a run may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunLimits {
    /// Seconds from the start of preparation to the end; then it is killed. 1 to 3600 unless the operator allows more.
    pub time_seconds: u64,
    /// MiB that the runner process may hold; of a run on a card, what its tensors may hold there.
    pub memory_mb: u64,
    /// Where its tensors are to be.
    #[serde(default)]
    pub device: DeviceChoice,
    /// Whether a card may multiply matrices of `f32` with the shorter mantissa of TF32: faster, and less exact.
    #[serde(default)]
    pub tf32: bool,
}

/// What the operating system says that a run used, as the original's `resource_usage`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceUsage {
    /// 100 is one core. Live: of the last second; at the end: of the whole run.
    pub cpu_percent: f64,
    /// MiB resident. Live: now; at the end: the most there was.
    pub memory_mb: f64,
    /// Percent of the card; 0 without one. Live: lately; at the end: on average.
    pub gpu_util: f64,
    /// Seconds since the run began to be worked on.
    pub duration_seconds: f64,
    /// Where the tensors are or were: `cpu`, or the card with its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// MiB of the card, of a run on one. Live: now; at the end: the most there was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_memory_mb: Option<f64>,
    /// Degrees Celsius of the card, of a run on one. Live: now; at the end: the most there was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_temperature_c: Option<f64>,
    /// Watts that the card takes, of a run on one. Live: now; at the end: on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_power_w: Option<f64>,
}

impl ResourceUsage {
    /// The same with 0 for what is not finite: JSON has no word for such a figure, and a row that holds one could not be
    /// read again.
    pub(crate) fn finite(&self) -> Self {
        let finite = |figure: f64| if figure.is_finite() { figure } else { 0.0 };
        ResourceUsage {
            cpu_percent: finite(self.cpu_percent),
            memory_mb: finite(self.memory_mb),
            gpu_util: finite(self.gpu_util),
            duration_seconds: finite(self.duration_seconds),
            device: self.device.clone(),
            gpu_memory_mb: self.gpu_memory_mb.map(finite),
            gpu_temperature_c: self.gpu_temperature_c.map(finite),
            gpu_power_w: self.gpu_power_w.map(finite),
        }
    }
}

/// A run as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name; the original's `task_id`.
    pub id: RunId,
    /// The model that is trained.
    pub model_id: ModelId,
    /// Where it is.
    pub state: RunState,
    /// 0 to 100.
    pub progress: f64,
    /// Times that a worker took it.
    pub attempt: u32,
    /// Grows whenever someone takes or gives back the run. Whoever holds an older one can no longer write.
    #[serde(skip)]
    pub token: i64,
    /// The worker that has it, or had it last.
    pub worker: Option<String>,
    /// Whether someone wants it to stop.
    pub stop_requested: bool,
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// SHA-256 of the plugin's file.
    pub plugin_digest: String,
    /// JSON of a [`crate::TrainingDataset`].
    pub training_dataset: Value,
    /// All parameters, defaults filled in.
    pub training_parameters: Value,
    /// What every random number follows from.
    pub seed: u32,
    /// What it may use.
    pub limits: RunLimits,
    /// What a worker has to have to take it.
    pub labels: Vec<String>,
    /// The sweep whose trial it is, if it is one.
    pub sweep_id: Option<i64>,
    /// Figures on the test rows.
    pub metrics: Map<String, Value>,
    /// Where its result lies: a prefix in the artifacts.
    pub file_path: Option<String>,
    /// Where its last checkpoint lies: a key in the artifacts.
    pub checkpoint: Option<String>,
    /// Why it failed.
    pub error_log: Option<String>,
    /// What data it was trained on: source, hash, rows, columns. Null until it is known.
    pub lineage: Value,
    /// What it used.
    pub resource_usage: Option<ResourceUsage>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// What a new run is to be. Everything is checked before.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// A new random UUID.
    pub id: RunId,
    /// The model that is trained.
    pub model_id: ModelId,
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// SHA-256 of the plugin's file.
    pub plugin_digest: String,
    /// JSON of a [`crate::TrainingDataset`].
    pub training_dataset: Value,
    /// All parameters, defaults filled in.
    pub training_parameters: Value,
    /// What every random number follows from.
    pub seed: u32,
    /// What it may use.
    pub limits: RunLimits,
    /// What a worker has to have to take it.
    pub labels: Vec<String>,
}

impl Run {
    /// The same once more, under a new name.
    pub fn again(&self, id: RunId) -> NewRun {
        NewRun {
            id,
            model_id: self.model_id,
            plugin: self.plugin.clone(),
            plugin_version: self.plugin_version.clone(),
            plugin_digest: self.plugin_digest.clone(),
            training_dataset: self.training_dataset.clone(),
            training_parameters: self.training_parameters.clone(),
            seed: self.seed,
            limits: self.limits.clone(),
            labels: self.labels.clone(),
        }
    }
}

/// A good end.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Figures on the test rows.
    pub metrics: Map<String, Value>,
    /// Where the artifact lies: a prefix in the artifacts.
    pub file_path: String,
    /// What data it was trained on.
    pub lineage: Value,
}

/// Which runs of a model to list: newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFilter {
    /// Of which model.
    pub model_id: ModelId,
    /// Only those before this number of the store's: the cursor, as in [`crate::Page::next`].
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// One reading of one of the plugin's own figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesPoint {
    /// The plugin's step.
    pub step: u64,
    /// Seconds since the run began to be worked on.
    pub seconds: f64,
    /// Such as `loss`.
    pub name: String,
    /// A finite number.
    pub value: f64,
}

//! A model: what a user trains, again and again. The row is the original's `t_ai_models`, with its columns.

use crate::{ModelId, ResourceUsage, RunId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a model is. The names are the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ModelStatus {
    /// Never trained.
    Draft,
    /// A run waits for a worker.
    Pending,
    /// A worker reads and prepares the data: progress 0 to 5.
    Preparing,
    /// The plugin trains: progress 5 to 99.
    Training,
    /// There is a result: progress 100.
    Trained,
    /// The last run failed; `error_log` says why.
    Error,
}

impl ModelStatus {
    /// Every status.
    pub const ALL: [ModelStatus; 6] = [
        ModelStatus::Draft,
        ModelStatus::Pending,
        ModelStatus::Preparing,
        ModelStatus::Training,
        ModelStatus::Trained,
        ModelStatus::Error,
    ];

    /// The name in rows and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            ModelStatus::Draft => "DRAFT",
            ModelStatus::Pending => "PENDING",
            ModelStatus::Preparing => "PREPARING",
            ModelStatus::Training => "TRAINING",
            ModelStatus::Trained => "TRAINED",
            ModelStatus::Error => "ERROR",
        }
    }

    /// The status of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether a run is under way, so that no other may start.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Preparing | Self::Training)
    }
}

impl std::fmt::Display for ModelStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A model as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its number.
    pub id: ModelId,
    /// What its owner calls it; 1 to 200 characters.
    pub name: String,
    /// Free text.
    pub description: String,
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's version; absent: the newest at the time of a submit.
    pub plugin_version: Option<String>,
    /// Where it is.
    pub status: ModelStatus,
    /// 0 to 100.
    pub progress: f64,
    /// The current or last run.
    pub task_id: Option<RunId>,
    /// The run whose result the model predicts with.
    pub trained_run: Option<RunId>,
    /// What a training uses when the submit does not say: JSON of a [`crate::TrainingDataset`], or null.
    pub training_dataset: Value,
    /// What a training uses when the submit does not say: an object.
    pub training_parameters: Value,
    /// Figures on the test rows, of `trained_run`.
    pub metrics: Map<String, Value>,
    /// Where the artifact of `trained_run` lies.
    pub file_path: Option<String>,
    /// Why the last run failed.
    pub error_log: Option<String>,
    /// When the current or last run began to be worked on.
    pub started_at: Option<Timestamp>,
    /// When the last run ended.
    pub finished_at: Option<Timestamp>,
    /// What the current or last run used.
    pub resource_usage: Option<ResourceUsage>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When anything of it changed.
    pub updated_at: Timestamp,
}

/// What a new model is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewModel {
    /// 1 to 200 characters.
    pub name: String,
    /// Free text.
    pub description: String,
    /// The plugin's name.
    pub plugin: String,
    /// A version, or the newest.
    pub plugin_version: Option<String>,
    /// Default for trainings, or null.
    pub training_dataset: Value,
    /// Default for trainings: an object.
    pub training_parameters: Value,
}

/// What is to change in a model; absent fields stay. Refused while a run is active.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new description.
    pub description: Option<String>,
    /// Another plugin.
    pub plugin: Option<String>,
    /// Another version, or `Some(None)` for the newest.
    pub plugin_version: Option<Option<String>>,
    /// Another default.
    pub training_dataset: Option<Value>,
    /// Another default.
    pub training_parameters: Option<Value>,
}

/// Which models to list: newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelFilter {
    /// Only those in one of these; empty: all.
    pub status: Vec<ModelStatus>,
    /// Only those whose name contains this, whatever the case.
    pub name: Option<String>,
    /// Only those of this plugin.
    pub plugin: Option<String>,
    /// Only those before this number: the cursor.
    pub before: Option<ModelId>,
    /// At most so many.
    pub limit: u32,
}

/// Some of a list, and where the rest begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to pass as cursor for the next page; absent at the end.
    pub next: Option<String>,
}

//! What a worker and a runner say to each other, over one Unix socket.
//!
//! A message is a length (`u32`, little endian) and so many bytes of JSON. File descriptors ride along with the first byte
//! of an order, in the order in which [`Task`] names them. Everything that a runner says is untrusted: it is read with limits, and what
//! it leaves in its scratch folder is opened without following links.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trainyard_data::DataFormat;
use trainyard_jobs::{DataReport, Evaluation, LogLevel, Prediction, RowColumns, Timestamp, TrainingDataset};

/// The longest message, either way.
pub const LONGEST_MESSAGE: usize = 64 << 20;

/// The most files that ride along with an order.
pub const MOST_FILES: usize = 8;

/// A message as it is sent: its length, and its text. Nothing if it is too long.
pub(crate) fn frame(message: &impl Serialize) -> Option<Vec<u8>> {
    let mut frame = vec![0; HEADER];
    // A message is made of texts and numbers alone, so that writing it into memory cannot fail.
    serde_json::to_writer(&mut frame, message).ok()?;
    let length = u32::try_from(frame.len() - HEADER).ok()?;
    if length as usize > LONGEST_MESSAGE {
        return None;
    }
    frame[..HEADER].copy_from_slice(&length.to_le_bytes());
    Some(frame)
}

/// Bytes of a message's length.
pub(crate) const HEADER: usize = 4;

/// The files that a runner leaves in its scratch folder.
pub mod files {
    /// The weights of a finished training.
    pub const WEIGHTS: &str = "model.safetensors";
    /// Everything else about a finished training.
    pub const ABOUT: &str = "model.json";
    /// The last checkpoint.
    pub const CHECKPOINT: &str = "checkpoint.safetensors";
    /// The machine code of an inspected plugin.
    pub const CODE: &str = "plugin.code";
}

/// A word from the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Do this. Never while something else is being done.
    Do(Box<Task>),
    /// The checkpoint that was reported is safe.
    CheckpointStored,
    /// Come to an end by yourself, with what there is.
    Stop,
    /// End at once.
    Cancel,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "an order boxes it")]
pub enum Task {
    /// Train and judge a model. Files: plugin, its machine code, the data, and a checkpoint if `resume`.
    Train {
        /// How the plugin is to be called in messages, and what it can be told.
        plugin: PluginIdentity,
        /// How the rows are prepared.
        dataset: TrainingDataset,
        /// The file of the data.
        data: DataFile,
        /// The plugin's parameters, all of them.
        parameters: Value,
        /// What every random number follows from.
        seed: u32,
        /// What the plugin may use.
        limits: TaskLimits,
        /// Whether to go on from a checkpoint.
        resume: bool,
    },
    /// Load a trained model, to predict and judge with until the end. Files: plugin, machine code, weights, about
    /// (`model.json`).
    Open {
        /// As the model's run names it.
        plugin: PluginIdentity,
        /// What the plugin may use, for each of the coming tasks.
        limits: TaskLimits,
    },
    /// Predict with the open model. Files: the rows.
    Predict {
        /// How they are written.
        format: DataFormat,
        /// What the file is to be called in messages.
        name: String,
        /// Forecast from every window, not from the last one alone.
        rolling: bool,
        /// Say how far off the forecasts are, too.
        score: bool,
    },
    /// Judge the open model on the test rows. Files: the data.
    Evaluate {
        /// How the rows are prepared.
        dataset: TrainingDataset,
        /// Their file.
        data: DataFile,
    },
    /// Inspect and compile a plugin. Files: the plugin, and for Python source the Python engine's machine code.
    Inspect {
        /// What messages are to call the file.
        name: String,
        /// SHA-256 of the Python engine, where the plugin is Python source. Nothing is compiled then.
        engine: Option<String>,
    },
    /// Compile a component without asking it anything. Files: the component.
    Compile,
    /// Read a file of data. Files: the data.
    Data(DataFile),
}

/// A file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// How it is written.
    pub format: DataFormat,
    /// What it is to be called in messages.
    pub name: String,
    /// What its columns are for, as far as that is known.
    pub columns: RowColumns,
}

/// Which plugin it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginIdentity {
    /// What it calls itself.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// SHA-256 of the Python engine that ran it, for Python source: the machine code is the engine's then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

impl PluginIdentity {
    /// What Python calls a source whose file nobody has named.
    pub fn source_name(&self) -> String {
        format!("{}.py", self.name.replace('-', "_"))
    }
}

/// What the plugin may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskLimits {
    /// Seconds that its functions may run, together.
    pub time_seconds: u64,
    /// Bytes of the job's tensors.
    pub tensor_memory: u64,
    /// Threads that compute; 0 is one for each core.
    pub threads: usize,
    /// Whether the tensors are on the card that the runner has opened.
    pub on_card: bool,
    /// Whether a card may use TF32.
    pub tf32: bool,
}

/// A word from a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It is up, shut in, and waits for an order.
    Ready(Isolation),
    /// The data is read and prepared; the plugin starts.
    Prepared {
        /// The data's main figures ([`trainyard_data::Summary`]).
        summary: Value,
        /// What may be wrong with it.
        warnings: Vec<String>,
    },
    /// The plugin went on.
    Progress {
        /// When.
        timestamp: Timestamp,
        /// Its steps done.
        current: u32,
        /// Its steps in all.
        total: u32,
        /// The same, from 0 to 1.
        fraction: f64,
        /// Named finite numbers.
        metrics: Vec<(String, f64)>,
    },
    /// A line for the log.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// The line.
        message: String,
    },
    /// [`files::CHECKPOINT`] is complete. Waits for [`Order::CheckpointStored`].
    Checkpoint,
    /// [`files::WEIGHTS`] and [`files::ABOUT`] are complete.
    Trained {
        /// Figures on the test rows.
        metrics: Vec<(String, f64)>,
    },
    /// The model is open.
    Opened,
    /// What was predicted.
    Predicted {
        /// The table.
        prediction: Prediction,
        /// The time of each of its rows, in microseconds since 1970, where they have one.
        times: Option<Vec<i64>>,
    },
    /// How the model was judged.
    Evaluated(Evaluation),
    /// What the plugin is; [`files::CODE`] is complete.
    Inspected {
        /// The whole inspection, as `trainyard plugin inspect --json` prints it.
        inspection: Value,
    },
    /// [`files::CODE`] is complete.
    Compiled,
    /// What the file of data is.
    Data(DataReport),
    /// What was to be done could not be done. The runner can still be used unless it was training.
    Failed {
        /// A stable name, such as `out-of-memory`.
        code: String,
        /// One line: what was wrong, where, and what to do.
        message: String,
        /// More of it, for programs; null where there is nothing.
        details: Value,
        /// The last lines that the plugin logged.
        log: Vec<String>,
    },
}

/// What a process that tried a card prints of it: one line, where the card is in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckedCard {
    /// What its maker calls it.
    pub name: String,
    /// Bytes of its memory that can be had in all.
    pub total_bytes: u64,
    /// Bytes of it that nobody used then.
    pub free_bytes: u64,
}

/// What shuts a runner in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Files: only the scratch folder can be opened.
    pub landlock: bool,
    /// System calls: no network, no other programs, no looking into other processes.
    pub seccomp: bool,
    /// What is missing, in words for the operator; empty when nothing is.
    pub missing: Vec<String>,
}

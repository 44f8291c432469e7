//! How answers look, for the API's description alone: the types themselves are those of `trainyard-jobs`, which know
//! nothing of HTTP. A test holds real answers against these.

#![allow(dead_code, reason = "only described, never made")]

mod dataset;
mod report;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

pub use dataset::{Sink, TrainingDataset};
pub use report::DataReport;

/// A request sent again is done once.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyKey {
    /// A name for this very request, 1 to 255 visible ASCII characters. Sent again with the same key, the request is
    /// answered as the first time and not done again, for a day.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: Option<String>,
}

/// Some of a list, and where the rest begins.
#[derive(ToSchema)]
pub struct Page<T> {
    /// The items.
    items: Vec<T>,
    /// What to pass as cursor for the next page; null at the end.
    next: Option<String>,
}

/// A list that is not long.
#[derive(ToSchema)]
pub struct All<T> {
    /// The items.
    items: Vec<T>,
}

/// Where a model is.
#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
pub enum ModelStatus {
    Draft,
    Pending,
    Preparing,
    Training,
    Trained,
    Error,
}

/// Where a run is.
#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
pub enum RunState {
    Pending,
    Preparing,
    Training,
    Trained,
    Error,
    Cancelled,
}

/// What the operating system says that a run used.
#[derive(ToSchema)]
pub struct ResourceUsage {
    /// 100 is one core. Live: of the last second; at the end: of the whole run.
    cpu_percent: f64,
    /// MiB resident. Live: now; at the end: the most there was.
    memory_mb: f64,
    /// Percent of the card; 0 without one. Live: lately; at the end: on average.
    gpu_util: f64,
    /// Seconds since the run began to be worked on.
    duration_seconds: f64,
    /// Where the tensors are or were: `cpu`, or the card with its name. Absent until that is known.
    #[schema(example = "cuda:0 (NVIDIA H200)")]
    device: Option<String>,
    /// MiB of the card, of a run on one. Live: now; at the end: the most there was.
    gpu_memory_mb: Option<f64>,
    /// Degrees Celsius of the card, of a run on one. Live: now; at the end: the most there was.
    gpu_temperature_c: Option<f64>,
    /// Watts that the card takes, of a run on one. Live: now; at the end: on average.
    gpu_power_w: Option<f64>,
}

/// A model.
#[derive(ToSchema)]
pub struct Model {
    /// Its number.
    #[schema(minimum = 1)]
    id: i64,
    /// What its owner calls it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Free text.
    description: String,
    /// The plugin's name.
    plugin: String,
    /// The plugin's version; null: the newest at each submit.
    plugin_version: Option<String>,
    /// Where it is.
    status: ModelStatus,
    /// 0 to 100.
    #[schema(minimum = 0, maximum = 100)]
    progress: f64,
    /// The current or last run.
    task_id: Option<String>,
    /// The run whose result the model predicts with.
    trained_run: Option<String>,
    /// What a training learns from when it does not say.
    training_dataset: Option<TrainingDataset>,
    /// What a training begins with.
    training_parameters: Map<String, Value>,
    /// Figures on the test rows.
    metrics: Map<String, Value>,
    /// Where the result lies in the artifacts.
    file_path: Option<String>,
    /// Why the last run failed.
    error_log: Option<String>,
    /// When the current or last run began to be worked on.
    started_at: Option<DateTime<Utc>>,
    /// When the last run ended.
    finished_at: Option<DateTime<Utc>>,
    /// What the current or last run used.
    resource_usage: Option<ResourceUsage>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When anything of it changed.
    updated_at: DateTime<Utc>,
}

/// A model that is gone.
#[derive(ToSchema)]
pub struct DeletedModel {
    /// Its number.
    id: i64,
    /// Its runs.
    runs: Vec<String>,
}

/// What a run may use.
#[derive(ToSchema)]
pub struct RunLimits {
    /// Seconds.
    #[schema(minimum = 1)]
    time_seconds: u64,
    /// MiB of the process; of a run on a card, what its tensors may hold there.
    #[schema(minimum = 1)]
    memory_mb: u64,
    /// Where its tensors are to be: `auto`, `cpu`, `cuda` or `cuda:N`.
    #[schema(pattern = "^(auto|cpu|cuda|cuda:[0-9]+)$")]
    device: String,
    /// Whether a card may use TF32.
    tf32: bool,
}

/// What a submit gives.
#[derive(ToSchema)]
pub struct Submitted {
    /// The run's name.
    task_id: String,
    /// PENDING.
    status: RunState,
    /// The model that is trained.
    model_id: i64,
    /// The plugin's name.
    plugin: String,
    /// The plugin's version.
    plugin_version: String,
    /// All parameters, defaults filled in.
    training_parameters: Map<String, Value>,
    /// What every random number follows from.
    #[schema(format = Int64, minimum = 0, maximum = 4294967295u32)]
    seed: u32,
    /// What it may use.
    limits: RunLimits,
    /// When it was submitted.
    created_at: DateTime<Utc>,
}

/// One training of a model.
#[derive(ToSchema)]
pub struct Run {
    /// Its name; the model's `task_id`.
    id: String,
    /// The model that is trained.
    model_id: i64,
    /// Where it is.
    state: RunState,
    /// 0 to 100.
    #[schema(minimum = 0, maximum = 100)]
    progress: f64,
    /// Times that a worker took it.
    attempt: u32,
    /// The worker that has it, or had it last.
    worker: Option<String>,
    /// Whether someone wants it to stop.
    stop_requested: bool,
    /// The plugin's name.
    plugin: String,
    /// The plugin's version.
    plugin_version: String,
    /// SHA-256 of the plugin's file.
    plugin_digest: String,
    /// What it learns from.
    training_dataset: TrainingDataset,
    /// All parameters, defaults filled in.
    training_parameters: Map<String, Value>,
    /// What every random number follows from.
    #[schema(format = Int64, minimum = 0, maximum = 4294967295u32)]
    seed: u32,
    /// What it may use.
    limits: RunLimits,
    /// What a worker has to have to take it.
    labels: Vec<String>,
    /// The sweep whose trial it is, if it is one.
    sweep_id: Option<i64>,
    /// Figures on the test rows.
    metrics: Map<String, Value>,
    /// Where its result lies in the artifacts.
    file_path: Option<String>,
    /// Where its last checkpoint lies in the artifacts.
    checkpoint: Option<String>,
    /// Why it failed.
    error_log: Option<String>,
    /// What data it was trained on: source, hash, rows, columns; null until it is known.
    lineage: Option<Map<String, Value>>,
    /// What it used.
    resource_usage: Option<ResourceUsage>,
    /// When it was submitted.
    created_at: DateTime<Utc>,
    /// When a worker first took it.
    started_at: Option<DateTime<Utc>>,
    /// When it ended.
    finished_at: Option<DateTime<Utc>>,
}

/// A version of a plugin. It never changes.
#[derive(ToSchema)]
pub struct PluginVersion {
    /// What it calls itself.
    name: String,
    /// Semantic version.
    version: String,
    /// SHA-256 of the file, in hexadecimal.
    digest: String,
    /// Bytes of the file.
    size: u64,
    /// One line.
    summary: String,
    /// Which of forecasting, regression, classification it can do.
    tasks: Vec<String>,
    /// JSON Schema of its parameters.
    parameters: Map<String, Value>,
    /// What its evaluation gives.
    metrics: Value,
    /// The version of the contract that it was built for.
    contract: Option<String>,
    /// When it was uploaded.
    created_at: DateTime<Utc>,
}

/// A form with a file.
#[derive(ToSchema)]
pub struct FileForm {
    /// The file.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
}

/// A row of a table: column to value.
#[derive(ToSchema)]
pub struct Row(Map<String, Value>);

/// An uploaded table.
#[derive(ToSchema)]
pub struct StoredDataset {
    /// A random UUID.
    id: String,
    /// What its owner calls it.
    name: String,
    /// How it is written: csv, tsv, parquet, arrow or json.
    format: String,
    /// Bytes.
    size: u64,
    /// SHA-256 of the content, in hexadecimal.
    digest: String,
    /// Rows.
    rows: u64,
    /// What was found at the upload.
    report: DataReport,
    /// When it was uploaded.
    created_at: DateTime<Utc>,
}

/// What a token allows.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Scope {
    Read,
    Submit,
    Upload,
    Admin,
}

/// A token, without its secret.
#[derive(ToSchema)]
pub struct Token {
    /// Its number.
    id: i64,
    /// What it is for.
    name: String,
    /// What it allows.
    scopes: Vec<Scope>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it ends; null: never.
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    revoked_at: Option<DateTime<Utc>>,
}

/// A change that somebody made.
#[derive(ToSchema)]
pub struct AuditLine {
    /// When.
    at: DateTime<Utc>,
    /// The token's name, or `local`.
    who: String,
    /// Such as `train`.
    action: String,
    /// Such as `model 7`.
    subject: String,
    /// More of it.
    details: Value,
}

/// That the process is alive.
#[derive(ToSchema)]
pub struct Alive {
    /// alive
    status: String,
    /// The server's version.
    version: String,
}

/// That everything can be used.
#[derive(ToSchema)]
pub struct Ready {
    /// ready
    status: String,
    /// Each part with `ok` or what is wrong with it.
    parts: Map<String, Value>,
}

/// A JSON Schema of one object.
#[derive(ToSchema)]
pub struct JsonSchema(Map<String, Value>);

/// Trainings at their times.
#[derive(ToSchema)]
pub struct Schedule {
    /// Its number.
    #[schema(minimum = 1)]
    id: i64,
    /// What its owner calls it.
    name: String,
    /// The model that is trained.
    model_id: i64,
    /// Minute, hour, day of the month, month, day of the week.
    cron: String,
    /// Whose clock that is.
    time_zone: String,
    /// Whether it is on.
    enabled: bool,
    /// What becomes of missed times: `skip` or `once`.
    missed: String,
    /// What is asked of each training.
    submission: Map<String, Value>,
    /// The next time; null while it is off.
    next_at: Option<DateTime<Utc>>,
    /// When it last did something.
    last_at: Option<DateTime<Utc>>,
    /// The last training.
    last_run: Option<String>,
    /// Why the last time came to nothing.
    last_error: Option<String>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it was last changed by somebody.
    updated_at: DateTime<Utc>,
}

/// A sweep.
#[derive(ToSchema)]
pub struct Sweep {
    /// Its number.
    #[schema(minimum = 1)]
    id: i64,
    /// The model whose parameters are tried.
    model_id: i64,
    /// RUNNING, STOPPING, FINISHED or STOPPED.
    state: String,
    /// `grid`, `random` or `asha`.
    method: String,
    /// By parameter: a list of values, or a range.
    space: Map<String, Value>,
    /// What trials are judged by.
    metric: String,
    /// `minimize` or `maximize`.
    goal: String,
    /// What they are judged by where the plugin tells nothing of it.
    otherwise: Option<Figure>,
    /// What random choices follow from.
    seed: u32,
    /// How trials are ended early.
    asha: Option<Asha>,
    /// Whether the model gets the best trial's result at the end.
    adopt: bool,
    /// Its trials.
    trials: u64,
    /// Those that are over.
    ended: u64,
    /// The best trial, when it is over and there is one.
    best_run: Option<String>,
    /// What became of the best, or why there is none.
    note: Option<String>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it ended.
    finished_at: Option<DateTime<Utc>>,
}

/// What trials are judged by.
#[derive(ToSchema)]
pub struct Figure {
    /// Its name.
    metric: String,
    /// `minimize` or `maximize`.
    goal: String,
}

/// How trials are ended early.
#[derive(ToSchema)]
pub struct Asha {
    /// No trial is judged before so many of the plugin's steps.
    min_steps: u64,
    /// Of so many trials at a rung, one goes on.
    reduction: u64,
}

/// The trials of a sweep.
#[derive(ToSchema)]
pub struct Trials {
    /// What each one's value is of.
    metric: String,
    /// `minimize` or `maximize`.
    goal: String,
    /// In the order in which they were drawn.
    items: Vec<Trial>,
}

/// A trial: a run of a sweep.
#[derive(ToSchema)]
pub struct Trial {
    /// The run's name.
    run_id: String,
    /// Where it is.
    state: RunState,
    /// 0 to 100.
    progress: f64,
    /// Whether it was ended early, by the sweep or with it.
    stop_requested: bool,
    /// The parameters that the sweep varies.
    parameters: Map<String, Value>,
    /// Figures of its result.
    metrics: Map<String, Value>,
    /// The best value so far of the figure that the sweep judges by.
    value: Option<f64>,
    /// The last step at which the plugin told that figure.
    steps: Option<u64>,
    /// The worker that has it or had it last.
    worker: Option<String>,
    /// Why it failed.
    error_log: Option<String>,
    /// When a worker first took it.
    started_at: Option<DateTime<Utc>>,
    /// When it ended.
    finished_at: Option<DateTime<Utc>>,
}

/// A worker.
#[derive(ToSchema)]
pub struct Worker {
    /// Its name.
    name: String,
    /// Whether it has been heard of in the last 15 seconds.
    alive: bool,
    /// When it last said something.
    seen_at: DateTime<Utc>,
    /// Its machine.
    host: String,
    /// Its process there.
    pid: u32,
    /// The version of Trainyard.
    version: String,
    /// The queues that it serves.
    queues: Vec<String>,
    /// What it has, for jobs that ask for it.
    labels: Vec<String>,
    /// Jobs that it does at once.
    slots: u64,
    /// The jobs that it does now.
    running: Vec<String>,
    /// The machine's load over 1, 5 and 15 minutes.
    load: [f64; 3],
    /// The machine's cores.
    cores: u64,
    /// MiB of the machine's memory that could still be used.
    memory_free_mb: u64,
    /// It takes no more jobs and ends when those it has are done.
    draining: bool,
    /// When it started.
    started_at: DateTime<Utc>,
    /// Its cards, whether they work or not.
    cards: Vec<Card>,
}

/// A card of a worker. What nobody tells is null.
#[derive(ToSchema)]
pub struct Card {
    /// Its number: `cuda:N`.
    index: u32,
    /// What its maker calls it.
    name: Option<String>,
    /// Whether jobs can use it.
    healthy: bool,
    /// Why not.
    problem: Option<String>,
    /// MiB of its memory.
    memory_mb: Option<u64>,
    /// MiB that the jobs on it were promised.
    promised_mb: u64,
    /// MiB that are in use, by whomever.
    memory_used_mb: Option<u64>,
    /// Percent of the time that it computes.
    utilization: Option<f64>,
    /// Degrees Celsius.
    temperature_c: Option<f64>,
    /// Watts that it takes.
    power_w: Option<f64>,
    /// The jobs that are on it.
    running: Vec<String>,
}

/// A queue.
#[derive(ToSchema)]
pub struct Queue {
    /// Its name.
    name: String,
    /// Jobs that wait in it.
    waiting: u64,
    /// Jobs that a worker has.
    taken: u64,
    /// Live workers that serve it. Where there are none, what waits goes on waiting.
    workers: u64,
}

/// A job that was given up.
#[derive(ToSchema)]
pub struct DeadLetter {
    /// The run.
    run_id: String,
    /// The model.
    model_id: i64,
    /// What was to be done with it.
    task: String,
    /// Where it waited.
    queue: String,
    /// Why nobody tries any more.
    error: String,
    /// When it was given up.
    at: DateTime<Utc>,
}

/// A job that is tried once more.
#[derive(ToSchema)]
pub struct Replayed {
    /// The new run.
    task_id: String,
    /// Its model.
    model_id: i64,
}

//! The port for rows.

use crate::schedule::{Fired, NewSchedule, Schedule};
use crate::state::Change;
use crate::sweep::{Plan, Sweep, SweepState, Told, Trials};
use crate::{
    Model, ModelFilter, ModelId, ModelPatch, NewModel, NewRun, NewToken, Page, PluginVersion, ResourceUsage, Run,
    RunFilter, RunId, RunState, SeriesPoint, StoredDataset, Timestamp, Token, WorkerDetails, WorkerRow,
};
use async_trait::async_trait;
use serde_json::Value;
use std::time::Duration;

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such row.
    #[error("there is no {what} {id}")]
    NotFound {
        /// Such as `model`.
        what: &'static str,
        /// As it was asked for.
        id: String,
    },
    /// A run of the model is under way.
    #[error("model {model} is {state}: run {run} is under way")]
    Active {
        /// Which model.
        model: ModelId,
        /// The run.
        run: RunId,
        /// Its state.
        state: RunState,
    },
    /// The state machine forbids it.
    #[error("run {run} is {state} and cannot be {verb}")]
    Illegal {
        /// Which run.
        run: RunId,
        /// Its state.
        state: RunState,
        /// What was tried.
        verb: &'static str,
    },
    /// Someone else has taken the run since.
    #[error("run {run} has been taken by someone else")]
    Fenced {
        /// Which run.
        run: RunId,
    },
    /// Something is there already, or is in use.
    #[error("{0}")]
    Conflict(String),
    /// The database cannot be reached, is full or read-only.
    #[error("the database cannot be used: {0}")]
    Unavailable(String),
}

/// What came of taking a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// It is ours; its `token` goes with every change.
    Taken(Box<Run>),
    /// It was taken too often, and is in ERROR now.
    GivenUp(Box<Run>),
    /// It is over already.
    Over(RunState),
}

/// A request that carries an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentRequest {
    /// Who sent it, and the key: at most 300 bytes.
    pub key: String,
    /// SHA-256 of method, path and body, in hexadecimal.
    pub fingerprint: String,
}

/// What is known of an idempotent request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// It is new, and reserved for whoever asked.
    New,
    /// Another of the same key is being answered.
    InProgress,
    /// The key was used for something else.
    Mismatch,
    /// It was answered so.
    Answered {
        /// HTTP status.
        status: u16,
        /// JSON.
        body: String,
    },
}

/// Rows: models, runs, plugins, data sets, tokens, the audit log. Every method is one transaction.
#[async_trait]
pub trait Store: Send + Sync {
    /// Makes a model in DRAFT.
    async fn create_model(&self, model: NewModel) -> Result<Model, StoreError>;
    /// Reads a model.
    async fn model(&self, id: ModelId) -> Result<Model, StoreError>;
    /// Lists models, newest first. The cursor is the last number.
    async fn models(&self, filter: &ModelFilter) -> Result<Page<Model>, StoreError>;
    /// Changes a model; [`StoreError::Active`] while a run is under way.
    async fn update_model(&self, id: ModelId, patch: ModelPatch) -> Result<Model, StoreError>;
    /// Deletes a model with its runs and series; [`StoreError::Active`] while one is under way. Gives the runs' names.
    async fn delete_model(&self, id: ModelId) -> Result<Vec<RunId>, StoreError>;
    /// How many models are in each status.
    async fn count_models(&self) -> Result<Vec<(crate::ModelStatus, u64)>, StoreError>;

    /// Writes a run as PENDING and its model with it; [`StoreError::Active`] if one is under way. The model remembers
    /// nothing of its last run but the result; the run remembers what the model was.
    async fn submit(&self, run: NewRun) -> Result<Run, StoreError>;
    /// Reads a run.
    async fn run(&self, id: &RunId) -> Result<Run, StoreError>;
    /// Lists a model's runs, newest first, without the trials of sweeps.
    async fn runs(&self, filter: &RunFilter) -> Result<Page<Run>, StoreError>;
    /// The runs that are not over, oldest first: what has to be in the broker.
    async fn unfinished_runs(&self) -> Result<Vec<Run>, StoreError>;
    /// Takes a run that is not over: PREPARING, next attempt, next token. One that was taken
    /// [`crate::state::MOST_ATTEMPTS`] times goes to ERROR instead, and one that is to stop to CANCELLED.
    async fn claim(&self, id: &RunId, worker: &str) -> Result<Claim, StoreError>;
    /// The one way in which a run's state changes after it was claimed: by [`crate::state::next`], if `token` is still
    /// the run's. The model's row changes with it. `Change::Release` gives the run the next token, and takes back the
    /// attempt; `Change::PutBack` the next token alone.
    async fn change(&self, id: &RunId, token: i64, change: Change) -> Result<Run, StoreError>;
    /// Writes how far a run is (0 to 100, never less than before) and what it uses. [`StoreError::Fenced`] if it is
    /// someone else's or over.
    async fn progress(&self, id: &RunId, token: i64, progress: f64, usage: &ResourceUsage) -> Result<(), StoreError>;
    /// Writes what a run used in all, when it is over; [`StoreError::Illegal`] while it is not. Figures that are not finite
    /// count as 0, here and in [`Store::progress`].
    async fn usage(&self, id: &RunId, usage: &ResourceUsage) -> Result<(), StoreError>;
    /// Remembers where a run's last checkpoint lies, and what its data is.
    async fn note_checkpoint(&self, id: &RunId, token: i64, key: &str) -> Result<(), StoreError>;
    /// Wants a run to stop. One that is PENDING is CANCELLED at once; of another the worker is to be told.
    /// [`StoreError::Illegal`] if it is over.
    async fn request_stop(&self, id: &RunId) -> Result<Run, StoreError>;

    /// Keeps a schedule, with its next time.
    async fn add_schedule(&self, schedule: NewSchedule, next: Option<Timestamp>) -> Result<Schedule, StoreError>;
    /// Every schedule, oldest first.
    async fn schedules(&self) -> Result<Vec<Schedule>, StoreError>;
    /// Reads a schedule.
    async fn schedule(&self, id: i64) -> Result<Schedule, StoreError>;
    /// Puts another in a schedule's place, with its next time.
    async fn update_schedule(
        &self,
        id: i64,
        schedule: NewSchedule,
        next: Option<Timestamp>,
    ) -> Result<Schedule, StoreError>;
    /// Deletes a schedule.
    async fn delete_schedule(&self, id: i64) -> Result<Schedule, StoreError>;
    /// The schedules whose next time has come.
    async fn due_schedules(&self, at: Timestamp) -> Result<Vec<Schedule>, StoreError>;
    /// Notes what became of a schedule's time; false if it was not due any more.
    async fn schedule_fired(&self, id: i64, fired: &Fired) -> Result<bool, StoreError>;
    /// Takes an office that one process has for all, for so long, or keeps it; whether it is the holder's.
    async fn hold(&self, office: &str, holder: &str, lease: Duration) -> Result<bool, StoreError>;

    /// Keeps a sweep with its trials, which are runs that the model's row knows nothing of. All of it or nothing.
    async fn add_sweep(&self, model: ModelId, plan: &Plan, trials: &[NewRun]) -> Result<(Sweep, Vec<Run>), StoreError>;
    /// Reads a sweep.
    async fn sweep(&self, id: i64) -> Result<Sweep, StoreError>;
    /// The last sweeps, of one model or of all, newest first.
    async fn sweeps(&self, model: Option<ModelId>) -> Result<Vec<Sweep>, StoreError>;
    /// The sweeps that are not over, oldest first.
    async fn unfinished_sweeps(&self) -> Result<Vec<Sweep>, StoreError>;
    /// A sweep's trials, in their order.
    async fn trials(&self, sweep: i64) -> Result<Trials, StoreError>;
    /// What a sweep's trials told of a figure, up to a step or at all; nothing of those that told nothing.
    async fn told(&self, sweep: i64, name: &str, up_to: Option<u64>) -> Result<Vec<Told>, StoreError>;
    /// Moves a sweep that is not over to another state; false if it is over, or there already.
    async fn change_sweep(
        &self,
        id: i64,
        state: SweepState,
        best: Option<&RunId>,
        note: Option<&str>,
    ) -> Result<bool, StoreError>;
    /// Makes the result of a run that is TRAINED that of its model; [`StoreError::Active`] while a run of it is under way.
    async fn adopt(&self, run: &RunId) -> Result<Run, StoreError>;

    /// Notes what a worker says of itself, and that it lives.
    async fn announce_worker(&self, name: &str, details: &WorkerDetails) -> Result<(), StoreError>;
    /// A worker ends.
    async fn leave_worker(&self, name: &str) -> Result<(), StoreError>;
    /// The workers of the last hour, by name.
    async fn workers(&self) -> Result<Vec<WorkerRow>, StoreError>;

    /// Adds to a run's series. What is said again of a name and step counts; a number that is not finite is a conflict.
    async fn add_series(&self, id: &RunId, points: &[SeriesPoint]) -> Result<(), StoreError>;
    /// Reads a run's series, in order of name and step.
    async fn series(&self, id: &RunId) -> Result<Vec<SeriesPoint>, StoreError>;
    /// Forgets a run's series from a step on: another attempt begins there.
    async fn clear_series(&self, id: &RunId, from_step: u64) -> Result<(), StoreError>;

    /// Keeps a plugin's version. The same again is fine; another content under the same version is a conflict.
    async fn add_plugin(&self, plugin: PluginVersion) -> Result<PluginVersion, StoreError>;
    /// The newest version of each plugin, by name.
    async fn plugins(&self) -> Result<Vec<PluginVersion>, StoreError>;
    /// The versions of a plugin, newest first.
    async fn plugin_versions(&self, name: &str) -> Result<Vec<PluginVersion>, StoreError>;
    /// A version of a plugin; the newest (by semantic version) when none is named.
    async fn plugin(&self, name: &str, version: Option<&str>) -> Result<PluginVersion, StoreError>;
    /// Deletes a version; a conflict, naming some of the models, while one uses it: by naming it, by naming none where it is
    /// the only one, or because its result or a run that is not over was made with it.
    async fn delete_plugin(&self, name: &str, version: &str) -> Result<PluginVersion, StoreError>;
    /// Whether some version has this content.
    async fn has_plugin_digest(&self, digest: &str) -> Result<bool, StoreError>;

    /// Keeps a data set.
    async fn add_dataset(&self, dataset: StoredDataset) -> Result<StoredDataset, StoreError>;
    /// Lists data sets, newest first. `before` is the cursor, as in [`Page::next`]; after one that no page gave out comes
    /// nothing.
    async fn datasets(&self, before: Option<&str>, limit: u32) -> Result<Page<StoredDataset>, StoreError>;
    /// Reads a data set.
    async fn dataset(&self, id: &str) -> Result<StoredDataset, StoreError>;
    /// Deletes a data set; a conflict while an unfinished run or a model's default uses it.
    async fn delete_dataset(&self, id: &str) -> Result<StoredDataset, StoreError>;

    /// Keeps a token.
    async fn add_token(&self, token: NewToken) -> Result<Token, StoreError>;
    /// Every token with its hash, revoked and expired ones too.
    async fn tokens(&self) -> Result<Vec<(Token, [u8; 32])>, StoreError>;
    /// Revokes a token.
    async fn revoke_token(&self, id: i64) -> Result<Token, StoreError>;

    /// Reserves an idempotency key for a day, or says what is known of it.
    async fn begin_idempotent(&self, request: &IdempotentRequest) -> Result<Replay, StoreError>;
    /// Keeps the answer, or gives the key free again when there is none.
    async fn end_idempotent(&self, request: &IdempotentRequest, answer: Option<(u16, &str)>) -> Result<(), StoreError>;

    /// Adds a line to the audit log: who did what to what.
    async fn audit(&self, who: &str, action: &str, subject: &str, details: &Value) -> Result<(), StoreError>;
    /// The last lines of the audit log, newest first: an object each with `at`, `who`, `action`, `subject`, `details`.
    async fn audit_log(&self, limit: u32) -> Result<Vec<Value>, StoreError>;

    /// Whether the store can be written to right now; the error says why not.
    async fn check(&self) -> Result<(), StoreError>;
}

//! The rows as a [`Store`]: this only says which function does what.

use super::dialect::PATIENCE;
use super::{Database, catalog, ledger, lifecycle, models, runs, schedules, sweeps, workers};
use crate::schedule::{Fired, NewSchedule, Schedule};
use crate::state::Change;
use crate::sweep::{Plan, Sweep, SweepState, Told, Trials};
use crate::{
    Claim, IdempotentRequest, Model, ModelFilter, ModelId, ModelPatch, ModelStatus, NewModel, NewRun, NewToken, Page,
    PluginVersion, Replay, ResourceUsage, Run, RunFilter, RunId, SeriesPoint, Store, StoreError, StoredDataset,
    Timestamp, Token, WorkerDetails, WorkerRow,
};
use async_trait::async_trait;
use serde_json::Value;
use std::time::Duration;

/// A [`Store`] on a [`Database`].
#[derive(Clone)]
pub struct SqlStore {
    database: Database,
}

impl SqlStore {
    /// The store of a database.
    pub fn new(database: Database) -> Self {
        SqlStore { database }
    }
}

/// A method's result, or an error where the database says nothing for too long.
async fn within<T>(method: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, method).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(format!(
            "it has not answered for {} s",
            PATIENCE.as_secs()
        )))
    })
}

#[async_trait]
impl Store for SqlStore {
    async fn create_model(&self, model: NewModel) -> Result<Model, StoreError> {
        within(models::create(&self.database, model)).await
    }

    async fn model(&self, id: ModelId) -> Result<Model, StoreError> {
        within(models::get(&self.database, id)).await
    }

    async fn models(&self, filter: &ModelFilter) -> Result<Page<Model>, StoreError> {
        within(models::list(&self.database, filter)).await
    }

    async fn update_model(&self, id: ModelId, patch: ModelPatch) -> Result<Model, StoreError> {
        within(models::update(&self.database, id, patch)).await
    }

    async fn delete_model(&self, id: ModelId) -> Result<Vec<RunId>, StoreError> {
        within(models::delete(&self.database, id)).await
    }

    async fn count_models(&self) -> Result<Vec<(ModelStatus, u64)>, StoreError> {
        within(models::count(&self.database)).await
    }

    async fn submit(&self, run: NewRun) -> Result<Run, StoreError> {
        within(runs::submit(&self.database, run)).await
    }

    async fn run(&self, id: &RunId) -> Result<Run, StoreError> {
        within(runs::get(&self.database, id)).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Page<Run>, StoreError> {
        within(runs::list(&self.database, filter)).await
    }

    async fn unfinished_runs(&self) -> Result<Vec<Run>, StoreError> {
        within(runs::unfinished(&self.database)).await
    }

    async fn claim(&self, id: &RunId, worker: &str) -> Result<Claim, StoreError> {
        within(lifecycle::claim(&self.database, id, worker)).await
    }

    async fn change(&self, id: &RunId, token: i64, change: Change) -> Result<Run, StoreError> {
        within(lifecycle::change(&self.database, id, token, change)).await
    }

    async fn progress(&self, id: &RunId, token: i64, progress: f64, usage: &ResourceUsage) -> Result<(), StoreError> {
        within(lifecycle::progress(&self.database, id, token, progress, usage)).await
    }

    async fn usage(&self, id: &RunId, usage: &ResourceUsage) -> Result<(), StoreError> {
        within(runs::write_usage(&self.database, id, usage)).await
    }

    async fn note_checkpoint(&self, id: &RunId, token: i64, key: &str) -> Result<(), StoreError> {
        within(runs::note_checkpoint(&self.database, id, token, key)).await
    }

    async fn request_stop(&self, id: &RunId) -> Result<Run, StoreError> {
        within(lifecycle::request_stop(&self.database, id)).await
    }

    async fn add_schedule(&self, schedule: NewSchedule, next: Option<Timestamp>) -> Result<Schedule, StoreError> {
        within(schedules::add(&self.database, schedule, next)).await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        within(schedules::all(&self.database)).await
    }

    async fn schedule(&self, id: i64) -> Result<Schedule, StoreError> {
        within(schedules::get(&self.database, id)).await
    }

    async fn update_schedule(
        &self,
        id: i64,
        schedule: NewSchedule,
        next: Option<Timestamp>,
    ) -> Result<Schedule, StoreError> {
        within(schedules::update(&self.database, id, schedule, next)).await
    }

    async fn delete_schedule(&self, id: i64) -> Result<Schedule, StoreError> {
        within(schedules::delete(&self.database, id)).await
    }

    async fn due_schedules(&self, at: Timestamp) -> Result<Vec<Schedule>, StoreError> {
        within(schedules::due(&self.database, at)).await
    }

    async fn schedule_fired(&self, id: i64, fired: &Fired) -> Result<bool, StoreError> {
        within(schedules::fired(&self.database, id, fired)).await
    }

    async fn hold(&self, office: &str, holder: &str, lease: Duration) -> Result<bool, StoreError> {
        within(schedules::hold(&self.database, office, holder, lease)).await
    }

    async fn add_sweep(&self, model: ModelId, plan: &Plan, trials: &[NewRun]) -> Result<(Sweep, Vec<Run>), StoreError> {
        within(sweeps::add(&self.database, model, plan, trials)).await
    }

    async fn sweep(&self, id: i64) -> Result<Sweep, StoreError> {
        within(sweeps::get(&self.database, id)).await
    }

    async fn sweeps(&self, model: Option<ModelId>) -> Result<Vec<Sweep>, StoreError> {
        within(sweeps::of_model(&self.database, model)).await
    }

    async fn unfinished_sweeps(&self) -> Result<Vec<Sweep>, StoreError> {
        within(sweeps::unfinished(&self.database)).await
    }

    async fn trials(&self, sweep: i64) -> Result<Trials, StoreError> {
        within(sweeps::trials(&self.database, sweep)).await
    }

    async fn told(&self, sweep: i64, name: &str, up_to: Option<u64>) -> Result<Vec<Told>, StoreError> {
        within(sweeps::told(&self.database, sweep, name, up_to)).await
    }

    async fn change_sweep(
        &self,
        id: i64,
        state: SweepState,
        best: Option<&RunId>,
        note: Option<&str>,
    ) -> Result<bool, StoreError> {
        within(sweeps::change(&self.database, id, state, best, note)).await
    }

    async fn adopt(&self, run: &RunId) -> Result<Run, StoreError> {
        within(sweeps::adopt(&self.database, run)).await
    }

    async fn announce_worker(&self, name: &str, details: &WorkerDetails) -> Result<(), StoreError> {
        within(workers::announce(&self.database, name, details)).await
    }

    async fn leave_worker(&self, name: &str) -> Result<(), StoreError> {
        within(workers::leave(&self.database, name)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        within(workers::all(&self.database)).await
    }

    async fn add_series(&self, id: &RunId, points: &[SeriesPoint]) -> Result<(), StoreError> {
        within(runs::add_series(&self.database, id, points)).await
    }

    async fn series(&self, id: &RunId) -> Result<Vec<SeriesPoint>, StoreError> {
        within(runs::series(&self.database, id)).await
    }

    async fn clear_series(&self, id: &RunId, from_step: u64) -> Result<(), StoreError> {
        within(runs::clear_series(&self.database, id, from_step)).await
    }

    async fn add_plugin(&self, plugin: PluginVersion) -> Result<PluginVersion, StoreError> {
        within(catalog::add_plugin(&self.database, plugin)).await
    }

    async fn plugins(&self) -> Result<Vec<PluginVersion>, StoreError> {
        within(catalog::plugins(&self.database)).await
    }

    async fn plugin_versions(&self, name: &str) -> Result<Vec<PluginVersion>, StoreError> {
        within(catalog::plugin_versions(&self.database, name)).await
    }

    async fn plugin(&self, name: &str, version: Option<&str>) -> Result<PluginVersion, StoreError> {
        within(catalog::plugin(&self.database, name, version)).await
    }

    async fn delete_plugin(&self, name: &str, version: &str) -> Result<PluginVersion, StoreError> {
        within(catalog::delete_plugin(&self.database, name, version)).await
    }

    async fn has_plugin_digest(&self, digest: &str) -> Result<bool, StoreError> {
        within(catalog::has_plugin_digest(&self.database, digest)).await
    }

    async fn add_dataset(&self, dataset: StoredDataset) -> Result<StoredDataset, StoreError> {
        within(catalog::add_dataset(&self.database, dataset)).await
    }

    async fn datasets(&self, before: Option<&str>, limit: u32) -> Result<Page<StoredDataset>, StoreError> {
        within(catalog::datasets(&self.database, before, limit)).await
    }

    async fn dataset(&self, id: &str) -> Result<StoredDataset, StoreError> {
        within(catalog::dataset(&self.database, id)).await
    }

    async fn delete_dataset(&self, id: &str) -> Result<StoredDataset, StoreError> {
        within(catalog::delete_dataset(&self.database, id)).await
    }

    async fn add_token(&self, token: NewToken) -> Result<Token, StoreError> {
        within(ledger::add_token(&self.database, token)).await
    }

    async fn tokens(&self) -> Result<Vec<(Token, [u8; 32])>, StoreError> {
        within(ledger::tokens(&self.database)).await
    }

    async fn revoke_token(&self, id: i64) -> Result<Token, StoreError> {
        within(ledger::revoke_token(&self.database, id)).await
    }

    async fn begin_idempotent(&self, request: &IdempotentRequest) -> Result<Replay, StoreError> {
        within(ledger::begin(&self.database, request)).await
    }

    async fn end_idempotent(&self, request: &IdempotentRequest, answer: Option<(u16, &str)>) -> Result<(), StoreError> {
        within(ledger::end(&self.database, request, answer)).await
    }

    async fn audit(&self, who: &str, action: &str, subject: &str, details: &Value) -> Result<(), StoreError> {
        within(ledger::audit(&self.database, who, action, subject, details)).await
    }

    async fn audit_log(&self, limit: u32) -> Result<Vec<Value>, StoreError> {
        within(ledger::audit_log(&self.database, limit)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        within(ledger::check(&self.database)).await
    }
}

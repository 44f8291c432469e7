//! The rows of a SQLite file as a [`Store`]: this only says which function does what.

use super::{Database, catalog, ledger, lifecycle, models, runs};
use crate::state::Change;
use crate::{
    Claim, IdempotentRequest, Model, ModelFilter, ModelId, ModelPatch, ModelStatus, NewModel, NewRun, NewToken, Page,
    PluginVersion, Replay, ResourceUsage, Run, RunFilter, RunId, SeriesPoint, Store, StoreError, StoredDataset, Token,
};
use async_trait::async_trait;
use serde_json::Value;

/// A [`Store`] on a SQLite file.
#[derive(Clone)]
pub struct SqliteStore {
    database: Database,
}

impl SqliteStore {
    /// The store of a database.
    pub fn new(database: Database) -> Self {
        SqliteStore { database }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_model(&self, model: NewModel) -> Result<Model, StoreError> {
        models::create(&self.database, model).await
    }

    async fn model(&self, id: ModelId) -> Result<Model, StoreError> {
        models::get(&self.database, id).await
    }

    async fn models(&self, filter: &ModelFilter) -> Result<Page<Model>, StoreError> {
        models::list(&self.database, filter).await
    }

    async fn update_model(&self, id: ModelId, patch: ModelPatch) -> Result<Model, StoreError> {
        models::update(&self.database, id, patch).await
    }

    async fn delete_model(&self, id: ModelId) -> Result<Vec<RunId>, StoreError> {
        models::delete(&self.database, id).await
    }

    async fn count_models(&self) -> Result<Vec<(ModelStatus, u64)>, StoreError> {
        models::count(&self.database).await
    }

    async fn submit(&self, run: NewRun) -> Result<Run, StoreError> {
        runs::submit(&self.database, run).await
    }

    async fn run(&self, id: &RunId) -> Result<Run, StoreError> {
        runs::get(&self.database, id).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Page<Run>, StoreError> {
        runs::list(&self.database, filter).await
    }

    async fn unfinished_runs(&self) -> Result<Vec<Run>, StoreError> {
        runs::unfinished(&self.database).await
    }

    async fn claim(&self, id: &RunId, worker: &str) -> Result<Claim, StoreError> {
        lifecycle::claim(&self.database, id, worker).await
    }

    async fn change(&self, id: &RunId, token: i64, change: Change) -> Result<Run, StoreError> {
        lifecycle::change(&self.database, id, token, change).await
    }

    async fn progress(&self, id: &RunId, token: i64, progress: f64, usage: &ResourceUsage) -> Result<(), StoreError> {
        lifecycle::progress(&self.database, id, token, progress, usage).await
    }

    async fn usage(&self, id: &RunId, usage: &ResourceUsage) -> Result<(), StoreError> {
        runs::write_usage(&self.database, id, usage).await
    }

    async fn note_checkpoint(&self, id: &RunId, token: i64, key: &str) -> Result<(), StoreError> {
        runs::note_checkpoint(&self.database, id, token, key).await
    }

    async fn request_stop(&self, id: &RunId) -> Result<Run, StoreError> {
        lifecycle::request_stop(&self.database, id).await
    }

    async fn add_series(&self, id: &RunId, points: &[SeriesPoint]) -> Result<(), StoreError> {
        runs::add_series(&self.database, id, points).await
    }

    async fn series(&self, id: &RunId) -> Result<Vec<SeriesPoint>, StoreError> {
        runs::series(&self.database, id).await
    }

    async fn clear_series(&self, id: &RunId, from_step: u64) -> Result<(), StoreError> {
        runs::clear_series(&self.database, id, from_step).await
    }

    async fn add_plugin(&self, plugin: PluginVersion) -> Result<PluginVersion, StoreError> {
        catalog::add_plugin(&self.database, plugin).await
    }

    async fn plugins(&self) -> Result<Vec<PluginVersion>, StoreError> {
        catalog::plugins(&self.database).await
    }

    async fn plugin_versions(&self, name: &str) -> Result<Vec<PluginVersion>, StoreError> {
        catalog::plugin_versions(&self.database, name).await
    }

    async fn plugin(&self, name: &str, version: Option<&str>) -> Result<PluginVersion, StoreError> {
        catalog::plugin(&self.database, name, version).await
    }

    async fn delete_plugin(&self, name: &str, version: &str) -> Result<PluginVersion, StoreError> {
        catalog::delete_plugin(&self.database, name, version).await
    }

    async fn has_plugin_digest(&self, digest: &str) -> Result<bool, StoreError> {
        catalog::has_plugin_digest(&self.database, digest).await
    }

    async fn add_dataset(&self, dataset: StoredDataset) -> Result<StoredDataset, StoreError> {
        catalog::add_dataset(&self.database, dataset).await
    }

    async fn datasets(&self, before: Option<&str>, limit: u32) -> Result<Page<StoredDataset>, StoreError> {
        catalog::datasets(&self.database, before, limit).await
    }

    async fn dataset(&self, id: &str) -> Result<StoredDataset, StoreError> {
        catalog::dataset(&self.database, id).await
    }

    async fn delete_dataset(&self, id: &str) -> Result<StoredDataset, StoreError> {
        catalog::delete_dataset(&self.database, id).await
    }

    async fn add_token(&self, token: NewToken) -> Result<Token, StoreError> {
        ledger::add_token(&self.database, token).await
    }

    async fn tokens(&self) -> Result<Vec<(Token, [u8; 32])>, StoreError> {
        ledger::tokens(&self.database).await
    }

    async fn revoke_token(&self, id: i64) -> Result<Token, StoreError> {
        ledger::revoke_token(&self.database, id).await
    }

    async fn begin_idempotent(&self, request: &IdempotentRequest) -> Result<Replay, StoreError> {
        ledger::begin(&self.database, request).await
    }

    async fn end_idempotent(&self, request: &IdempotentRequest, answer: Option<(u16, &str)>) -> Result<(), StoreError> {
        ledger::end(&self.database, request, answer).await
    }

    async fn audit(&self, who: &str, action: &str, subject: &str, details: &Value) -> Result<(), StoreError> {
        ledger::audit(&self.database, who, action, subject, details).await
    }

    async fn audit_log(&self, limit: u32) -> Result<Vec<Value>, StoreError> {
        ledger::audit_log(&self.database, limit).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        ledger::check(&self.database).await
    }
}

//! What a run leaves in the artifacts: checkpoints while it trains, and at its end the result and the full log.

use crate::code::CodeStore;
use crate::failure::Failure;
use crate::process::Runner;
use crate::protocol::files;
use crate::recorder::Recorder;
use crate::worker::Shared;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use trainyard_jobs::{Artifacts, Finished, Run};

impl Shared {
    pub(crate) async fn store_checkpoint(&self, run: &Run, runner: &Runner) -> Result<(), Failure> {
        let key = format!("{}/{}", run_key(run), files::CHECKPOINT);
        put(&self.artifacts, &key, &runner.open_result(files::CHECKPOINT)?).await?;
        self.store.note_checkpoint(&run.id, run.token, &key).await?;
        Ok(())
    }

    /// Stores the result under a name of this attempt: whoever had the run before cannot spoil it.
    pub(crate) async fn store_result(
        &self,
        run: &Run,
        runner: &Runner,
        recorder: &mut Recorder,
        metrics: Vec<(String, f64)>,
        lineage: Value,
    ) -> Result<Finished, Failure> {
        let artifacts = &self.artifacts;
        let prefix = format!("{}/{}", run_key(run), run.token);
        let stored = async {
            let plugin = artifacts.open(&CodeStore::plugin_key(&run.plugin_digest)).await?;
            let extension = CodeStore::kind(&plugin)?.extension();
            put(artifacts, &format!("{prefix}/plugin.{extension}"), &plugin).await?;
            put(
                artifacts,
                &format!("{prefix}/{}", files::WEIGHTS),
                &runner.open_result(files::WEIGHTS)?,
            )
            .await?;
            put(
                artifacts,
                &format!("{prefix}/{}", files::ABOUT),
                &runner.open_result(files::ABOUT)?,
            )
            .await?;
            self.store_log(&format!("{prefix}/log.jsonl"), recorder).await
        };
        if let Err(failure) = stored.await {
            // What is there of it is of no use. If this fails, too, a later sweep has to do it.
            let _ = artifacts.delete_all(&prefix).await;
            return Err(failure);
        }
        let metrics: Map<String, Value> = metrics.into_iter().map(|(name, value)| (name, json!(value))).collect();
        Ok(Finished {
            metrics,
            file_path: prefix,
            lineage: json!({
                "data": lineage,
                "plugin": {"name": run.plugin, "version": run.plugin_version, "digest": run.plugin_digest},
                "parameters": run.training_parameters,
                "seed": run.seed,
                "host": env!("CARGO_PKG_VERSION"),
                "attempts": run.attempt,
            }),
        })
    }

    pub(crate) async fn store_log(&self, key: &str, recorder: &mut Recorder) -> Result<(), Failure> {
        let path = recorder.finish_log().to_path_buf();
        self.artifacts.put_file(key, &path).await?;
        if let Some(problem) = recorder.log_problem() {
            tracing::warn!(key, problem, "the full log is not whole");
        }
        Ok(())
    }

    /// Deletes what the run left behind besides its result and its log: checkpoints, and results of earlier attempts.
    pub(crate) async fn sweep(&self, run: &Run) {
        let prefix = run_key(run);
        let keep = |key: &str| {
            key.ends_with("/log.jsonl") && run.file_path.is_none()
                || run
                    .file_path
                    .as_ref()
                    .is_some_and(|path| key.starts_with(&format!("{path}/")))
        };
        let listed = self.artifacts.list(&prefix).await.unwrap_or_default();
        for object in listed.iter().filter(|object| !keep(&object.key)) {
            if let Err(error) = self.artifacts.delete(&object.key).await {
                tracing::warn!(key = object.key, %error, "a leftover of a run stays");
            }
        }
    }
}

/// Where a run's files lie.
pub(crate) fn run_key(run: &Run) -> String {
    format!("models/{}/runs/{}", run.model_id, run.id)
}

/// Stores an open file. Its name may mean something else by now, so it is read through the descriptor.
async fn put(artifacts: &Arc<dyn Artifacts>, key: &str, file: &File) -> Result<(), Failure> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    artifacts.put_file(key, Path::new(&path)).await?;
    Ok(())
}

//! Jobs that came through the queue alone, as producers of Celery send them: a training gets its row here, and an evaluation
//! needs none.

use crate::compute::Desk;
use crate::worker::Shared;
use serde_json::{Map, Value, json};
use trainyard_jobs::submission::{self, Submission};
use trainyard_jobs::{Compute, ComputeError, Job, Model, ModelPatch, Outcome, Run, StoreError, TrainingDataset};

/// What a configuration may say.
const KNOWN: [&str; 11] = [
    "training_dataset",
    "training_parameters",
    "plugin",
    "plugin_version",
    "seed",
    "time_limit",
    "memory_limit_mb",
    "labels",
    "dataset",
    "device",
    "tf32",
];

/// Why a job is not done.
pub(crate) enum Refused {
    /// Whoever sent it can mend it.
    Job(String),
    /// The rows cannot be used right now.
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            error @ StoreError::Unavailable(_) => Refused::Store(error),
            error => Refused::Job(error.to_string()),
        }
    }
}

/// Writes the row of a training that has none.
pub(crate) async fn admit(shared: &Shared, job: &Job) -> Result<Run, Refused> {
    let config = config(job)?;
    if !is_plain(&job.run) {
        return Err(Refused::Job(
            "the task's id is not 1 to 64 letters, digits, - and _, as ids of tasks are here".into(),
        ));
    }
    let model = with_plugin(shared, shared.store.model(job.model).await?, &config).await?;
    let number = |name: &str| match config.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| Refused::Job(format!("{name} is {value}; it has to be a whole number"))),
    };
    let asked = Submission {
        training_dataset: config.get("training_dataset").filter(|value| !value.is_null()).cloned(),
        training_parameters: match config.get("training_parameters") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(parameters)) => parameters.clone(),
            Some(other) => {
                return Err(Refused::Job(format!(
                    "training_parameters is {other}; it has to be an object"
                )));
            }
        },
        seed: number("seed")?
            .map(u32::try_from)
            .transpose()
            .map_err(|_| Refused::Job("seed is not between 0 and 4294967295".into()))?,
        time_limit: number("time_limit")?,
        memory_limit_mb: number("memory_limit_mb")?,
        labels: match config.get("labels") {
            None | Some(Value::Null) => Vec::new(),
            Some(labels) => serde_json::from_value(labels.clone())
                .map_err(|_| Refused::Job(format!("labels is {labels}; it has to be a list of texts")))?,
        },
        device: match config.get("device") {
            None | Some(Value::Null) => None,
            Some(Value::String(device)) => Some(device.parse().map_err(Refused::Job)?),
            Some(other) => {
                return Err(Refused::Job(format!(
                    "device is {other}; it has to be auto, cpu, cuda or cuda:N"
                )));
            }
        },
        tf32: match config.get("tf32") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(tf32)) => Some(*tf32),
            Some(other) => return Err(Refused::Job(format!("tf32 is {other}; it has to be true or false"))),
        },
    };
    let allowance = &shared.options.allowance;
    let run = submission::new_run(&*shared.store, &model, job.run.clone(), asked, allowance)
        .await
        .map_err(|error| match error {
            submission::SubmissionError::Store(error) => error.into(),
            error => Refused::Job(error.to_string()),
        })?;
    let run = shared.store.submit(run).await?;
    let details = json!({"run": run.id, "plugin": run.plugin, "plugin_version": run.plugin_version});
    let subject = format!("model {}", run.model_id);
    if let Err(error) = shared.store.audit("queue", "train", &subject, &details).await {
        tracing::warn!(run = run.id, %error, "the audit log misses a submit");
    }
    shared.feed.tell_status(&run).await;
    Ok(run)
}

/// A model that the application made has no plugin until somebody names one.
async fn with_plugin(shared: &Shared, model: Model, config: &Map<String, Value>) -> Result<Model, Refused> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
    let (plugin, version) = (text("plugin"), text("plugin_version"));
    let named = plugin.as_deref().unwrap_or(&model.plugin);
    if named.is_empty() {
        return Err(Refused::Job(format!(
            "model {} names no plugin: name one in the configuration (\"plugin\": \"dlinear\"), or once with PATCH \
             /api/v2/ai/models/{}",
            model.id, model.id
        )));
    }
    if named == model.plugin && version.is_none() {
        return Ok(model);
    }
    let patch = ModelPatch {
        plugin: Some(named.to_owned()),
        plugin_version: Some(version),
        ..ModelPatch::default()
    };
    Ok(shared.store.update_model(model.id, patch).await?)
}

/// Judges a model's result.
pub(crate) async fn evaluate(shared: &Shared, desk: &Desk, job: &Job) -> Result<Outcome, Refused> {
    let config = config(job)?;
    let model = shared.store.model(job.model).await?;
    let Some(trained) = &model.trained_run else {
        return Err(Refused::Job(format!(
            "model {} has no result to judge: train it first",
            model.id
        )));
    };
    let run = shared.store.run(trained).await?;
    let given = config.get("dataset").or_else(|| config.get("training_dataset"));
    let dataset = match given.filter(|value| !value.is_null()) {
        Some(given) => Some(TrainingDataset::parse(given).map_err(Refused::Job)?),
        None => None,
    };
    match desk.evaluate(&run, dataset).await {
        Ok(evaluation) => Ok(Outcome::Done(json!({
            "model_id": model.id,
            "run_id": run.id,
            "metrics": evaluation.metrics,
            "warnings": evaluation.warnings,
        }))),
        Err(ComputeError::Refused { message, .. }) => Err(Refused::Job(message)),
        Err(error) => Err(Refused::Job(error.to_string())),
    }
}

fn config(job: &Job) -> Result<Map<String, Value>, Refused> {
    let config = job.config.as_object().cloned().unwrap_or_default();
    match config.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        Some(name) => Err(Refused::Job(format!(
            "the configuration says {name:?}, which means nothing here; it may say {}",
            KNOWN.join(", ")
        ))),
        None => Ok(config),
    }
}

/// Names of runs become names of files.
fn is_plain(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

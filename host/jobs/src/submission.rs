//! What is checked before a training is taken, over REST or from the queue: the plugin, its parameters, and as much of the
//! data set as can be known without its rows. Whether those are fit to learn from shows when a worker reads them.

use crate::broker::MOST_LABELS;
use crate::{
    CARD_LABEL, DeviceChoice, Model, NewRun, PluginVersion, RunId, RunLimits, Source, Store, StoreError, StoredDataset,
    TrainingDataset,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::path::{Component, Path};
use trainyard_data::Task;
use trainyard_data::tdengine::{DeviceQuery, Moment, Name, Sink};
use trainyard_parameters::{ParameterProblem, Schema, quoted};
use uuid::Uuid;

/// The least memory a run may be given, in MiB: less does not start.
pub const LEAST_MEMORY_MB: u64 = 64;
/// The most where nothing else limits it: more than any card has.
const MOST_MEMORY_MB: u64 = 1 << 30;

/// Why something is not taken; whoever sent it can mend it.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// A stable name for programs.
    pub error: &'static str,
    /// What was wrong and where.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<Cow<'static, str>>,
    /// More of it, for programs; null where there is nothing.
    pub details: Value,
}

impl Refusal {
    pub(crate) fn new(error: &'static str, message: impl AsRef<str>) -> Box<Self> {
        Box::new(Refusal {
            error,
            message: message.as_ref().to_owned(),
            remedy: None,
            details: Value::Null,
        })
    }

    fn remedy(mut self: Box<Self>, remedy: impl Into<Cow<'static, str>>) -> Box<Self> {
        self.remedy = Some(remedy.into());
        self
    }

    fn details(mut self: Box<Self>, details: Value) -> Box<Self> {
        self.details = details;
        self
    }
}

/// Why a submission comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// It is not taken.
    #[error("{}", spelled(.0))]
    Refused(Box<Refusal>),
    /// The rows cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored makes no sense.
    #[error("{0}")]
    Internal(String),
}

fn spelled(refusal: &Refusal) -> String {
    match &refusal.remedy {
        Some(remedy) => format!("{}; {remedy}", refusal.message),
        None => refusal.message.clone(),
    }
}

impl From<Box<Refusal>> for SubmissionError {
    fn from(refusal: Box<Refusal>) -> Self {
        SubmissionError::Refused(refusal)
    }
}

/// What is asked of a training. Everything that is absent comes from the model, then from the plugin's and the service's
/// defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Submission {
    /// What to learn from.
    pub training_dataset: Option<Value>,
    /// Parameters of the plugin; they go over the model's own.
    pub training_parameters: Map<String, Value>,
    /// What every random number follows from; a new one each time when it is not said.
    pub seed: Option<u32>,
    /// Seconds after which the run is ended.
    pub time_limit: Option<u64>,
    /// MiB that the run may use.
    pub memory_limit_mb: Option<u64>,
    /// What a worker has to have to take it.
    pub labels: Vec<String>,
    /// Where its tensors are to be; auto when it is not said.
    pub device: Option<DeviceChoice>,
    /// Whether a card may use TF32; not when it is not said.
    pub tf32: Option<bool>,
}

/// Parameters that say where a training is done, of a plugin that has none of the same name: clients of the original can
/// say nothing beside the parameters.
const RESERVED: [&str; 2] = ["device", "tf32"];

/// What trainings may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Seconds: the most, and the usual.
    pub time_seconds: u64,
    /// MiB of the machine's memory: the most.
    pub memory_mb: u64,
    /// MiB of a card's memory, of a training that is for a card alone: the most; 0 is as much as the card has.
    pub gpu_memory_mb: u64,
    /// MiB: the usual.
    pub usual_memory_mb: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance {
            time_seconds: 3600,
            memory_mb: 16 << 10,
            gpu_memory_mb: 0,
            usual_memory_mb: 2 << 10,
        }
    }
}

impl Allowance {
    /// MiB that a training may ask for at most that wants this device. On `auto` it may come to the processor.
    fn memory_for(&self, device: DeviceChoice) -> u64 {
        match (device.needs_card(), self.gpu_memory_mb) {
            (true, 0) => MOST_MEMORY_MB,
            (true, most) => most,
            (false, _) => self.memory_mb,
        }
    }
}

/// A run of a model, under a name that is new.
pub async fn new_run(
    store: &dyn Store,
    model: &Model,
    id: RunId,
    submission: Submission,
    allowance: &Allowance,
) -> Result<NewRun, SubmissionError> {
    let plugin = plugin(store, &model.plugin, model.plugin_version.as_deref()).await?;
    let dataset = match &submission.training_dataset {
        Some(given) => given.clone(),
        None => usual_dataset(store, model).await?,
    };
    let dataset = match &dataset {
        Value::Null => {
            return Err(Refusal::new("no-dataset", format!("model {} has no data set to learn from", model.id))
                .remedy("give \"training_dataset\":{\"source\":\"upload\",\"dataset_id\":\"…\"} here or with PATCH to the model")
                .into());
        }
        given => self::dataset(store, given, &plugin).await?,
    };
    let mut parameters = model.training_parameters.as_object().cloned().unwrap_or_default();
    parameters.extend(submission.training_parameters);
    let reserved = reserved(&schema(&plugin)?, &mut parameters)?;
    let device = submission.device.or(reserved.device).unwrap_or_default();
    let time_seconds = limited(
        "time_limit",
        submission.time_limit,
        allowance.time_seconds,
        1,
        allowance.time_seconds,
    )?;
    let most = allowance.memory_for(device);
    let memory_mb = limited(
        "memory_limit_mb",
        submission.memory_limit_mb,
        allowance.usual_memory_mb.min(most),
        LEAST_MEMORY_MB,
        most,
    )?;
    Ok(NewRun {
        id,
        model_id: model.id,
        training_dataset: serde_json::to_value(dataset)
            .map_err(|error| SubmissionError::Internal(error.to_string()))?,
        training_parameters: all_parameters(&plugin, parameters)?,
        plugin: plugin.name,
        plugin_version: plugin.version,
        plugin_digest: plugin.digest,
        // The first 32 bits of a random UUID are random, all of them.
        seed: submission.seed.unwrap_or_else(|| Uuid::new_v4().as_fields().0),
        limits: RunLimits {
            time_seconds,
            memory_mb,
            device,
            tf32: submission.tf32.or(reserved.tf32).unwrap_or_default(),
        },
        labels: match labels(submission.labels)? {
            // Whoever names labels knows which workers have cards.
            none if none.is_empty() && device.needs_card() => vec![CARD_LABEL.to_owned()],
            labels => labels,
        },
    })
}

/// What reserved parameters say.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reserved {
    device: Option<DeviceChoice>,
    tf32: Option<bool>,
}

/// Takes the reserved parameters out of those of a plugin, but for those that the plugin has itself.
pub(crate) fn reserved(schema: &Schema, parameters: &mut Map<String, Value>) -> Result<Reserved, Box<Refusal>> {
    let mut found = Reserved::default();
    for name in RESERVED {
        if schema.properties().any(|(own, _)| own == name) {
            continue;
        }
        let refused = |problem: String| Refusal::new("invalid-device", format!("training_parameters: {problem}"));
        match (name, parameters.remove(name)) {
            (_, None | Some(Value::Null)) => {}
            ("device", Some(Value::String(text))) => found.device = Some(text.parse().map_err(refused)?),
            ("tf32", Some(Value::Bool(tf32))) => found.tf32 = Some(tf32),
            ("tf32", Some(other)) => return Err(refused(format!("tf32 is {other}; it has to be true or false"))),
            (_, Some(other)) => {
                return Err(refused(format!(
                    "device is {other}; it has to be auto, cpu, cuda or cuda:N"
                )));
            }
        }
    }
    Ok(found)
}

/// What a training learns from when the submit does not say: the model's own data set, or the one of its last run.
async fn usual_dataset(store: &dyn Store, model: &Model) -> Result<Value, StoreError> {
    match (&model.training_dataset, &model.task_id) {
        (Value::Null, Some(run)) => Ok(store.run(run).await?.training_dataset),
        (own, _) => Ok(own.clone()),
    }
}

/// Labels as a worker has them, in order.
fn labels(mut given: Vec<String>) -> Result<Vec<String>, Box<Refusal>> {
    if let Some(bad) = given.iter().find(|label| !is_label(label)) {
        let message = format!(
            "labels: {} is no label: it has 1 to 32 small letters, digits, - and _",
            quoted(bad)
        );
        return Err(Refusal::new("invalid-label", message));
    }
    given.sort_unstable();
    given.dedup();
    if given.len() > MOST_LABELS {
        let message = format!("labels: there are {}; a job may ask for {MOST_LABELS}", given.len());
        return Err(Refusal::new("invalid-label", message));
    }
    Ok(given)
}

/// Whether a text can be a label.
pub fn is_label(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
}

fn limited(name: &str, given: Option<u64>, usual: u64, least: u64, most: u64) -> Result<u64, Box<Refusal>> {
    match given {
        None => Ok(usual),
        Some(value) if (least..=most).contains(&value) => Ok(value),
        Some(value) => Err(Refusal::new(
            "invalid-limit",
            format!("{name} is {value}; this server allows {least} to {most}"),
        )
        .details(json!({"minimum": least, "maximum": most}))),
    }
}

/// A version of a plugin that a body names, the newest without one.
pub async fn plugin(store: &dyn Store, name: &str, version: Option<&str>) -> Result<PluginVersion, SubmissionError> {
    store.plugin(name, version).await.map_err(|error| match error {
        StoreError::NotFound { .. } => {
            let version = version.map(|version| format!(" in version {}", quoted(version)));
            let message = format!("there is no plugin {}{}", quoted(name), version.unwrap_or_default());
            Refusal::new("no-such-plugin", message)
                .remedy("see GET /plugins, or upload it with POST /plugins")
                .into()
        }
        error => error.into(),
    })
}

/// A model's own parameters: those given must be allowed; others may still be missing.
pub fn given_parameters(plugin: &PluginVersion, given: &Map<String, Value>) -> Result<(), SubmissionError> {
    let (schema, mut given) = (schema(plugin)?, given.clone());
    reserved(&schema, &mut given)?;
    match schema.complete(&Value::Object(given.clone())) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let about_given = |problem: &ParameterProblem| {
                given.keys().any(|name| problem.parameter.starts_with(name.as_str()))
                    || problem.parameter == "parameters"
            };
            let problems: Vec<_> = problems.into_iter().filter(about_given).collect();
            if problems.is_empty() {
                Ok(())
            } else {
                Err(bad_parameters(&problems).into())
            }
        }
    }
}

/// A run's parameters: all of them, defaults filled in.
pub fn all_parameters(plugin: &PluginVersion, mut given: Map<String, Value>) -> Result<Value, SubmissionError> {
    let schema = schema(plugin)?;
    reserved(&schema, &mut given)?;
    schema
        .complete(&Value::Object(given))
        .map_err(|problems| bad_parameters(&problems).into())
}

pub(crate) fn schema(plugin: &PluginVersion) -> Result<Schema, SubmissionError> {
    Schema::parse(&plugin.parameters.to_string()).map_err(|problem| {
        SubmissionError::Internal(format!(
            "the stored schema of {} {}: {problem}",
            plugin.name, plugin.version
        ))
    })
}

fn bad_parameters(problems: &[ParameterProblem]) -> Box<Refusal> {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Refusal::new("invalid-parameters", lines.join("; "))
        .remedy("see the plugin's schema")
        .details(json!({"problems": problems}))
}

/// A `training_dataset`, for a plugin.
pub async fn dataset(
    store: &dyn Store,
    given: &Value,
    plugin: &PluginVersion,
) -> Result<TrainingDataset, SubmissionError> {
    let dataset = any_dataset(store, given).await?;
    let tasks: Vec<Task> = plugin.tasks.iter().filter_map(|task| task.parse().ok()).collect();
    dataset
        .spec(&tasks, &dataset.row_columns())
        .map_err(|error| bad_dataset(format!("training_dataset: {error}")))?;
    Ok(dataset)
}

/// A data set on its own.
pub async fn any_dataset(store: &dyn Store, given: &Value) -> Result<TrainingDataset, SubmissionError> {
    let dataset = TrainingDataset::parse(given).map_err(bad_dataset)?;
    match &dataset.source {
        Source::File { path } => safe_path(path)?,
        Source::Upload { dataset_id } => {
            let stored = store.dataset(dataset_id).await.map_err(|error| match error {
                StoreError::NotFound { .. } => {
                    let message = format!("training_dataset: there is no data set {}", quoted(dataset_id));
                    SubmissionError::from(
                        Refusal::new("no-such-dataset", message)
                            .remedy("see GET /datasets, or upload it with POST /datasets?name=file.csv"),
                    )
                }
                error => error.into(),
            })?;
            known_columns(&dataset, &stored)?;
        }
        Source::Tdengine(query) => {
            names(&dataset)?;
            times(query)?;
        }
    }
    Ok(dataset)
}

/// Where a prediction is to be written. Its names are names by now.
pub fn sink(sink: &Sink) -> Result<(), Box<Refusal>> {
    let device = sink.device_id.as_deref().unwrap_or_default();
    if device.chars().any(char::is_control) || device.chars().count() > 128 {
        let message = format!(
            "sink: the device_id {} has more than 128 or control characters",
            quoted(device)
        );
        return Err(Refusal::new("invalid-sink", message));
    }
    Ok(())
}

fn bad_dataset(message: impl AsRef<str>) -> Box<Refusal> {
    Refusal::new("invalid-dataset", message)
}

/// A path that stays where it says. Which folders are allowed, the worker knows.
fn safe_path(path: &str) -> Result<(), Box<Refusal>> {
    let problem = if path.is_empty() {
        "is empty"
    } else if path.chars().any(char::is_control) {
        "has a control character"
    } else if Path::new(path).components().any(|part| part == Component::ParentDir) {
        "has `..` in it"
    } else {
        return Ok(());
    };
    Err(bad_dataset(format!(
        "training_dataset: the path {} {problem}",
        quoted(path)
    )))
}

/// Columns of a database have names like all else there. Whether there are such columns, the database knows.
fn names(dataset: &TrainingDataset) -> Result<(), Box<Refusal>> {
    named(dataset)
        .try_for_each(|name| Name::new(name.as_str()).map(drop))
        .map_err(|problem| bad_dataset(format!("training_dataset: {problem}")))
}

/// Times that are no times, and ranges of them that hold none whenever they are read.
fn times(query: &DeviceQuery) -> Result<(), Box<Refusal>> {
    let now = chrono::Utc::now();
    let resolved = |name: &str, moment: Option<Moment>| {
        moment
            .map(|moment| moment.resolve(query.time_zone, now))
            .transpose()
            .map_err(|problem| bad_dataset(format!("training_dataset: {name}: {problem}")))
    };
    let (start, end) = (
        resolved("start_time", query.start_time)?,
        resolved("end_time", query.end_time)?,
    );
    let moves = |moment: Option<Moment>| matches!(moment, Some(Moment::Ago(_)));
    // With one of them fixed, the range is another one when a worker reads it.
    if moves(query.start_time) == moves(query.end_time)
        && let (Some(start), Some(end)) = (start, end)
        && start >= end
    {
        return Err(bad_dataset(format!(
            "training_dataset: start_time {start} is not before end_time {end}, so that no row is between them"
        )));
    }
    Ok(())
}

/// The columns that a data set names.
fn named(dataset: &TrainingDataset) -> impl Iterator<Item = &String> {
    dataset
        .time
        .iter()
        .chain(&dataset.device_column)
        .chain(&dataset.target)
        .chain(dataset.columns.iter().flatten())
}

/// The columns that are named must be those that the upload has.
fn known_columns(dataset: &TrainingDataset, stored: &StoredDataset) -> Result<(), Box<Refusal>> {
    let columns = stored.report.get("columns").and_then(Value::as_array);
    let known: Vec<&str> = columns
        .into_iter()
        .flatten()
        .filter_map(|column| column.get("name").and_then(Value::as_str))
        .collect();
    let unknown: Vec<String> = named(dataset)
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| quoted(name))
        .collect();
    if unknown.is_empty() || known.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = known.iter().map(|name| quoted(name)).collect();
    let message = format!(
        "training_dataset: the data set {} has no column {}; it has {}",
        quoted(&stored.name),
        unknown.join(", "),
        list.join(", ")
    );
    Err(Refusal::new("no-such-column", message).details(json!({"columns": known})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(schema: &Value, parameters: Value) -> (Result<Reserved, Box<Refusal>>, Map<String, Value>) {
        let schema = Schema::parse(&schema.to_string()).unwrap();
        let mut parameters = parameters.as_object().cloned().unwrap();
        (reserved(&schema, &mut parameters), parameters)
    }

    #[test]
    fn a_device_among_the_parameters_is_taken_out_of_them() {
        let schema = json!({"type": "object", "properties": {"epochs": {"type": "integer"}}});
        let (found, left) = taken(&schema, json!({"epochs": 3, "device": "cuda:1", "tf32": true}));
        let expected = Reserved {
            device: Some(DeviceChoice::Card(1)),
            tf32: Some(true),
        };
        assert_eq!((found, Value::Object(left)), (Ok(expected), json!({"epochs": 3})));
        let (found, left) = taken(&schema, json!({"device": null}));
        assert_eq!((found, left), (Ok(Reserved::default()), Map::new()));
    }

    #[test]
    fn a_card_has_a_limit_of_its_own() {
        let with = |gpu_memory_mb| Allowance {
            memory_mb: 3072,
            gpu_memory_mb,
            ..Allowance::default()
        };
        for device in [DeviceChoice::Auto, DeviceChoice::Cpu] {
            assert_eq!(with(100_000).memory_for(device), 3072);
        }
        for device in [DeviceChoice::Cuda, DeviceChoice::Card(1)] {
            assert_eq!(with(100_000).memory_for(device), 100_000);
            assert!(with(0).memory_for(device) > 200_000);
        }
    }

    #[test]
    fn a_plugin_keeps_its_own_parameter_of_that_name() {
        let schema = json!({"type": "object", "properties": {"device": {"type": "string"}}});
        let (found, left) = taken(&schema, json!({"device": "pump-1", "tf32": false}));
        assert_eq!(found.unwrap().device, None);
        assert_eq!(Value::Object(left), json!({"device": "pump-1"}));
    }

    #[test]
    fn what_is_no_device_is_refused() {
        let schema = json!({"type": "object", "properties": {}});
        for (parameters, words) in [
            (json!({"device": "gpu"}), "auto, cpu, cuda or cuda:N"),
            (json!({"device": 0}), "auto, cpu, cuda or cuda:N"),
            (json!({"tf32": "yes"}), "true or false"),
        ] {
            let refusal = taken(&schema, parameters).0.unwrap_err();
            assert_eq!(refusal.error, "invalid-device");
            assert!(refusal.message.contains(words), "{}", refusal.message);
        }
    }
}

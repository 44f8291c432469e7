//! `trainyard train`: what is typed becomes a submit; its training is watched or left alone.

use super::api::Model;
use super::datasets::{self, Uploaded};
use super::http::{Client, new_key};
use super::screen::{Screen, Style};
use super::watch::watch;
use crate::args::{AskedOptions, TrainOptions, TrainingDataOptions};
use crate::failure::{Failure, Result};
use crate::output;
use crate::typed;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io::IsTerminal;
use trainyard_data::tdengine::QUERY_FIELDS;
use trainyard_parameters::{Schema, one_line};

/// Fields of a `training_dataset` that say where rows come from, beside those of TDengine.
const SOURCE_FIELDS: [&str; 3] = ["source", "dataset_id", "path"];

#[derive(Deserialize)]
struct Submitted {
    task_id: String,
    status: String,
}

/// Submits a training, and watches it if that is wanted.
pub fn train(options: &TrainOptions) -> Result<()> {
    let client = Client::new(&options.client.server)?;
    let model = client.model(&options.model)?;
    let body = body(&client, &options.asked, &model)?;
    let submitted: Submitted = client.post(&format!("/models/{}/train", model.id), &body, Some(&new_key()))?;
    let run = &submitted.task_id;
    if options.client.json {
        output::print_json(&json!({
            "event": "submitted",
            "model": model.id,
            "run_id": run,
            "status": submitted.status,
        }));
    }
    let at_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    if options.detach || !(options.watch || at_terminal) {
        if !options.client.json {
            output::print(&format!(
                "run {} of model {} is {}\n  watch it: trainyard logs {} --follow\n  stop it:  trainyard stop {}",
                one_line(run),
                model.id,
                one_line(&submitted.status),
                model.id,
                model.id
            ));
        }
        return Ok(());
    }
    let style = if options.client.json || !at_terminal {
        Style::Json
    } else {
        Style::Bar
    };
    let mut screen = Screen::new(style);
    screen.say(&format!(
        "run {} of model {} ({})",
        one_line(run),
        model.id,
        one_line(&model.name)
    ));
    watch(&client, &model, run, &mut screen)
}

/// The body of a submit.
pub fn body(client: &Client, options: &AskedOptions, model: &Model) -> Result<Value> {
    let mut body = Map::new();
    let parameters = parameters(
        client,
        &options.parameters,
        &model.plugin,
        model.plugin_version.as_deref(),
    )?;
    if !options.parameters.is_empty() {
        body.insert("training_parameters".into(), parameters);
    }
    if let Some(dataset) = dataset(client, &options.data, &model.training_dataset)? {
        body.insert("training_dataset".into(), dataset);
    }
    if !options.labels.is_empty() {
        body.insert("labels".into(), json!(options.labels));
    }
    if let Some(device) = options.device {
        body.insert("device".into(), json!(device));
    }
    if options.tf32 {
        body.insert("tf32".into(), json!(true));
    }
    let numbers = [
        ("seed", options.seed.map(u64::from)),
        ("time_limit", options.time_limit),
        ("memory_limit_mb", options.memory),
    ];
    body.extend(
        numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))),
    );
    Ok(Value::Object(body))
}

/// Typed parameters, read by the schema of the plugin on the server.
pub fn parameters(client: &Client, typed: &[String], plugin: &str, version: Option<&str>) -> Result<Value> {
    if typed.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let schema = schema(client, plugin, version)?;
    typed::parameters(typed, &schema).map(Value::Object)
}

/// The schema of a plugin on the server.
pub fn schema(client: &Client, plugin: &str, version: Option<&str>) -> Result<Schema> {
    let version = version.map(|version| ("version", version));
    let path = format!("/plugins/{}/schema", super::http::escaped(plugin));
    let schema: Value = client.get(&path, version.as_slice())?;
    Schema::parse(&schema.to_string()).map_err(|problem| Failure::Stranger {
        url: client.url().to_owned(),
        problem: format!("the plugin's schema does not read: {problem}"),
    })
}

/// The `training_dataset` that options ask for, over what the model has; none where they ask for nothing.
pub fn dataset(client: &Client, options: &TrainingDataOptions, model: &Value) -> Result<Option<Value>> {
    let mut changes = changes(options);
    let source = match (&options.file, options.dataset.as_deref()) {
        (Some(file), _) => {
            let Uploaded { dataset, is_new } = datasets::upload(client, file, None)?;
            if is_new {
                for warning in datasets::warnings(&dataset) {
                    eprintln!("warning: {warning}");
                }
            }
            Some(json!({"source": "upload", "dataset_id": dataset.id}))
        }
        (None, Some(said)) => {
            let named = datasets::named(client, said)?;
            if named.is_whole {
                let mut whole = named.fields;
                merge(&mut whole, &mut changes);
                return Ok(Some(Value::Object(whole)));
            }
            Some(Value::Object(named.fields))
        }
        (None, None) => None,
    };
    if source.is_none() && changes.is_empty() {
        return Ok(None);
    }
    let mut whole = model.as_object().cloned().unwrap_or_default();
    match source {
        Some(Value::Object(source)) => {
            whole.retain(|name, _| !SOURCE_FIELDS.contains(&name.as_str()) && !QUERY_FIELDS.contains(&name.as_str()));
            whole.extend(source);
        }
        _ if whole.is_empty() => {
            return Err(Failure::Usage(
                "it is not said what to learn from: give --data FILE, or --dataset with one that is on the server"
                    .into(),
            ));
        }
        _ => {}
    }
    merge(&mut whole, &mut changes);
    Ok(Some(Value::Object(whole)))
}

/// What options change, in the names of the API.
fn changes(options: &TrainingDataOptions) -> Map<String, Value> {
    let text = |value: &Option<String>| value.as_deref().map(Value::from);
    let mut changes = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        changes.extend(value.map(|value| (name.to_owned(), value)));
    };
    set("task", options.task.map(|task| json!(task)));
    set("time", text(&options.time));
    set("columns", options.features.as_ref().map(|columns| json!(columns)));
    set("target", options.target.as_ref().map(|columns| json!(columns)));
    set("lookback", options.lookback.map(Value::from));
    set("horizon", options.horizon.map(Value::from));
    set("split", options.split.map(|split| json!(split)));
    let mut preprocess = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        preprocess.extend(value.map(|value| (name.to_owned(), value)));
    };
    set("missing", options.missing.map(|missing| json!(missing)));
    set("scaling", options.scaling.map(|scaling| json!(scaling)));
    set("sort", options.sort.then_some(Value::Bool(true)));
    set("duplicates", options.duplicates.map(|duplicates| json!(duplicates)));
    if !preprocess.is_empty() {
        changes.insert("preprocess".into(), Value::Object(preprocess));
    }
    changes
}

/// Puts changes over what there is; those of the preprocessing one by one.
fn merge(whole: &mut Map<String, Value>, changes: &mut Map<String, Value>) {
    if let Some(Value::Object(preprocess)) = changes.get_mut("preprocess")
        && let Some(Value::Object(old)) = whole.get("preprocess")
    {
        let mut merged = old.clone();
        merged.append(preprocess);
        *preprocess = merged;
    }
    whole.append(changes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainyard_data::Scaling;

    #[test]
    fn options_become_fields_of_the_api() {
        let options = TrainingDataOptions {
            target: Some(vec!["y".into()]),
            lookback: Some(8),
            horizon: Some(2),
            split: Some("10/5/5".parse().unwrap()),
            scaling: Some(Scaling::MinMax),
            sort: true,
            ..TrainingDataOptions::default()
        };
        assert_eq!(
            Value::Object(changes(&options)),
            json!({
                "target": ["y"], "lookback": 8, "horizon": 2, "split": "10/5/5",
                "preprocess": {"scaling": "min_max", "sort": true},
            })
        );
        assert!(changes(&TrainingDataOptions::default()).is_empty());
    }

    #[test]
    fn what_is_not_said_stays_as_the_model_has_it() {
        let model =
            json!({"source": "file", "path": "a", "target": ["y"], "preprocess": {"missing": "drop", "sort": false}});
        let mut whole = model.as_object().cloned().unwrap();
        let mut changes = json!({"target": ["z"], "preprocess": {"sort": true}})
            .as_object()
            .cloned()
            .unwrap();
        merge(&mut whole, &mut changes);
        assert_eq!(
            Value::Object(whole),
            json!({"source": "file", "path": "a", "target": ["z"], "preprocess": {"missing": "drop", "sort": true}})
        );
    }
}

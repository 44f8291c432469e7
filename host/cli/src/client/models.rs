//! Models on a server: made, listed, shown, stopped, deleted; and their trainings.

use super::api::{Model, Run};
use super::http::{Client, new_key, nothing};
use super::plugins::read;
use super::{text, train};
use crate::args::{ClientOptions, ModelCommand, ModelCreateOptions, ModelOptions};
use crate::failure::{Failure, Result};
use crate::output;
use serde_json::{Value, json};
use trainyard_parameters::one_line;

const STATUSES: [&str; 6] = ["DRAFT", "PENDING", "PREPARING", "TRAINING", "TRAINED", "ERROR"];

/// Does what was asked for.
pub fn command(options: &ClientOptions, command: &ModelCommand) -> Result<()> {
    let client = Client::new(&options.server)?;
    match command {
        ModelCommand::Create(create) => self::create(&client, create, options.json),
        ModelCommand::List { status, name, plugin } => {
            list(&client, status, name.as_deref(), plugin.as_deref(), options.json)
        }
        ModelCommand::Show { model } => show(&client, model, options.json),
        ModelCommand::Delete { model } => {
            let model = client.model(model)?;
            let deleted: Value = client.delete(&format!("/models/{}", model.id))?;
            if options.json {
                output::print_json(&deleted);
            } else {
                output::print(&format!("model {} ({}) is deleted", model.id, one_line(&model.name)));
            }
            Ok(())
        }
    }
}

fn create(client: &Client, options: &ModelCreateOptions, json: bool) -> Result<()> {
    let (plugin, version) = match options.plugin.split_once('@') {
        Some((plugin, version)) => (plugin, Some(version)),
        None => (options.plugin.as_str(), None),
    };
    let parameters = train::parameters(client, &options.parameters, plugin, version)?;
    let dataset = train::dataset(client, &options.data, &Value::Null)?;
    let mut body = json!({"name": options.name, "plugin": plugin, "training_parameters": parameters});
    for (name, value) in [
        ("plugin_version", version.map(Value::from)),
        ("description", options.description.as_deref().map(Value::from)),
        ("training_dataset", dataset),
    ] {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    let made: Value = client.post("/models", &body, Some(&new_key()))?;
    if json {
        output::print_json(&made);
        return Ok(());
    }
    let model = read::<Model>(client, vec![made])?.remove(0);
    output::print(&format!(
        "model {}: {} by {}",
        model.id,
        one_line(&model.name),
        one_line(&model.plugin)
    ));
    let data = if model.training_dataset.is_null() {
        " --data FILE"
    } else {
        ""
    };
    output::print(&format!("  train it: trainyard train {}{data}", model.id));
    Ok(())
}

fn list(client: &Client, status: &[String], name: Option<&str>, plugin: Option<&str>, json: bool) -> Result<()> {
    let status: Vec<String> = status.iter().map(|status| status.to_uppercase()).collect();
    if let Some(wrong) = status.iter().find(|status| !STATUSES.contains(&status.as_str())) {
        return Err(Failure::Usage(format!(
            "there is no status {wrong}; there are {}",
            STATUSES.join(", ")
        )));
    }
    let status = status.join(",");
    let mut query = Vec::new();
    query.extend(Some(("status", status.as_str())).filter(|(_, status)| !status.is_empty()));
    query.extend(name.map(|name| ("name", name)));
    query.extend(plugin.map(|plugin| ("plugin", plugin)));
    let models: Vec<Value> = client.all("/models", &query)?;
    if json {
        models.iter().for_each(output::print_json);
        return Ok(());
    }
    let mut table = text::table(["model", "name", "plugin", "status", "%", "test metrics", "changed"]);
    for model in read::<Model>(client, models)? {
        table.add_row([
            model.id.to_string(),
            one_line(&model.name),
            plugin_of(&model),
            one_line(&model.status),
            format!("{:.0}", model.progress),
            text::figures(&model.metrics, 2),
            text::time(&model.updated_at),
        ]);
    }
    for column in [0, 4] {
        text::right(&mut table, column);
    }
    output::print(&match (table.is_empty(), query.is_empty()) {
        (true, true) => {
            format!(
                "{} has no models; `trainyard model create NAME --plugin PLUGIN` makes one",
                client.url()
            )
        }
        (true, false) => "no model is like that".into(),
        (false, _) => table.to_string(),
    });
    Ok(())
}

fn show(client: &Client, said: &str, json: bool) -> Result<()> {
    let id = client.model(said)?.id;
    let value: Value = client.get(&format!("/models/{id}"), &[])?;
    if json {
        output::print_json(&value);
        return Ok(());
    }
    let model = read::<Model>(client, vec![value])?.remove(0);
    let mut facts = vec![("model", model.id.to_string()), ("name", one_line(&model.name))];
    if !model.description.is_empty() {
        facts.push(("description", one_line(&model.description)));
    }
    facts.extend([
        ("plugin", plugin_of(&model)),
        (
            "status",
            format!("{}, {:.0} %", one_line(&model.status), model.progress),
        ),
        ("data", text::dataset(&model.training_dataset)),
        ("parameters", text::pairs(&model.training_parameters)),
    ]);
    let runs = [("last run", &model.task_id), ("result of", &model.trained_run)];
    facts.extend(
        runs.into_iter()
            .filter_map(|(name, run)| Some((name, one_line(run.as_deref()?)))),
    );
    if !model.metrics.is_empty() {
        facts.push(("test metrics", text::figures(&model.metrics, usize::MAX)));
    }
    if let Some(error) = model.error_log.as_deref().and_then(|error| error.lines().next()) {
        facts.push(("error", one_line(error)));
    }
    facts.extend([
        ("made", text::time(&model.created_at)),
        ("changed", text::time(&model.updated_at)),
    ]);
    output::print(&text::facts(&facts));
    Ok(())
}

fn plugin_of(model: &Model) -> String {
    let version = model
        .plugin_version
        .as_deref()
        .map(|version| format!(" {version}"))
        .unwrap_or_default();
    one_line(&format!("{}{version}", model.plugin))
}

/// Lists the trainings of a model, newest first.
pub fn runs(options: &ModelOptions) -> Result<()> {
    let client = Client::new(&options.client.server)?;
    let model = client.model(&options.model)?;
    let runs: Vec<Value> = client.all(&format!("/models/{}/runs", model.id), &[])?;
    if options.client.json {
        runs.iter().for_each(output::print_json);
        return Ok(());
    }
    let mut table = text::table([
        "run",
        "state",
        "plugin",
        "submitted",
        "took",
        "memory",
        "test metrics or error",
    ]);
    for run in read::<Run>(&client, runs)? {
        let usage = run.resource_usage.as_ref();
        let error = run
            .error_log
            .as_deref()
            .and_then(|error| error.lines().next())
            .map(one_line);
        table.add_row([
            one_line(&run.id),
            one_line(&run.state),
            one_line(&format!("{} {}", run.plugin, run.plugin_version)),
            text::time(&run.created_at),
            usage.map_or_else(|| "-".into(), |usage| text::seconds(usage.duration_seconds)),
            usage.map_or_else(|| "-".into(), |usage| format!("{:.0} MiB", usage.memory_mb)),
            error.unwrap_or_else(|| text::figures(&run.metrics, 3)),
        ]);
    }
    output::print(&match table.is_empty() {
        true => format!(
            "model {} was never trained; `trainyard train {}` trains it",
            model.id, model.id
        ),
        false => table.to_string(),
    });
    Ok(())
}

/// Stops the training that is under way.
pub fn stop(options: &ModelOptions) -> Result<()> {
    let client = Client::new(&options.client.server)?;
    let model = client.model(&options.model)?;
    let stopped: Value = client.post(&format!("/models/{}/stop", model.id), &nothing(), None)?;
    if options.client.json {
        output::print_json(&stopped);
        return Ok(());
    }
    let run = read::<Run>(&client, vec![stopped])?.remove(0);
    output::print(&match run.is_over() {
        true => format!("run {} of model {} is stopped", one_line(&run.id), model.id),
        false => format!(
            "run {} of model {} is told to stop; it ends within seconds",
            one_line(&run.id),
            model.id
        ),
    });
    Ok(())
}

//! Sweeps on a server: many trainings over a space of parameters.

use super::http::{Client, is_passing, new_key};
use super::plugins::read;
use super::{text, train};
use crate::args::{ClientOptions, SweepCommand};
use crate::failure::{Failure, Result};
use crate::output;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io::IsTerminal;
use std::thread::sleep;
use std::time::{Duration, Instant};
use trainyard_parameters::{Schema, one_line};

/// How often a sweep that is watched is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long the server may be away meanwhile.
const PATIENCE: Duration = Duration::from_secs(600);
/// Trials that a table shows when not all are asked for.
const SHOWN: usize = 20;

#[derive(Deserialize)]
struct Sweep {
    id: i64,
    model_id: i64,
    state: String,
    method: String,
    #[serde(default)]
    space: Value,
    trials: u64,
    ended: u64,
    best_run: Option<String>,
    note: Option<String>,
    created_at: String,
}

#[derive(Deserialize)]
struct Trials {
    metric: String,
    goal: String,
    items: Vec<Trial>,
}

#[derive(Deserialize)]
struct Trial {
    run_id: String,
    state: String,
    progress: f64,
    stop_requested: bool,
    parameters: Value,
    value: Option<f64>,
    steps: Option<u64>,
    worker: Option<String>,
    error_log: Option<String>,
}

impl Sweep {
    fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "FINISHED" | "STOPPED")
    }
}

/// Does what was asked for.
pub fn command(options: &ClientOptions, command: &SweepCommand) -> Result<()> {
    let client = Client::new(&options.server)?;
    let json = options.json;
    match command {
        SweepCommand::Start {
            model,
            vary,
            method,
            trials,
            metric,
            goal,
            min_steps,
            reduction,
            keep_model,
            detach,
            asked,
        } => {
            let model = client.model(model)?;
            let mut body = json!({
                "space": space(&client, vary, &model.plugin, model.plugin_version.as_deref())?,
                "method": method,
                "adopt": !keep_model,
                "submission": train::body(&client, asked, &model)?,
            });
            let trials = trials.or((method != "grid").then_some(20));
            let asha = (method == "asha").then(|| json!({"min_steps": min_steps, "reduction": reduction}));
            let said = [
                ("trials", json!(trials)),
                ("metric", json!(metric)),
                ("goal", json!(goal)),
                ("seed", json!(asked.seed)),
                ("asha", json!(asha)),
            ];
            if let Some(body) = body.as_object_mut() {
                body.extend(
                    said.into_iter()
                        .filter(|(_, value)| !value.is_null())
                        .map(|(name, value)| (name.to_owned(), value)),
                );
            }
            let made: Value = client.post(&format!("/models/{}/sweep", model.id), &body, Some(&new_key()))?;
            let sweep = one(&client, made.clone())?;
            if json {
                output::print_json(&made);
            } else {
                output::print(&format!(
                    "sweep {} of model {} ({}): {} trials",
                    sweep.id,
                    model.id,
                    one_line(&model.name),
                    sweep.trials
                ));
            }
            let at_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
            if *detach || !at_terminal {
                if !json {
                    output::print(&format!(
                        "  watch it: trainyard sweep watch {}\n  stop it:  trainyard sweep stop {}",
                        sweep.id, sweep.id
                    ));
                }
                return Ok(());
            }
            watch(&client, sweep.id, json)
        }
        SweepCommand::List { model } => list(&client, model.as_deref(), json),
        SweepCommand::Show { id, all } => show(&client, *id, *all, json),
        SweepCommand::Watch { id } => watch(&client, *id, json),
        SweepCommand::Stop { id } => {
            let stopped: Value = client.post(&format!("/sweeps/{id}/stop"), &json!({}), None)?;
            if json {
                output::print_json(&stopped);
            } else {
                let sweep = one(&client, stopped)?;
                output::print(&format!(
                    "sweep {id} is {}: {} of its {} trials are not over and end within seconds; the results of the others stay",
                    one_line(&sweep.state),
                    sweep.trials - sweep.ended,
                    sweep.trials
                ));
            }
            Ok(())
        }
        SweepCommand::Adopt { id, run } => {
            let body = run.as_ref().map_or_else(|| json!({}), |run| json!({"run_id": run}));
            let run: Value = client.post(&format!("/sweeps/{id}/adopt"), &body, None)?;
            if json {
                output::print_json(&run);
            } else {
                output::print(&format!(
                    "model {} now has the result of run {}",
                    run["model_id"],
                    text::value(&run["id"])
                ));
            }
            Ok(())
        }
    }
}

fn one(client: &Client, sweep: Value) -> Result<Sweep> {
    Ok(read::<Sweep>(client, vec![sweep])?.remove(0))
}

/// The space that `--vary` options say, read by the schema of the plugin on the server.
fn space(client: &Client, typed: &[String], plugin: &str, version: Option<&str>) -> Result<Value> {
    let schema = train::schema(client, plugin, version)?;
    let mut space = Map::new();
    for said in typed {
        let (name, values) = said.split_once('=').ok_or_else(|| {
            Failure::Usage(format!(
                "--vary {said:?} has no =; it is NAME=VALUE,VALUE or NAME=MIN..MAX, such as learning_rate=1e-4..1e-1:log"
            ))
        })?;
        space.insert(name.to_owned(), values_of(&schema, name, values)?);
    }
    Ok(Value::Object(space))
}

/// `0.1,0.01`, `[[32],[64,32]]`, `1..10`, `1e-4..1:log`, `1..10:5`.
fn values_of(schema: &Schema, name: &str, said: &str) -> Result<Value> {
    if said.starts_with('[') {
        return serde_json::from_str(said)
            .map_err(|error| Failure::Usage(format!("--vary {name}: {said} is no list in JSON: {error}")));
    }
    let Some((least, rest)) = said.split_once("..") else {
        let values = said.split(',').map(|value| schema.parse_value(name, value.trim()));
        let values: std::result::Result<Vec<_>, _> = values.collect();
        return values
            .map(Value::Array)
            .map_err(|problem| Failure::Parameter(problem.to_string()));
    };
    let mut parts = rest.split(':');
    let number = |text: &str| {
        text.trim().parse::<f64>().map_err(|_| {
            Failure::Usage(format!(
                "--vary {name}: {text:?} is no number; a range is MIN..MAX, MIN..MAX:log or MIN..MAX:POINTS"
            ))
        })
    };
    let mut range = json!({"min": number(least)?, "max": number(parts.next().unwrap_or_default())?});
    for part in parts {
        match part.parse::<u64>() {
            Ok(points) => range["points"] = json!(points),
            Err(_) if part == "log" => range["log"] = json!(true),
            Err(_) => {
                return Err(Failure::Usage(format!(
                    "--vary {name}: {part:?} after a range means nothing; it is log, or a number of points"
                )));
            }
        }
    }
    Ok(range)
}

fn list(client: &Client, model: Option<&str>, json: bool) -> Result<()> {
    let path = match model {
        Some(model) => format!("/models/{}/sweeps", client.model(model)?.id),
        None => "/sweeps".into(),
    };
    let all: Value = client.get(&path, &[])?;
    let items = all["items"].as_array().cloned().unwrap_or_default();
    if json {
        items.iter().for_each(output::print_json);
        return Ok(());
    }
    let mut table = text::table([
        "sweep",
        "model",
        "state",
        "method",
        "varies",
        "trials",
        "made (UTC)",
        "best",
    ]);
    for sweep in read::<Sweep>(client, items)? {
        let varied: Vec<&str> = sweep
            .space
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        table.add_row([
            sweep.id.to_string(),
            sweep.model_id.to_string(),
            one_line(&sweep.state),
            one_line(&sweep.method),
            one_line(&varied.join(", ")),
            format!("{}/{}", sweep.ended, sweep.trials),
            text::time(&sweep.created_at),
            sweep.best_run.as_deref().map_or_else(|| "-".into(), one_line),
        ]);
    }
    output::print(&if table.is_empty() {
        "there are no sweeps; `trainyard sweep start MODEL --vary NAME=MIN..MAX` makes one".to_owned()
    } else {
        table.to_string()
    });
    Ok(())
}

fn show(client: &Client, id: i64, all: bool, json: bool) -> Result<()> {
    let sweep: Value = client.get(&format!("/sweeps/{id}"), &[])?;
    let trials: Value = client.get(&format!("/sweeps/{id}/trials"), &[])?;
    if json {
        output::print_json(&sweep);
        trials["items"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(output::print_json);
        return Ok(());
    }
    let sweep = one(client, sweep)?;
    let trials = read::<Trials>(client, vec![trials])?.remove(0);
    output::print(&table(&sweep, trials, all));
    Ok(())
}

/// The best trials first; those without a figure last.
fn table(sweep: &Sweep, trials: Trials, all: bool) -> String {
    let Trials {
        metric,
        goal,
        mut items,
    } = trials;
    let maximizes = goal == "maximize";
    items.sort_by(|one, other| match (one.value, other.value) {
        (Some(one), Some(other)) if maximizes => other.total_cmp(&one),
        (Some(one), Some(other)) => one.total_cmp(&other),
        (one, other) => one.is_none().cmp(&other.is_none()),
    });
    let names: Vec<String> = sweep
        .space
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    let mut table = text::table(["", "trial"]);
    let mut header = vec![String::new(), "trial".into()];
    header.extend(names.iter().map(|name| one_line(name)));
    header.extend([one_line(&metric), "steps".into(), "state".into(), "worker".into()]);
    table.set_header(header);
    let most = if all { items.len() } else { SHOWN };
    for trial in items.iter().take(most) {
        let best = sweep.best_run.as_ref() == Some(&trial.run_id);
        let mut row = vec![if best { "*" } else { "" }.to_owned(), one_line(&trial.run_id)];
        row.extend(names.iter().map(|name| short(&trial.parameters[name])));
        row.push(trial.value.map_or_else(|| "-".into(), output::number));
        row.push(trial.steps.map_or_else(|| "-".into(), |steps| steps.to_string()));
        row.push(state(trial));
        row.push(trial.worker.as_deref().map_or_else(|| "-".into(), one_line));
        table.add_row(row);
    }
    let mut lines = vec![
        format!(
            "sweep {} of model {}: {}, {} of {} trials are over",
            sweep.id,
            sweep.model_id,
            one_line(&sweep.state),
            sweep.ended,
            sweep.trials
        ),
        table.to_string(),
    ];
    if items.len() > most {
        lines.push(format!("and {} more: --all shows them", items.len() - most));
    }
    lines.extend(sweep.note.as_deref().map(one_line));
    lines.join("\n")
}

fn short(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => output::number(number),
        _ => text::value(value),
    }
}

fn state(trial: &Trial) -> String {
    match trial.state.as_str() {
        "CANCELLED" if trial.stop_requested => "ended early".into(),
        "TRAINING" | "PREPARING" => format!("{} {:.0} %", one_line(&trial.state), trial.progress),
        "ERROR" => {
            let why = trial.error_log.as_deref().unwrap_or_default();
            format!("ERROR: {}", one_line(why.lines().next().unwrap_or_default()))
        }
        state => one_line(state),
    }
}

/// Shows a sweep until it is over. Ctrl-C ends the watching, not the sweep.
fn watch(client: &Client, id: i64, json: bool) -> Result<()> {
    let path = format!("/sweeps/{id}");
    let shows = std::io::stderr().is_terminal() && !json;
    let bar = if shows {
        output::bar(1000)
    } else {
        indicatif::ProgressBar::hidden()
    };
    let taken_away = bar.clone();
    // If there is no handler, Ctrl-C ends the process as it always does.
    let _ = ctrlc::set_handler(move || {
        taken_away.finish_and_clear();
        eprintln!(
            "the sweep goes on: `trainyard sweep watch {id}` shows it again, `trainyard sweep stop {id}` stops it"
        );
        std::process::exit(130);
    });
    let mut heard = Instant::now();
    let mut told = None;
    loop {
        let looked = client.get::<Value>(&path, &[]);
        let trials = client.get::<Value>(&format!("{path}/trials"), &[]);
        match (looked, trials) {
            (Ok(value), Ok(trials)) => {
                heard = Instant::now();
                let sweep = one(client, value.clone())?;
                if json && told != Some(sweep.ended) {
                    told = Some(sweep.ended);
                    output::print_json(&value);
                }
                if sweep.is_over() {
                    bar.finish_and_clear();
                    return show(client, id, false, json);
                }
                let trials = read::<Trials>(client, vec![trials])?.remove(0);
                draw(&bar, &sweep, &trials);
            }
            (Err(failure), _) | (_, Err(failure)) => {
                let away = is_passing(&failure) || matches!(failure, Failure::Unreachable { .. });
                if !away || heard.elapsed() > PATIENCE {
                    bar.finish_and_clear();
                    return Err(failure);
                }
                bar.set_message(format!("the server is away ({failure})"));
            }
        }
        sleep(LOOK);
    }
}

fn draw(bar: &indicatif::ProgressBar, sweep: &Sweep, trials: &Trials) {
    let over = |trial: &&Trial| matches!(trial.state.as_str(), "TRAINED" | "ERROR" | "CANCELLED");
    let running = trials
        .items
        .iter()
        .filter(|trial| matches!(trial.state.as_str(), "PREPARING" | "TRAINING"));
    let done: f64 = trials
        .items
        .iter()
        .map(|trial| if over(&trial) { 100.0 } else { trial.progress })
        .sum();
    bar.set_position((done * 10.0 / trials.items.len().max(1) as f64) as u64);
    let values = trials.items.iter().filter_map(|trial| trial.value);
    let best = if trials.goal == "maximize" {
        values.max_by(f64::total_cmp)
    } else {
        values.min_by(f64::total_cmp)
    };
    let best = best.map_or_else(String::new, |best| {
        format!("  best {} {}", one_line(&trials.metric), output::number(best))
    });
    bar.set_message(format!(
        "{}/{} trials, {} under way{best}",
        sweep.ended,
        sweep.trials,
        running.count()
    ));
}

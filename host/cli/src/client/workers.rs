//! The workers of a server, and the jobs that they gave up.

use super::http::Client;
use super::plugins::read;
use super::text;
use crate::args::{ClientOptions, DeadLetterCommand};
use crate::failure::{Failure, Result};
use crate::output;
use serde::Deserialize;
use serde_json::{Value, json};
use trainyard_parameters::one_line;

#[derive(Deserialize)]
struct Worker {
    name: String,
    alive: bool,
    seen_at: String,
    version: String,
    queues: Vec<String>,
    labels: Vec<String>,
    slots: u64,
    running: Vec<String>,
    load: [f64; 3],
    cores: u64,
    draining: bool,
    #[serde(default)]
    cards: Vec<Card>,
}

#[derive(Deserialize)]
struct Card {
    index: u32,
    name: Option<String>,
    healthy: bool,
    problem: Option<String>,
    memory_mb: Option<u64>,
    promised_mb: u64,
    memory_used_mb: Option<u64>,
    utilization: Option<f64>,
    temperature_c: Option<f64>,
    power_w: Option<f64>,
    running: Vec<String>,
}

#[derive(Deserialize)]
struct Letter {
    run_id: String,
    model_id: i64,
    task: String,
    error: String,
    at: String,
}

/// Lists who works.
pub fn workers(options: &ClientOptions) -> Result<()> {
    let client = Client::new(&options.server)?;
    let all: Value = client.get("/workers", &[])?;
    let items = all["items"].as_array().cloned().unwrap_or_default();
    if options.json {
        items.iter().for_each(output::print_json);
        return Ok(());
    }
    let mut table = text::table([
        "worker",
        "state",
        "jobs",
        "load",
        "version",
        "queues",
        "labels",
        "seen (UTC)",
    ]);
    let mut cards = text::table([
        "worker", "card", "state", "jobs", "memory", "promised", "busy", "heat", "power",
    ]);
    for worker in read::<Worker>(&client, items)? {
        for card in worker.cards.iter().filter(|_| worker.alive) {
            cards.add_row(card.row(&worker.name));
        }
        let state = match (worker.alive, worker.draining) {
            (false, _) => "silent",
            (true, true) => "draining",
            (true, false) if worker.running.is_empty() => "idle",
            (true, false) => "working",
        };
        let list = |texts: &[String]| one_line(&if texts.is_empty() { "-".into() } else { texts.join(", ") });
        table.add_row([
            one_line(&worker.name),
            state.into(),
            format!("{} of {}", worker.running.len(), worker.slots),
            format!("{:.2} on {}", worker.load[0], worker.cores),
            one_line(&worker.version),
            list(&worker.queues),
            list(&worker.labels),
            text::time(&worker.seen_at),
        ]);
    }
    output::print(&if table.is_empty() {
        format!("{} has no workers; start one with `trainyard worker`", client.url())
    } else {
        table.to_string()
    });
    if !cards.is_empty() {
        output::print(&cards.to_string());
    }
    Ok(())
}

impl Card {
    fn row(&self, worker: &str) -> [String; 9] {
        let figure =
            |figure: Option<f64>, unit: &str| figure.map_or_else(|| "-".into(), |value| format!("{value:.0} {unit}"));
        let count = |count: Option<u64>| count.map_or_else(|| "?".into(), |count| count.to_string());
        let name = self
            .name
            .as_ref()
            .map_or_else(String::new, |name| format!(" ({})", one_line(name)));
        [
            one_line(worker),
            format!("cuda:{}{name}", self.index),
            match &self.problem {
                _ if self.healthy => "works".to_owned(),
                Some(problem) => one_line(problem),
                None => "does not work".to_owned(),
            },
            self.running.len().to_string(),
            format!("{} of {} MiB", count(self.memory_used_mb), count(self.memory_mb)),
            format!("{} MiB", self.promised_mb),
            figure(self.utilization, "%"),
            figure(self.temperature_c, "°C"),
            figure(self.power_w, "W"),
        ]
    }
}

/// Lists, tries again or forgets what was given up.
pub fn dead_letters(options: &ClientOptions, command: &DeadLetterCommand) -> Result<()> {
    let client = Client::new(&options.server)?;
    let json = options.json;
    match command {
        DeadLetterCommand::List => {
            let items = all(&client)?;
            if json {
                items.iter().for_each(output::print_json);
                return Ok(());
            }
            let mut table = text::table(["run", "model", "task", "given up (UTC)", "why"]);
            for letter in read::<Letter>(&client, items)? {
                table.add_row([
                    one_line(&letter.run_id),
                    letter.model_id.to_string(),
                    one_line(&letter.task),
                    text::time(&letter.at),
                    one_line(letter.error.lines().next().unwrap_or_default()),
                ]);
            }
            output::print(&if table.is_empty() {
                "nothing was given up".to_owned()
            } else {
                table.to_string()
            });
            Ok(())
        }
        DeadLetterCommand::Replay { runs, all: every } => {
            let runs = chosen(&client, runs, *every)?;
            for run in runs {
                let replayed: Value = client.post(&format!("{}/replay", path(&run)), &json!({}), None)?;
                if json {
                    output::print_json(&json!({"run_id": run, "replayed": replayed}));
                } else {
                    output::print(&format!(
                        "run {} of model {} is tried again as {}",
                        one_line(&run),
                        replayed["model_id"],
                        text::value(&replayed["task_id"])
                    ));
                }
            }
            Ok(())
        }
        DeadLetterCommand::Discard { runs, all: every } => {
            for run in chosen(&client, runs, *every)? {
                let discarded: Value = client.delete(&path(&run))?;
                if json {
                    output::print_json(&discarded);
                } else {
                    output::print(&format!("run {} is no dead letter any more", one_line(&run)));
                }
            }
            Ok(())
        }
    }
}

fn path(run: &str) -> String {
    format!("/dead-letters/{}", super::http::escaped(run))
}

fn all(client: &Client) -> Result<Vec<Value>> {
    let all: Value = client.get("/dead-letters", &[])?;
    Ok(all["items"].as_array().cloned().unwrap_or_default())
}

fn chosen(client: &Client, runs: &[String], every: bool) -> Result<Vec<String>> {
    match (runs, every) {
        ([], false) => Err(Failure::Usage(
            "it is not said which: name runs, or --all (see `trainyard dead-letters list`)".into(),
        )),
        (runs, false) => Ok(runs.to_vec()),
        (_, true) => Ok(read::<Letter>(client, all(client)?)?
            .into_iter()
            .map(|letter| letter.run_id)
            .collect()),
    }
}

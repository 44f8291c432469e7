//! `trainyard logs`: the log of a training that is over or under way, and what is added to it.

use super::api::Run;
use super::http::Client;
use super::screen::{Screen, Style, log_line};
use super::watch::watch;
use crate::args::LogsOptions;
use crate::failure::Result;
use crate::output;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::IsTerminal;

/// What a server gives at most.
const MOST_LINES: u32 = 10_000;

#[derive(Deserialize)]
struct Lines {
    items: Vec<Value>,
}

/// Shows the log.
pub fn logs(options: &LogsOptions) -> Result<()> {
    let client = Client::new(&options.client.server)?;
    let model = client.model(&options.model)?;
    let run: Run = client.run(&model, options.run.as_deref())?;
    if options.follow && !run.is_over() {
        let at_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let style = match (options.client.json, at_terminal) {
            (true, _) => Style::Json,
            (false, true) => Style::Bar,
            (false, false) => Style::Lines,
        };
        return watch(&client, &model, &run.id, &mut Screen::new(style));
    }
    let most = options.lines.unwrap_or(MOST_LINES).to_string();
    let log: Lines = client.get(
        &format!("/models/{}/logs", model.id),
        &[("run", &run.id), ("limit", &most)],
    )?;
    if options.lines.is_none() && log.items.len() == MOST_LINES as usize {
        eprintln!(
            "these are the last {MOST_LINES} lines; `trainyard download {}` fetches the whole log",
            model.id
        );
    }
    for line in &log.items {
        if options.client.json {
            let mut line = line.clone();
            line["event"] = json!("log");
            output::print_json(&line);
        } else {
            output::print(&log_line(line));
        }
    }
    Ok(())
}

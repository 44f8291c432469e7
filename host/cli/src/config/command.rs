//! `trainyard config`: what is in force, the documented file, and what is wrong.

use super::layers::{Flags, Gathered, Origin, gather, variable};
use super::{Config, DOCUMENTED, SECRETS, check, flat, without_secrets};
use crate::args::ConfigCommand;
use crate::failure::{Failure, Result};
use crate::output;
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use std::env;
use std::path::Path;

/// Does what was asked for.
pub fn command(command: &ConfigCommand, json: bool) -> Result<()> {
    match command {
        ConfigCommand::Default => {
            output::print(DOCUMENTED.trim_end());
            Ok(())
        }
        ConfigCommand::Show { place } => show(&gather(place.flags(), env::vars_os(), place.config.as_deref())?, json),
        ConfigCommand::Check { file } => say(&gather(Flags::default(), env::vars_os(), file.as_deref())?, json),
    }
}

fn show(gathered: &Gathered, json: bool) -> Result<()> {
    for warning in &gathered.warnings {
        eprintln!("warning: {warning}");
    }
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(["setting", "value", "from", "variable"]);
    for (key, value) in flat(&gathered.config) {
        let origin = gathered.origin(&key);
        let value = match value {
            Value::String(text) if SECRETS.contains(&key.as_str()) => json!(without_secrets(&text)),
            value => value,
        };
        if json {
            output::print_json(&json!({
                "setting": key,
                "value": value,
                "from": origin.to_string(),
                "variable": variable(&key),
            }));
        } else {
            let text = match &value {
                Value::Null => automatic(&gathered.config, &key),
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            table.add_row([key.clone(), text, origin.to_string(), variable(&key)]);
        }
    }
    if !json {
        output::print(&table.to_string());
        if gathered.file.is_none() {
            output::print("there is no configuration file; `trainyard config default > trainyard.toml` makes one");
        }
    }
    refuse(&gathered.mistakes, gathered.file.as_deref())
}

/// What happens where nothing is set.
fn automatic(config: &Config, key: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match key {
        "worker.slots" => format!("({cores}: one for each core)"),
        "worker.compute_slots" => format!("({}: one for each core, at least 2)", cores.max(2)),
        "worker.name" => "(follows from the process)".into(),
        "limits.max_memory_mb" => format!("({}: four fifths of the memory)", config.limits.largest_memory_mb()),
        _ => "-".into(),
    }
}

fn say(gathered: &Gathered, json: bool) -> Result<()> {
    let tried = check::usable(&gathered.config);
    let placed = |(key, text): &(&str, String)| match gathered.origin(key) {
        Origin::Default => format!("{key}: {text}"),
        origin => format!("{origin}: {key}: {text}"),
    };
    let mut warnings = gathered.warnings.clone();
    warnings.extend(tried.warnings.iter().map(placed));
    warnings.extend(SECRETS.iter().filter_map(|key| readable_secret(gathered, key)));
    let mut mistakes = gathered.mistakes.clone();
    mistakes.extend(tried.mistakes.iter().map(placed));
    for (kind, texts) in [("warning", &warnings), ("mistake", &mistakes)] {
        for text in texts {
            if json {
                output::print_json(&json!({"event": kind, "message": text}));
            } else {
                output::print(&format!("{kind}: {text}"));
            }
        }
    }
    let file = gathered.file.as_deref();
    if mistakes.is_empty() && !json {
        output::print(&format!("{}: no mistakes", name(file)));
    }
    if mistakes.is_empty() {
        Ok(())
    } else {
        refuse(&[format!("{} of them", mistakes.len())], file)
    }
}

fn refuse(mistakes: &[String], file: Option<&Path>) -> Result<()> {
    match mistakes {
        [] => Ok(()),
        mistakes => Err(Failure::Config(format!(
            "{} has mistakes: {}",
            name(file),
            mistakes.join("; ")
        ))),
    }
}

fn name(file: Option<&Path>) -> String {
    file.map_or_else(|| "the configuration".into(), |file| file.display().to_string())
}

/// A word about a secret in a file that others can read.
fn readable_secret(gathered: &Gathered, key: &str) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let origin @ Origin::File { path, .. } = gathered.origin(key) else {
        return None;
    };
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        format!(
            "{origin}: {key}: other users of this machine can read the file; chmod 600, or use {}",
            variable(key)
        )
    })
}

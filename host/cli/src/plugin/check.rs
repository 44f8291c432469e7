//! `trainyard plugin check`: everything that will not work, each with its place and what to do.

use crate::args::CheckOptions;
use crate::failure::{Failure, Result};
use crate::plugin::watch;
use crate::{library, output, project};
use serde_json::json;
use std::path::Path;
use trainyard_sandbox::{Engine, Finding, Inspection, Kind, Limits, Plugin};

pub fn check(options: &CheckOptions) -> Result<()> {
    let path = library::find(&options.plugin)?;
    let engine = library::engine()?;
    watch::repeat(options.watch, &path, || once(&engine, &path, options.json))
}

fn once(engine: &Engine, path: &Path, json: bool) -> Result<()> {
    let content = project::content(path)?;
    if Kind::of(&content).is_ok_and(Kind::is_python) {
        return python(engine, path, &content, json);
    }
    let inspection = Inspection::of_file(engine, path)?;
    if json {
        super::print(&inspection);
        return inspection.check().map_err(Failure::from);
    }
    inspection.check()?;
    println!("{}: this host can run it", path.display());
    Ok(())
}

fn python(engine: &Engine, path: &Path, content: &[u8], json: bool) -> Result<()> {
    let plugin = Plugin::load_named(engine, content, &path.display().to_string())?;
    let findings = plugin.findings(&Limits::default())?;
    if json {
        output::print_json(&json!({"event": "check", "file": path, "findings": findings}));
    }
    refuse(&findings, path, json)?;
    let description = plugin.describe(&Limits::default())?;
    if !json {
        output::print(&format!(
            "{}: {} {} does {}; nothing to mend",
            path.display(),
            description.name,
            description.version,
            description.tasks.join(" and ")
        ));
    }
    Ok(())
}

/// Prints what was found; an error if it was something.
pub fn refuse(findings: &[Finding], path: &Path, json: bool) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    if !json {
        for finding in findings {
            eprintln!("{finding}");
        }
    }
    let count = match findings.len() {
        1 => "one thing".to_owned(),
        count => format!("{count} things"),
    };
    Err(Failure::Plugin(format!("{}: {count} to mend", path.display())))
}

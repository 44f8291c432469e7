//! `cargo xtask engine`: the Python engine, a component that runs plugins of Python source. Built again only when something
//! that goes into it has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::process::run as run_command;
use crate::{paths, python};

/// The tool that makes a component of CPython and our code. Another version is another engine, and wants to be tried.
const BUILDER: &str = "componentize-py==0.25.1\n";

/// The engine's file; builds it where it is missing or old.
pub fn run() -> Result<PathBuf> {
    let engine = paths::python_engine();
    let inputs = inputs()?;
    let stamp = engine.with_extension("inputs");
    if engine.is_file() && fs::read(&stamp).is_ok_and(|before| before == inputs) {
        println!("ok: {} is up to date", engine.display());
        return Ok(engine);
    }
    let started = Instant::now();
    let environment = python::environment("engine", BUILDER)?;
    let part = engine.with_extension("part");
    let root = paths::root();
    println!("building the Python engine");
    run_command(
        Command::new(environment.with_file_name("componentize-py"))
            .current_dir(root.join("sdk/python"))
            // The order of sets of texts must not differ from build to build.
            .env("PYTHONHASHSEED", "0")
            .args([
                "--quiet",
                "-d",
                "../../wit",
                "-d",
                "engine/wit",
                "-w",
                "trainyard:python/engine",
            ])
            .args(["componentize", "engine", "-p", "engine", "-p", "src", "-o"])
            .arg(&part),
    )
    .context("the Python engine could not be built; what is wrong is in sdk/python/engine or sdk/python/src")?;
    fs::rename(&part, &engine).with_context(|| engine.display().to_string())?;
    fs::write(&stamp, inputs).with_context(|| stamp.display().to_string())?;
    let size = fs::metadata(&engine).map_or(0, |file| file.len());
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{:7.1} MiB  {} in {seconds:.0} s",
        size as f64 / f64::from(1 << 20),
        engine.display()
    );
    Ok(engine)
}

/// Everything that decides what the engine is, one after the other.
fn inputs() -> Result<Vec<u8>> {
    let root = paths::root();
    let mut files = Vec::new();
    for folder in ["wit", "sdk/python/engine", "sdk/python/src/trainyard"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut inputs = BUILDER.as_bytes().to_vec();
    for file in files {
        inputs.extend_from_slice(format!("\n== {}\n", file.strip_prefix(&root).unwrap_or(&file).display()).as_bytes());
        inputs.extend(fs::read(&file).with_context(|| file.display().to_string())?);
    }
    Ok(inputs)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        // The client is for an author's own machine, and is never imported by the engine.
        if path.is_dir() && !path.ends_with("__pycache__") && !path.ends_with("trainyard/client") {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "py" || extension == "wit")
        {
            files.push(path);
        }
    }
    Ok(())
}

//! Where plugins are found by name, and where their machine code is kept.

use crate::failure::{Failure, Result};
use crate::project;
use std::env;
use std::path::{Path, PathBuf};
use trainyard_sandbox::{Cache, Engine, EngineOptions, Plugin};

/// The folders that are searched for a plugin, in order.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("TRAINYARD_PLUGINS")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    // Beside the binary when installed; one up from it, in cargo's target folder, when built in a checkout.
    if let Ok(binary) = env::current_exe() {
        folders.extend(binary.ancestors().skip(1).take(2).map(|folder| folder.join("plugins")));
    }
    folders
}

/// Every plugin in the library: its name and file.
pub fn all() -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for folder in folders() {
        for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = file.path();
            let name = path
                .file_stem()
                .map(|s| s.to_string_lossy().into_owned())
                .unwrap_or_default();
            if path.extension().is_some_and(|e| e == "wasm" || e == "py") && !found.iter().any(|(n, _)| *n == name) {
                found.push((name, path));
            }
        }
    }
    found.sort();
    found
}

/// What a person means: a file, the folder of a Python project, or a name in the library.
pub fn find(plugin: &str) -> Result<PathBuf> {
    let path = Path::new(plugin);
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    if path.is_dir() && project::is_python(path) {
        return Ok(path.to_path_buf());
    }
    if path.is_dir() {
        return Err(Failure::Usage(format!(
            "{plugin} is a folder without Python files; a plugin in Rust is built with `trainyard plugin build {plugin}`, which makes the .wasm file to give"
        )));
    }
    let plugins = all();
    if let Some((_, file)) = plugins.iter().find(|(name, _)| name == plugin) {
        return Ok(file.clone());
    }
    let names: Vec<&str> = plugins.iter().map(|(name, _)| name.as_str()).collect();
    Err(Failure::Usage(match names.is_empty() {
        true => format!(
            "there is no file `{plugin}`, and the library is empty: build it with `cargo xtask plugins`, or set TRAINYARD_PLUGINS to its folder"
        ),
        false => format!(
            "there is no file `{plugin}`, and no such plugin in the library, which has {}",
            names.join(", ")
        ),
    }))
}

/// The engine, with its cache of machine code in the user's cache folder (`TRAINYARD_CACHE` chooses another).
pub fn engine() -> Result<Engine> {
    let folder = env::var_os("TRAINYARD_CACHE").map(PathBuf::from).or_else(|| {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || env::home_dir().map(|home| home.join(".cache"));
        cache
            .or_else(home)
            .map(|folder| folder.join("trainyard").join("compiled"))
    });
    let cache = folder.map(Cache::open).transpose()?;
    Ok(Engine::new(EngineOptions {
        cache,
        python: python_engine(),
        ..EngineOptions::default()
    })?)
}

/// The file of the Python engine: `TRAINYARD_PYTHON_ENGINE`, else beside the binary, or one up from it in a checkout.
pub fn python_engine() -> Option<PathBuf> {
    let said = env::var_os("TRAINYARD_PYTHON_ENGINE").map(PathBuf::from);
    said.or_else(|| {
        let binary = env::current_exe().ok()?;
        let beside = binary.ancestors().skip(1).take(2).map(|folder| folder.join(ENGINE));
        beside.into_iter().find(|file| file.is_file())
    })
}

const ENGINE: &str = "python-engine.wasm";

/// Finds and loads a plugin.
pub fn load(plugin: &str) -> Result<(Plugin, Vec<u8>)> {
    let path = find(plugin)?;
    let content = project::content(&path)?;
    let plugin = Plugin::load_named(&engine()?, &content, &path.display().to_string())?;
    Ok((plugin, content))
}

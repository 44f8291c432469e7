//! `cargo xtask plugins`: the library's plugins, and the tests' hostile ones, as `.wasm` files in one folder each.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use trainyard_toolchain::build_plugins;

use crate::{paths, setup};

pub fn run(guests: bool) -> Result<()> {
    setup::run()?;
    library()?;
    if guests {
        self::guests()?;
    }
    Ok(())
}

/// Builds `plugins/`.
pub fn library() -> Result<()> {
    build(&paths::root().join("plugins"), &paths::plugins())
}

/// Builds `tests/guests/`.
pub fn guests() -> Result<()> {
    build(&paths::root().join("tests/guests"), &paths::guests())
}

/// Builds a workspace of plugins and leaves its `.wasm` files, and no older ones, in a folder.
fn build(workspace: &Path, folder: &Path) -> Result<()> {
    // Not cargo's usual target folder: the compiler may be another one.
    let built = build_plugins(workspace, &paths::target().join("wasm"), true)?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for entry in fs::read_dir(folder)?.flatten() {
        let old = entry.path();
        if old.extension().is_some_and(|extension| extension == "wasm")
            && !built.iter().any(|file| file.file_name() == old.file_name())
        {
            fs::remove_file(&old).with_context(|| old.display().to_string())?;
        }
    }
    for file in built {
        let to = folder.join(file.file_name().unwrap_or_default());
        // Renamed into place, so that nobody who runs at the same time reads half a file.
        let part = to.with_extension("part");
        let bytes = fs::copy(&file, &part).with_context(|| format!("{} to {}", file.display(), part.display()))?;
        fs::rename(&part, &to).with_context(|| to.display().to_string())?;
        println!("{:7.1} KiB  {}", bytes as f64 / 1024.0, to.display());
    }
    Ok(())
}

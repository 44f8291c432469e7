//! Runs cargo on a plugin, or on a workspace of them, and finds the files it made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Error, TARGET, WasmToolchain, ensure_wasm_target};

/// Builds the plugin in `manifest_dir` and gives the path of its `.wasm` file, a core module.
///
/// What cargo makes on the way stays in `target_dir`. Where the standard library has to be built too (a minute, once per
/// target directory), plugins that share the directory share it. Cargo's own messages go to stderr.
///
/// # Errors
///
/// As [`build_plugins`]; [`Error::SeveralPlugins`] when the folder is a workspace of more than one.
pub fn build_plugin(manifest_dir: &Path, target_dir: &Path, release: bool) -> Result<PathBuf, Error> {
    let mut files = build_plugins(manifest_dir, target_dir, release)?;
    match files.pop() {
        Some(file) if files.is_empty() => Ok(file),
        last => {
            let names = files
                .iter()
                .chain(&last)
                .map(|file| file.file_stem().unwrap_or_default().to_string_lossy());
            let found = names.collect::<Vec<_>>().join(", ");
            Err(Error::SeveralPlugins {
                dir: manifest_dir.to_owned(),
                found,
            })
        }
    }
}

/// Builds every plugin of the package or workspace in `manifest_dir` and gives their files, sorted by name; at least one.
///
/// # Errors
///
/// [`Error::NoManifest`], [`Error::NoTarget`], [`Error::Build`] when the compiler refuses, [`Error::NoPlugin`] when there
/// is no library of type `cdylib` in it.
pub fn build_plugins(manifest_dir: &Path, target_dir: &Path, release: bool) -> Result<Vec<PathBuf>, Error> {
    let manifest = manifest_dir.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Error::NoManifest(manifest));
    }
    let target_dir = std::path::absolute(target_dir).map_err(|source| Error::Io {
        path: target_dir.to_owned(),
        source,
    })?;
    let mut command = match ensure_wasm_target(false)? {
        WasmToolchain::Installed => {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.arg("build");
            cargo
        }
        WasmToolchain::Distribution(distribution) => distribution.cargo_build(&cargo_home(&target_dir)?),
    };
    command
        .args([
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
            "--target-dir",
        ])
        .arg(&target_dir);
    if release {
        command.arg("--release");
    }
    // Flags meant for the host's own build, such as a linker's, would break this one. A panic's message names a source file:
    // without the folders of this machine, two people who build one source get the same bytes, and learn nothing of each other.
    command
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", without_folders(manifest_dir).join("\u{1f}"))
        .env_remove("CARGO_BUILD_TARGET");
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .current_dir(manifest_dir)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::NoRust { program, source })?;
    if !output.status.success() {
        return Err(Error::Build {
            dir: manifest_dir.to_owned(),
            status: output.status.to_string(),
        });
    }
    let mut files: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(wasm_file)
        .map(PathBuf::from)
        .collect();
    files.sort();
    files.dedup();
    if files.is_empty() {
        Err(Error::NoPlugin(manifest_dir.to_owned()))
    } else {
        Ok(files)
    }
}

/// Compiler flags that leave the folder of the sources, and the user's own, out of the result.
fn without_folders(manifest_dir: &Path) -> Vec<String> {
    let here = manifest_dir.canonicalize().unwrap_or_else(|_| manifest_dir.to_owned());
    let parent = here.parent().map(|parent| (parent.display().to_string(), "."));
    let home = std::env::var("HOME").ok().map(|home| (home, "~"));
    // Of several that fit, the compiler takes the last.
    let folders = home.into_iter().chain(parent);
    folders
        .filter(|(from, _)| from.len() > 1)
        .map(|(from, to)| format!("--remap-path-prefix={from}={to}"))
        .collect()
}

/// The `.wasm` file that a line of cargo's messages announces.
///
/// Such a line is one JSON object; the paths in `filenames` are all that is wanted of it.
fn wasm_file(message: &str) -> Option<String> {
    if !message.starts_with(r#"{"reason":"compiler-artifact""#) {
        return None;
    }
    let list = message.split_once(r#""filenames":[""#)?.1.split_once(r#""]"#)?.0;
    list.split(r#"",""#)
        .find(|path| path.ends_with(".wasm"))
        .map(|path| path.replace(r"\\", r"\").replace(r#"\""#, "\""))
}

/// A CARGO_HOME inside the target directory, with the user's own configuration (a proxy, a registry's mirror) in it.
fn cargo_home(target_dir: &Path) -> Result<PathBuf, Error> {
    let home = target_dir.join("cargo-home");
    fs::create_dir_all(&home).map_err(|source| Error::Io {
        path: home.clone(),
        source,
    })?;
    let usual = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let config = home.join("config.toml");
    match usual
        .map(|usual| usual.join("config.toml"))
        .filter(|file| file.is_file())
    {
        Some(file) => drop(fs::copy(&file, &config).map_err(|source| Error::Io { path: file, source })?),
        None if config.exists() => fs::remove_file(&config).map_err(|source| Error::Io { path: config, source })?,
        None => {}
    }
    Ok(home)
}

#[cfg(test)]
mod tests {
    use super::wasm_file;

    #[test]
    fn finds_the_wasm_file_among_what_cargo_announces() {
        let library = r#"{"reason":"compiler-artifact","target":{"name":"dlinear"},"filenames":["/t/libdlinear.rlib","/t/dlinear.wasm"],"fresh":false}"#;
        assert_eq!(wasm_file(library).as_deref(), Some("/t/dlinear.wasm"));
        let other =
            r#"{"reason":"compiler-artifact","target":{"name":"serde"},"filenames":["/t/libserde.rlib"],"fresh":true}"#;
        assert_eq!(wasm_file(other), None);
        assert_eq!(wasm_file(r#"{"reason":"build-finished","success":true}"#), None);
    }
}

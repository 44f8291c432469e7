//! Runs the real binary, as a person or a script would.

#![allow(dead_code, reason = "each test file uses its own part")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn weather() -> PathBuf {
    root().join("examples/data/seattle-weather.csv")
}

/// Data that is not part of the project; without it a test says that it skips.
pub fn shared(file: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(file);
    if !path.is_file() {
        println!("skipped: {} is not here", path.display());
    }
    path.is_file().then_some(path)
}

/// Whether the plugins are built; without them a test says that it skips.
pub fn have_plugins() -> bool {
    let found =
        std::env::var_os("TRAINYARD_PLUGINS").is_some_and(|folder| Path::new(&folder).join("dlinear.wasm").is_file());
    if !found {
        println!("skipped: TRAINYARD_PLUGINS does not name the folder of the built plugins; `cargo xtask test` does");
    }
    found
}

pub fn trainyard(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trainyard"))
        .args(arguments)
        .output()
        .unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs something that must succeed, with `--json`: every line is an object. Gives all of them.
pub fn json(arguments: &[&str]) -> Vec<Value> {
    let output = trainyard(&[arguments, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

/// The last line of a run.
pub fn result(arguments: &[&str]) -> Value {
    let lines = json(arguments);
    let last = lines.last().unwrap().clone();
    assert_eq!(last["event"], "result", "{last}");
    last
}

/// Runs something that must fail. Gives the exit code and the error, which must be one line.
pub fn refusal(arguments: &[&str]) -> (i32, String) {
    let output = trainyard(arguments);
    let stderr = text(&output.stderr);
    assert!(
        !output.status.success(),
        "{arguments:?} succeeded: {}",
        text(&output.stdout)
    );
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "not one line of error: {stderr}");
    assert!(
        !stderr.contains("Caused by") && !stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"),
        "{stderr}"
    );
    (output.status.code().unwrap(), errors[0].to_owned())
}

//! Running other programs: shown before, checked after.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;

/// Cargo of the active toolchain, in the checkout's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    // What `cargo xtask` says of xtask itself. Build scripts look at it, and would be run again, with all that depends on them,
    // whenever a developer's own cargo follows or came before.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Shows and runs a command with this terminal's input and output; an error when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Builds the program as the tests have it, so that nothing is compiled twice for them and for what else tries it.
pub fn tested_program() -> Result<std::path::PathBuf> {
    run(cargo().args(["test", "--workspace", "--no-run", "--quiet", "--test", "service"]))?;
    Ok(paths::target().join("debug/trainyard"))
}

/// Runs a command silently: whether it started and succeeded.
pub fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    let root = format!("{}/", paths::root().display());
    let words = command.get_args().map(|word| {
        let word = word.to_string_lossy().replace(&root, "");
        if word.is_empty() || word.contains([' ', '"', '$']) {
            format!("'{word}'")
        } else {
            word
        }
    });
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

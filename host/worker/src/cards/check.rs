//! Whether a card works: a process of its own computes something on it. A driver that hangs or falls over takes that process with
//! it, and not the worker.

use crate::runner::{CHECK_CARD, SUBCOMMAND};
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use trainyard_parameters::one_line;

/// How long a card may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tries the card that is number 0 in this environment. The error is one line that says why it is of no use.
pub(super) async fn check(program: &Path, environment: Vec<(OsString, OsString)>) -> Result<(), String> {
    let child = Command::new(program)
        .arg(SUBCOMMAND)
        .arg(CHECK_CARD)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // One that the kernel does not let go is waited for elsewhere.
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it could not be checked: {error}"))?;
    match tokio::time::timeout(PATIENCE, child.wait_with_output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rev().find(|line| !line.trim().is_empty());
            Err(last.map_or_else(
                || format!("the process that checked it ended badly ({})", output.status),
                one_line,
            ))
        }
        Ok(Err(error)) => Err(format!("it could not be checked: {error}")),
        Err(_) => Err(format!(
            "the driver did not answer in {} s; see `nvidia-smi` and the kernel's log",
            PATIENCE.as_secs()
        )),
    }
}

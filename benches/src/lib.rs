//! What the benchmarks share.

pub mod step;
pub mod up;

use std::process::ExitCode;

/// Runs a benchmark; one that fails says so in one line.
pub fn report(run: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

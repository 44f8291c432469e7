//! `cargo xtask bench`: benchmarks against peers. The measuring itself is in benches/.

use anyhow::Result;

use crate::process::{cargo, run};
use crate::{paths, plugins, python, setup};

/// One training step as a plugin, in native candle and, where it is installed, in PyTorch.
pub fn kernels(arguments: &[&str]) -> Result<()> {
    setup::run()?;
    plugins::library()?;
    let mut command = cargo();
    command
        .args([
            "run",
            "--release",
            "--package",
            "trainyard-benches",
            "--bin",
            "kernels",
            "--",
        ])
        .args(arguments);
    command.env("TRAINYARD_PLUGINS", paths::plugins());
    match python::with_torch() {
        Some(python) => drop(command.env("TRAINYARD_PYTHON", python)),
        None => println!(
            "no PyTorch here, so no column for it: `cargo xtask reference` installs it, or pip install torch numpy"
        ),
    }
    run(&mut command)
}

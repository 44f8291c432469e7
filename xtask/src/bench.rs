//! `cargo xtask bench`: benchmarks against peers. The measuring itself is in benches/.

use std::path::Path;

use anyhow::{Result, bail};
use trainyard_toolchain::build_plugin;

use crate::process::{cargo, run};
use crate::{cuda, engine, paths, plugins, python, setup};

/// One training step as a plugin, in native candle and, where it is installed, in PyTorch; then what a call of the host costs.
pub fn kernels(arguments: &[&str]) -> Result<()> {
    setup::run()?;
    let plugin = build_plugin(
        &paths::root().join("benches/plugin"),
        &paths::target().join("wasm"),
        true,
    )?;
    let mut command = release("trainyard-benches", &["--bin", "kernels"]);
    command.args(arguments).env("TRAINYARD_BENCH_PLUGIN", plugin);
    match python::with_torch() {
        Some(python) => drop(command.env("TRAINYARD_PYTHON", python)),
        None => println!("no PyTorch here, so no column for it: {HOW_TO_GET_TORCH}"),
    }
    run(&mut command)?;
    plugins::guests()?;
    run(release("trainyard-sandbox", &["--example", "measure"]).arg(paths::guests()))
}

/// The same training step in a Python plugin, in the Rust plugin and in PyTorch; then what starting an instance costs.
pub fn python() -> Result<()> {
    setup::run()?;
    let engine = engine::run()?;
    let plugin = build_plugin(
        &paths::root().join("benches/plugin"),
        &paths::target().join("wasm"),
        true,
    )?;
    let Some(torch) = python::with_torch() else {
        bail!("no PyTorch here to compare with: {HOW_TO_GET_TORCH}");
    };
    run(release("trainyard-benches", &["--bin", "python"])
        .env("TRAINYARD_BENCH_PLUGIN", plugin)
        .env("TRAINYARD_PYTHON_ENGINE", engine)
        .env("TRAINYARD_PYTHON", torch))
}

const HOW_TO_GET_TORCH: &str = "`cargo xtask reference` installs it, or pip install torch numpy";

/// The `dlinear` plugin and its PyTorch twin on ETTh1, in turn: test errors and seconds.
pub fn dlinear(data: &str) -> Result<()> {
    if !Path::new(data).is_file() {
        bail!("{data}: there is no such file; give ETTh1.csv of the ETDataset");
    }
    setup::run()?;
    plugins::library()?;
    let Some(python) = python::with_torch() else {
        bail!("no PyTorch here to compare with: {HOW_TO_GET_TORCH}");
    };
    let data = std::path::absolute(data)?;
    let mut command = release("trainyard-benches", &["--bin", "dlinear"]);
    command
        .arg(data)
        .env("TRAINYARD_PLUGINS", paths::plugins())
        .env("TRAINYARD_PYTHON", python);
    run(cargo().args(["build", "--release", "--package", "trainyard"]))?;
    command.env("TRAINYARD", paths::target().join("release/trainyard"));
    run(&mut command)
}

/// The service under load, in an optimised build.
pub fn service() -> Result<()> {
    setup::run()?;
    plugins::library()?;
    plugins::guests()?;
    engine::run()?;
    run(cargo().args(["build", "--release", "--package", "trainyard"]))?;
    run(release("trainyard-benches", &["--bin", "service"])
        .env("TRAINYARD_PLUGINS", paths::plugins())
        .env("TRAINYARD_GUESTS", paths::guests())
        .env("TRAINYARD", paths::target().join("release/trainyard")))
}

/// The queue beside Celery, and what the trials of a sweep cost.
pub fn broker() -> Result<()> {
    setup::run()?;
    plugins::library()?;
    let python = python::for_tests()?;
    run(cargo().args(["build", "--release", "--package", "trainyard"]))?;
    run(release("trainyard-benches", &["--bin", "broker"])
        .env("TRAINYARD_PLUGINS", paths::plugins())
        .env("TRAINYARD_PYTHON", python)
        .env("TRAINYARD", paths::target().join("release/trainyard")))
}

/// Rows from a stand-in for TDengine to batches, beside taos-ws-py and pandas.
pub fn data(arguments: &[&str]) -> Result<()> {
    let python = python::for_data()?;
    run(cargo().args(["build", "--release", "--package", "trainyard-test-tdengine", "--bins"]))?;
    run(release("trainyard-benches", &["--bin", "data"])
        .args(arguments)
        .env(
            "TRAINYARD_TEST_TDENGINE",
            paths::target().join("release/tdengine_server"),
        )
        .env("TRAINYARD_PYTHON", python))
}

/// Training steps on this machine's card, beside PyTorch's; with `--cpu` in small sizes on the processor, to see that both sides work.
pub fn gpu(arguments: &[&str]) -> Result<()> {
    let mut command = if arguments.contains(&"--cpu") {
        release("trainyard-benches", &["--bin", "gpu"])
    } else {
        let program = [
            "run",
            "--release",
            "--package",
            "trainyard-benches",
            "--bin",
            "gpu",
            "--features",
            "cuda",
        ];
        let Some(mut command) = cuda::on_card(&program)? else {
            bail!(
                "there is no NVIDIA card here, so nothing was measured; run it on a machine that has one, or with --cpu to see small sizes on the processor"
            );
        };
        command.arg("--");
        command
    };
    command.args(arguments);
    match python::with_torch() {
        Some(python) => drop(command.env("TRAINYARD_PYTHON", python)),
        None => println!("no PyTorch here, so nothing beside it: {HOW_TO_GET_TORCH}"),
    }
    run(&mut command)
}

fn release(package: &str, what: &[&str]) -> std::process::Command {
    let mut command = cargo();
    command
        .args(["run", "--release", "--package", package])
        .args(what)
        .arg("--");
    command
}

//! The `dlinear` plugin and its PyTorch twin on ETTh1, ten epochs each, in turn. Run it by `cargo xtask bench dlinear ETTh1.csv`.

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets};
use serde_json::Value;
use std::env;
use std::path::Path;
use std::process::Command;

const REPEATS: usize = 3;

struct Measured {
    mse: f64,
    mae: f64,
    /// The whole process, from its start to its end.
    seconds: f64,
}

fn main() -> std::process::ExitCode {
    trainyard_benches::report(run)
}

fn run() -> Result<()> {
    let data = env::args()
        .nth(1)
        .context("usage: cargo xtask bench dlinear ETTh1.csv")?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "threads",
        "seed",
        "plugin s",
        "PyTorch s",
        "its epochs s",
        "plugin / its epochs",
        "plugin MSE",
        "MAE",
        "PyTorch MSE",
        "MAE",
    ]);
    for threads in [1usize, 2] {
        for seed in 0..REPEATS {
            let plugin = plugin(&data, threads, seed)?;
            let (torch, epochs) = pytorch(&data, threads, seed)?;
            table.add_row([
                threads.to_string(),
                seed.to_string(),
                format!("{:.2}", plugin.seconds),
                format!("{:.2}", torch.seconds),
                format!("{epochs:.2}"),
                format!("{:.2}", plugin.seconds / epochs),
                format!("{:.4}", plugin.mse),
                format!("{:.4}", plugin.mae),
                format!("{:.4}", torch.mse),
                format!("{:.4}", torch.mae),
            ]);
        }
    }
    println!(
        "whole processes, from start to end, and of PyTorch the ten epochs alone; the last weights are tested\n{table}"
    );
    Ok(())
}

fn timed(command: &mut Command) -> Result<(Value, f64)> {
    let start = std::time::Instant::now();
    let output = command.output()?;
    let seconds = start.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    match last {
        Some(value) if output.status.success() => Ok((value, seconds)),
        _ => bail!("{text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn plugin(data: &str, threads: usize, seed: usize) -> Result<Measured> {
    let out = env::temp_dir().join(format!("trainyard-bench-{}", std::process::id()));
    let mut command = Command::new(env::var_os("TRAINYARD").context("TRAINYARD is not set")?);
    command.args([
        "run",
        "dlinear",
        "--data",
        data,
        "--lookback",
        "336",
        "--horizon",
        "96",
        "--split",
        "8640/2880/2880",
        "--json",
    ]);
    command
        .args(["--threads", &threads.to_string(), "--seed", &seed.to_string()])
        .arg("--out")
        .arg(&out);
    let (value, seconds) = timed(&mut command)?;
    let _ = std::fs::remove_dir_all(&out);
    let metric = |name: &str| {
        value["metrics"][name]
            .as_f64()
            .with_context(|| format!("no {name} in {value}"))
    };
    Ok(Measured {
        mse: metric("mse")?,
        mae: metric("mae")?,
        seconds,
    })
}

fn pytorch(data: &str, threads: usize, seed: usize) -> Result<(Measured, f64)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/dlinear_torch.py");
    let mut command = Command::new(env::var_os("TRAINYARD_PYTHON").context("TRAINYARD_PYTHON is not set")?);
    command.arg(script).arg(data).args([
        "--keep",
        "last",
        "--threads",
        &threads.to_string(),
        "--seed",
        &seed.to_string(),
    ]);
    let (value, seconds) = timed(&mut command)?;
    let figure = |name: &str| value[name].as_f64().with_context(|| format!("no {name} in {value}"));
    let measured = Measured {
        mse: figure("test_mse")?,
        mae: figure("test_mae")?,
        seconds,
    };
    Ok((measured, figure("train_seconds")?))
}

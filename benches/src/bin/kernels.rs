//! One training step of a multilayer perceptron: as a plugin, in native candle, and in PyTorch where it is installed.
//!
//! Every measurement is a process of its own, the three in turn, several times over; a cell is the median of the medians, so that a
//! machine that slows down slows all three. Run it by `cargo xtask bench kernels`, which builds the plugin.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap, linear, loss};
use comfy_table::{Table, presets};
use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Instant;
use trainyard_benches::step::{self, FEATURES, ROUNDS, Size, median, process, pytorch};
use trainyard_sandbox::{Engine, EngineOptions, Plugin};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    trainyard_benches::report(run)
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--one", kind, batch, width, steps, threads] => {
            let size = Size {
                batch: batch.parse()?,
                width: width.parse()?,
            };
            let seconds = one(kind, size, steps.parse()?, threads.parse()?)?;
            println!("{seconds}");
            Ok(())
        }
        [] => compare(&[32, 64, 128, 256, 512, 1024], &[16, 64, 128, 256, 512], 3, 1),
        ["--quick"] => compare(&[32, 256, 1024], &[16, 128, 512], 3, 1),
        ["--threads", n] => compare(&[32, 256, 1024], &[16, 128, 512], 3, n.parse()?),
        _ => bail!("usage: cargo xtask bench kernels [--quick | --threads N]"),
    }
}

/// Seconds of one step, the median over rounds.
fn one(kind: &str, size: Size, steps: usize, threads: usize) -> Result<f64> {
    match kind {
        "native" => {
            // candle has a pool of its own and uses rayon's too: left to itself, the second makes small steps ten times slower.
            for variable in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
                // SAFETY: no other thread exists yet.
                unsafe { env::set_var(variable, threads.to_string()) };
            }
            native(size, steps)
        }
        "plugin" => {
            trainyard_kernels::configure_threads(threads);
            plugin(size, steps)
        }
        _ => bail!("`{kind}` is neither native nor plugin"),
    }
}

/// As a candle user would write it, with candle's own layers and optimiser.
fn native(size: Size, steps: usize) -> Result<f64> {
    let device = Device::Cpu;
    let variables = VarMap::new();
    let vs = VarBuilder::from_varmap(&variables, DType::F32, &device);
    let first = linear(FEATURES, size.width, vs.pp("first"))?;
    let second = linear(size.width, size.width, vs.pp("second"))?;
    let last = linear(size.width, 1, vs.pp("last"))?;
    let mut optimizer = AdamW::new(
        variables.all_vars(),
        ParamsAdamW {
            lr: 1e-3,
            ..ParamsAdamW::default()
        },
    )?;
    let x = Tensor::randn(0f32, 1f32, (size.batch, FEATURES), &device)?;
    let y = Tensor::randn(0f32, 1f32, (size.batch, 1), &device)?;
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let start = Instant::now();
        for _ in 0..steps {
            let hidden = second.forward(&first.forward(&x)?.relu()?)?.relu()?;
            optimizer.backward_step(&loss::mse(&last.forward(&hidden)?, &y)?)?;
        }
        // The first round warms up.
        if round > 0 {
            times.push(start.elapsed().as_secs_f64() / steps as f64);
        }
    }
    Ok(median(times))
}

fn plugin(size: Size, steps: usize) -> Result<f64> {
    let engine = Engine::new(EngineOptions::default())?;
    step::of_plugin(&Plugin::open(&engine, plugin_file()?)?, size, steps, Value::Null)
}

fn plugin_file() -> Result<PathBuf> {
    let folder = env::var_os("TRAINYARD_BENCH_PLUGIN")
        .context("TRAINYARD_BENCH_PLUGIN is not set; run `cargo xtask bench kernels`")?;
    Ok(PathBuf::from(folder))
}

fn compare(batches: &[usize], widths: &[usize], repeats: usize, threads: usize) -> Result<()> {
    let python = env::var_os("TRAINYARD_PYTHON");
    println!(
        "three layers of 16 - width - width - 1, ReLU, AdamW; {threads} thread(s); microseconds a step, ratios to the peer"
    );
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "batch",
        "width",
        "plugin",
        "native candle",
        "PyTorch",
        "plugin / native",
        "plugin / PyTorch",
    ]);
    for &batch in batches {
        for &width in widths {
            let size = Size { batch, width };
            let steps = step::steps(process("native", size, 3, threads)?);
            let (mut plugin, mut native, mut torch) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..repeats {
                plugin.push(process("plugin", size, steps, threads)?);
                native.push(process("native", size, steps, threads)?);
                if let Some(python) = &python {
                    torch.push(pytorch(Path::new(python), size, steps, threads)?);
                }
            }
            let (plugin, native) = (median(plugin), median(native));
            let torch = (!torch.is_empty()).then(|| median(torch));
            let or_dash = |value: Option<f64>, digits: usize| value.map_or("-".into(), |v| format!("{v:.digits$}"));
            table.add_row([
                batch.to_string(),
                width.to_string(),
                format!("{:.1}", 1e6 * plugin),
                format!("{:.1}", 1e6 * native),
                or_dash(torch.map(|t| 1e6 * t), 1),
                format!("{:.3}", plugin / native),
                or_dash(torch.map(|t| plugin / t), 3),
            ]);
            eprintln!(
                "batch {batch} width {width}: plugin {:.1} us, native {:.1} us",
                1e6 * plugin,
                1e6 * native
            );
        }
    }
    println!("{table}");
    Ok(())
}

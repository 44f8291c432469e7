//! One training step written in Python, beside the same in Rust and in PyTorch; and what starting an instance costs.
//!
//! Every measurement is a process of its own, all in turn, several times over; a cell is the median of the medians. Run it by
//! `cargo xtask bench python`, which builds the engine and the Rust plugin.

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use std::env;
use std::path::{Path, PathBuf};
use std::time::Instant;
use trainyard_benches::step::{self, Size, median, process, pytorch};
use trainyard_sandbox::{Cache, Engine, EngineOptions, Job, Plugin, Runner};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REPEATS: usize = 5;
/// Instances whose start is timed.
const STARTS: usize = 100;

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
            trainyard_kernels::configure_threads(threads.parse()?);
            println!("{}", one(kind, size, steps.parse()?)?);
            Ok(())
        }
        [] => {
            compare()?;
            starts()
        }
        _ => bail!("usage: cargo xtask bench python"),
    }
}

fn file(variable: &str) -> Result<PathBuf> {
    let file =
        env::var_os(variable).with_context(|| format!("{variable} is not set; run `cargo xtask bench python`"))?;
    Ok(PathBuf::from(file))
}

/// Compiled code is kept beside the engine, as a service keeps it.
fn engine() -> Result<Engine> {
    let python = file("TRAINYARD_PYTHON_ENGINE")?;
    let cache = Cache::open(python.with_file_name("bench-code"))?;
    Ok(Engine::new(EngineOptions {
        cache: Some(cache),
        python: Some(python),
        ..EngineOptions::default()
    })?)
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python/step.py")
}

fn one(kind: &str, size: Size, steps: usize) -> Result<f64> {
    let engine = engine()?;
    let (file, more) = match kind {
        "python" => (source(), json!({})),
        "minimize" => (source(), json!({"minimize": true})),
        "rust" => (file("TRAINYARD_BENCH_PLUGIN")?, Value::Null),
        _ => bail!("`{kind}` is neither python, minimize nor rust"),
    };
    step::of_plugin(&Plugin::open(&engine, file)?, size, steps, more)
}

fn compare() -> Result<()> {
    let torch = file("TRAINYARD_PYTHON")?;
    println!("three layers of 16 - width - width - 1, ReLU, AdamW; 1 thread; microseconds a step");
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header([
        "batch",
        "width",
        "Python",
        "with minimize",
        "Rust",
        "PyTorch eager",
        "PyTorch / Python",
        "PyTorch / minimize",
        "Python / Rust",
        "minimize / Rust",
    ]);
    for (batch, width) in [(32, 32), (32, 128), (256, 64), (256, 256), (1024, 512)] {
        let size = Size { batch, width };
        let steps = step::steps(process("rust", size, 20, 1)?);
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..REPEATS {
            for (times, kind) in times.iter_mut().zip(["python", "minimize", "rust"]) {
                times.push(process(kind, size, steps, 1)?);
            }
            times[3].push(pytorch(&torch, size, steps, 1)?);
        }
        let [python, minimize, rust, torch] = times.map(median);
        let us = |seconds: f64| format!("{:.1}", 1e6 * seconds);
        let ratio = |x: f64| format!("{x:.2}");
        table.add_row([
            batch.to_string(),
            width.to_string(),
            us(python),
            us(minimize),
            us(rust),
            us(torch),
            ratio(torch / python),
            ratio(torch / minimize),
            ratio(python / rust),
            ratio(minimize / rust),
        ]);
        eprintln!(
            "batch {batch} width {width}: Python {} us, PyTorch {} us",
            us(python),
            us(torch)
        );
    }
    println!("{table}");
    println!("aims: at 32, 32 PyTorch / Python at least 3; at 256, 256 Python / Rust at most 1.3");
    Ok(())
}

fn starts() -> Result<()> {
    let engine = engine()?;
    let started = Instant::now();
    let plugin = Plugin::open(&engine, source())?;
    println!(
        "plugin opened, engine compiled before: {:.1} ms",
        1e3 * started.elapsed().as_secs_f64()
    );
    let instance = plugin.time_to_instantiate(STARTS as u32)?;
    println!("instance of the engine: {:.2} ms (aim 5)", 1e3 * instance.as_secs_f64());
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let job = Job {
            parameters: json!({"rounds": 0}),
            ..Job::default()
        };
        let started = Instant::now();
        Runner::new(&plugin, job, |_| {})?;
        times.push(started.elapsed().as_secs_f64());
    }
    println!("instance with the author's source in it: {:.2} ms", 1e3 * median(times));
    Ok(())
}

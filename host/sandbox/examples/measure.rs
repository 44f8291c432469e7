//! What the sandbox costs: compiling, loading, instantiating, calling.
//!
//! `cargo run --release -p trainyard-sandbox --example measure -- FOLDER`, where the folder holds the built guests.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trainyard_kernels::{Session, SessionOptions, Tensor};
use trainyard_sandbox::{Cache, Engine, EngineOptions, Job, Limits, Plugin, Runner};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder of the guests")?);
    let scratch = std::env::temp_dir().join(format!("trainyard-measure-{}", std::process::id()));
    let engine = Engine::new(EngineOptions {
        cache: Some(Cache::open(scratch.join("code"))?),
        ..EngineOptions::default()
    })?;

    let file = folder.join("hostile.wasm");
    let (plugin, compiled) = timed(|| Plugin::open(&engine, &file));
    let plugin = plugin?;
    println!("file                 {:>9} bytes", std::fs::metadata(&file)?.len());
    println!("load, compiling      {:>9.1} ms", ms(compiled));
    let cached = fastest(20, || {
        black_box(Plugin::open(&engine, &file).is_ok());
    });
    println!("load, from the cache {:>9.1} ms", ms(cached));

    let limits = Limits::default();
    let whole = fastest(2_000, || {
        black_box(plugin.describe(&limits).is_ok());
    });
    println!(
        "describe, in all     {:>9.1} us (thread, instance, call, schema)",
        us(whole)
    );
    println!(
        "of it the instance   {:>9.1} us",
        us(plugin.time_to_instantiate(2_000)?)
    );

    // Calls of the host, from inside a plugin and directly.
    const CALLS: u32 = 2_000_000;
    let session = Session::new(SessionOptions::default())?;
    let x = Tensor::full(&session, &[], 1.0, trainyard_kernels::DType::F32)?;
    let direct_shape = timed(|| {
        for _ in 0..CALLS {
            black_box(black_box(&x).shape().to_vec());
        }
    })
    .1;
    let direct_add = timed(|| {
        for _ in 0..CALLS {
            let _ = black_box(black_box(&x).add_scalar(1.0));
        }
    })
    .1;
    let base = inside(&plugin, "bench-none")?;
    for (what, mode, direct) in [
        ("seed", "bench-seed", Duration::ZERO),
        ("shape", "bench-shape", direct_shape),
        ("add-scalar, a new tensor", "bench-add", direct_add),
    ] {
        let inside = inside(&plugin, mode)?.saturating_sub(base);
        println!(
            "{what:<25} {:>6.0} ns in a plugin, {:>6.0} ns directly: {:>5.0} ns beyond",
            ns(inside) / f64::from(CALLS),
            ns(direct) / f64::from(CALLS),
            (ns(inside) - ns(direct)) / f64::from(CALLS)
        );
    }
    std::fs::remove_dir_all(&scratch)?;
    Ok(())
}

/// How long the hostile guest takes to train in a mode.
fn inside(plugin: &Plugin, mode: &str) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let job = Job {
            parameters: serde_json::json!({ "mode": mode }),
            ..Job::default()
        };
        let mut runner = Runner::new(plugin, job, |_| {})?;
        let (model, time) = timed(|| runner.train());
        model?;
        shortest = shortest.min(time);
    }
    Ok(shortest)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// The shortest of some runs: what it takes when nobody disturbs.
fn fastest(times: u32, mut work: impl FnMut()) -> Duration {
    (0..times).map(|_| timed(&mut work).1).min().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn ns(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

//! Timing one training step, each measurement in a process of its own.

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trainyard_sandbox::{Event, Job, Plugin, Runner};

/// Numbers in a sample.
pub const FEATURES: usize = 16;
/// How long one process measures.
const MEASURE: Duration = Duration::from_millis(600);
/// Rounds of steps whose times one process takes the median of.
pub const ROUNDS: usize = 9;

/// What is trained on what: three layers of 16 - width - width - 1, ReLU, AdamW.
#[derive(Clone, Copy)]
pub struct Size {
    /// Samples in a step.
    pub batch: usize,
    /// Units in each of the two hidden layers.
    pub width: usize,
}

/// The middle one.
pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds of a step of a plugin, the median over rounds. It reports progress once a round; the host takes the times.
pub fn of_plugin(plugin: &Plugin, size: Size, steps: usize, more: Value) -> Result<f64> {
    let mut parameters = json!({
        "batch": size.batch, "width": size.width, "features": FEATURES, "steps": steps, "rounds": ROUNDS,
    });
    if let (Value::Object(parameters), Value::Object(more)) = (&mut parameters, more) {
        parameters.extend(more);
    }
    let job = Job {
        parameters,
        ..Job::default()
    };
    let marks = Arc::new(Mutex::new(Vec::new()));
    let seen = marks.clone();
    let mut runner = Runner::new(plugin, job, move |event| {
        if let (Event::Progress { .. }, Ok(mut marks)) = (&event, seen.lock()) {
            marks.push(Instant::now());
        }
    })?;
    runner.train()?;
    let marks = marks
        .lock()
        .map_err(|_| anyhow::anyhow!("the plugin's thread panicked"))?;
    if marks.len() != ROUNDS + 1 {
        bail!("{} reports of progress, not {}", marks.len(), ROUNDS + 1);
    }
    let round = |w: &[Instant]| (w[1] - w[0]).as_secs_f64() / steps as f64;
    Ok(median(marks.windows(2).map(round).collect()))
}

/// As many steps in a round as make the rounds last long enough to be measured, by the time that one takes.
pub fn steps(once: f64) -> usize {
    ((MEASURE.as_secs_f64() / ROUNDS as f64 / once) as usize).clamp(1, 20_000)
}

/// Seconds of a step, from a process of this program that is told `--one kind batch width steps threads`.
pub fn process(kind: &str, size: Size, steps: usize, threads: usize) -> Result<f64> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--one", kind])
        .args([size.batch, size.width, steps, threads].map(|n| n.to_string()));
    number(&mut command, kind)
}

/// Seconds of a step of PyTorch, eager, from a process of its own.
pub fn pytorch(python: &Path, size: Size, steps: usize, threads: usize) -> Result<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/reference/mlp_step_torch.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .args([size.batch, size.width, FEATURES, steps, ROUNDS, threads].map(|n| n.to_string()));
    number(&mut command, "PyTorch")
}

fn number(command: &mut Command, what: &str) -> Result<f64> {
    let output = command.output().with_context(|| what.to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(seconds) if output.status.success() => Ok(seconds),
        _ => bail!("{what}: {}{}", text, String::from_utf8_lossy(&output.stderr)),
    }
}

//! One measurement, in a process of its own: this program's, or PyTorch's.

use std::env;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trainyard_benches::step::median;
use trainyard_kernels::nn::mse_loss;
use trainyard_kernels::optim::{AdamOptions, Optimizer};
use trainyard_kernels::{DType, Device, Session, SessionOptions, Tensor, autograd};

use crate::Precision;
use crate::models::{Init, Model, Network};

/// Steps whose losses are compared.
pub const COMPARED: usize = 20;
/// Rounds of steps whose times one process takes the median of.
const ROUNDS: usize = 5;
/// How long one of them is to last.
const ROUND_SECONDS: f64 = 0.2;
/// Of the optimiser, in both. With ten times as much the losses of the full `mlp` in f32 are 6e-5 apart when nothing but the order of its
/// sums differs, and steps are so long that bf16 needs no copy in f32 for them: the check would see less.
const LEARNING_RATE: f64 = 1e-4;
/// Threads that compute where there is no card to do so, in both.
pub const THREADS: usize = 1;
/// No limit but the card's own memory.
const MEMORY: u64 = 1 << 40;

/// What one process found.
pub struct Measured {
    /// Of a step, the median over rounds.
    pub seconds: f64,
    /// Of the first steps, from the same parameters and data for all.
    pub losses: Vec<f64>,
    /// The most bytes that tensors held; of PyTorch on the processor nothing.
    pub peak: Option<u64>,
}

/// Which of PyTorch's ways.
#[derive(Clone, Copy, PartialEq)]
pub enum Torch {
    Eager,
    Compiled,
}

/// Writes the parameters that all begin with, then the data, as `f32`. Gives the parameters' names and shapes.
pub fn write(model: &Model, file: &Path) -> Result<Vec<Value>> {
    let session = Session::new(SessionOptions {
        memory: MEMORY,
        seed: 1,
        ..SessionOptions::default()
    })?;
    let shown = || file.display().to_string();
    let mut out = BufWriter::new(File::create(file).with_context(shown)?);
    let mut put = |tensor: &Tensor| -> Result<()> { out.write_all(&tensor.to_bytes()?).with_context(shown) };
    let mut parameters = Vec::new();
    model.network(&mut |name, shape, init| {
        let tensor = match init {
            Init::Uniform(limit) => Tensor::random_uniform(&session, shape, -limit, limit, DType::F32)?,
            Init::Normal(deviation) => Tensor::random_normal(&session, shape, 0.0, deviation, DType::F32)?,
            Init::Constant(value) => Tensor::full(&session, shape, value, DType::F32)?,
        };
        put(&tensor)?;
        parameters.push(json!([name, shape]));
        Ok(tensor)
    })?;
    for shape in model.data() {
        put(&Tensor::random_normal(&session, &shape, 0.0, 1.0, DType::F32)?)?;
    }
    out.flush().with_context(shown)?;
    Ok(parameters)
}

/// The measurement itself, of this program.
pub fn here(model: &Model, precision: Precision, device: Device, file: &Path) -> Result<Measured> {
    trainyard_kernels::configure_threads(THREADS);
    let session = Session::new(SessionOptions {
        device,
        memory: MEMORY,
        tf32: precision == Precision::Tf32,
        ..SessionOptions::default()
    })?;
    let mut training = Training::read(&session, model, precision, file)?;
    let mut losses = Vec::new();
    for _ in 0..COMPARED {
        losses.push(training.step()?.item()?);
    }
    let mut step = || -> Result<()> {
        match model.only_optimizer {
            true => Ok(training.optimizer.step()?),
            false => training.step().map(drop),
        }
    };
    let mut timed = |steps: usize| -> Result<f64> {
        session.synchronize()?;
        let start = Instant::now();
        for _ in 0..steps {
            step()?;
        }
        session.synchronize()?;
        Ok(start.elapsed().as_secs_f64() / steps as f64)
    };
    let steps = (ROUND_SECONDS / timed(3)?).clamp(1.0, 2000.0) as usize;
    let times = (0..ROUNDS).map(|_| timed(steps)).collect::<Result<_>>()?;
    Ok(Measured {
        seconds: median(times),
        losses,
        peak: Some(session.peak_bytes()),
    })
}

struct Training {
    network: Network,
    optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
}

impl Training {
    fn read(session: &Session, model: &Model, precision: Precision, file: &Path) -> Result<Self> {
        let shown = || file.display().to_string();
        let mut input = BufReader::new(File::open(file).with_context(shown)?);
        let mut next = |shape: &[usize], dtype: DType| -> Result<Tensor> {
            let mut bytes = vec![0; shape.iter().product::<usize>() * DType::F32.size()];
            input.read_exact(&mut bytes).with_context(shown)?;
            Ok(Tensor::from_bytes(session, &bytes, shape, DType::F32)?.cast(dtype)?)
        };
        let dtype = match precision {
            Precision::Bf16 => DType::BF16,
            Precision::F32 | Precision::Tf32 => DType::F32,
        };
        let mut parameters = Vec::new();
        let network = model.network(&mut |name, shape, _| {
            let parameter = autograd::parameter(session, &name, &next(shape, dtype)?)?;
            parameters.push(parameter.clone());
            Ok(parameter)
        })?;
        let [x, y] = model.data();
        // The loss is computed in f32 whatever the network is.
        let (x, y) = (next(&x, dtype)?, next(&y, DType::F32)?);
        let parameters: Vec<&Tensor> = parameters.iter().collect();
        let options = AdamOptions {
            learning_rate: LEARNING_RATE,
            weight_decay: 0.01,
            ..AdamOptions::default()
        };
        Ok(Training {
            network,
            optimizer: Optimizer::adamw(&parameters, options)?,
            x,
            y,
        })
    }

    /// One step. The loss, on the card still.
    fn step(&mut self) -> Result<Tensor> {
        let prediction = self.network.forward(&self.x)?.cast(DType::F32)?;
        let loss = mse_loss(&prediction, &self.y)?;
        self.optimizer.minimize(&loss)?;
        Ok(loss)
    }
}

impl Measured {
    pub fn to_json(&self) -> Value {
        json!({ "seconds": self.seconds, "losses": self.losses, "peak": self.peak })
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Measured {
            seconds: value["seconds"].as_f64()?,
            losses: value["losses"]
                .as_array()?
                .iter()
                .map(Value::as_f64)
                .collect::<Option<_>>()?,
            peak: value["peak"].as_u64(),
        })
    }
}

/// This program's measurement.
pub fn ours(model: &Model, small: bool, precision: Precision, device: Device, file: &Path) -> Result<Measured> {
    let sizes = if small { "small" } else { "full" };
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--one", model.name, sizes, precision.name(), &device.to_string()])
        .arg(file);
    let answer = asked(&mut command, "the measurement")?;
    Measured::from_json(&answer).with_context(|| format!("the measurement gave {answer}"))
}

/// PyTorch's measurement, or why there is none.
pub fn torch(
    python: &Path,
    way: Torch,
    model: &Model,
    parameters: &[Value],
    precision: Precision,
    device: Device,
    file: &Path,
) -> Result<Result<Measured, String>> {
    let [x, y] = model.data();
    let job = json!({
        "model": model.description(), "parameters": parameters, "x": x, "y": y, "file": file,
        "precision": precision.name(), "device": device.to_string(), "compiled": way == Torch::Compiled,
        "only_optimizer": model.only_optimizer, "compared": COMPARED, "rounds": ROUNDS, "round_seconds": ROUND_SECONDS,
        "learning_rate": LEARNING_RATE, "threads": THREADS,
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/reference/gpu_torch.py");
    let answer = asked(Command::new(python).arg(script).arg(job.to_string()), "PyTorch")?;
    if let Some(reason) = answer["failed"].as_str() {
        return Ok(Err(reason.to_owned()));
    }
    Measured::from_json(&answer)
        .map(Ok)
        .with_context(|| format!("PyTorch gave {answer}"))
}

/// The last line that a process prints, which is JSON.
pub fn asked(command: &mut Command, what: &str) -> Result<Value> {
    let output = command.output().with_context(|| what.to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    match answer {
        Some(value) if output.status.success() => Ok(value),
        _ => {
            // Of Python's traceback this is what went wrong, too.
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.trim().lines().last().unwrap_or("it gave nothing");
            bail!("{what}: {}", last.trim_start_matches("error: "))
        }
    }
}

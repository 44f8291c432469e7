//! A plugin that misbehaves in the way that its parameter `mode` names, on the bare contract.
//!
//! Modes of `train` return what the host answered wherever the host can answer. Those that begin with `evaluate-` train
//! a proper model and misbehave in `evaluate`. `fine` does nothing wrong.

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use exports::trainyard::plugin::algorithm::{Description, Guest, MetricDescription, Model};
use std::hint::black_box;
use trainyard::plugin::autograd::{backward, parameter};
use trainyard::plugin::dataset::{BatchOptions, Batches, Split};
use trainyard::plugin::optim::{Optimizer, SgdOptions};
use trainyard::plugin::run::{self, Level, Metric};
use trainyard::plugin::tensor::Tensor;
use trainyard::plugin::types::{Dtype, Error};

struct Hostile;

export!(Hostile);

fn mode(parameters: &str) -> &str {
    let after = parameters.split("\"mode\":\"").nth(1).unwrap_or("");
    after.split('"').next().unwrap_or("")
}

fn scalar(value: f64) -> Result<Tensor, Error> {
    Tensor::full(&[], value, Dtype::F32)
}

fn model(tensor: Tensor) -> Model {
    Model {
        tensors: vec![("w".into(), tensor)],
        note: "{}".into(),
    }
}

fn metric(name: &str, value: f64) -> Metric {
    Metric {
        name: name.into(),
        value,
    }
}

fn sgd(parameters: &[&Tensor]) -> Result<Optimizer, Error> {
    Optimizer::sgd(
        parameters,
        SgdOptions {
            learning_rate: 0.1,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
        },
    )
}

/// w = 1, trained one step on w^2 at rate 0.1: 0.8.
fn fine() -> Result<Model, Error> {
    let w = parameter("w", &scalar(1.0)?)?;
    sgd(&[&w])?.minimize(&w.square()?)?;
    Ok(model(w))
}

#[inline(never)]
fn deeper(n: u64) -> u64 {
    let room = black_box([n; 16]);
    if n == u64::MAX { 0 } else { deeper(n + 1) + room[3] }
}

#[inline(never)]
fn deeper_with_calls(n: u64) -> u64 {
    let room = black_box([n; 16]);
    run::seed();
    if n == u64::MAX {
        0
    } else {
        deeper_with_calls(n + 1) + room[3]
    }
}

/// Calls of the host in each mode that is measured.
const CALLS: u32 = 2_000_000;

fn train(mode: &str) -> Result<Model, Error> {
    match mode {
        "fine" => return fine(),

        // Time
        "endless-loop" => loop {
            black_box(());
        },
        "endless-calls" => loop {
            black_box(run::seed());
        },
        "endless-work" => {
            let a = Tensor::random_normal(&[512, 512], 0.0, 1.0, Dtype::F32)?;
            loop {
                // What the host answers does not matter to it.
                let _ = black_box(a.matmul(&a));
            }
        }
        "until-stopped" => {
            while !run::should_stop() {
                black_box(());
            }
            return fine();
        }

        // Stack and memory
        "endless-recursion" => {
            black_box(deeper(0));
        }
        "endless-recursion-with-calls" => {
            black_box(deeper_with_calls(0));
        }
        "guest-memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1u8; 1 << 20]));
            }
        }
        "tensor-memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(Tensor::full(&[1 << 20], 1.0, Dtype::F32)?);
            }
        }
        "one-giant-tensor" => drop(Tensor::full(&[4_000_000_000], 0.0, Dtype::F64)?),
        "shape-overflow" => drop(Tensor::full(&[u32::MAX; 5], 0.0, Dtype::F64)?),
        "shape-overflow-random" => drop(Tensor::random_normal(&[u32::MAX, u32::MAX, 2], 0.0, 1.0, Dtype::F32)?),
        "shape-overflow-broadcast" => {
            let wide = scalar(1.0)?.broadcast_to(&[u32::MAX, u32::MAX, u32::MAX])?;
            drop(wide.add_scalar(1.0)?);
        }
        "giant-range" => drop(Tensor::arange(0.0, 1e18, 1e-3, Dtype::F64)?),
        "giant-identity" => drop(Tensor::eye(u32::MAX, Dtype::F64)?),
        "giant-repeat" => drop(scalar(1.0)?.unsqueeze(0)?.repeat(0, u32::MAX)?),
        "giant-rank" => drop(Tensor::full(&vec![1; 1_000_000], 0.0, Dtype::F32)?),
        "million-handles" => {
            let mut hoard = Vec::new();
            for _ in 0..1_000_000 {
                hoard.push(scalar(0.0)?);
            }
        }
        "many-optimizers" => {
            let w = parameter("w", &scalar(1.0)?)?;
            let mut hoard = Vec::new();
            for _ in 0..100_000 {
                hoard.push(sgd(&[&w])?);
            }
        }

        // Messages
        "giant-list" => drop(Tensor::from_f32(&vec![0.0; 25 << 20], &[25 << 20])?),
        "giant-read" => {
            black_box(Tensor::full(&[25 << 20], 0.0, Dtype::F32)?.to_f32()?);
        }
        "log-flood" => {
            for i in 0..100_000 {
                run::log(Level::Info, &format!("line {i}"));
            }
            return fine();
        }
        "log-line" => {
            run::log(Level::Info, &"x".repeat(10 << 20));
            return fine();
        }
        "log-escape" => {
            run::log(Level::Info, "\x1b[2J\x07first\nsecond");
            return fine();
        }
        "giant-error" => return Err(Error::Algorithm("\x1b[31mwhy\n".repeat(1 << 20))),
        "unknown-data" => {
            let options = BatchOptions {
                size: 0,
                shuffle: None,
                drop_last: false,
                dtype: Dtype::U8,
            };
            drop(Batches::open(Split::Train, options)?);
        }

        "many-passes" => {
            let mut hoard = Vec::new();
            for _ in 0..1_000 {
                let options = BatchOptions {
                    size: u32::MAX,
                    shuffle: None,
                    drop_last: false,
                    dtype: Dtype::F64,
                };
                hoard.push(Batches::open(Split::Train, options)?);
            }
        }

        // Handles
        "use-after-drop" => {
            let tensor = scalar(1.0)?;
            let number = tensor.handle();
            drop(tensor);
            // SAFETY: deliberately wrong, for the host to find out.
            let stale = unsafe { Tensor::from_handle(number) };
            black_box(stale.shape());
        }
        "double-drop" => {
            let tensor = scalar(1.0)?;
            // SAFETY: deliberately wrong, for the host to find out.
            drop(unsafe { Tensor::from_handle(tensor.handle()) });
            drop(tensor);
        }
        "forged-handle" => {
            // SAFETY: deliberately wrong, for the host to find out.
            let forged = unsafe { Tensor::from_handle(12_345) };
            black_box(forged.shape());
        }
        "foreign-handle" => {
            let w = parameter("w", &scalar(1.0)?)?;
            let optimizer = sgd(&[&w])?;
            // SAFETY: deliberately wrong, for the host to find out.
            let forged = unsafe { Tensor::from_handle(optimizer.handle()) };
            black_box(forged.shape());
        }
        "drop-what-is-trained" => {
            let w = parameter("w", &scalar(1.0)?)?;
            let optimizer = sgd(&[&w])?;
            let loss = w.square()?;
            drop(w);
            optimizer.minimize(&loss)?;
            return fine_again();
        }

        // Crashes
        #[cfg(target_family = "wasm")]
        "unreachable" => core::arch::wasm32::unreachable(),
        "wild-pointer" => {
            // SAFETY: deliberately wrong, for the host to find out.
            black_box(unsafe { (black_box(0xffff_fff0_u32) as usize as *const u32).read_volatile() });
        }
        "panic" => {
            std::panic::set_hook(Box::new(|info| run::log(Level::Error, &info.to_string())));
            let nothing: Option<u32> = black_box(None);
            nothing.expect("the answer");
        }
        "silent-panic" => {
            let nothing: Option<u32> = black_box(None);
            nothing.expect("the answer");
        }

        // Wrong values
        "nan-progress" => run::progress(1, 2, &[metric("loss", f64::NAN)])?,
        "infinite-progress" => run::progress(1, 2, &[metric("loss", f64::INFINITY)])?,
        "progress-past-the-end" => run::progress(3, 2, &[])?,
        "progress-of-nothing" => run::progress(0, 0, &[])?,
        "many-metrics" => {
            let metrics: Vec<_> = (0..100_000).map(|i| metric(&format!("m{i}"), 0.0)).collect();
            run::progress(1, 2, &metrics)?;
        }
        "metric-name" => run::progress(1, 2, &[metric("a\nb", 0.0)])?,
        "long-name" => drop(parameter(&"x".repeat(1 << 20), &scalar(1.0)?)?),
        "empty-name" => drop(parameter("", &scalar(1.0)?)?),
        "same-name" => {
            let first = parameter("w", &scalar(1.0)?)?;
            drop(parameter("w", &scalar(1.0)?)?);
            drop(first);
        }
        "million-parameters" => {
            let mut hoard = Vec::new();
            let value = scalar(1.0)?;
            for i in 0..1_000_000 {
                hoard.push(parameter(&format!("p{i}"), &value)?);
            }
        }
        "huge-checkpoint" => {
            let large = Tensor::full(&[1 << 20], 0.0, Dtype::F32)?;
            let names: Vec<String> = (0..100).map(|i| format!("t{i}")).collect();
            let tensors: Vec<_> = names.iter().map(|name| (name.clone(), &large)).collect();
            run::checkpoint(&tensors, "")?;
        }
        "checkpoint-names" => {
            let w = scalar(1.0)?;
            run::checkpoint(&[("w".into(), &w), ("w".into(), &w)], "")?;
        }
        "checkpoint-note" => run::checkpoint(&[], &"x".repeat(8 << 20))?,

        // Graphs
        "deep-graph" => {
            let w = parameter("w", &scalar(1.0)?)?;
            let mut x = w.add_scalar(0.0)?;
            for _ in 0..1_000_000 {
                x = x.add_scalar(1e-6)?;
            }
            drop(x);
            return fine_again();
        }
        "deep-backward" => {
            let w = parameter("w", &scalar(1.0)?)?;
            let mut x = w.add_scalar(0.0)?;
            for _ in 0..200_000 {
                x = x.add_scalar(1e-6)?;
            }
            backward(&x)?;
            return fine_again();
        }
        "backward-twice" => {
            let w = parameter("w", &scalar(1.0)?)?;
            let loss = w.square()?.exp()?;
            backward(&loss)?;
            backward(&loss)?;
        }
        "no-gradient" => {
            let w = parameter("w", &scalar(1.0)?)?;
            let unused = parameter("unused", &scalar(1.0)?)?;
            sgd(&[&w, &unused])?.minimize(&w.square()?)?;
        }
        "backward-on-nothing" => backward(&scalar(1.0)?)?,

        // Nothing wrong with these
        "resume" => {
            let saved = run::resume()?.ok_or(Error::Algorithm("nothing to resume".into()))?;
            // What it does to its copy does not change the checkpoint.
            let value = saved.tensors[0].1.item()?;
            saved.tensors[0].1.assign(&scalar(value + 1.0)?)?;
            return Ok(Model {
                tensors: saved.tensors,
                note: saved.note,
            });
        }
        // `examples/measure.rs` takes the time of these
        "bench-none" => return fine_again(),
        "bench-seed" => {
            for _ in 0..CALLS {
                black_box(run::seed());
            }
            return fine_again();
        }
        "bench-shape" => {
            let x = scalar(1.0)?;
            for _ in 0..CALLS {
                black_box(x.shape());
            }
            return fine_again();
        }
        "bench-add" => {
            let x = scalar(1.0)?;
            for _ in 0..CALLS {
                black_box(x.add_scalar(1.0)?);
            }
            return fine_again();
        }

        // Models
        "nan-model" => return Ok(model(scalar(f64::NAN)?)),
        "same-names" => {
            return Ok(Model {
                tensors: vec![("w".into(), scalar(1.0)?), ("w".into(), scalar(2.0)?)],
                note: String::new(),
            });
        }
        "long-model-name" => {
            return Ok(Model {
                tensors: vec![("x".repeat(1 << 20), scalar(1.0)?)],
                note: String::new(),
            });
        }
        "many-tensors" => {
            let tensors: Result<_, Error> = (0..20_000).map(|i| Ok((format!("t{i}"), scalar(0.0)?))).collect();
            return Ok(Model {
                tensors: tensors?,
                note: String::new(),
            });
        }
        "note-not-json" => {
            return Ok(Model {
                tensors: vec![],
                note: "{".into(),
            });
        }
        "says-cancelled" => return Err(Error::Cancelled),
        other if other.starts_with("evaluate-") || other.starts_with("predict-") => return fine(),
        other => return Err(Error::Algorithm(format!("there is no mode {other}"))),
    }
    Err(Error::Algorithm("the host let it through".into()))
}

/// A model that does not need the name `w` to be free.
fn fine_again() -> Result<Model, Error> {
    Ok(model(scalar(0.8)?))
}

impl Guest for Hostile {
    fn describe() -> Description {
        Description {
            name: "hostile".into(),
            version: "0.1.0".into(),
            summary: "Misbehaves on demand".into(),
            tasks: vec!["regression".into()],
            parameters: r#"{"type":"object","properties":{"mode":{"type":"string","default":"fine"}}}"#.into(),
            metrics: vec![MetricDescription {
                name: "mse".into(),
                summary: String::new(),
                maximize: false,
            }],
        }
    }

    fn train(parameters: String) -> Result<Model, Error> {
        train(mode(&parameters))
    }

    fn evaluate(parameters: String, model: Model) -> Result<Vec<Metric>, Error> {
        match mode(&parameters) {
            "evaluate-nan" => Ok(vec![metric("mse", f64::NAN)]),
            "evaluate-undeclared" => Ok(vec![metric("speed", 1.0)]),
            "evaluate-twice" => Ok(vec![metric("mse", 1.0), metric("mse", 2.0)]),
            "evaluate-loop" => loop {
                black_box(());
            },
            "evaluate-spoils" => {
                // The host's own model must stay as it was.
                model.tensors[0].1.assign(&scalar(7.0)?)?;
                Ok(vec![metric("mse", 1.0)])
            }
            "evaluate-checkpoint" => {
                run::checkpoint(&[], "")?;
                Ok(vec![])
            }
            _ => Ok(vec![metric("mse", model.tensors[0].1.item()?)]),
        }
    }

    fn predict(parameters: String, _: Model) -> Result<Tensor, Error> {
        match mode(&parameters) {
            "predict-shape" => Tensor::full(&[1, 2, 3], 0.0, Dtype::F32),
            "predict-nan" => Tensor::full(&[2, 1], f64::NAN, Dtype::F32),
            "predict-type" => Tensor::full(&[2, 1], 0.0, Dtype::U32),
            "predict-trains" => {
                let options = BatchOptions {
                    size: 1,
                    shuffle: None,
                    drop_last: false,
                    dtype: Dtype::F32,
                };
                Batches::open(Split::Train, options)?;
                Tensor::full(&[2, 1], 0.0, Dtype::F32)
            }
            _ => Tensor::full(&[2, 1], 1.0, Dtype::F32),
        }
    }
}

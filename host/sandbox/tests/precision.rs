//! Plugins that train in `bf16` and `f16`, on real data: a plugin of the library in Rust, and its twin in Python.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use trainyard_data::{Dataset, Frame, PrepareSpec, ReadOptions, Task, Window};
use trainyard_kernels::{DType, Session, Tensor};
use trainyard_sandbox::{Cache, Checkpoint, Engine, EngineOptions, Event, Job, Plugin, Runner};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The plugin of the library and its twin; those that have not been built are left out, with a word on it.
fn plugins() -> Vec<Plugin> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let folder = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        if folder.is_none() {
            eprintln!("left out: {name} is not set (run `cargo xtask test`)");
        }
        folder
    };
    let (library, python) = (folder("TRAINYARD_PLUGINS"), folder("TRAINYARD_PYTHON_ENGINE"));
    let engine = ENGINE.get_or_init(|| {
        let cache = Cache::open(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python-code")).unwrap();
        Engine::new(EngineOptions {
            cache: Some(cache),
            python: python.clone(),
            ..EngineOptions::default()
        })
        .unwrap()
    });
    let files = [
        library.map(|library| library.join("mlp.wasm")),
        python.map(|_| root().join("examples/python/mlp.py")),
    ];
    let open = |file| Plugin::open(engine, file).unwrap();
    files.into_iter().flatten().map(open).collect()
}

fn weather() -> Dataset {
    let file = root().join("examples/data/seattle-weather.csv");
    let frame = Frame::read(&file, &ReadOptions::default()).unwrap();
    let spec = PrepareSpec {
        target: vec!["temp_max".into()],
        window: Some(Window {
            lookback: 14,
            horizon: 3,
        }),
        ..PrepareSpec::new(Task::Forecasting)
    };
    Dataset::prepare(frame, &spec).unwrap()
}

/// A checkpoint as it is in a file.
struct Stored {
    tensors: Vec<(String, Vec<u8>, Vec<usize>, DType)>,
    note: String,
}

impl Stored {
    fn new(checkpoint: &Checkpoint) -> Self {
        let stored = |(name, tensor): &(String, Tensor)| {
            let bytes = tensor.to_bytes().unwrap();
            (name.clone(), bytes, tensor.shape().to_vec(), tensor.dtype())
        };
        Stored {
            tensors: checkpoint.tensors.iter().map(stored).collect(),
            note: checkpoint.note.clone(),
        }
    }

    fn load(&self, session: &Session) -> Checkpoint {
        let tensors = self.tensors.iter().map(|(name, bytes, shape, dtype)| {
            let tensor = Tensor::from_bytes(session, bytes, shape, *dtype).unwrap();
            (name.clone(), tensor)
        });
        Checkpoint {
            tensors: tensors.collect(),
            note: self.note.clone(),
        }
    }
}

type Checkpoints = Arc<Mutex<Vec<Stored>>>;

fn runner(plugin: &Plugin, precision: &str, epochs: usize) -> (Runner, Checkpoints) {
    let job = Job {
        dataset: Some(weather()),
        parameters: json!({"precision": precision, "epochs": epochs, "hidden": [32], "patience": 0}),
        seed: 5,
        ..Job::default()
    };
    let checkpoints = Checkpoints::default();
    let sink = checkpoints.clone();
    let runner = Runner::new(plugin, job, move |event| {
        if let Event::Checkpoint(checkpoint) = event {
            // The plugin goes on to change these tensors.
            sink.lock().unwrap().push(Stored::new(&checkpoint));
        }
    });
    (runner.unwrap(), checkpoints)
}

fn bytes(tensors: &[(String, Tensor)]) -> Vec<(String, Vec<u8>)> {
    let bytes = |(name, tensor): &(String, Tensor)| (name.clone(), tensor.to_bytes().unwrap());
    tensors.iter().map(bytes).collect()
}

#[test]
fn a_plugin_forecasts_as_well_in_the_short_types_as_in_f32() {
    for plugin in plugins() {
        let judged = [("f32", DType::F32), ("bf16", DType::BF16), ("f16", DType::F16)].map(|(precision, dtype)| {
            let (mut runner, _) = runner(&plugin, precision, 10);
            let model = runner.train().unwrap();
            assert!(model.tensors.iter().all(|(_, tensor)| tensor.dtype() == dtype));
            let metrics = runner.evaluate(&model).unwrap();
            metrics.into_iter().find(|metric| metric.name == "mse").unwrap().value
        });
        let [full, short @ ..] = judged;
        for mse in short {
            assert!((mse - full).abs() < 0.03 * full, "{:?}: {judged:?}", plugin.kind());
            assert_ne!(mse, full, "not computed in a short type at all");
        }
    }
}

#[test]
fn an_interrupted_training_in_a_short_type_ends_with_the_same_bytes() {
    for plugin in plugins() {
        for precision in ["bf16", "f16"] {
            let (mut whole, checkpoints) = runner(&plugin, precision, 4);
            let expected = bytes(&whole.train().unwrap().tensors);
            let checkpoints = checkpoints.lock().unwrap();
            let masters = checkpoints[1]
                .tensors
                .iter()
                .filter(|(name, ..)| name.ends_with("/master"));
            assert_eq!(masters.count(), 4, "two layers with weight and bias");
            let (mut rest, _) = runner(&plugin, precision, 4);
            rest.resume_from(checkpoints[1].load(rest.session()));
            let tensors = rest.train().unwrap().tensors;
            // Not `assert_eq`, which would print all of them.
            assert!(bytes(&tensors) == expected, "{:?} {precision}", plugin.kind());
        }
    }
}

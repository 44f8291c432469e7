//! A plugin that does what it should, from a file of readings to a prediction.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Events, guest, small};
use serde_json::json;
use std::fmt::Write as _;
use trainyard_data::{Dataset, PrepareSpec, SplitName, Task, Window};
use trainyard_kernels::Tensor;
use trainyard_sandbox::{Checkpoint, Event, Job, Plugin, Runner, TrainedModel};

/// y = 2 a - 3 b + 1, in a file.
fn readings() -> tempfile::NamedTempFile {
    let mut text = String::from("a,b,y\n");
    for i in 0..500u32 {
        let (a, b) = (f64::from(i * 37 % 101) / 50.0, f64::from(i * 53 % 89) / 40.0);
        writeln!(text, "{a},{b},{}", 2.0 * a - 3.0 * b + 1.0).unwrap();
    }
    let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn regression() -> PrepareSpec {
    let mut spec = PrepareSpec::new(Task::Regression);
    spec.target = vec!["y".into()];
    spec
}

fn runner(plugin: &Plugin, dataset: Dataset, parameters: serde_json::Value) -> (Runner, Events) {
    let events = Events::default();
    let sink = events.clone();
    let job = Job {
        dataset: Some(dataset),
        parameters,
        seed: 7,
        limits: small(),
        ..Job::default()
    };
    let runner = Runner::new(plugin, job, move |event| sink.lock().unwrap().push(event)).unwrap();
    (runner, events)
}

#[test]
fn a_regression_is_learned_judged_and_used() {
    let Some(plugin) = guest("plain") else { return };
    let file = readings();
    let dataset = Dataset::open(file.path(), &regression()).unwrap();
    let (mut runner, events) = runner(&plugin, dataset.clone(), json!({"epochs": 20, "lr": 0.2}));
    assert_eq!(runner.parameters(), &json!({"epochs": 20, "lr": 0.2}));
    let model = runner.train().unwrap();
    let metrics = runner.evaluate(&model).unwrap();
    assert_eq!(metrics[0].name, "mse");
    assert!(metrics[0].value < 1e-4, "{}", metrics[0].value);

    let events = events.lock().unwrap();
    let progress: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Progress { fraction, metrics, .. } => Some((*fraction, metrics[0].1)),
            _ => None,
        })
        .collect();
    assert_eq!(progress.len(), 20);
    assert_eq!(progress[19].0, 1.0);
    assert!(progress[19].1 < progress[0].1);
    let checkpoints = events.iter().filter(|e| matches!(e, Event::Checkpoint(_))).count();
    assert_eq!(checkpoints, 20);

    // In another job, from what would be in a file.
    let wanted = Dataset::open_for_predict(file.path(), dataset.preprocessing(), false).unwrap();
    let rows = wanted.len(SplitName::Predict);
    let (mut other, _) = self::runner(&plugin, wanted, json!(null));
    let tensors = model
        .tensors
        .iter()
        .map(|(name, tensor)| {
            let values = tensor.to_f32().unwrap();
            (
                name.clone(),
                Tensor::from_f32(other.session(), values, tensor.shape()).unwrap(),
            )
        })
        .collect();
    let loaded = TrainedModel {
        tensors,
        note: model.note.clone(),
    };
    let prediction = other.predict(&loaded).unwrap();
    assert_eq!(prediction.shape(), [rows, 1]);
    let mut values = prediction.to_f64().unwrap();
    dataset.unscale_targets(&mut values).unwrap();
    assert!((values[0] - 1.0).abs() < 0.1, "{}", values[0]);
}

#[test]
fn a_forecast_has_the_shape_of_its_windows() {
    let Some(plugin) = guest("plain") else { return };
    let mut text = String::from("time,v,w\n");
    for i in 0..300 {
        let (day, hour) = (1 + i / 24, i % 24);
        writeln!(
            text,
            "2024-01-{day:02} {hour:02}:00:00,{},{}",
            (f64::from(i) / 5.0).sin(),
            i % 7
        )
        .unwrap();
    }
    let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut spec = PrepareSpec::new(Task::Forecasting);
    spec.window = Some(Window {
        lookback: 12,
        horizon: 4,
    });
    let dataset = Dataset::open(file.path(), &spec).unwrap();
    let (mut runner, _) = runner(&plugin, dataset.clone(), json!({"epochs": 2}));
    let model = runner.train().unwrap();
    assert!(runner.evaluate(&model).unwrap()[0].value.is_finite());
    let error = runner.predict(&model).unwrap_err();
    assert_eq!(error.code(), "unsuitable");

    let wanted = Dataset::open_for_predict(file.path(), dataset.preprocessing(), true).unwrap();
    let rows = wanted.len(SplitName::Predict);
    let (mut other, _) = self::runner(&plugin, wanted, json!(null));
    let tensors = model.tensors.iter().map(|(name, tensor)| {
        let values = tensor.to_f32().unwrap();
        (
            name.clone(),
            Tensor::from_f32(other.session(), values, tensor.shape()).unwrap(),
        )
    });
    let loaded = TrainedModel {
        tensors: tensors.collect(),
        note: String::new(),
    };
    assert_eq!(other.predict(&loaded).unwrap().shape(), [rows, 4, 2]);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let Some(plugin) = guest("plain") else { return };
    let file = readings();
    let dataset = Dataset::open(file.path(), &regression()).unwrap();
    let bytes = |seed| {
        let job = Job {
            dataset: Some(dataset.clone()),
            seed,
            ..Job::default()
        };
        let model = Runner::new(&plugin, job, |_| {}).unwrap().train().unwrap();
        model.tensors[0].1.to_bytes().unwrap()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn parameters_and_tasks_that_do_not_fit_are_refused_before_anything_runs() {
    let Some(plugin) = guest("plain") else { return };
    let refused = |job: Job| Runner::new(&plugin, job, |_| {}).err().unwrap();
    let error = refused(Job {
        parameters: json!({"epochs": 0, "lr": 3}),
        ..Job::default()
    });
    assert_eq!(error.code(), "invalid-parameters");
    let line = error.to_string();
    assert!(
        line.contains("`epochs` cannot be 0; it is a whole number from 1 to 1000"),
        "{line}"
    );
    let error = refused(Job {
        parameters: json!({"epoch": 1}),
        ..Job::default()
    });
    assert!(error.to_string().contains("did you mean `epochs`?"), "{error}");

    let mut text = String::from("a,kind\n");
    (0..50).for_each(|i| writeln!(text, "{i},{}", if i % 2 == 0 { "odd" } else { "even" }).unwrap());
    let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut spec = PrepareSpec::new(Task::Classification);
    spec.target = vec!["kind".into()];
    let error = refused(Job {
        dataset: Some(Dataset::open(file.path(), &spec).unwrap()),
        ..Job::default()
    });
    assert_eq!(error.code(), "unsuitable");
    assert_eq!(
        error.to_string(),
        "plain does regression and forecasting, not classification"
    );
}

#[test]
fn a_prediction_is_checked() {
    let Some(plugin) = guest("hostile") else { return };
    let file = readings();
    let dataset = Dataset::open(file.path(), &regression()).unwrap();
    let two = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::fs::write(two.path(), "a,b\n1,2\n3,4\n").unwrap();
    let wanted = Dataset::open_for_predict(two.path(), dataset.preprocessing(), false).unwrap();
    for (mode, expected) in [
        (
            "predict-shape",
            "a prediction of shape [1, 2, 3]; it must be [2, 1], [size, targets]",
        ),
        ("predict-nan", "the prediction holds NaN"),
        ("predict-type", "a prediction of u32"),
        ("predict-trains", "there is no split `train` while `predict` runs"),
    ] {
        let (mut runner, _) = runner(&plugin, wanted.clone(), json!({"mode": mode}));
        let weight = Tensor::from_f32(runner.session(), vec![1.0], &[]).unwrap();
        let model = TrainedModel {
            tensors: vec![("w".into(), weight)],
            note: String::new(),
        };
        let error = runner.predict(&model).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_checkpoint_is_what_it_was_when_it_was_made() {
    let Some(plugin) = guest("plain") else { return };
    let file = readings();
    let dataset = Dataset::open(file.path(), &regression()).unwrap();
    let saved = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = saved.clone();
    let job = Job {
        dataset: Some(dataset),
        ..Job::default()
    };
    let mut runner = Runner::new(&plugin, job, move |event| {
        if let Event::Checkpoint(Checkpoint { tensors, .. }) = event {
            sink.lock().unwrap().push(tensors[0].1.to_f32().unwrap());
        }
    })
    .unwrap();
    let model = runner.train().unwrap();
    let saved = saved.lock().unwrap();
    assert_eq!(saved.len(), 5);
    assert_ne!(saved[0], saved[1]);
    assert_eq!(saved[4], model.tensors[0].1.to_f32().unwrap());
}

#[test]
fn training_goes_on_from_a_checkpoint() {
    let Some(_) = guest("hostile") else { return };
    let (mut runner, _) = common::hostile("resume", small()).unwrap();
    let error = runner.train().unwrap_err();
    assert_eq!(error.to_string(), "`train` failed: nothing to resume");
    let step = Tensor::from_f32(runner.session(), vec![4.0], &[]).unwrap();
    runner.resume_from(Checkpoint {
        tensors: vec![("step".into(), step.clone())],
        note: "[1]".into(),
    });
    let model = runner.train().unwrap();
    assert_eq!((model.tensors[0].0.as_str(), model.note.as_str()), ("step", "[1]"));
    assert_eq!(model.tensors[0].1.item().unwrap(), 5.0);
    assert_eq!(step.item().unwrap(), 4.0);
}

#[test]
fn passes_over_the_data_share_one_budget() {
    let Some(plugin) = guest("hostile") else { return };
    let file = readings();
    let job = Job {
        dataset: Some(Dataset::open(file.path(), &regression()).unwrap()),
        parameters: json!({"mode": "many-passes"}),
        limits: trainyard_sandbox::Limits {
            tensor_memory: 100_000,
            ..small()
        },
        ..Job::default()
    };
    let error = Runner::new(&plugin, job, |_| {}).unwrap().train().unwrap_err();
    assert_eq!(error.code(), "out-of-memory");
    assert!(error.to_string().contains("dataset.batches.open"), "{error}");
}

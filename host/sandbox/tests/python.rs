//! Plugins of Python source, on the real engine: what they give, what they are refused, and what their errors look like.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use trainyard_data::{Dataset, Frame, PrepareSpec, ReadOptions, Task, Window};
use trainyard_sandbox::{
    Cache, Engine, EngineOptions, Event, Job, Kind, Limits, Plugin, Raised, Runner, SandboxError, TrainedModel,
};

/// An engine that runs Python; `None`, with a word on it, where the Python engine has not been built.
fn engine() -> Option<&'static Engine> {
    static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
    let made = ENGINE.get_or_init(|| {
        let Some(python) = std::env::var_os("TRAINYARD_PYTHON_ENGINE").map(PathBuf::from) else {
            eprintln!("skipped: TRAINYARD_PYTHON_ENGINE is not set (run `cargo xtask test`)");
            return None;
        };
        // Each test is a process: they share what the first one has compiled.
        let cache = Cache::open(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python-code")).unwrap();
        let options = EngineOptions {
            cache: Some(cache),
            python: Some(python),
            ..EngineOptions::default()
        };
        Some(Engine::new(options).unwrap())
    });
    made.as_ref()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn weather(task: Task, target: &[&str]) -> Dataset {
    let frame = Frame::read(
        &root().join("examples/data/seattle-weather.csv"),
        &ReadOptions::default(),
    )
    .unwrap();
    let spec = PrepareSpec {
        target: target.iter().map(|&name| name.to_owned()).collect(),
        window: (task == Task::Forecasting).then_some(Window {
            lookback: 14,
            horizon: 3,
        }),
        ..PrepareSpec::new(task)
    };
    Dataset::prepare(frame, &spec).unwrap()
}

type Events = Arc<Mutex<Vec<String>>>;

/// A job of some source: what it logs goes to the list.
fn runner(
    content: &[u8],
    dataset: Option<Dataset>,
    parameters: serde_json::Value,
    limits: Limits,
) -> Option<(Result<Runner, SandboxError>, Events)> {
    let plugin = match Plugin::load_named(engine()?, content, "my_algo.py") {
        Ok(plugin) => plugin,
        Err(error) => return Some((Err(error), Events::default())),
    };
    let events = Events::default();
    let sink = events.clone();
    let job = Job {
        dataset,
        parameters,
        limits,
        seed: 7,
        ..Job::default()
    };
    let runner = Runner::new(&plugin, job, move |event| {
        if let Event::Log { message, .. } = event {
            sink.lock().unwrap().push(message);
        }
    });
    Some((runner, events))
}

fn limits() -> Limits {
    Limits {
        guest_memory: 128 << 20,
        tensor_memory: 256 << 20,
        wall_time: Duration::from_secs(60),
        ..Limits::default()
    }
}

/// An algorithm whose `train` does something. Everything else is proper.
fn training(body: &str) -> String {
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "import trainyard\nimport trainyard as torch\nfrom trainyard import nn, optim\nfrom trainyard.nn import functional as F\n\n\n\
         class MyAlgo(trainyard.Algorithm):\n    \"\"\"Does as it is told.\"\"\"\n\n    tasks = [\"forecasting\"]\n\n    \
         def train(self, data):\n{body}        return {{\"w\": torch.ones(1)}}\n"
    )
}

/// Trains a source whose `train` does something.
fn train(body: &str) -> Option<(Result<TrainedModel, SandboxError>, Vec<String>)> {
    let data = weather(Task::Forecasting, &[]);
    let (runner, events) = runner(training(body).as_bytes(), Some(data), json!({}), limits())?;
    let outcome = runner.and_then(|mut runner| runner.train());
    let events = events.lock().unwrap().clone();
    Some((outcome, events))
}

/// A source whose `train` finds its own assertions right.
fn holds(body: &str) {
    if let Some((outcome, log)) = train(body) {
        let shown = outcome
            .as_ref()
            .err()
            .and_then(SandboxError::raised)
            .map(|raised| raised.traceback.clone());
        assert!(
            outcome.is_ok(),
            "{:?}\n{}\n{log:?}",
            outcome.err().map(|e| e.to_string()),
            shown.unwrap_or_default()
        );
    }
}

fn raised(error: &SandboxError) -> &Raised {
    error.raised().unwrap_or_else(|| panic!("no exception: {error}"))
}

#[test]
fn the_python_and_the_rust_version_of_an_algorithm_give_the_same_model() {
    let Some(engine) = engine() else { return };
    let Some(library) = std::env::var_os("TRAINYARD_PLUGINS").map(PathBuf::from) else {
        eprintln!("skipped: TRAINYARD_PLUGINS is not set (run `cargo xtask test`)");
        return;
    };
    let plugins = [library.join("mlp.wasm"), root().join("examples/python/mlp.py")]
        .map(|file| Plugin::open(engine, file).unwrap());
    assert_eq!(plugins[1].kind(), Kind::Python);
    for (task, target, precision) in [
        (Task::Forecasting, &[][..], "f32"),
        (Task::Regression, &["temp_max"], "f32"),
        (Task::Classification, &["weather"], "f32"),
        (Task::Regression, &["temp_max"], "bf16"),
        (Task::Classification, &["weather"], "f16"),
    ] {
        let outcomes = plugins.each_ref().map(|plugin| {
            let job = Job {
                dataset: Some(weather(task, target)),
                parameters: json!({"epochs": 3, "hidden": [24, 8], "dropout": 0.1, "precision": precision}),
                seed: 3,
                ..Job::default()
            };
            let mut runner = Runner::new(plugin, job, |_| {}).unwrap();
            let model = runner.train().unwrap();
            let metrics = runner.evaluate(&model).unwrap();
            let bytes = model
                .tensors
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.to_bytes().unwrap()));
            let mut bytes: Vec<_> = bytes.collect();
            bytes.sort();
            (
                bytes,
                metrics
                    .into_iter()
                    .map(|metric| (metric.name, metric.value))
                    .collect::<Vec<_>>(),
            )
        });
        assert_eq!(outcomes[0].0, outcomes[1].0, "{task} {precision}");
        for ((name, rust), (other, python)) in outcomes[0].1.iter().zip(&outcomes[1].1) {
            assert_eq!(name, other);
            assert!(
                (rust - python).abs() <= 1e-12 * rust.abs().max(1.0),
                "{name}: {rust} {python}"
            );
        }
    }
}

#[test]
fn an_exception_shows_the_authors_lines_and_no_others() {
    let body = "net = nn.Linear(3, 2)\nprint('before')\nnet(torch.ones(4, 5))";
    let Some((outcome, log)) = train(body) else { return };
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), "shape");
    let raised = raised(&error);
    assert_eq!(raised.kind, "ShapeError");
    assert_eq!((raised.file.as_deref(), raised.line), (Some("my_algo.py"), Some(15)));
    assert_eq!(raised.code.as_deref(), Some("net(torch.ones(4, 5))"));
    let frames: Vec<_> = raised
        .traceback
        .lines()
        .filter(|line| line.starts_with("  File"))
        .collect();
    assert_eq!(frames, ["  File \"my_algo.py\", line 15, in train"]);
    assert!(raised.traceback.contains("nn.linear"), "{}", raised.traceback);
    let line = error.to_string();
    assert!(
        line.contains("(my_algo.py, line 15, in train: `net(torch.ones(4, 5))`)"),
        "{line}"
    );
    assert!(log.contains(&"before".to_owned()), "{log:?}");
    assert!(
        log.contains(&"Traceback (most recent call last):".to_owned()),
        "{log:?}"
    );
}

#[test]
fn errors_of_the_host_are_proper_exceptions() {
    holds(
        "from trainyard import ShapeError, DTypeError, NumericalError, OutOfMemoryError, MissingGradientError\n\
         def fails(kind, work):\n    try:\n        work()\n    except kind as error:\n        return str(error)\n    raise AssertionError(kind)\n\
         assert 'matmul' in fails(ValueError, lambda: torch.ones(2, 3) @ torch.ones(2, 3))\n\
         fails(ShapeError, lambda: torch.ones(2) + torch.ones(3))\n\
         fails(NumericalError, lambda: trainyard.linalg.solve(torch.zeros(2, 2), torch.ones(2)))\n\
         fails(MemoryError, lambda: torch.zeros(1 << 30))\n\
         net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))\n\
         opt = optim.SGD(net.parameters(), lr=0.1)\n\
         text = fails(MissingGradientError, lambda: opt.minimize(net[0](torch.ones(1, 2)).sum()))\n\
         assert 'parameter 1.weight' in text, text\n\
         fails(IndexError, lambda: torch.ones(3)[5])\n\
         fails(TypeError, lambda: torch.ones(3).__setitem__(0, 1))\n\
         fails(ValueError, lambda: bool(torch.ones(3)))",
    );
}

#[test]
fn tensors_do_what_pytorchs_do() {
    holds(
        "x = torch.arange(24).reshape(2, 3, 4)\n\
         assert x.shape == (2, 3, 4) and x.dtype == torch.int64 and x[1, -1, 2].item() == 22\n\
         assert x[:, 1:, ::2].tolist() == [[[4, 6], [8, 10]], [[16, 18], [20, 22]]]\n\
         assert x[..., None].shape == (2, 3, 4, 1) and x[0].shape == (3, 4)\n\
         assert x[:, torch.tensor([2, 0])].shape == (2, 2, 4) and x[0, torch.tensor([-1])].tolist() == [[8, 9, 10, 11]]\n\
         assert x[torch.tensor([False, True])].tolist()[0][0] == [12, 13, 14, 15]\n\
         f = torch.tensor([[1.0, 2.0], [3.0, 4.0]])\n\
         assert (f + torch.tensor([1, 2])).tolist() == [[2.0, 4.0], [4.0, 6.0]]\n\
         assert (2 - f).tolist() == [[1.0, 0.0], [-1.0, -2.0]] and (2 / f)[0].tolist() == [2.0, 1.0]\n\
         assert (f ** 2).tolist() == [[1.0, 4.0], [9.0, 16.0]] and (f @ f.T).tolist() == [[5.0, 11.0], [11.0, 25.0]]\n\
         assert f.max(1).values.tolist() == [2.0, 4.0] and f.argmax().item() == 3\n\
         assert (f > 2).tolist() == [[0, 0], [1, 1]] and torch.where(f > 2, f, 0).sum().item() == 7\n\
         assert torch.cat([f, f], 1).shape == (2, 4) and torch.stack([f, f]).shape == (2, 2, 2)\n\
         assert [part.shape[0] for part in torch.ones(7).split(3)] == [3, 3, 1] and len(torch.ones(7).chunk(2)) == 2\n\
         assert f.var().item() - 5 / 3 < 1e-6 and torch.allclose(f.softmax(1).sum(1), torch.ones(2))\n\
         w = torch.tensor([3.0], requires_grad=True)\n\
         (w * w).sum().backward()\n\
         assert w.grad.tolist() == [6.0]\n\
         with torch.no_grad():\n    assert not torch.is_grad_enabled()\n    w.sub_(1.0)\n\
         assert w.tolist() == [2.0] and torch.is_grad_enabled()\n\
         assert repr(torch.tensor([1.0, 2.5])) == 'tensor([1.0000, 2.5000], dtype=trainyard.float32)'\n\
         assert torch.randperm(5).sort().values.tolist() == [0, 1, 2, 3, 4]\n\
         assert torch.tensor([[True, False]]).dtype == torch.uint8 and torch.eye(2).sum().item() == 2\n\
         assert x.max().item() == 23 and x.max(2).indices[0].tolist() == [3, 3, 3] and x.argmin().item() == 0\n\
         assert x[0].cumsum(0).tolist()[2] == [12, 15, 18, 21] and x[0].sort(descending=True).values[0, 0].item() == 3\n\
         assert not (x > 0).all() and (x > 0).any() and (x % 5)[0, 1].tolist() == [4, 0, 1, 2] and (x // 5).dtype == torch.int64",
    );
}

/// Sets the weights as tests/reference/examples.py does, and takes the windows in order of time.
const COMPARED: &str = r#"
import math

import {module}
import trainyard


def start(net):
    for n, parameter in enumerate(net.parameters()):
        count = parameter.numel()
        scale = math.sqrt(count // parameter.shape[0] if parameter.dim() > 1 else count)
        data = [(((7919 * (i + 1) + 104729 * n) % 1009) / 1009 - 0.5) / scale for i in range(count)]
        parameter.copy_(trainyard.tensor(data).reshape(parameter.shape))
    return net


class Compared({module}.{class_name}):
    def build(self, data):
        return start(super().build(data))

    def batches(self, data):
        return trainyard.DataLoader(data.train, 32)
"#;

#[test]
fn pytorchs_scripts_as_plugins_have_pytorchs_losses() {
    let Some(engine) = engine() else { return };
    let reference = std::fs::read_to_string(root().join("tests/reference/examples.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&reference).unwrap();
    let runs = reference["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    for run in runs {
        let module = run["example"].as_str().unwrap();
        let path = |folder: &str| root().join(format!("examples/{folder}/{module}.py"));
        let source = std::fs::read_to_string(path("python")).unwrap();
        let script = std::fs::read_to_string(path("pytorch")).unwrap();
        // Network and loop are those of PyTorch's script to the letter.
        let shared = &script[script.find("class Network").unwrap()..script.find("def main").unwrap()];
        assert!(
            source.contains(shared.trim_end()),
            "{module} has drifted from its script"
        );
        assert!(source.len() < 10_000, "{module} has {} bytes", source.len());

        let class_name = source
            .lines()
            .find_map(|line| line.strip_prefix("class ")?.strip_suffix("(Algorithm):"))
            .unwrap();
        let compared = COMPARED.replace("{module}", module).replace("{class_name}", class_name);
        let zip = zipped(&[
            (&format!("{module}.py"), source.as_bytes()),
            ("plugin.py", compared.as_bytes()),
        ]);
        let plugin = Plugin::load(engine, &zip).unwrap();
        let losses = Arc::new(Mutex::new(Vec::new()));
        let sink = losses.clone();
        let job = Job {
            dataset: Some(weather(Task::Forecasting, &[])),
            parameters: json!({"steps": 100}),
            ..Job::default()
        };
        let mut runner = Runner::new(&plugin, job, move |event| {
            if let Event::Progress { metrics, .. } = event {
                sink.lock().unwrap().push(metrics[0].1);
            }
        })
        .unwrap();
        runner.train().unwrap();
        let losses = losses.lock().unwrap();
        let expected = run["losses"].as_array().unwrap();
        assert_eq!(losses.len(), expected.len(), "{module}");
        let apart = losses
            .iter()
            .zip(expected)
            .map(|(loss, expected)| (loss - expected.as_f64().unwrap()).abs())
            .fold(0.0, f64::max);
        println!("{module}: largest difference of {} losses {apart:e}", losses.len());
        assert!(apart < 1e-4, "{module}: {apart:e}");
    }
}

#[test]
fn an_estimator_has_scikit_learns_coefficients() {
    let Some(engine) = engine() else { return };
    let reference = std::fs::read_to_string(root().join("tests/reference/ridge.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&reference).unwrap();
    let plugin = Plugin::open(engine, root().join("examples/python/ridge.py")).unwrap();
    let texts = |key: &str| -> Vec<String> { serde_json::from_value(reference[key].clone()).unwrap() };
    let rows = |key: &str| reference["rows"][key].as_u64().unwrap();
    let mut compared = 0;
    for fit in reference["fits"].as_array().unwrap() {
        // With more features than rows, or no penalty on columns that depend on each other, it takes more than this example does.
        if fit["data"] != "regression.csv" || fit["scaling"] != "none" {
            continue;
        }
        let file = root().join("tests/reference/data").join(fit["data"].as_str().unwrap());
        let frame = Frame::read(&file, &ReadOptions::default()).unwrap();
        let spec = PrepareSpec {
            features: Some(texts("features")),
            target: texts("targets"),
            split: format!("{}/{}/{}", rows("training"), rows("validation"), rows("test"))
                .parse()
                .unwrap(),
            scaling: "none".parse().unwrap(),
            ..PrepareSpec::new(Task::Regression)
        };
        let job = Job {
            dataset: Some(Dataset::prepare(frame, &spec).unwrap()),
            parameters: json!({"alpha": fit["alpha"], "fit_intercept": fit["fit_intercept"]}),
            ..Job::default()
        };
        let mut runner = Runner::new(&plugin, job, |_| {}).unwrap();
        let model = runner.train().unwrap();
        let values = |name: &str| {
            model
                .tensors
                .iter()
                .find(|(n, _)| n == name)
                .unwrap()
                .1
                .to_f64()
                .unwrap()
        };
        let expected: Vec<Vec<f64>> = serde_json::from_value(fit["coefficients"].clone()).unwrap();
        for (value, expected) in values("coef_").iter().zip(expected.iter().flatten()) {
            assert!(
                (value - expected).abs() < 1e-5 * expected.abs().max(1.0),
                "{value} {expected} {fit}"
            );
        }
        let expected: Vec<f64> = serde_json::from_value(fit["intercepts"].clone()).unwrap();
        for (value, expected) in values("intercept_").iter().zip(&expected) {
            assert!(
                (value - expected).abs() < 1e-5 * expected.abs().max(1.0),
                "{value} {expected} {fit}"
            );
        }
        let metrics = runner.evaluate(&model).unwrap();
        let mse = metrics.iter().find(|metric| metric.name == "mse").unwrap().value;
        let expected = fit["test"]["mse"].as_f64().unwrap();
        assert!((mse - expected).abs() < 1e-5 * expected, "{mse} {expected}");
        compared += 1;
    }
    assert!(compared >= 3, "{compared}");
}

#[test]
fn networks_have_pytorchs_names_shapes_and_modes() {
    holds(
        "lstm = nn.LSTM(3, 5, num_layers=2, batch_first=True, bidirectional=True)\n\
         out, (h, c) = lstm(torch.randn(4, 7, 3))\n\
         assert out.shape == (4, 7, 10) and h.shape == (4, 4, 5) and c.shape == (4, 4, 5)\n\
         assert 'weight_ih_l1_reverse' in lstm.state_dict() and lstm.weight_ih_l1.shape == (20, 10)\n\
         out, h = nn.GRU(3, 5)(torch.randn(7, 4, 3))\n\
         assert out.shape == (7, 4, 5) and h.shape == (1, 4, 5)\n\
         assert nn.Conv1d(3, 8, 3, padding='same')(torch.randn(2, 3, 10)).shape == (2, 8, 10)\n\
         q = torch.randn(2, 6, 8)\n\
         attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()\n\
         a, weights = attention(q, q, q, is_causal=True)\n\
         b, none = attention(q, q, q, need_weights=False, is_causal=True)\n\
         assert torch.allclose(a, b, atol=1e-5) and none is None and weights.shape == (2, 6, 6)\n\
         net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.GELU(), nn.Dropout(0.5), nn.LayerNorm(4))\n\
         assert list(net.state_dict())[:4] == ['0.weight', '0.bias', '1.weight', '1.bias'] and len(list(net.parameters())) == 6\n\
         net.train(); net(torch.randn(8, 3)); net.eval()\n\
         assert not net[3].training and torch.allclose(net(torch.ones(2, 3)), net(torch.ones(2, 3)))\n\
         other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.GELU(), nn.Dropout(0.5), nn.LayerNorm(4)).eval()\n\
         other.load_state_dict(net.state_dict())\n\
         assert torch.allclose(other(torch.ones(2, 3)), net(torch.ones(2, 3)))\n\
         try:\n    other.load_state_dict({'0.weight': torch.ones(1)})\nexcept RuntimeError as error:\n    assert 'missing: 0.bias' in str(error)\n\
         opt = optim.AdamW(net.parameters(), lr=0.1)\n\
         schedule = optim.lr_scheduler.StepLR(opt, 1, 0.5)\n\
         schedule.step()\n\
         assert opt.param_groups[0]['lr'] == 0.05\n\
         loss = F.mse_loss(net(torch.randn(8, 3)), torch.zeros(8, 4))\n\
         opt.zero_grad(); loss.backward()\n\
         before = nn.utils.clip_grad_norm_(net.parameters(), 1e-3)\n\
         assert before > 0\n\
         opt.step()\n\
         state = opt.state_dict(); opt.load_state_dict(state)",
    );
}

#[test]
fn networks_train_in_short_types() {
    holds(
        r#"
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 1))
before = [p.tolist() for p in net.parameters()]
assert net.to(torch.float16) is net and net.to("cpu") is net
assert {p.dtype for p in net.parameters()} == {torch.float16}
assert {b.dtype for b in net.buffers()} == {torch.float32}
assert net[1].running_mean is dict(net.named_buffers())["1.running_mean"]
assert trainyard.tensor(before[0]).half().tolist() == net[0].weight.tolist()

x = torch.randn(64, 4)
y = x.sum(1, keepdim=True).sin()
opt = optim.AdamW(net.parameters(), lr=0.02, loss_scaling="dynamic")
assert (opt.loss_scale, opt.skipped_steps) == (65536.0, 0)
losses = []
for step in range(60):
    loss = F.mse_loss(net(x.half()), y)
    assert loss.dtype == torch.float32
    losses.append(loss.item())
    opt.minimize(loss)
assert losses[-1] < losses[0] / 4, losses

# By hand, as with PyTorch's GradScaler.
opt = optim.SGD(net.parameters(), lr=0.01, loss_scaling={"init_scale": 2.0**40, "growth_interval": 1})
for skipped in (1, 2, 3):
    weight = net[0].weight.tolist()
    opt.zero_grad()
    opt.scale_loss(F.mse_loss(net(x.half()), y)).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    opt.step()
    assert net[0].weight.tolist() == weight
    assert (opt.skipped_steps, opt.loss_scale) == (skipped, 2.0 ** (40 - skipped))
state = opt.state_dict()
assert state["loss-scale"].tolist() == [2.0**37, 0, 3]
other = optim.SGD(net.parameters(), lr=0.01, loss_scaling="dynamic")
other.load_state_dict(state)
assert (other.skipped_steps, other.loss_scale) == (3, 2.0**37)

fixed = optim.SGD(net.parameters(), lr=0.01, loss_scaling=128)
plain = optim.SGD(net.parameters())
assert (fixed.loss_scale, plain.loss_scale) == (128.0, 1.0)
for wrong in (0.0, -1.0, float("nan"), "yes", {"scale": 1.0}, {"growth_factor": 0.5}, True):
    try:
        optim.SGD(net.parameters(), loss_scaling=wrong)
        assert False, wrong
    except ValueError as error:
        print(error)
for call in (
    lambda: net.to(torch.float32),
    lambda: nn.Linear(2, 2).to(torch.int64),
    lambda: optim.SGD([{"params": net[0].parameters()}, {"params": net[4].parameters()}], loss_scaling=2.0),
):
    try:
        call()
        assert False
    except (RuntimeError, TypeError, ValueError) as error:
        print(error)

shared = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
shared[1].weight = shared[0].weight
shared.bfloat16()
assert shared[1].weight is shared[0].weight and shared[0].weight.dtype == torch.bfloat16
attention = nn.MultiheadAttention(8, 2, batch_first=True).bfloat16()
q = torch.randn(2, 5, 8).bfloat16()
for need in (True, False):
    assert attention(q, q, q, need_weights=need, is_causal=True)[0].dtype == torch.bfloat16
lstm = nn.LSTM(3, 4, batch_first=True).to(dtype=torch.bfloat16)
assert lstm(torch.randn(2, 5, 3).bfloat16())[0].dtype == torch.bfloat16
assert nn.Linear(2, 2).double()(torch.ones(1, 2).double()).dtype == torch.float64
"#,
    );
}

#[test]
fn buffers_become_of_the_type_of_the_parameters_and_a_refused_type_changes_nothing() {
    holds(
        r#"
class Positional(nn.Module):
    def __init__(self, persistent):
        super().__init__()
        self.line = nn.Linear(3, 3)
        self.register_buffer("positions", torch.arange(12).reshape(4, 3).float() / 10, persistent)
        self.register_buffer("order", torch.arange(4), persistent)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.line(x) + self.positions)

for persistent in (True, False):
    net = Positional(persistent).bfloat16()
    assert {name: b.dtype for name, b in net.named_buffers()} == {
        "positions": torch.bfloat16, "order": torch.int64, "norm.running_mean": torch.float32, "norm.running_var": torch.float32,
    }
    assert net(torch.randn(8, 4, 3).bfloat16()).dtype == torch.bfloat16
    assert ("positions" in net.state_dict()) == persistent
    assert {b.dtype for b in net.double().buffers()} == {torch.float64, torch.int64}
    assert net.norm.weight.dtype == torch.float64

# What several modules share they share afterwards; what is refused changes nothing.
table = torch.ones(3)
shared = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
for layer in shared:
    layer.register_buffer("table", table)
before = dict(shared.state_dict())
opt = optim.SGD(shared[1].parameters(), lr=0.1)
try:
    shared.half()
    assert False
except RuntimeError as error:
    assert "optimiser" in str(error)
after = shared.state_dict()
assert list(after) == list(before) and all(after[name] is before[name] for name in before)
del opt
assert shared.half()[0].table is shared[1].table and shared[0].table.dtype == torch.float16
"#,
    );
}

#[test]
fn losses_of_short_types_are_computed_in_float32() {
    holds(
        r#"
logits, classes = torch.randn(16, 5), torch.randint(0, 5, (16,)).to(torch.uint32)
targets = (torch.rand(16, 5) > 0.5).float()
for dtype in (torch.float16, torch.bfloat16):
    short = logits.to(dtype)
    log_probabilities, probabilities = F.log_softmax(short, 1), F.sigmoid(short)
    for loss, exact in (
        (F.cross_entropy(short, classes), F.cross_entropy(short.float(), classes)),
        (F.cross_entropy(short, classes, label_smoothing=0.1), F.cross_entropy(short.float(), classes, label_smoothing=0.1)),
        (F.cross_entropy(short, classes, reduction="sum"), F.cross_entropy(short.float(), classes, reduction="sum")),
        (F.nll_loss(log_probabilities, classes), F.nll_loss(log_probabilities.float(), classes)),
        (F.binary_cross_entropy(probabilities, targets), F.binary_cross_entropy(probabilities.float(), targets)),
        (F.binary_cross_entropy(probabilities, targets.to(dtype)), F.binary_cross_entropy(probabilities.float(), targets)),
    ):
        assert loss.dtype == torch.float32 and loss.tolist() == exact.tolist()
    weight = nn.Parameter(short)
    F.cross_entropy(weight, classes).backward()
    assert weight.grad.dtype == dtype
assert F.cross_entropy(logits.double(), classes).dtype == torch.float64
"#,
    );
}

#[test]
fn a_step_that_loss_scaling_skipped_does_not_end_a_training() {
    holds(
        r#"
def train_with(scaling, infinite, epochs=2):
    net = nn.Linear(data.inputs, data.outputs).half()
    calls = []

    def loss(batch):
        y = net(batch.x.flatten(1).half()).float().reshape(batch.y.shape)
        value = F.mse_loss(y, batch.y)
        if net.training:
            calls.append(None)
            if infinite(len(calls)):
                value = value * float("inf")
        return value

    opt = optim.SGD(net.parameters(), lr=1e-4, loss_scaling=scaling)
    trainyard.Trainer(epochs).fit(net, opt, loss)
    assert opt.skipped_steps == sum(map(infinite, range(1, len(calls) + 1)))
    return opt

opt = train_with("dynamic", lambda step: step in (1, 3))
assert opt.loss_scale == 2.0**14
train_with(128, lambda step: step == 2)
try:
    train_with(None, lambda step: step == 1)
    assert False
except ArithmeticError as error:
    print("without scaling:", error)
"#,
    );
}

#[test]
fn handles_are_freed_as_soon_as_nobody_holds_them() {
    let body = "import gc\ngc.disable()\nnet = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))\n\
                opt = optim.Adam(net.parameters())\nx, y = torch.randn(16, 8), torch.zeros(16, 1)\n\
                for step in range(10_000):\n    loss = F.mse_loss(net(x), y)\n    opt.minimize(loss)\n    if step % 100 == 0:\n        self.update_progress(step, 10_000, loss=loss)";
    let Some(engine) = engine() else { return };
    let source = training(body);
    let plugin = Plugin::load_named(engine, source.as_bytes(), "my_algo.py").unwrap();
    let job = Job {
        dataset: Some(weather(Task::Forecasting, &[])),
        profile: true,
        ..Job::default()
    };
    let mut runner = Runner::new(&plugin, job, |_| {}).unwrap();
    runner.train().unwrap();
    let profile = runner.profile().unwrap();
    assert!(profile.handles < 40, "{} handles", profile.handles);
    assert!(profile.guest_memory < 24 << 20, "{} bytes", profile.guest_memory);
}

/// What a `train` does, the error's code, and words of its line.
macro_rules! refused {
    ($($test:ident: $body:expr => $code:literal, $($part:literal),+;)*) => {
        $(#[test]
        fn $test() {
            let Some((outcome, _)) = train($body) else { return };
            let error = outcome.expect_err("it should have failed");
            let line = error.to_string();
            println!("{line}");
            assert_eq!(error.code(), $code, "{line}");
            assert!(!line.contains('\n') && line.len() < 3_000, "{line}");
            $(assert!(line.contains($part), "{line}");)+
            // The host is as good as new.
            assert!(train("pass").unwrap().0.is_ok());
        })*
    };
}

refused! {
    endless_recursion_is_an_exception: "def f():\n    return f()\nf()" => "algorithm", "RecursionError";
    recursion_without_its_limit_is_contained: "import sys\nsys.setrecursionlimit(10**9)\ndef f():\n    return f() + 1\nf()"
        => "guest-memory", "of its own memory";
    its_own_memory_is_bounded: "x = []\nwhile True:\n    x.append(bytearray(1 << 20))" => "algorithm", "MemoryError";
    programs_cannot_be_started: "import os\nos.system('ls')" => "algorithm", "PermissionError", "a plugin cannot start programs";
    files_cannot_be_opened: "open('/etc/passwd')" => "algorithm", "PermissionError", "a plugin has no files";
    paths_cannot_be_read: "import pathlib\npathlib.Path('/etc/passwd').read_text()" => "algorithm", "a plugin has no files";
    sockets_are_not_there: "import socket" => "algorithm", "ModuleNotFoundError", "a plugin has no network";
    native_code_is_not_there: "import ctypes" => "algorithm", "ModuleNotFoundError", "a plugin has no native code";
    threads_cannot_be_started: "import threading\nthreading.Thread(target=print).start()" => "algorithm", "can't start new thread";
    numpy_is_not_there: "import numpy" => "algorithm", "No module named 'numpy'", "use trainyard's tensors";
    leaving_is_an_exception: "import sys\nsys.exit(3)" => "algorithm", "SystemExit";
    ending_the_process_ends_the_instance_alone: "import os\nos._exit(3)" => "trap", "ended its process with code";
    a_model_of_nothing_is_told: "return None" => "algorithm", "train gave nothing", "return net";
    a_model_of_numbers_is_told: "return {'w': 1.0}" => "algorithm", "'w': float";
    a_wrong_type_for_the_host_is_an_exception: "torch.ones('three')" => "algorithm", "TypeError";
    an_exception_without_words_is_told: "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E()"
        => "algorithm", "E: <exception str() failed>";
}

#[test]
fn an_endless_loop_runs_out_of_time() {
    let limits = Limits {
        wall_time: Duration::from_millis(300),
        ..limits()
    };
    let data = weather(Task::Forecasting, &[]);
    let source = training("while True:\n    pass");
    let Some((runner, _)) = runner(source.as_bytes(), Some(data), json!({}), limits) else {
        return;
    };
    let error = runner.unwrap().train().unwrap_err();
    assert_eq!(error.code(), "timeout");
}

#[test]
fn an_exception_in_a_destructor_goes_to_the_log() {
    let body = "class Bad:\n    def __del__(self):\n        raise ValueError('late')\nBad()\nprint('still here')";
    let Some((outcome, log)) = train(body) else { return };
    assert!(outcome.is_ok(), "{:?}", outcome.err());
    let all = log.join("\n");
    assert!(all.contains("ValueError: late") && all.contains("still here"), "{all}");
}

#[test]
fn huge_prints_are_cut_and_counted() {
    let Some((outcome, log)) = train("print('x' * 5_000_000)\nfor i in range(5_000):\n    print(i)") else {
        return;
    };
    assert!(outcome.is_ok(), "{:?}", outcome.err());
    assert!(log.len() < 1_000, "{}", log.len());
    assert!(log.iter().all(|line| line.len() < 10_000));
}

#[test]
fn random_numbers_of_python_follow_from_the_seed() {
    let body = "import random\nreturn {'w': torch.tensor([random.random()])}";
    let Some((first, _)) = train(body) else { return };
    let (second, _) = train(body).unwrap();
    let value = |outcome: Result<TrainedModel, SandboxError>| outcome.unwrap().tensors[0].1.item().unwrap();
    assert_eq!(value(first), value(second));
}

// Zips

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::best());
        deflated.write_all(content).unwrap();
        let deflated = deflated.finish().unwrap();
        let mut crc = Crc::new();
        crc.update(content);
        let offset = zip.len() as u32;
        // Version, flags, method 8 (deflate), time and date, checksum, sizes, length of the name, no extra field.
        let mut head = Vec::new();
        for half in [20u16, 0, 8, 0, 0x21] {
            head.extend(half.to_le_bytes());
        }
        for word in [crc.sum(), deflated.len() as u32, content.len() as u32] {
            head.extend(word.to_le_bytes());
        }
        head.extend((name.len() as u16).to_le_bytes());
        head.extend(0u16.to_le_bytes());
        zip.extend(b"PK\x03\x04");
        zip.extend(&head);
        zip.extend(name.as_bytes());
        zip.extend(&deflated);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&head);
        // Comment, disk, attributes.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, start) = (files.len() as u16, zip.len() as u32);
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend(count.to_le_bytes());
    zip.extend(count.to_le_bytes());
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0, 0]);
    zip
}

/// Loads a zip: the plugin's name and version, or the error.
fn zip_of(files: &[(&str, &[u8])]) -> Option<Result<(String, String), SandboxError>> {
    let plugin = Plugin::load(engine()?, &zipped(files)).unwrap();
    assert_eq!(plugin.kind(), Kind::PythonZip);
    let described = plugin.describe(&Limits::default());
    Some(described.map(|description| (description.name, description.version)))
}

const PROJECT: &[u8] = b"[project]\nname = \"zipped\"\nversion = \"2.1.0\"\ndescription = \"From a zip.\"\n";
const IN_PACKAGE: &[u8] = b"from trainyard import Algorithm\nfrom .helper import answer\n\n\nclass Zipped(Algorithm):\n    tasks = ['regression']\n\n    def train(self, data):\n        return answer()\n";
const HELPER: &[u8] = b"def answer():\n    raise ValueError('in the helper')\n";

#[test]
fn a_project_with_a_package_becomes_a_plugin() {
    for root in ["", "project/", "project/src/"] {
        let top = root.strip_suffix("src/").unwrap_or(root);
        let files = [
            (format!("{top}pyproject.toml"), PROJECT),
            (format!("{root}algo/__init__.py"), IN_PACKAGE),
            (format!("{root}algo/helper.py"), HELPER),
        ];
        let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), *content)).collect();
        let Some(described) = zip_of(&files) else { return };
        assert_eq!(
            described.unwrap(),
            ("zipped".to_owned(), "2.1.0".to_owned()),
            "{root:?}"
        );
    }
}

#[test]
fn an_exception_in_a_module_of_a_zip_names_its_file() {
    let zip = zipped(&[("algo/__init__.py", IN_PACKAGE), ("algo/helper.py", HELPER)]);
    let data = weather(Task::Regression, &["temp_max"]);
    let Some((runner, _)) = runner(&zip, Some(data), json!({}), limits()) else {
        return;
    };
    let error = runner.unwrap().train().unwrap_err();
    let raised = raised(&error);
    assert_eq!((raised.file.as_deref(), raised.line), (Some("algo/helper.py"), Some(2)));
}

/// A zip that is refused, with words of the error.
fn zip_refused(files: &[(&str, &[u8])], part: &str) {
    if let Some(outcome) = zip_of(files) {
        let error = outcome.expect_err(part);
        assert_eq!(error.code(), "python-source", "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_zip_that_leads_out_of_itself_is_refused() {
    zip_refused(&[("../evil.py", HELPER)], "leads out of it");
    zip_refused(&[("/etc/evil.py", HELPER)], "leads out of it");
}

#[test]
fn a_module_that_hides_the_sdk_or_the_library_is_refused() {
    zip_refused(&[("trainyard/__init__.py", HELPER)], "is Trainyard's own");
    zip_refused(&[("json.py", HELPER)], "hides Python's own module json");
}

#[test]
fn native_code_and_empty_zips_are_refused() {
    zip_refused(&[("algo.py", HELPER), ("_fast.so", b"\x7fELF")], "native code");
    zip_refused(&[("README.md", b"hello")], "no Python modules");
    zip_refused(&[("a.py", HELPER)], "there is no algorithm");
}

#[test]
fn a_zip_bomb_is_refused_before_it_is_unpacked() {
    let zeros = vec![b'#'; 40 << 20];
    zip_refused(&[("bomb.py", &zeros)], "unpacks to more than 16 MiB");
}

#[test]
fn a_damaged_zip_is_refused() {
    let Some(engine) = engine() else { return };
    let whole = zipped(&[("algo/__init__.py", IN_PACKAGE), ("algo/helper.py", HELPER)]);
    for damaged in [&whole[..whole.len() / 2], &whole[..40]] {
        let error = Plugin::load(engine, damaged)
            .unwrap()
            .describe(&Limits::default())
            .unwrap_err();
        assert!(error.to_string().contains("the zip is damaged"), "{error}");
    }
}

// Checks

fn findings(text: &str) -> Option<Vec<(u32, String)>> {
    let plugin = Plugin::load_named(engine()?, text.as_bytes(), "my_algo.py").unwrap();
    let found = plugin.findings(&Limits::default()).unwrap();
    Some(
        found
            .into_iter()
            .map(|finding| (finding.line, finding.to_string()))
            .collect(),
    )
}

#[test]
fn a_check_finds_each_thing_with_its_line_and_remedy() {
    let source = "import numpy as np\nimport trainyard\nfrom torch import nn\n\nwith open('x') as f:\n    pass\n";
    let Some(found) = findings(source) else { return };
    let lines: Vec<u32> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 3, 5], "{found:?}");
    assert!(
        found[0]
            .1
            .starts_with("my_algo.py:1: there is no module numpy in the sandbox; use trainyard's tensors"),
        "{found:?}"
    );
    assert_eq!(findings(&training("pass")).unwrap(), []);
    let broken = findings("import trainyard\ndef f(:\n    pass\n").unwrap();
    assert!(broken[0].1.starts_with("my_algo.py:2: SyntaxError: "), "{broken:?}");
    for (source, part) in [
        (
            "import trainyard\nclass A(trainyard.Algorithm):\n    tasks = ['x']\n",
            "A.tasks is ['x']",
        ),
        (
            "import trainyard\nclass A(trainyard.Algorithm):\n    tasks = ['regression']\n",
            "A has no train",
        ),
        ("import trainyard\n", "there is no algorithm"),
        (
            "import trainyard\nclass A(trainyard.Algorithm):\n    tasks = ['regression']\n    class Parameters:\n        x = 1\n    def train(self, data): pass\n",
            "must be a dataclass",
        ),
        (
            "import trainyard, dataclasses\nclass A(trainyard.Algorithm):\n    tasks = ['regression']\n    @dataclasses.dataclass\n    class Parameters:\n        x: dict = None\n    def train(self, data): pass\n",
            "a parameter cannot be a dict",
        ),
    ] {
        let found = findings(source).unwrap();
        assert!(found.len() == 1 && found[0].1.contains(part), "{found:?}");
    }
}

#[test]
fn without_an_engine_python_is_refused_with_a_remedy() {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let error = Plugin::load(&engine, b"import trainyard\n").err().unwrap();
    assert_eq!(error.code(), "no-python-engine");
    assert!(error.to_string().contains("cargo xtask engine"), "{error}");
}

//! Writing, building, checking and inspecting plugins.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{have_plugins, refusal, result, text, trainyard, weather};
use serde_json::Value;

fn inspection(plugin: &str) -> Value {
    let output = trainyard(&["plugin", "inspect", plugin, "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_librarys_plugins_are_small_and_import_nothing_of_wasi() {
    if !have_plugins() {
        return;
    }
    for name in ["dlinear", "mlp", "ridge"] {
        let inspection = inspection(name);
        assert_eq!(inspection["description"]["name"], name);
        assert_eq!(inspection["wasi"].as_array().unwrap().len(), 0, "{name}");
        assert_eq!(inspection["problems"].as_array().unwrap().len(), 0, "{name}");
        let size = inspection["size"].as_u64().unwrap();
        assert!(size <= 100 << 10, "{name} has {size} bytes");
    }
    let output = trainyard(&["plugin", "inspect", "dlinear"]);
    let shown = text(&output.stdout);
    for part in ["dlinear", "forecasting", "learning_rate", "batch_size", "mse"] {
        assert!(shown.contains(part), "`{part}` is not in: {shown}");
    }
    let output = trainyard(&["plugin", "list"]);
    assert_eq!(text(&output.stdout).lines().count(), 3, "{}", text(&output.stdout));
    assert!(trainyard(&["plugin", "check", "ridge"]).status.success());
}

#[test]
fn a_new_plugin_builds_and_trains_at_once() {
    if !have_plugins() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my-algo");
    let output = trainyard(&["plugin", "new", "my-algo", "--path", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = trainyard(&["plugin", "build", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let file = path.join("my-algo.wasm");
    assert_eq!(inspection(file.to_str().unwrap())["description"]["name"], "my-algo");
    let (data, out) = (weather(), folder.path().join("model"));
    let outcome = result(&[
        "run",
        file.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--target",
        "temp_max",
        "--lookback",
        "30",
        "--horizon",
        "7",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(
        outcome["metrics"].as_object().unwrap().values().all(Value::is_number),
        "{outcome}"
    );
    let (code, error) = refusal(&["plugin", "new", "my-algo", "--path", path.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(error.contains("not empty"), "{error}");
    let (code, error) = refusal(&["plugin", "new", "My Algo"]);
    assert_eq!(code, 2);
    assert!(error.contains("lower-case letters"), "{error}");
}

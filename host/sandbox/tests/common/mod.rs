//! What the tests share: an engine, the guests that were built for them, and modules made of text.

#![allow(dead_code, reason = "every test file uses some of it")]

use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use trainyard_sandbox::{Engine, EngineOptions, Event, Job, Limits, Plugin, Runner, SandboxError, TrainedModel};

/// One engine for all tests of a process.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        Engine::new(EngineOptions {
            quick: true,
            ..EngineOptions::default()
        })
        .unwrap()
    })
}

/// The file of a guest; `None`, with a word on it, where the guests have not been built.
pub fn guest_file(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TRAINYARD_GUESTS") else {
        eprintln!("skipped: TRAINYARD_GUESTS is not set (run `cargo xtask test`)");
        return None;
    };
    Some(PathBuf::from(folder).join(format!("{name}.wasm")))
}

/// A guest, compiled once for all tests of a process.
pub fn guest(name: &'static str) -> Option<Plugin> {
    static LOADED: Mutex<Vec<(&str, Plugin)>> = Mutex::new(Vec::new());
    let file = guest_file(name)?;
    let mut loaded = LOADED.lock().unwrap();
    if let Some((_, plugin)) = loaded.iter().find(|(loaded, _)| *loaded == name) {
        return Some(plugin.clone());
    }
    let plugin = Plugin::open(engine(), file).unwrap();
    loaded.push((name, plugin.clone()));
    Some(plugin)
}

/// Limits that a test reaches quickly.
pub fn small() -> Limits {
    Limits {
        guest_memory: 32 << 20,
        tensor_memory: 256 << 20,
        handles: 20_000,
        wall_time: Duration::from_secs(60),
        checkpoint_bytes: 64 << 20,
        ..Limits::default()
    }
}

/// Events, as they came.
pub type Events = Arc<Mutex<Vec<Event>>>;

/// A job of the hostile guest in one of its modes.
pub fn hostile(mode: &str, limits: Limits) -> Option<(Runner, Events)> {
    let plugin = guest("hostile")?;
    let events = Events::default();
    let sink = events.clone();
    let job = Job {
        parameters: json!({ "mode": mode }),
        limits,
        ..Job::default()
    };
    let runner = Runner::new(&plugin, job, move |event| sink.lock().unwrap().push(event)).unwrap();
    Some((runner, events))
}

/// Trains the hostile guest in one of its modes, and then in a proper way: the host must be as good as new.
pub fn train_hostile(mode: &str, limits: Limits) -> Option<(Result<TrainedModel, SandboxError>, Events)> {
    let (mut runner, events) = hostile(mode, limits)?;
    let outcome = runner.train();
    let (mut runner, _) = hostile("fine", small())?;
    let model = runner.train().unwrap();
    let (name, weight) = &model.tensors[0];
    assert_eq!(name, "w");
    assert!((weight.item().unwrap() - 0.8).abs() < 1e-6);
    Some((outcome, events))
}

/// A core module from text, with the types of the contract embedded as the SDK does.
pub fn module(text: &str) -> Vec<u8> {
    with_world(text, include_contract())
}

/// A core module from text, with the types of a world that is given as text.
pub fn module_of(text: &str, wit: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_source("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    with_world(text, (resolve, world))
}

fn include_contract() -> (wit_parser::Resolve, wit_parser::WorldId) {
    let mut resolve = wit_parser::Resolve::default();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let (package, _) = resolve.push_dir(folder).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    (resolve, world)
}

fn with_world(text: &str, (resolve, world): (wit_parser::Resolve, wit_parser::WorldId)) -> Vec<u8> {
    let mut bytes = wat::parse_str(text).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, encoding).unwrap();
    bytes
}

/// The exports that every plugin has, of which only `describe` does anything: it runs `code` and describes a plugin
/// called `text`.
pub fn describing(code: &str, extra: &str) -> String {
    format!(
        r#"(module
            {extra}
            (memory (export "memory") 1)
            (data (i32.const 16) "text")
            (data (i32.const 32) "1.0.0")
            (data (i32.const 48) "regression")
            (data (i32.const 64) "\10\00\00\00\04\00\00\00" "\20\00\00\00\05\00\00\00" "\10\00\00\00\04\00\00\00"
                "\80\00\00\00\01\00\00\00" "\90\00\00\00\21\00\00\00" "\00\00\00\00\00\00\00\00")
            (data (i32.const 128) "\30\00\00\00\0a\00\00\00")
            (data (i32.const 144) "{{\"type\":\"object\",\"properties\":{{}}}}")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "trainyard:plugin/algorithm@0.1.0#describe") (result i32)
                {code}
                (i32.const 64))
            (func (export "trainyard:plugin/algorithm@0.1.0#train") (param i32 i32) (result i32) unreachable)
            (func (export "trainyard:plugin/algorithm@0.1.0#evaluate") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)
            (func (export "trainyard:plugin/algorithm@0.1.0#predict") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)
        )"#
    )
}

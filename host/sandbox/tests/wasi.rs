//! Plugins from languages that need WASI find all of it there, and nothing in it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{describing, engine};
use std::time::{Duration, Instant};
use trainyard_sandbox::{Inspection, Kind, Limits, Plugin};

/// As much of WASI as these tests call.
const WASI: &str = r#"
    package test:wasi;
    world wasi {
        include trainyard:plugin/plugin@0.1.0;
        import wasi:cli/environment@0.2.0;
        import wasi:cli/exit@0.2.0;
        import wasi:cli/stderr@0.2.0;
        import wasi:clocks/monotonic-clock@0.2.0;
        import wasi:clocks/wall-clock@0.2.0;
        import wasi:filesystem/preopens@0.2.0;
        import wasi:random/random@0.2.0;
    }
    package wasi:io@0.2.0 {
        interface error { resource error; }
        interface poll { resource pollable { block: func(); } }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
        }
    }
    package wasi:cli@0.2.0 {
        interface environment {
            get-environment: func() -> list<tuple<string, string>>;
            get-arguments: func() -> list<string>;
        }
        interface exit { exit: func(status: result); }
        interface stderr { use wasi:io/streams@0.2.0.{output-stream}; get-stderr: func() -> output-stream; }
    }
    package wasi:clocks@0.2.0 {
        interface monotonic-clock {
            use wasi:io/poll@0.2.0.{pollable};
            now: func() -> u64;
            subscribe-duration: func(when: u64) -> pollable;
        }
        interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
    }
    package wasi:filesystem@0.2.0 {
        interface types { resource descriptor; }
        interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }
    }
    package wasi:random@0.2.0 {
        interface random { get-random-bytes: func(len: u64) -> list<u8>; }
    }
"#;

const IMPORTS: &str = r#"
    (import "wasi:cli/environment@0.2.0" "get-environment" (func $environment (param i32)))
    (import "wasi:cli/environment@0.2.0" "get-arguments" (func $arguments (param i32)))
    (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
    (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
    (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))
    (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $ticks (result i64)))
    (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $wait (param i64) (result i32)))
    (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:clocks/wall-clock@0.2.0" "now" (func $time (param i32)))
    (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
    (import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
"#;

/// A component whose `describe` runs some code first.
fn component(code: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_dir(folder).unwrap();
    let package = resolve.push_source("wasi.wit", WASI).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = wat::parse_str(describing(code, IMPORTS)).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    let mut encoder = wit_component::ComponentEncoder::default().module(&module).unwrap();
    encoder.encode().unwrap()
}

fn describe(code: &str) -> Result<(), trainyard_sandbox::SandboxError> {
    let plugin = Plugin::load(engine(), &component(code))?;
    plugin.describe(&Limits::default()).map(drop)
}

/// Calls a function that gives a list, and crashes unless the list is empty.
fn gives_nothing(function: &str) -> String {
    format!("(call {function} (i32.const 2048)) (if (i32.load (i32.const 2052)) (then unreachable))")
}

#[test]
fn nothing_is_given_away() {
    let code = ["$environment", "$arguments", "$directories"]
        .map(gives_nothing)
        .concat();
    describe(&code).unwrap();
}

#[test]
fn an_inspection_lists_what_is_imported() {
    let inspection = Inspection::of(&component("")).unwrap();
    assert_eq!(inspection.kind, Kind::Component);
    assert_eq!(inspection.problems, [], "{inspection}");
    assert!(inspection.wasi.contains(&"wasi:cli/environment@0.2.0".to_owned()));
    assert!(inspection.to_string().contains("all empty: no files, no network"));
}

#[test]
fn the_clocks_stand_still() {
    describe(
        "(if (i64.ne (call $ticks) (i64.const 0)) (then unreachable))
        (call $time (i32.const 2048))
        (if (i64.ne (i64.load (i32.const 2048)) (i64.const 946684800)) (then unreachable))",
    )
    .unwrap();
}

#[test]
fn a_wait_of_a_century_ends_at_once() {
    let started = Instant::now();
    describe("(call $block (call $wait (i64.const 3155760000000000000)))").unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn random_bytes_are_the_same_in_every_run() {
    // The name becomes four letters that follow from four random bytes.
    let code = "(call $random (i64.const 4) (i32.const 2048))
        (i32.store (i32.const 16) (i32.add
            (i32.and (i32.load (i32.load (i32.const 2048))) (i32.const 0x0f0f0f0f))
            (i32.const 0x61616161)))";
    let name = || {
        let plugin = Plugin::load(engine(), &component(code)).unwrap();
        plugin.describe(&Limits::default()).unwrap().name
    };
    assert_ne!(name(), "text");
    assert_eq!(name(), name());
}

#[test]
fn what_it_writes_is_its_last_words() {
    let write = r#"(call $write (call $stderr) (i32.const 48) (i32.const 10) (i32.const 2048)) unreachable"#;
    let error = describe(write).unwrap_err();
    assert_eq!(error.code(), "trap");
    assert!(error.to_string().contains("panic: regression"), "{error}");
    assert_eq!(error.last_log(), ["regression"]);
}

#[test]
fn an_exit_is_a_crash() {
    let error = describe("(call $exit (i32.const 1))").unwrap_err();
    assert_eq!(error.code(), "trap");
    assert!(
        error.to_string().contains("it ended its process with code 1"),
        "{error}"
    );
}

#[test]
fn a_great_many_random_bytes_are_refused() {
    let error = describe("(call $random (i64.const 1000000000) (i32.const 2048))").unwrap_err();
    assert_eq!(error.code(), "trap", "{error}");
}

//! What can be loaded, and how whatever cannot is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{describing, engine, module, module_of};
use trainyard_sandbox::{Cache, Engine, EngineOptions, Inspection, Kind, Limits, Origin, Plugin, SandboxError};

/// Loads what must be refused; its code and line.
fn refused(content: &[u8]) -> (String, &'static str) {
    let error = match Plugin::load(engine(), content) {
        Ok(plugin) => plugin
            .describe(&Limits::default())
            .expect_err("it should have been refused"),
        Err(error) => error,
    };
    let line = error.to_string();
    println!("{line}");
    assert!(!line.contains('\n') && line.len() < 3_000, "{line}");
    (line, error.code())
}

fn assert_refused(content: &[u8], code: &str, parts: &[&str]) {
    let (line, found) = refused(content);
    assert_eq!(found, code, "{line}");
    for part in parts {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn a_module_of_text_is_a_plugin() {
    let plugin = Plugin::load(engine(), &module(&describing("", ""))).unwrap();
    assert_eq!(plugin.kind(), Kind::Module);
    let description = plugin.describe(&Limits::default()).unwrap();
    assert_eq!(description.name, "text");
    assert_eq!(description.tasks, ["regression"]);
}

/// Machine code of a plugin, in a file as a worker keeps it.
fn code_file(content: &[u8]) -> (String, std::fs::File) {
    let (plugin, code) = Plugin::compile(engine(), content).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &code).unwrap();
    (plugin.digest().to_owned(), file)
}

#[test]
fn code_that_was_compiled_elsewhere_runs_from_its_file() {
    use std::io::Seek;
    let (digest, mut file) = code_file(&module(&describing("", "")));
    file.rewind().unwrap();
    assert!(trainyard_sandbox::is_whole(&file, &digest).unwrap());
    // SAFETY: the compiler has just written it, and nobody else knows it.
    let plugin = unsafe { Plugin::from_code(engine(), &digest, &file) }.unwrap();
    assert_eq!(plugin.digest(), digest);
    assert_eq!(*plugin.origin(), Origin::Given);
    for _ in 0..2 {
        assert_eq!(plugin.describe(&Limits::default()).unwrap().name, "text");
    }
    let again = plugin.clone();
    drop(plugin);
    again.describe(&Limits::default()).unwrap();
}

#[test]
fn code_of_another_plugin_and_damaged_code_are_refused() {
    use std::io::{Seek, Write};
    let (digest, mut file) = code_file(&module(&describing("", "")));
    let refused = |digest: &str, file: &std::fs::File| {
        // SAFETY: what is not the compiler's is refused before it is run; that is what is tested.
        let error = unsafe { Plugin::from_code(engine(), digest, file) }.err().unwrap();
        assert_eq!(error.code(), "code", "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    };
    refused(&"0".repeat(64), &file);

    file.rewind().unwrap();
    file.write_all(b"no ELF").unwrap();
    file.rewind().unwrap();
    assert!(!trainyard_sandbox::is_whole(&file, &digest).unwrap());
    for length in [0, 79, 80, 200] {
        file.set_len(length).unwrap();
        refused(&digest, &file);
    }
}

#[test]
fn an_inspection_says_what_fits() {
    let inspection = Inspection::of(&module(&describing("", ""))).unwrap();
    assert_eq!(inspection.problems, []);
    assert_eq!(inspection.contract.as_deref(), Some("0.1.0"));
    assert!(inspection.wasi.is_empty());
    assert!(inspection.exports.iter().any(|e| e.functions.len() == 4 && e.fits));
    let text = inspection.to_string();
    assert!(
        text.contains("fits      yes") && text.contains("wasi      none"),
        "{text}"
    );
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["kind"], "module");
}

#[test]
fn guests_import_nothing_of_wasi_and_fit() {
    for name in ["plain", "hostile"] {
        let Some(file) = common::guest_file(name) else {
            return;
        };
        let inspection = Inspection::of_file(engine(), file).unwrap();
        assert_eq!(inspection.problems, [], "{inspection}");
        assert!(inspection.wasi.is_empty());
        assert_eq!(inspection.description.unwrap().name, name);
    }
}

#[test]
fn a_file_that_is_no_plugin_is_named_for_what_it_is() {
    assert_refused(b"", "not-a-plugin", &["the file is empty"]);
    assert_refused(b"\x7fELF\x02\x01", "not-a-plugin", &["native program", "plugin build"]);
    assert_refused(
        b"import numpy as np\n",
        "no-python-engine",
        &["python-engine.wasm", "cargo xtask engine"],
    );
    let error = Plugin::open(engine(), env!("CARGO_MANIFEST_DIR")).err().unwrap();
    assert!(error.to_string().contains("is a folder"), "{error}");
    let error = Plugin::open(engine(), "no/such/file.wasm").err().unwrap();
    assert_eq!(error.code(), "io");
    assert!(error.to_string().contains("no/such/file.wasm"), "{error}");
}

#[test]
fn a_module_that_was_not_built_with_the_sdk_is_refused() {
    let plain = wat::parse_str(r#"(module (import "env" "f" (func)))"#).unwrap();
    assert_refused(&plain, "not-a-plugin", &["not built with the SDK", "imports env.f"]);
    let preview1 = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))"#,
    )
    .unwrap();
    assert_refused(&preview1, "not-a-plugin", &["WASI preview 1", "wasm32-unknown-unknown"]);
}

#[test]
fn a_damaged_file_is_refused_wherever_it_is_cut() {
    let whole = module(&describing("", ""));
    for cut in (8..whole.len()).step_by(37) {
        let Err(error) = Plugin::load(engine(), &whole[..cut]) else {
            panic!("cut at {cut}");
        };
        let code = error.code();
        assert!(code == "not-a-plugin" || code == "contract-mismatch", "{error}");
    }
    let mut component = wit_component::ComponentEncoder::default().module(&whole).unwrap();
    let component = component.encode().unwrap();
    assert!(Plugin::load(engine(), &component).is_ok());
    for cut in (8..component.len()).step_by(61) {
        assert!(Plugin::load(engine(), &component[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_file_with_flipped_bytes_never_harms_the_host() {
    let whole = module(&describing("", ""));
    let limits = Limits {
        describe_time: std::time::Duration::from_millis(300),
        guest_memory: 16 << 20,
        ..Limits::default()
    };
    for place in (8..whole.len()).step_by(11) {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x55;
        // Some still are plugins.
        let described = Plugin::load(engine(), &flipped).and_then(|p| p.describe(&limits));
        if let Err(error) = described {
            assert_ne!(error.code(), "host-panic", "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}

#[test]
fn a_missing_export_is_named() {
    let whole = describing("", "");
    let without = whole.replace("algorithm@0.1.0#predict", "algorithm@0.1.0#foretell");
    let (line, code) = refused(&module(&without));
    assert_eq!(code, "contract-mismatch");
    assert!(line.contains("predict"), "{line}");

    let nothing = wat::parse_str("(component)").unwrap();
    assert_refused(
        &nothing,
        "contract-mismatch",
        &["does not export the interface trainyard:plugin/algorithm@0.1.0"],
    );
}

/// A world that imports one function of the contract in some form.
fn importing(interface: &str, version: &str, items: &str, name: &str, ty: &str) -> Vec<u8> {
    let wit = format!(
        "package trainyard:plugin@{version};
        interface {interface} {{ {items} }}
        interface algorithm {{ describe: func() -> string; }}
        world plugin {{ import {interface}; export algorithm; }}"
    );
    let text = format!(
        r#"(module
            (import "trainyard:plugin/{interface}@{version}" "{name}" (func {ty}))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "trainyard:plugin/algorithm@{version}#describe") (result i32) unreachable))"#
    );
    module_of(&text, &wit)
}

fn problems(content: &[u8]) -> Vec<String> {
    let inspection = Inspection::of(content).unwrap();
    inspection.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn an_import_with_another_signature_shows_both() {
    let content = importing("run", "0.1.0", "seed: func() -> u64;", "seed", "(result i64)");
    let inspection = Inspection::of(&content).unwrap();
    let problem = &inspection.problems[0];
    assert_eq!(problem.interface, "trainyard:plugin/run@0.1.0");
    assert_eq!(problem.item.as_deref(), Some("seed"));
    assert_eq!(problem.expected.as_deref(), Some("seed: func() -> u32"));
    assert_eq!(problem.found.as_deref(), Some("seed: func() -> u64"));
    assert!(problem.remedy.contains("version 0.1 of the SDK"), "{problem}");
    assert_refused(
        &content,
        "contract-mismatch",
        &["expected `seed: func() -> u32`, found `seed: func() -> u64`"],
    );
}

#[test]
fn an_import_that_the_host_lacks_is_named_with_the_remedy() {
    let content = importing("run", "0.1.0", "dance: func();", "dance", "");
    assert!(
        problems(&content)[0].contains("it imports `dance`, which trainyard:plugin/run@0.1.0 lacks in this host"),
        "{:?}",
        problems(&content)
    );
    // The same in a later version of the same line: an upgrade would help.
    let content = importing("run", "0.1.5", "dance: func();", "dance", "");
    let line = &problems(&content)[0];
    assert!(
        line.contains("dance") && line.contains("upgrade the host, or build"),
        "{line}"
    );
    let content = importing("program", "0.1.0", "replay: func();", "replay", "");
    let line = &problems(&content)[0];
    assert!(
        line.contains("it imports the interface trainyard:plugin/program@0.1.0, which this host lacks"),
        "{line}"
    );
}

#[test]
fn a_newer_contract_says_which_way_to_go() {
    let content = importing("run", "0.2.0", "seed: func() -> u32;", "seed", "(result i32)");
    let inspection = Inspection::of(&content).unwrap();
    assert_eq!(inspection.contract.as_deref(), Some("0.2.0"));
    assert_refused(
        &content,
        "contract-mismatch",
        &[
            "needs version 0.2.0 of the contract and this host speaks 0.1",
            "upgrade the host, or build",
        ],
    );
}

#[test]
fn another_type_under_the_same_name_shows_both() {
    let content = importing(
        "run",
        "0.1.0",
        "record metric { name: string, value: f32 } seed: func() -> u32; progress: func(m: metric);",
        "progress",
        "(param i32 i32 f32)",
    );
    let line = problems(&content).join("\n");
    assert!(
        line.contains("the type `metric`")
            && line.contains("expected `record metric { name: string, value: f64 }`, found `record metric { name: string, value: f32 }`"),
        "{line}"
    );
}

#[test]
fn an_import_from_elsewhere_is_refused() {
    let component = wat::parse_str(
        r#"(component (import "wasi:http/types@0.2.0" (instance)) (import "evil:rootkit/install" (instance)))"#,
    )
    .unwrap();
    let lines = problems(&component).join("\n");
    assert!(
        lines.contains("wasi:http/types@0.2.0, which no host") && lines.contains("evil:rootkit"),
        "{lines}"
    );
}

#[test]
fn code_that_runs_at_instantiation_is_bounded() {
    let extra = "(func $loop (loop br 0)) (start $loop)";
    let plugin = Plugin::load(engine(), &module(&describing("", extra))).unwrap();
    let limits = Limits {
        describe_time: std::time::Duration::from_millis(200),
        ..Limits::default()
    };
    let error = plugin.describe(&limits).unwrap_err();
    assert_eq!(error.code(), "timeout", "{error}");
}

#[test]
fn a_table_cannot_eat_the_hosts_memory() {
    let extra = "(table $t 1 funcref)";
    let code = "(loop (drop (table.grow $t (ref.null func) (i32.const 1000000))) (br_if 0 (i32.lt_u (table.size $t) (i32.const 400000000))) ) unreachable";
    let plugin = Plugin::load(engine(), &module(&describing(code, extra))).unwrap();
    let limits = Limits {
        describe_time: std::time::Duration::from_millis(500),
        ..Limits::default()
    };
    let error = plugin.describe(&limits).unwrap_err();
    // A refused growth gives -1, and it tries for ever.
    assert_eq!(error.code(), "timeout", "{error}");
    let code = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 100000000)) (i32.const -1)) (then unreachable))";
    let plugin = Plugin::load(engine(), &module(&describing(code, extra))).unwrap();
    let error = plugin.describe(&Limits::default()).unwrap_err();
    assert_eq!(error.code(), "guest-memory", "{error}");
}

#[test]
fn a_memory_that_starts_too_large_is_refused() {
    let content = describing("", "").replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 8192)");
    let plugin = Plugin::load(engine(), &module(&content)).unwrap();
    let error = plugin.describe(&Limits::default()).unwrap_err();
    assert_eq!(error.code(), "guest-memory", "{error}");
    assert!(error.to_string().contains("it asked for 512 MiB"), "{error}");
}

#[test]
fn a_description_that_lies_about_its_length_is_refused() {
    // A summary at a place, of a length; then a list of tasks.
    for (place, start, length, code) in [
        (80, 16, -1, "trap"),
        (80, 4096, 60_000, "invalid-description"),
        (80, 65_000, 1_000, "trap"),
        (88, 128, 100_000_000, "trap"),
        (88, 4096, 4_000, "invalid-description"),
    ] {
        let write = format!(
            "(i64.store (i32.const {place}) (i64.const {}))",
            i64::from(length) << 32 | start
        );
        let plugin = Plugin::load(engine(), &module(&describing(&write, ""))).unwrap();
        let error = plugin.describe(&Limits::default()).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().len() < 500, "{error}");
    }
}

fn cached() -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().join("code")).unwrap();
    let engine = Engine::new(EngineOptions {
        cache: Some(cache),
        quick: true,
        ..EngineOptions::default()
    })
    .unwrap();
    (folder, engine)
}

#[test]
fn a_compiled_plugin_is_kept_and_a_damaged_entry_is_rebuilt() {
    let (folder, engine) = cached();
    let content = module(&describing("", ""));
    let load = || Plugin::load(&engine, &content).unwrap();
    assert_eq!(*load().origin(), Origin::Compiled);
    assert_eq!(*load().origin(), Origin::Cached);
    assert_eq!(load().describe(&Limits::default()).unwrap().name, "text");

    let entries: Vec<_> = std::fs::read_dir(folder.path().join("code"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(entries.len(), 1);
    let whole = std::fs::read(&entries[0]).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], b"", b"\x7fELF rubbish"] {
        std::fs::write(&entries[0], damaged).unwrap();
        assert_eq!(*load().origin(), Origin::Compiled);
        assert_eq!(*load().origin(), Origin::Cached);
    }
}

#[test]
fn an_entry_of_other_settings_is_not_used() {
    let (folder, engine) = cached();
    let content = module(&describing("", ""));
    Plugin::load(&engine, &content).unwrap();
    let other = Engine::new(EngineOptions {
        cache: Some(Cache::open(folder.path().join("code")).unwrap()),
        quick: false,
        ..EngineOptions::default()
    })
    .unwrap();
    assert_eq!(*Plugin::load(&other, &content).unwrap().origin(), Origin::Compiled);
}

#[test]
fn a_cache_that_cannot_be_written_costs_only_time() {
    let (folder, engine) = cached();
    std::fs::remove_dir_all(folder.path().join("code")).unwrap();
    let plugin = Plugin::load(&engine, &module(&describing("", ""))).unwrap();
    assert!(matches!(plugin.origin(), Origin::NotKept(_)));
}

#[test]
fn many_processes_may_share_a_cache() {
    let (_folder, engine) = cached();
    let content = module(&describing("", ""));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let plugin = Plugin::load(&engine, &content).unwrap();
                assert_eq!(plugin.describe(&Limits::default()).unwrap().name, "text");
            });
        }
    });
}

#[test]
fn errors_have_codes_that_can_be_relied_on() {
    let error: SandboxError = Plugin::load(engine(), b"x").err().unwrap();
    assert_eq!(error.code(), "not-a-plugin");
}

#[test]
fn packages_in_a_circle_do_not_take_the_host_down() {
    // The encoder of modules, and every reader of WIT, would recurse over these without end.
    let component = wat::parse_str(
        r#"(component
            (import "a:a/x" (instance $x (type $t (record (field "f" u8))) (export "t" (type (eq $t)))))
            (alias export $x "t" (type $t))
            (import "b:b/y" (instance $y (alias outer 1 $t (type $t)) (export "t" (type $t' (eq $t)))
                (type $u (record (field "f" $t'))) (export "u" (type (eq $u)))))
            (alias export $y "u" (type $u))
            (import "a:a/z" (instance (alias outer 1 $u (type $u)) (export "u" (type (eq $u))))))"#,
    )
    .unwrap();
    assert_refused(&component, "contract-mismatch", &["a:a/x"]);

    let world = r#"(component
        (type $w (component (type (component
            (import "a:a/x" (instance $x (type $t (record (field "f" u8))) (export "t" (type (eq $t)))))
            (alias export $x "t" (type $t))
            (import "b:b/y" (instance $y (alias outer 1 $t (type $t)) (export "t" (type $t' (eq $t)))
                (type $u (record (field "f" $t'))) (export "u" (type (eq $u)))))
            (alias export $y "u" (type $u))
            (import "a:a/z" (instance (alias outer 1 $u (type $u)) (export "u" (type (eq $u)))))))
            (export "me:me/world" (component (type 0)))))
        (export "world" (type $w)))"#;
    let world = wat::parse_str(world).unwrap();
    let mut module = wat::parse_str("(module)").unwrap();
    let name = b"component-type";
    module.push(0);
    let length = 1 + name.len() + world.len();
    module.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
    module.push(name.len() as u8);
    module.extend(name);
    module.extend(world);
    assert_refused(
        &module,
        "contract-mismatch",
        &["interfaces of one package", "b:b/y besides a:a"],
    );
}

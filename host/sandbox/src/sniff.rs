//! What a file is, told by its first bytes, so that a wrong upload is refused in words that help.

use crate::error::SandboxError;
use crate::load::damaged;

/// The forms of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A WebAssembly component.
    Component,
    /// A core WebAssembly module that carries the contract's types: it becomes a component when it is loaded.
    Module,
    /// A file of Python source, which runs on the Python engine.
    Python,
    /// A zip of Python modules and packages, which runs on the Python engine.
    PythonZip,
}

impl Kind {
    /// Whether it is source that the Python engine runs.
    pub fn is_python(self) -> bool {
        matches!(self, Kind::Python | Kind::PythonZip)
    }

    /// The ending of such a file's name, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Kind::Component | Kind::Module => "wasm",
            Kind::Python => "py",
            Kind::PythonZip => "zip",
        }
    }

    /// Told by a file's content, without a look at whether it is whole.
    pub fn of(content: &[u8]) -> Result<Self, SandboxError> {
        sniff(content)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Component => "WebAssembly component",
            Kind::Module => "WebAssembly module (wrapped as a component)",
            Kind::Python => "Python source",
            Kind::PythonZip => "zip of Python source",
        })
    }
}

const BUILD: &str = "build a plugin with `trainyard plugin build`";

/// Tells a component from a module, and anything else by name.
pub(crate) fn sniff(bytes: &[u8]) -> Result<Kind, SandboxError> {
    match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => return Ok(Kind::Module),
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(Kind::Component),
        [b'P', b'K', 3, 4, ..] => return Ok(Kind::PythonZip),
        _ if is_python(bytes) => return Ok(Kind::Python),
        _ => {}
    }
    let (found, remedy) = describe(bytes);
    Err(SandboxError::NotAPlugin {
        found: found.to_owned(),
        remedy: remedy.to_owned(),
    })
}

/// Whether a text looks like Python and like nothing else that is often taken for a plugin.
fn is_python(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(64 << 10)]);
    if bytes.contains(&0) || head.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        return false;
    }
    let starts = |line: &str, starts: &[&str]| starts.iter().any(|start| line.starts_with(start));
    !head.lines().any(|line| starts(line, &RUST))
        && head.lines().any(|line| {
            starts(
                line,
                &["import ", "from ", "def ", "class ", "@", "#!/usr/bin/env python"],
            )
        })
}

const RUST: [&str; 7] = ["use ", "fn ", "pub fn ", "impl ", "#[", "#![", "mod "];

fn describe(bytes: &[u8]) -> (&'static str, &'static str) {
    let starts = |start: &[u8]| bytes.starts_with(start);
    if bytes.is_empty() {
        return ("the file is empty", BUILD);
    }
    if starts(b"\0asm") {
        return (
            "it is WebAssembly of a version that this host does not know",
            "build it with a current compiler for WebAssembly 1.0 or as a component",
        );
    }
    if starts(b"\x7fELF") {
        return if bytes.windows(16).any(|at| at == b".wasmtime.engine") {
            (
                "it is machine code that wasmtime compiled, which could do anything",
                "give the .wasm file that it was compiled from",
            )
        } else {
            ("it is a native program or library for Linux (ELF)", BUILD)
        };
    }
    if starts(b"MZ") {
        return ("it is a native program or library for Windows", BUILD);
    }
    if starts(b"\xcf\xfa\xed\xfe") || starts(b"\xca\xfe\xba\xbe") {
        return ("it is a native program or library for macOS, or a Java class", BUILD);
    }
    for (start, found) in [
        (&b"\x1f\x8b"[..], "it is compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "it is compressed with zstd"),
        (b"BZh", "it is compressed with bzip2"),
        (b"\xfd7zXZ", "it is compressed with xz"),
    ] {
        if starts(start) {
            return (found, "unpack it, and give the .wasm file inside");
        }
    }
    if starts(b"PAR1") {
        return ("it is a Parquet file, which is data", "give it with --data");
    }
    if starts(b"BC\xc0\xde") {
        return ("it is LLVM bitcode", "link it to a .wasm file");
    }
    if starts(b"!<arch>\n") {
        return (
            "it is a static library",
            "build the crate with crate-type = [\"cdylib\"]",
        );
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    let text = head.trim_start_matches('\u{feff}').trim_start();
    if text.contains('\u{fffd}') || text.contains('\0') {
        return ("it is not WebAssembly", BUILD);
    }
    if text.starts_with("(module") || text.starts_with("(component") || text.starts_with(";;") {
        return (
            "it is WebAssembly as text",
            "assemble it with `wasm-tools parse`, and give the .wasm file",
        );
    }
    if text.starts_with("version https://git-lfs") {
        return ("it is a pointer of Git LFS", "fetch the file with `git lfs pull`");
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        return (
            "it is a web page, perhaps an error that was saved as the file",
            "download the file again",
        );
    }
    let line_starts = |starts: &[&str]| {
        text.lines()
            .any(|line| starts.iter().any(|start| line.starts_with(start)))
    };
    if line_starts(&RUST) {
        return ("it is Rust source", BUILD);
    }
    if line_starts(&["[package]", "[dependencies]"]) {
        return ("it is a Cargo.toml", "give the .wasm file that its crate builds");
    }
    if text.starts_with('{') || text.starts_with('[') {
        return ("it is JSON", BUILD);
    }
    ("it is text, not WebAssembly", BUILD)
}

/// What a core module offers and needs, as far as it decides whether it can become a component.
#[derive(Debug, Default)]
pub(crate) struct Module<'a> {
    /// The types of its world, in one or more parts.
    pub worlds: Vec<&'a [u8]>,
    /// What it imports, by module and name.
    pub imports: Vec<(&'a str, &'a str)>,
}

/// Reads the sections of a core module that matter here; does not validate it.
pub(crate) fn module(bytes: &[u8]) -> Result<Module<'_>, SandboxError> {
    let read = || {
        let mut module = Module::default();
        for payload in wasmparser::Parser::new(0).parse_all(bytes) {
            match payload? {
                wasmparser::Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                    module.worlds.push(section.data());
                }
                wasmparser::Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        module.imports.push((import.module, import.name));
                    }
                }
                _ => {}
            }
        }
        Ok(module)
    };
    read().map_err(|error| damaged(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_is_called_by_its_name() {
        for (bytes, found) in [
            (&b""[..], "empty"),
            (b"\x7fELF\x02\x01\x01", "native program or library for Linux"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"MZ\x90", "Windows"),
            (b"PAR1", "--data"),
            (b"  (module)", "wasm-tools parse"),
            (b"<!DOCTYPE html><title>404</title>", "web page"),
            (b"use trainyard_sdk::*;\n", "Rust source"),
            (b"{\"a\": 1}", "JSON"),
            (b"hello", "text, not WebAssembly"),
            (b"\0asm\x02\0\0\0", "version that this host does not know"),
            (b"\xff\xfe\x00\x01", "not WebAssembly"),
        ] {
            let error = sniff(bytes).unwrap_err();
            assert!(error.to_string().contains(found), "{error}");
            assert_eq!(error.code(), "not-a-plugin");
        }
        assert_eq!(sniff(b"\0asm\x01\0\0\0").unwrap(), Kind::Module);
        assert_eq!(sniff(b"\0asm\x0d\0\x01\0").unwrap(), Kind::Component);
        assert_eq!(sniff(b"PK\x03\x04rest").unwrap(), Kind::PythonZip);
        assert_eq!(sniff(b"# dlinear\nimport numpy as np\n").unwrap(), Kind::Python);
    }
}

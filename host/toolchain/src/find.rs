//! Finds what can compile for WebAssembly: the active toolchain with the target, added by rustup where missing, else the
//! distribution's compiler with the standard library's source.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::distribution::{self, Distribution};
use crate::{Error, TARGET};

/// What compiles plugins on this machine.
#[derive(Debug, Clone)]
pub enum WasmToolchain {
    /// The active Rust toolchain has the target's standard library.
    Installed,
    /// The distribution's compiler, which builds the standard library from source first.
    Distribution(Distribution),
}

/// Finds a compiler for plugins; with `install`, tries to get one where there is none.
///
/// Without `install` nothing is changed and nothing is fetched. With it, in this order: `rustup target add`, then the
/// distribution's packages through apt (as root, or where sudo asks for no password). Attempts are announced on stderr.
///
/// # Errors
///
/// [`Error::NoTarget`] with the command to type, when nothing that was allowed has helped.
pub fn ensure_wasm_target(install: bool) -> Result<WasmToolchain, Error> {
    let rustc = active_rustc(Path::new("."))?;
    if rustc.has_target() {
        return Ok(WasmToolchain::Installed);
    }
    let mut tried = Vec::new();
    if install {
        eprintln!("adding {TARGET} with rustup");
        match rustup_target_add() {
            Ok(()) if active_rustc(Path::new("."))?.has_target() => return Ok(WasmToolchain::Installed),
            Ok(()) => tried.push("rustup added it to another toolchain".to_owned()),
            Err(why) => tried.push(why),
        }
    }
    if let Some(found) = distribution::find(&rustc) {
        return Ok(WasmToolchain::Distribution(found));
    }
    let packages = distribution::packages(install);
    if install && let Some(packages) = &packages {
        match distribution::install(packages) {
            Ok(()) => match distribution::find(&rustc) {
                Some(found) => return Ok(WasmToolchain::Distribution(found)),
                None => tried.push(format!("{} hold no usable compiler", packages.join(" "))),
            },
            Err(why) => tried.push(why),
        }
    }
    let mut command = format!("rustup target add {TARGET}");
    if let Some(packages) = packages {
        command += &format!(
            "   (or, where rustup cannot reach its server: sudo apt-get install {})",
            packages.join(" ")
        );
    }
    Err(Error::NoTarget {
        toolchain: rustc.version,
        tried,
        command,
    })
}

/// The compiler that a plain `cargo build` would use in a folder.
pub(crate) struct Rustc {
    /// `rustc 1.95.0 (…)`
    pub version: String,
    /// Where its libraries are.
    pub sysroot: PathBuf,
    /// This machine's own target, such as `x86_64-unknown-linux-gnu`.
    pub host: String,
}

impl Rustc {
    /// Asks a compiler about itself; `None` when it does not run or answers something else.
    pub fn ask(program: &Path, folder: &Path) -> Option<Rustc> {
        let output = Command::new(program)
            .args(["--version", "--verbose"])
            .current_dir(folder)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.lines().next()?.to_owned();
        let host = text.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
        let sysroot = Command::new(program)
            .args(["--print", "sysroot"])
            .current_dir(folder)
            .output()
            .ok()?;
        let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).ok()?.trim());
        Some(Rustc { version, sysroot, host })
    }

    fn has_target(&self) -> bool {
        self.sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
    }

    /// The linker for WebAssembly that rustup's toolchains bring along.
    pub fn bundled_linker(&self) -> Option<PathBuf> {
        let linker = self.sysroot.join("lib/rustlib").join(&self.host).join("bin/rust-lld");
        linker.is_file().then_some(linker)
    }
}

pub(crate) fn active_rustc(folder: &Path) -> Result<Rustc, Error> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let no_rust = |source| Error::NoRust {
        program: program.to_string_lossy().into_owned(),
        source,
    };
    Command::new(&program)
        .arg("--version")
        .current_dir(folder)
        .output()
        .map_err(no_rust)?;
    Rustc::ask(Path::new(&program), folder)
        .ok_or_else(|| no_rust(std::io::Error::other("it gives no version; is a toolchain installed?")))
}

/// Runs rustup with its own messages kept back: the last line of them is the reason when it fails.
fn rustup_target_add() -> Result<(), String> {
    let output = Command::new("rustup")
        .args(["target", "add", TARGET])
        .output()
        .map_err(|error| format!("rustup does not run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    let reason = messages
        .lines()
        .find(|line| line.starts_with("error"))
        .or(messages.lines().last());
    Err(format!(
        "rustup: {}",
        reason.unwrap_or("failed without a message").trim()
    ))
}

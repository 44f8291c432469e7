//! Builds Rust plugins into WebAssembly, with whatever this machine has for it.
//!
//! `cargo xtask` and `trainyard plugin build` share it. It leaves what is inside the file (which contract, which imports)
//! to the sandbox's inspection.
//!
//! ```no_run
//! # fn main() -> Result<(), trainyard_toolchain::Error> {
//! use std::path::Path;
//! let file = trainyard_toolchain::build_plugin(Path::new("my-plugin"), Path::new("my-plugin/target"), true)?;
//! println!("{}", file.display());
//! # Ok(())
//! # }
//! ```

mod build;
mod distribution;
mod find;

use std::io;
use std::path::PathBuf;

pub use build::{build_plugin, build_plugins};
pub use find::{WasmToolchain, ensure_wasm_target};

/// What plugins written in Rust are built for: no WASI, so nothing to import but the contract.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Why there is no compiler for plugins, or no plugin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `rustc` is not on the path or does not run.
    #[error("cannot run `{program}` ({source}). Install Rust with rustup, then open a new terminal")]
    NoRust {
        /// What was run.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The target is missing and nothing that was tried could supply it.
    #[error("the target {TARGET} is not installed for {toolchain}{}. Type: {command}", because(.tried))]
    NoTarget {
        /// The toolchain that lacks it, as `rustc --version` names itself.
        toolchain: String,
        /// Why each attempt failed; empty when there was none.
        tried: Vec<String>,
        /// What to type.
        command: String,
    },
    /// The folder holds no package.
    #[error("{}: no such file. Give the folder of a plugin's Cargo.toml", .0.display())]
    NoManifest(PathBuf),
    /// Cargo failed; its own messages went to stderr.
    #[error("{}: the build failed ({status}); the compiler's messages are above", .dir.display())]
    Build {
        /// The folder that was being built.
        dir: PathBuf,
        /// How cargo ended.
        status: String,
    },
    /// The build succeeded without a WebAssembly file.
    #[error("{}: the build gives no .wasm file. Its Cargo.toml needs, under [lib]: crate-type = [\"cdylib\"]", .0.display())]
    NoPlugin(PathBuf),
    /// The folder is a workspace of several plugins where one was asked for.
    #[error("{}: builds several plugins ({found}). Give the folder of one of them", .dir.display())]
    SeveralPlugins {
        /// The folder that was built.
        dir: PathBuf,
        /// Their names.
        found: String,
    },
    /// A folder could not be made, or a file not be copied.
    #[error("{}: {source}", .path.display())]
    Io {
        /// What was to be read or written.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

fn because(attempts: &[String]) -> String {
    if attempts.is_empty() {
        String::new()
    } else {
        format!(" ({})", attempts.join("; "))
    }
}

//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn root() -> PathBuf {
    // Cargo sets it for the run as well; the compiled-in one would be another checkout's where they share a target folder.
    let manifest = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&manifest)
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    // Cargo takes a relative one from the folder it is started in.
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || root().join("target"),
        |dir| std::path::absolute(&dir).unwrap_or(dir.into()),
    )
}

/// Where the library's plugins are put, one `<name>.wasm` each.
pub fn plugins() -> PathBuf {
    target().join("plugins")
}

/// The Python engine, where the binary of a checkout looks for it.
pub fn python_engine() -> PathBuf {
    target().join("python-engine.wasm")
}

/// Where the hostile plugins of the tests are put.
pub fn guests() -> PathBuf {
    target().join("guests")
}

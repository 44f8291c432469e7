//! `cargo xtask setup`: what a fresh machine lacks. Every other command calls it first.

use anyhow::Result;
use trainyard_toolchain::{TARGET, WasmToolchain, ensure_wasm_target};

pub fn run() -> Result<()> {
    match ensure_wasm_target(true)? {
        WasmToolchain::Installed => println!("ok: {TARGET} is installed"),
        WasmToolchain::Distribution(found) => println!("ok: plugins are built by {}", found.name()),
    }
    Ok(())
}

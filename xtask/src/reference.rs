//! `cargo xtask reference`: computes the files in tests/reference again. A test only ever reads them.

use anyhow::Result;

use crate::process;
use crate::{paths, python};

pub fn run() -> Result<()> {
    let python = python::for_reference()?;
    // The data first: two of the others read it.
    for script in ["dataset.py", "ridge.py", "mlp.py", "ops.py", "examples.py"] {
        process::run(
            python::command(&python)
                .arg(script)
                .current_dir(paths::root().join("tests/reference")),
        )?;
    }
    println!("`git diff --stat tests/reference` shows what changed");
    Ok(())
}

//! `cargo xtask client`: what of the clients is made of the service's description, and the Python client's tests against a real
//! service.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::{run, tested_program};
use crate::service::Service;
use crate::{console, engine, paths, python};

/// Makes `models.py` and `_sync.py` again, and the types of the page.
pub fn write() -> Result<()> {
    generate(&environment()?, &[])
}

/// That both are what they would be made now, then the tests. Builds the Python engine.
pub fn test() -> Result<()> {
    let python = environment()?;
    generate(&python, &["--check"])?;
    // The package as a user gets it, not as it lies here: first what it needs, then itself, even if there was one.
    for more in [&[][..], &["--force-reinstall", "--no-deps"]] {
        run(python::command(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(more)
            .arg(folder()))?;
    }
    run(python::command(&python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"])
        .current_dir(folder())
        .env("TRAINYARD", tested_program()?)
        .env("TRAINYARD_PYTHON_ENGINE", engine::run()?))
}

fn generate(python: &Path, options: &[&str]) -> Result<()> {
    let data = tempfile::tempdir()?;
    let service = Service::start(&tested_program()?, data.path())?;
    run(python::command(python)
        .arg("generate.py")
        .arg(format!("http://{}/openapi.json", service.address))
        .args(options)
        .current_dir(folder()))?;
    match console::available() {
        Ok(()) => console::client(&service.address, options.contains(&"--check")),
        Err(error) => {
            println!("warning: the page's types are left as they are: {error:#}");
            Ok(())
        }
    }
}

fn environment() -> Result<PathBuf> {
    let wanted = folder().join("requirements-dev.txt");
    let wanted = fs::read_to_string(&wanted).with_context(|| wanted.display().to_string())?;
    python::environment("client", &wanted)
}

fn folder() -> PathBuf {
    paths::root().join("sdk/python")
}

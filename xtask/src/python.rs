//! Python environments under the target folder. Python is optional: nothing but the reference numbers needs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::process::{run, succeeds};

/// What the tests use: to open a saved model as a Python user would, a second client of TDengine (the stand-in server was
/// checked with just this version of it), and Celery with its monitor, whose clients ours has to satisfy.
const FOR_TESTS: &str =
    "safetensors>=0.5\nnumpy>=1.24\ntaos-ws-py==0.7.0\ncelery[redis]==5.7.0\nkombu==5.7.0\nflower==2.2.0\n";

/// A Python with safetensors, numpy and Celery.
pub fn for_tests() -> Result<PathBuf> {
    environment("tests", FOR_TESTS)
}

/// A Python with what the benchmark of data is compared with.
pub fn for_data() -> Result<PathBuf> {
    environment("data", "taos-ws-py==0.7.0\npandas>=2\n")
}

/// A Python with what tests/reference and the benchmarks compare with; PyTorch alone is some gigabytes.
pub fn for_reference() -> Result<PathBuf> {
    let file = paths::root().join("tests/reference/requirements.txt");
    environment(
        "reference",
        &fs::read_to_string(&file).with_context(|| file.display().to_string())?,
    )
}

/// A Python that has PyTorch already: the reference's own, else the one on the path.
pub fn with_torch() -> Option<PathBuf> {
    [folder("reference").join("bin/python"), PathBuf::from("python3")]
        .into_iter()
        .find(|python| succeeds(Command::new(python).args(["-c", "import torch, numpy"])))
}

/// Python, with its habit of leaving `__pycache__` beside the sources turned off.
pub fn command(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn folder(name: &str) -> PathBuf {
    paths::target().join("python").join(name)
}

/// Whether environments can be made here.
pub fn available() -> Result<()> {
    if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        bail!("there is no python3 with venv (Debian, Ubuntu: sudo apt-get install python3-venv)");
    }
    Ok(())
}

/// Makes the environment `name`, or makes it again when its requirements have changed. Gives its Python.
pub fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    made(name, requirements, &[])
}

/// The same, with these packages and nothing that they ask for. Gives its folder.
pub fn environment_without_dependencies(name: &str, packages: &[&str]) -> Result<PathBuf> {
    made(name, &(packages.join("\n") + "\n"), &["--no-deps"])?;
    Ok(folder(name))
}

fn made(name: &str, requirements: &str, options: &[&str]) -> Result<PathBuf> {
    let folder = folder(name);
    let (python, installed) = (folder.join("bin/python"), folder.join("installed.txt"));
    let current = fs::read_to_string(&installed).is_ok_and(|text| text == requirements);
    if current && succeeds(Command::new(&python).arg("--version")) {
        return Ok(python);
    }
    available()?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let wanted = folder.join("requirements.txt");
    fs::write(&wanted, requirements).with_context(|| wanted.display().to_string())?;
    run(command(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(options)
        .arg("-r")
        .arg(&wanted))?;
    fs::rename(&wanted, &installed).with_context(|| installed.display().to_string())?;
    Ok(python)
}

//! `cargo xtask console`: the web page, built so that the next build of the program has it inside, and its tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{run, succeeds, tested_program};
use crate::{engine, paths, plugins, servers};

/// The oldest Node.js that the page can be built with.
const NODE: (u32, u32) = (20, 19);

/// Whether the page can be built here.
pub fn available() -> Result<()> {
    let version = Command::new("node").arg("--version").output().ok();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let remedy = format!(
        "install Node.js {}.{} or newer with npm (https://nodejs.org), to have the page in the browser",
        NODE.0, NODE.1
    );
    let Some(version) = version.filter(|version| version.starts_with('v')) else {
        bail!("there is no Node.js; {remedy}");
    };
    let mut numbers = version[1..].split('.').map_while(|number| number.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < NODE {
        bail!("Node.js is {version}; {remedy}");
    }
    if !succeeds(Command::new("npm").arg("--version")) {
        bail!("there is Node.js and no npm; {remedy}");
    }
    Ok(())
}

/// Builds the page into `console/dist`, from which the program takes it.
pub fn build() -> Result<()> {
    available()?;
    packages()?;
    let (fresh, built) = (paths::target().join("console-dist"), folder().join("dist"));
    run(npm(&["run", "--silent", "build", "--"])
        .args(["--logLevel", "warn", "--emptyOutDir", "--outDir"])
        .arg(&fresh))?;
    // The program is compiled again when the folder changes, and need not be when the page has not.
    if content(&fresh)? == content(&built)? {
        return Ok(());
    }
    if built.exists() {
        fs::remove_dir_all(&built).with_context(|| built.display().to_string())?;
    }
    for (path, content) in content(&fresh)? {
        let path = built.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    println!(
        "the page is in {}; the next build of trainyard has it inside",
        built.display()
    );
    Ok(())
}

/// The same, where that can be done; otherwise says what is missing. Everything but the page works without it.
pub fn build_if_possible() -> Result<()> {
    match available() {
        Ok(()) => build(),
        Err(error) => {
            println!("warning: {error:#}; the service works without it, and shows a page that says so");
            Ok(())
        }
    }
}

/// Types and logic.
pub fn check() -> Result<()> {
    packages()?;
    run(&mut npm(&["run", "--silent", "check"]))?;
    run(&mut npm(&["test", "--silent"]))
}

/// In a real browser, against a real service.
pub fn in_browser(filters: &[&str]) -> Result<()> {
    build()?;
    let program = tested_program()?;
    plugins::library()?;
    let mut command = npm(&["run", "--silent", "e2e", "--"]);
    command
        .args(filters)
        .env("TRAINYARD", program)
        .env("TRAINYARD_PLUGINS", paths::plugins())
        .env("TRAINYARD_CHROMIUM", servers::chromium()?);
    if paths::python_engine().is_file() || engine::run().is_ok() {
        command.env("TRAINYARD_PYTHON_ENGINE", paths::python_engine());
    }
    run(&mut command)
}

/// Makes the types of the service's interface again; with `check`, only says whether they would change.
pub fn client(address: &str, check: bool) -> Result<()> {
    packages()?;
    let mut command = npm(&["exec", "--", "openapi-typescript"]);
    command
        .arg(format!("http://{address}/openapi.json"))
        .args(["--output", "src/api/schema.d.ts"]);
    if check {
        command.arg("--check");
    }
    run(&mut command)
}

/// Installs what `package-lock.json` names, unless that has been done.
fn packages() -> Result<()> {
    let lock = fs::read(folder().join("package-lock.json")).context("console/package-lock.json")?;
    let installed = folder().join("node_modules/.installed-lock.json");
    if fs::read(&installed).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    run(&mut npm(&["ci", "--no-audit", "--no-fund", "--loglevel", "error"]))?;
    fs::write(&installed, lock).with_context(|| installed.display().to_string())
}

fn npm(arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command
        .args(arguments)
        .current_dir(folder())
        // The browser is the system's own.
        .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
        .env("NO_UPDATE_NOTIFIER", "1");
    command
}

fn folder() -> PathBuf {
    paths::root().join("console")
}

/// Every file below a folder, by its path there; nothing where there is no folder.
fn content(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = fs::read(&path).with_context(|| path.display().to_string())?;
                files.push((path.strip_prefix(folder)?.to_owned(), content));
            }
        }
    }
    files.sort();
    Ok(files)
}

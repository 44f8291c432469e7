//! The programs that tests need: PostgreSQL, started once for all of them, Redis, which each test starts for itself, and a browser.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use trainyard_test_servers::{Postgres, Redis};

use crate::process::{run, succeeds};

/// Installs what is missing where that can be done without asking, and starts PostgreSQL. Where a server cannot be had, the
/// tests that need it say that they skip.
pub fn start() -> Option<Postgres> {
    let missing: Vec<&str> = [
        (Postgres::program().is_none(), "postgresql"),
        (Redis::program().is_none(), "redis-server"),
    ]
    .into_iter()
    .filter_map(|(missing, package)| missing.then_some(package))
    .collect();
    if !missing.is_empty()
        && let Err(error) = install(&missing)
    {
        println!("warning: {error:#}; the tests that need {} skip", missing.join(" and "));
    }
    match Postgres::start() {
        Ok(server) => server,
        Err(error) => {
            println!("warning: PostgreSQL cannot be started, so that the tests that need it fail: {error}");
            None
        }
    }
}

/// Chromium, for the tests of the page; installed where that can be done without asking.
pub fn chromium() -> Result<PathBuf> {
    let found = || {
        std::env::var_os("TRAINYARD_CHROMIUM").map(PathBuf::from).or_else(|| {
            [
                "/usr/bin/chromium",
                "/usr/bin/chromium-browser",
                "/usr/bin/google-chrome",
            ]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.is_file())
        })
    };
    if let Some(path) = found() {
        return Ok(path);
    }
    install(&["chromium"])?;
    found().context("Chromium was installed and is not there; name it in TRAINYARD_CHROMIUM")
}

fn install(packages: &[&str]) -> Result<()> {
    let root = succeeds(Command::new("sh").args(["-c", "test \"$(id -u)\" = 0"]));
    if !root || !succeeds(Command::new("apt-get").arg("--version")) {
        anyhow::bail!(
            "{} not installed (Debian, Ubuntu: sudo apt-get install {})",
            packages.join(" and "),
            packages.join(" ")
        );
    }
    println!("installing {} for the tests", packages.join(" and "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        // Its servers are not to run: tests start their own.
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1");
        run(&mut command)
    };
    let wanted = [&["install", "--yes", "--quiet", "--no-install-recommends"], packages].concat();
    if apt(&wanted).is_err() {
        // The lists of packages may be missing or old.
        apt(&["update", "--quiet"])?;
        apt(&wanted)?;
    }
    Ok(())
}

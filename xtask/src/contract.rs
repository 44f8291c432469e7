//! Requests that an outside tool makes up from `/openapi.json`, against a running service: none may end in a 5xx or in a
//! status that the document does not name.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{run, tested_program};
use crate::service::Service;
use crate::{paths, python};

/// What the requests are made up with.
const TOOL: &str = "schemathesis==4.32.5\n";
/// Seconds that it may go on making up requests.
const SECONDS: &str = "100";

/// Needs the plugins to be built.
pub fn run_all() -> Result<()> {
    let python = python::environment("contract", TOOL)?;
    let program = tested_program()?;
    let data = tempfile::tempdir()?;
    let service = Service::start(&program, data.path())?;
    let url = format!("http://{}", service.address);
    let token = token(&program, data.path())?;
    let trainyard = |arguments: &[&str]| {
        run(Command::new(&program)
            .args(arguments)
            .current_dir(paths::root())
            .env("TRAINYARD_PLUGINS", paths::plugins())
            .env("TRAINYARD_URL", &url)
            .env("TRAINYARD_TOKEN", &token))
    };
    // Something to ask about.
    trainyard(&["plugin", "push", "ridge"])?;
    trainyard(&["model", "create", "line", "--plugin", "ridge"])?;
    let csv = "examples/data/seattle-weather.csv";
    trainyard(&["train", "line", "--data", csv, "--target", "temp_max", "--watch"])?;
    run(python::command(&python.with_file_name("schemathesis"))
        .args(["run", &format!("{url}/openapi.json")])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "not_a_server_error,status_code_conformance"])
        // Bad tokens are held up after a few, and so would be all the rest. A stream does not end. Its own token is revoked.
        .args(["--generation-with-security-parameters", "false"])
        .args(["--exclude-path-regex", "logs/stream|tokens/"])
        .args([
            "--max-examples",
            "10",
            "--max-time",
            SECONDS,
            "--seed",
            "1",
            "--generation-deterministic",
        ])
        .args(["--continue-on-failure", "--no-color", "--warnings", "off"])
        .current_dir(data.path()))
}

/// A token that may do everything.
fn token(program: &std::path::Path, data: &std::path::Path) -> Result<String> {
    let output = Command::new(program)
        .args([
            "token",
            "create",
            "contract",
            "--scope",
            "admin",
            "--json",
            "--data-dir",
        ])
        .arg(data)
        .output()?;
    if !output.status.success() {
        bail!("no token: {}", String::from_utf8_lossy(&output.stderr));
    }
    let said: Value = serde_json::from_slice(&output.stdout)?;
    Ok(said["secret"].as_str().context("no secret in the answer")?.to_owned())
}

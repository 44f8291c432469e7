//! A real `trainyard up`, for benchmarks: the program that `TRAINYARD` names, over a folder of its own.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running service, ended with this value.
pub struct Up {
    process: Child,
    /// The program.
    pub program: PathBuf,
    /// Host and port.
    pub address: String,
    _folder: tempfile::TempDir,
}

impl Up {
    /// Starts it and waits until it listens.
    pub fn start() -> Result<Self> {
        let program = PathBuf::from(std::env::var_os("TRAINYARD").context("set TRAINYARD to the program")?);
        let folder = tempfile::tempdir()?;
        let mut process = Command::new(&program)
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .env("TRAINYARD_LOG_LEVEL", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let address = loop {
            let line = lines.next().context("the service did not start")??;
            if let Some((_, address)) = line.split_once("at http://") {
                break address.trim().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Up {
            process,
            program,
            address,
            _folder: folder,
        })
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Ended already, perhaps.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

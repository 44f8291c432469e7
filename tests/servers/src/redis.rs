//! `redis-server`, every write in its append-only file.

use crate::process::{Process, attempts, find, free_port};
use rustix::process::Signal;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A Redis server.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    program: PathBuf,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Where `redis-server` is; none where it is not installed.
    pub fn program() -> Option<PathBuf> {
        find(
            "redis-server",
            &[PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/bin")],
        )
    }

    /// Starts a server of its own; none, with words, where `redis-server` is not installed.
    pub fn start() -> io::Result<Option<Self>> {
        let Some(program) = Self::program() else {
            eprintln!("SKIPPED: redis-server is not installed (Debian: apt-get install redis-server)");
            return Ok(None);
        };
        // Another process may take the port that was free a moment ago.
        attempts(|| {
            let mut redis = Redis {
                process: None,
                program: program.clone(),
                port: free_port()?,
                folder: tempfile::tempdir()?,
            };
            redis.restart()?;
            Ok(Some(redis))
        })
    }

    /// The address, with the number of a database (0 to 15).
    pub fn url(&self, database: u8) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// Starts it again, with what it has written, after [`Redis::kill`].
    pub fn restart(&mut self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path()).args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
        ]);
        let log = self.folder.path().join("redis.log");
        self.process = Some(Process::start(
            command,
            self.port,
            &log,
            "Ready to accept connections",
            Signal::TERM,
        )?);
        Ok(())
    }

    /// Kills it: as a machine that loses its power, save that the operating system still writes its files.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it in its tracks: connections stay, and nothing answers.
    pub fn freeze(&self) {
        if let Some(process) = &self.process {
            process.signal(Signal::STOP);
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        if let Some(process) = &self.process {
            process.signal(Signal::CONT);
        }
    }
}

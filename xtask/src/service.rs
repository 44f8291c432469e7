//! A `trainyard up` for a developer command: started on a free port over a folder, ended with the command.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::shown;

/// The running service.
pub struct Service {
    process: Child,
    /// Host and port.
    pub address: String,
}

impl Service {
    /// Starts it and waits until it listens. Its output is shown up to there.
    pub fn start(program: &Path, data: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        // A free port, so that it runs beside whatever else does.
        command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        eprintln!("$ {} &", shown(&command));
        let mut process = command
            // Its audit log would come between the lines of whoever started it.
            .env("TRAINYARD_LOG_LEVEL", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let Some(output) = process.stdout.take() else {
            bail!("the service has no output");
        };
        let mut lines = BufReader::new(output).lines();
        let address = loop {
            let Some(line) = lines.next() else {
                bail!("the service did not start; its message is above");
            };
            let line = line?;
            println!("{line}");
            if let Some((_, address)) = line.split_once("at http://") {
                break address.trim().to_owned();
            }
        };
        // Its further lines are of no use here, but someone has to take them.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Service { process, address })
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<()> {
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Ended already where Ctrl-C reached it, too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

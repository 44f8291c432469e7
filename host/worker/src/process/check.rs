//! A process that tries a card, as the worker holds it. A driver that hangs or falls over takes this process with it, and not the worker.

use super::child::Process;
use super::launcher::Inner;
use super::runner::LOOK;
use super::words::Words;
use std::io::Read;
use std::process::ChildStdout;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after it was killed it may take to end, and how long its last words may be on their way.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes of what it prints that are read: a line.
const LONGEST: usize = 4 << 10;

/// The process. It ends when this is dropped.
pub(crate) struct Check {
    /// `None` only while it is being ended.
    process: Option<Process>,
    stdout: ChildStdout,
    words: Words,
    launcher: Arc<Inner>,
}

/// Why a card was not found to be in order.
pub(crate) enum CheckProblem {
    /// The process said so, in its last line, or died.
    Failed(String),
    /// It did not end in time, and was killed.
    Hung,
}

impl Check {
    pub(super) fn new(process: Process, stdout: ChildStdout, words: Words, launcher: Arc<Inner>) -> Self {
        Check {
            process: Some(process),
            stdout,
            words,
            launcher,
        }
    }

    /// Waits so long for what it prints.
    pub async fn outcome(mut self, patience: Duration) -> Result<Vec<u8>, CheckProblem> {
        let until = Instant::now() + patience;
        let failed = |error: std::io::Error| CheckProblem::Failed(format!("it could not be checked: {error}"));
        let status = loop {
            let Some(process) = &mut self.process else {
                return Err(CheckProblem::Hung);
            };
            match process.ended().map_err(failed)? {
                Some(status) => break status,
                None if Instant::now() < until => tokio::time::sleep(LOOK).await,
                None => {
                    if let Some(process) = self.process.take() {
                        let _ = tokio::time::timeout(GRACE, process.end(self.launcher.clone())).await;
                    }
                    return Err(CheckProblem::Hung);
                }
            }
        };
        if status.success() {
            // It has ended: what it printed is there, and nothing is waited for.
            let mut printed = vec![0; LONGEST];
            let length = self.stdout.read(&mut printed).map_err(failed)?;
            printed.truncate(length);
            return Ok(printed);
        }
        let until = Instant::now() + GRACE;
        while !self.words.ended() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        let last = self.words.last().pop();
        Err(CheckProblem::Failed(last.unwrap_or_else(|| {
            format!("the process that checked it ended badly ({status})")
        })))
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            drop(process.end(self.launcher.clone()));
        }
    }
}

//! A runner, as its worker holds it.

use super::ProcessError;
use super::channel::Channel;
use super::child::Process;
use super::folder::ScratchFolder;
use super::launcher::Inner;
use super::words::Words;
use crate::protocol::{Isolation, Order, Report};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a runner that has closed its socket may take to end.
const GRACE: Duration = Duration::from_secs(2);
/// How often one looks whether it has ended.
pub(super) const LOOK: Duration = Duration::from_millis(5);
/// How long a runner that was killed may take to end. Any other does within milliseconds; one that takes longer is held by the kernel
/// until a device answers, which may be never.
pub(super) const END: Duration = Duration::from_secs(10);

/// A runner process. It ends when this is dropped, and its scratch folder goes with it.
pub struct Runner {
    /// `None` only while it is being ended.
    process: Option<Process>,
    pid: u32,
    /// Whether it has been seen to have ended.
    ended: bool,
    channel: Channel,
    words: Words,
    scratch: PathBuf,
    folder: ScratchFolder,
    isolation: Isolation,
    /// The thread that started it must not end before it does.
    launcher: Arc<Inner>,
}

/// What a runner uses, all its threads together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Seconds of processor time so far.
    pub cpu_seconds: f64,
    /// Bytes of memory right now.
    pub resident_bytes: u64,
    /// Bytes of memory at most so far.
    pub peak_bytes: u64,
}

impl Runner {
    pub(super) fn new(
        process: Process,
        socket: UnixStream,
        words: Words,
        scratch: PathBuf,
        folder: ScratchFolder,
        launcher: Arc<Inner>,
    ) -> Result<Self, ProcessError> {
        Ok(Runner {
            pid: process.id(),
            process: Some(process),
            ended: false,
            channel: Channel::new(socket).map_err(|error| ProcessError::Start(format!("its socket: {error}")))?,
            words,
            scratch,
            folder,
            isolation: Isolation {
                landlock: false,
                seccomp: false,
                missing: Vec::new(),
            },
            launcher,
        })
    }

    pub(super) fn set_isolation(&mut self, isolation: Isolation) {
        self.isolation = isolation;
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its scratch folder. What lies there is untrusted: see [`Runner::open_result`].
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// What shuts it in, by its own word, given before it read anything.
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// Gives an order, with the files that it names. Fails when the runner does not read it within some seconds; after
    /// that, or when the future was dropped, no other order can be given.
    pub async fn send(&self, order: &Order, files: &[BorrowedFd<'_>]) -> Result<(), ProcessError> {
        self.channel.send(order, files).await
    }

    /// The next report; an error when it has ended or makes no sense. If the future is dropped, nothing is lost.
    pub async fn next(&mut self) -> Result<Report, ProcessError> {
        match self.channel.next().await? {
            Some(report) => Ok(report),
            None => Err(self.died().await),
        }
    }

    /// What it uses; nothing when it has ended.
    pub fn usage(&self) -> Option<Usage> {
        if self.ended {
            return None;
        }
        let process = procfs::process::Process::new(i32::try_from(self.pid).ok()?).ok()?;
        let stat = process.stat().ok()?;
        // It has ended, and nobody has waited for it yet.
        if matches!(stat.state, 'Z' | 'X') {
            return None;
        }
        let status = process.status().ok()?;
        Some(Usage {
            cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
            resident_bytes: stat.rss * procfs::page_size(),
            peak_bytes: status.vmhwm.unwrap_or(0) << 10,
        })
    }

    /// Counts [`Usage::peak_bytes`] from here on, where the system can do that.
    pub fn forget_peak(&self) {
        // 5 resets the high-water mark of resident memory (proc(5)). Where it cannot, the mark is of the whole process.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.pid), "5");
    }

    /// Opens a file that it left: a plain one, in its scratch folder itself. Links and anything else are refused. The runner
    /// may still write to it, so whatever counts is to be read once.
    pub fn open_result(&self, name: &str) -> Result<File, ProcessError> {
        self.folder.file(name).map_err(|problem| ProcessError::Result {
            name: name.to_owned(),
            problem,
        })
    }

    /// Ends it at once, whatever it does, and removes its scratch folder.
    pub async fn kill(self) {
        self.end().await;
    }

    /// The same. Gives whether it has ended: one that a driver holds in the kernel does so when that lets it go, and what it keeps is
    /// kept until then.
    pub(crate) async fn end(mut self) -> bool {
        let Some(process) = self.process.take() else {
            return true;
        };
        let over = process.end(self.launcher.clone());
        tokio::time::timeout(END, over).await.is_ok()
    }

    /// How it ended. One that has closed its socket and lives on is ended.
    async fn died(&mut self) -> ProcessError {
        let until = Instant::now() + GRACE;
        let how = loop {
            let Some(process) = &mut self.process else {
                break "was ended".into();
            };
            match process.ended() {
                Ok(Some(status)) => break how(status),
                Ok(None) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                Ok(None) => {
                    process.kill();
                    break "closed its socket and did not end".into();
                }
                Err(error) => break format!("ended in a way that is not known: {error}"),
            }
        };
        self.ended = true;
        // What it said last may still be on its way.
        while !self.words.ended() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        ProcessError::Died {
            how,
            stderr: self.words.last(),
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Waiting is not for the thread that drops.
        if let Some(process) = self.process.take() {
            drop(process.end(self.launcher.clone()));
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = match signal {
                libc::SIGKILL => " (SIGKILL)",
                libc::SIGSEGV => " (SIGSEGV)",
                libc::SIGABRT => " (SIGABRT)",
                libc::SIGBUS => " (SIGBUS)",
                libc::SIGILL => " (SIGILL)",
                libc::SIGTERM => " (SIGTERM)",
                libc::SIGSYS => " (SIGSYS)",
                libc::SIGXCPU => " (SIGXCPU)",
                _ => "",
            };
            format!("was killed by signal {signal}{name}")
        }
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => "ended in a way that is not known".into(),
    }
}

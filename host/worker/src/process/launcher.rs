//! Starts runners, all of them from one thread.
//!
//! The kernel ends a runner when the thread that started it ends, so that none outlives its worker. Threads of an async
//! runtime come and go; this one stays as long as anyone holds a launcher or a runner.

use super::ProcessError;
use super::child::Process;
use super::folder::{ScratchFolder, WorkerFolder};
use super::runner::Runner;
use super::words::Words;
use crate::protocol::Report;
use crate::runner::SUBCOMMAND;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a runner may take to be ready.
const READY: Duration = Duration::from_secs(10);

/// Starts runners. A clone is the same launcher.
#[derive(Clone)]
pub struct Launcher(Arc<Inner>);

pub(super) struct Inner {
    requests: mpsc::Sender<Request>,
    folder: WorkerFolder,
}

struct Request {
    scratch: PathBuf,
    answer: oneshot::Sender<io::Result<Started>>,
}

/// A process that has just been started.
struct Started {
    process: Process,
    socket: UnixStream,
    words: Words,
}

impl Launcher {
    /// A launcher of a program, which is this program or another build of it; its runners have their scratch folders below
    /// `scratch_root`.
    pub fn new(program: PathBuf, scratch_root: PathBuf) -> Result<Self, ProcessError> {
        let folder = WorkerFolder::new(&scratch_root)
            .map_err(|error| ProcessError::Start(format!("the scratch folder {}: {error}", scratch_root.display())))?;
        let (requests, asked) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("launcher".into())
            .spawn(move || {
                for request in asked {
                    // If nobody waits for it any more, it ends at once.
                    let _ = request.answer.send(start(&program, request.scratch));
                }
            })
            .map_err(|error| ProcessError::Start(format!("cannot start a thread: {error}")))?;
        Ok(Launcher(Arc::new(Inner { requests, folder })))
    }

    /// Removes scratch folders that dead workers have left. Gives how many workers that were.
    pub fn clean(&self) -> io::Result<usize> {
        self.0.folder.clean()
    }

    /// Starts a runner, and waits until it is shut in and ready for orders.
    pub async fn start(&self) -> Result<Runner, ProcessError> {
        let scratch = self
            .0
            .folder
            .runner()
            .map_err(|error| ProcessError::Start(format!("its scratch folder: {error}")))?;
        let folder = ScratchFolder::open(&scratch)
            .map_err(|error| ProcessError::Start(format!("its scratch folder: {error}")))?;
        let (answer, started) = oneshot::channel();
        let request = Request {
            scratch: scratch.clone(),
            answer,
        };
        let gone = || ProcessError::Start("the launcher is gone".into());
        self.0.requests.send(request).map_err(|_| gone())?;
        let Started { process, socket, words } = match started.await.map_err(|_| gone())? {
            Ok(started) => started,
            Err(error) => {
                // What is left, the next worker clears away.
                let _ = std::fs::remove_dir(&scratch);
                return Err(ProcessError::Start(error.to_string()));
            }
        };
        let mut runner = Runner::new(process, socket, words, scratch, folder, self.0.clone())?;
        match tokio::time::timeout(READY, runner.next()).await {
            Ok(Ok(Report::Ready(isolation))) => {
                runner.set_isolation(isolation);
                Ok(runner)
            }
            Ok(Ok(_)) => Err(ProcessError::Protocol("it did not begin with `ready`".into())),
            // Somebody may have killed it: another may do better.
            Ok(Err(died @ ProcessError::Died { .. })) => Err(died),
            Ok(Err(error)) => Err(ProcessError::Start(error.to_string())),
            Err(_) => Err(ProcessError::Start(format!(
                "it was not ready after {} s",
                READY.as_secs()
            ))),
        }
    }
}

/// Starts the program, with nothing of ours but one end of a socket.
fn start(program: &Path, scratch: PathBuf) -> io::Result<Started> {
    let (socket, theirs) = UnixStream::pair()?;
    let mut child = Command::new(program)
        .arg(SUBCOMMAND)
        .arg(&scratch)
        .arg(std::process::id().to_string())
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take();
    let process = Process::new(child, scratch);
    let stderr = stderr.ok_or_else(|| io::Error::other("it has no standard error"))?;
    let words = Words::listen(stderr)?;
    Ok(Started { process, socket, words })
}

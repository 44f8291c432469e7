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
use crate::runner::{ON_CARD, SUBCOMMAND};
use std::ffi::OsString;
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
/// The same for one that opens a card: a driver may have to load its firmware, and to compile.
const READY_ON_CARD: Duration = Duration::from_secs(120);

/// The whole environment of a process.
type Environment = Vec<(OsString, OsString)>;

/// Starts runners. A clone is the same launcher.
#[derive(Clone)]
pub struct Launcher(Arc<Inner>);

pub(super) struct Inner {
    requests: mpsc::Sender<Request>,
    folder: WorkerFolder,
}

struct Request {
    scratch: PathBuf,
    card: Option<Environment>,
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
                    let _ = request.answer.send(start(&program, request.scratch, request.card));
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
        self.start_in(None).await
    }

    /// The same on the one card that can be seen in this environment, which is the runner's whole environment.
    pub async fn start_on_card(&self, environment: Vec<(OsString, OsString)>) -> Result<Runner, ProcessError> {
        self.start_in(Some(environment)).await
    }

    async fn start_in(&self, card: Option<Environment>) -> Result<Runner, ProcessError> {
        let patience = if card.is_some() { READY_ON_CARD } else { READY };
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
            card,
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
        match tokio::time::timeout(patience, runner.next()).await {
            Ok(Ok(Report::Ready(isolation))) => {
                runner.set_isolation(isolation);
                Ok(runner)
            }
            Ok(Ok(_)) => Err(ProcessError::Protocol("it did not begin with `ready`".into())),
            // Somebody may have killed it: another may do better.
            Ok(Err(died @ ProcessError::Died { .. })) => Err(died),
            Ok(Err(error)) => Err(ProcessError::Start(error.to_string())),
            Err(_) => Err(ProcessError::NotReady {
                seconds: patience.as_secs(),
            }),
        }
    }
}

/// Starts the program, with nothing of ours but one end of a socket, and on a card what its driver needs.
fn start(program: &Path, scratch: PathBuf, card: Option<Environment>) -> io::Result<Started> {
    let (socket, theirs) = UnixStream::pair()?;
    let mut child = Command::new(program)
        .arg(SUBCOMMAND)
        .args(card.is_some().then_some(ON_CARD))
        .arg(&scratch)
        .arg(std::process::id().to_string())
        .env_clear()
        .envs(card.into_iter().flatten())
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

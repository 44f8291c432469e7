//! Starts runners, all of them from one thread.
//!
//! The kernel ends a runner when the thread that started it ends, so that none outlives its worker. Threads of an async
//! runtime come and go; this one stays as long as anyone holds a launcher or a runner.

use super::ProcessError;
use super::check::Check;
use super::child::{Kept, Process};
use super::folder::{ScratchFolder, WorkerFolder};
use super::runner::Runner;
use super::words::Words;
use crate::protocol::Report;
use crate::runner::{CHECK_CARD, ON_CARD, SUBCOMMAND};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a runner may take to be ready.
const READY: Duration = Duration::from_secs(10);
/// The same for one that opens a card: a driver may have to load its firmware, and to compile.
const READY_ON_CARD: Duration = Duration::from_secs(120);

/// The whole environment of a process.
pub(super) type Environment = Vec<(OsString, OsString)>;
/// Starts a process, on the thread that starts them all.
type Request = Box<dyn FnOnce(&Path) + Send>;

/// Starts runners. A clone is the same launcher.
#[derive(Clone)]
pub struct Launcher(Arc<Inner>);

pub(super) struct Inner {
    requests: mpsc::Sender<Request>,
    folder: WorkerFolder,
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
                for start in asked {
                    start(&program);
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

    /// The same on the one card that can be seen in this environment, which is the runner's whole environment. Something is kept
    /// until it has ended, however long that takes.
    pub async fn start_on_card(&self, environment: Environment, kept: Kept) -> Result<Runner, ProcessError> {
        self.start_in(Some((environment, kept))).await
    }

    /// Starts a process that tries the one card that can be seen in this environment.
    pub(crate) async fn check_card(&self, environment: Environment, kept: Kept) -> Result<Check, ProcessError> {
        let scratch = self.scratch()?;
        let folder = scratch.clone();
        let (process, stdout, words) = self
            .begin(scratch, move |program| start_check(program, folder, environment, kept))
            .await?;
        Ok(Check::new(process, stdout, words, self.0.clone()))
    }

    async fn start_in(&self, card: Option<(Environment, Kept)>) -> Result<Runner, ProcessError> {
        let patience = if card.is_some() { READY_ON_CARD } else { READY };
        let scratch = self.scratch()?;
        let folder = ScratchFolder::open(&scratch)
            .map_err(|error| ProcessError::Start(format!("its scratch folder: {error}")))?;
        let own = scratch.clone();
        let Started { process, socket, words } = self
            .begin(scratch.clone(), move |program| start(program, own, card))
            .await?;
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

    fn scratch(&self) -> Result<PathBuf, ProcessError> {
        let made = self.0.folder.runner();
        made.map_err(|error| ProcessError::Start(format!("its scratch folder: {error}")))
    }

    /// Starts a process on the thread that starts them all. If nobody waits for it any more, it ends at once.
    async fn begin<T: Send + 'static>(
        &self,
        scratch: PathBuf,
        start: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ProcessError> {
        let (answer, started) = oneshot::channel();
        let request = Box::new(move |program: &Path| drop(answer.send(start(program))));
        let gone = || ProcessError::Start("the launcher is gone".into());
        self.0.requests.send(request).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?.map_err(|error| {
            // What is left, the next worker clears away.
            let _ = std::fs::remove_dir(&scratch);
            ProcessError::Start(error.to_string())
        })
    }
}

/// Starts the program, with nothing of ours but one end of a socket, and on a card what its driver needs.
fn start(program: &Path, scratch: PathBuf, card: Option<(Environment, Kept)>) -> io::Result<Started> {
    let (socket, theirs) = UnixStream::pair()?;
    let (environment, kept) = card.unzip();
    let mut command = command(program, environment.as_ref().map(|_| ON_CARD), &scratch);
    let mut child = command
        .envs(environment.into_iter().flatten())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()?;
    let stderr = child.stderr.take();
    let process = Process::new(child, scratch, kept);
    let words = listen(stderr)?;
    Ok(Started { process, socket, words })
}

/// Starts the program to try a card. It prints what it found.
fn start_check(
    program: &Path,
    scratch: PathBuf,
    environment: Environment,
    kept: Kept,
) -> io::Result<(Process, ChildStdout, Words)> {
    let mut command = command(program, Some(CHECK_CARD), &scratch);
    let mut child = command
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let process = Process::new(child, scratch, Some(kept));
    let stdout = stdout.ok_or_else(|| io::Error::other("it has no standard output"))?;
    Ok((process, stdout, listen(stderr)?))
}

fn command(program: &Path, option: Option<&str>, scratch: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg(SUBCOMMAND)
        .args(option)
        .arg(scratch)
        .arg(std::process::id().to_string())
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stderr(Stdio::piped());
    if option.is_some() {
        // Whatever of the driver wants a file for a while has it there.
        command.env("TMPDIR", scratch);
    }
    command
}

fn listen(stderr: Option<ChildStderr>) -> io::Result<Words> {
    Words::listen(stderr.ok_or_else(|| io::Error::other("it has no standard error"))?)
}

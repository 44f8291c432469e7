//! The process itself, and its end.

use super::launcher::Inner;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::any::Any;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Something that is given back only when a process that uses it has ended.
pub type Kept = Arc<dyn Any + Send + Sync>;

/// A process and its scratch folder. Both are gone when this has been dropped.
pub(super) struct Process {
    child: Child,
    scratch: PathBuf,
    /// How it ended, once it has been waited for. Its number may be another process's from then on.
    ended: Option<ExitStatus>,
    /// Dropped last of all.
    _kept: Option<Kept>,
}

impl Process {
    pub fn new(child: Child, scratch: PathBuf, kept: Option<Kept>) -> Self {
        Process {
            child,
            scratch,
            ended: None,
            _kept: kept,
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has. Whatever it has started itself ends then, too.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        if self.ended.is_none()
            && let Some(pid) = self.pid()
        {
            // As long as nobody has waited for it, its number is its own, and its group's.
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if waitid(WaitId::Pid(pid), look)?.is_some() {
                self.kill();
                self.ended = Some(self.child.wait()?);
            }
        }
        Ok(self.ended)
    }

    /// Kills it and its process group.
    pub fn kill(&self) {
        if let (None, Some(pid)) = (self.ended, self.pid()) {
            // Either can only fail when there is nobody left.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Kills it, and waits for its end on a thread of its own, since the kernel may be stuck in a driver. Tells when it is over.
    pub fn end(self, launcher: Arc<Inner>) -> oneshot::Receiver<()> {
        self.kill();
        let (told, over) = oneshot::channel();
        // Where there can be no other thread, this one waits after all.
        let _ = std::thread::Builder::new()
            .name("runner-end".into())
            .stack_size(64 << 10)
            .spawn(move || {
                drop(self);
                // The thread that started it must not end before it does.
                drop(launcher);
                let _ = told.send(());
            });
        over
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Process {
    /// Waits for the end. That does not take long, unless the kernel itself is stuck.
    fn drop(&mut self) {
        self.kill();
        if self.ended.is_none() {
            // It can only fail when somebody else has waited for it.
            let _ = self.child.wait();
        }
        // What is left, the next worker clears away.
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

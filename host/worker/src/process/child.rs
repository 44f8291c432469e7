//! The process itself, and its end.

use std::path::PathBuf;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

/// A process and its scratch folder. Both are gone when this has been dropped.
pub(super) struct Process {
    child: Child,
    scratch: PathBuf,
    /// How it ended, once it has been waited for. Its number may be another process's from then on.
    ended: Option<ExitStatus>,
}

impl Process {
    pub fn new(child: Child, scratch: PathBuf) -> Self {
        Process {
            child,
            scratch,
            ended: None,
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

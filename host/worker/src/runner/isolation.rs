//! Shuts a runner in, before it reads its first order.
//!
//! What comes after this may be the doing of whoever wrote the plugin or the data. So the process gives up, for good,
//! everything that it does not need: it can open files in its scratch folder alone, reach no network and no other
//! process, start no program, and it ends with its worker. One that computes on a card opens it first, and keeps what the driver
//! needs.

use super::{landlock, seccomp};
use crate::protocol::Isolation;
use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal};
use std::path::Path;

/// Bytes of one file.
const LARGEST_FILE: u64 = 8 << 30;
/// Open files: the socket, what an order brings, and some room.
const OPEN_FILES: u64 = 64;
/// The same where a card's driver opens its own.
const OPEN_FILES_ON_CARD: u64 = 1024;
/// What is added to a runner's priority: others go first.
const NICE: i32 = 10;
/// How much rather than others it is ended when the machine is out of memory, up to 1000.
const OUT_OF_MEMORY_SCORE: &str = "800";

/// Shuts this process in. Must be called while it has one thread. Fails where it cannot be made sure that the process
/// ends with its parent, or where the card cannot be opened; other things that the system lacks are in the answer.
pub(super) fn shut_in<C>(
    scratch: &Path,
    parent: Option<Pid>,
    card: Option<fn() -> Result<C, String>>,
) -> Result<(Isolation, Option<C>), String> {
    let mut missing = Vec::new();
    let mut note = |what: &str, error: &dyn std::fmt::Display| missing.push(format!("{what}: {error}"));

    // Nothing else has been opened yet: whatever is open was left open by whoever started us.
    if let Err(error) = close_all_but_standard() {
        note("descriptors of the parent may be open", &error);
    }
    // What is asked for later, and is in a file that cannot be read then.
    let _ = rustix::param::page_size();
    // Only ever a wish: a kernel may lack it, and a container may forbid it.
    let _ = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    let _ = rustix::process::nice(NICE);

    end_with(parent)?;
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        note("programs with more rights can be started", &error);
    }
    let on_card = card.is_some();
    let (files, locked) = match on_card {
        // The driver locks what it copies from.
        true => (OPEN_FILES_ON_CARD, None),
        false => (OPEN_FILES, Some((Resource::Memlock, 0))),
    };
    let limits = [
        (Resource::Core, 0),
        (Resource::Nofile, files),
        (Resource::Fsize, LARGEST_FILE),
    ];
    for (resource, most) in limits.into_iter().chain(locked) {
        if let Err(error) = limit(resource, most) {
            note(&format!("the limit for {resource:?}"), &error);
        }
    }
    ignore_large_files();
    if on_card && let Err(error) = landlock::restrict_driver(scratch) {
        note("landlock, so that the driver's threads can open files anywhere", &error);
    }
    let card = card.map(|open| open()).transpose()?;
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        note("other processes can look into this one", &error);
    }

    let landlock = match landlock::restrict(scratch, on_card) {
        Ok(None) => true,
        Ok(Some(lacking)) => {
            note("landlock", &lacking);
            true
        }
        Err(error) => {
            note("landlock, so that files can be opened anywhere", &error);
            false
        }
    };
    let seccomp = match seccomp::restrict(on_card) {
        Ok(()) => true,
        Err(error) => {
            note("seccomp, so that network and other programs can be reached", &error);
            false
        }
    };
    let isolation = Isolation {
        landlock,
        seccomp,
        missing,
    };
    Ok((isolation, card))
}

/// Lets the kernel end this process when the thread that started it ends; and makes sure that it has not ended already.
fn end_with(parent: Option<Pid>) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("the kernel cannot end this process with its parent: {error}"))?;
    if parent.is_some() && rustix::process::getppid() != parent {
        return Err("the process that started this one is gone".into());
    }
    Ok(())
}

fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let most = rustix::process::getrlimit(resource)
        .maximum
        .map_or(most, |maximum| maximum.min(most));
    rustix::process::setrlimit(
        resource,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    )
}

fn close_all_but_standard() -> std::io::Result<()> {
    // SAFETY: no part of this program has opened anything yet, so no descriptor above the standard ones is in use.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A file over its limit is to be an error of the write, and not the end of the process.
fn ignore_large_files() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

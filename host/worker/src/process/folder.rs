//! Scratch folders: one for each runner, in one for each worker, in the one that the operator named.
//!
//! A worker's folder holds a file that the worker keeps locked as long as it lives, however it ends. So any worker can tell
//! which folders are nobody's any more, and clear them away.

use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags, flock, open, openat, openat2};
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

const PREFIX: &str = "worker-";
const LOCK: &str = "lock";

/// A worker's folder, as long as it is the worker's.
pub(super) struct WorkerFolder {
    path: PathBuf,
    lock: Mutex<File>,
    next: AtomicU64,
}

impl WorkerFolder {
    /// Makes a new folder in the root, which is made if need be.
    pub fn new(root: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let root = root.canonicalize()?;
        let mut attempt = 0;
        let path = loop {
            let path = root.join(format!("{PREFIX}{}-{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => return Err(error),
            }
        };
        Ok(WorkerFolder {
            lock: Mutex::new(locked(&path)?),
            path,
            next: AtomicU64::new(0),
        })
    }

    /// A new folder for a runner. The worker's own is made again if someone has cleared it away.
    pub fn runner(&self) -> io::Result<PathBuf> {
        let path = self.path.join(self.next.fetch_add(1, Relaxed).to_string());
        let made = DirBuilder::new().mode(0o700).create(&path);
        if !made
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            return made.map(|()| path);
        }
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        if !self.path.join(LOCK).exists() {
            *lock = locked(&self.path)?;
        }
        Ok(path)
    }

    /// Removes what dead workers have left beside this folder. Gives how many folders that were.
    pub fn clean(&self) -> io::Result<usize> {
        let mut cleaned = 0;
        for entry in self.path.parent().unwrap_or(&self.path).read_dir()? {
            let entry = entry?;
            let path = entry.path();
            let ours = entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_dir();
            // Its own, it has locked already: a lock belongs to an open file, and this would be another.
            if ours && path != self.path && abandoned(&path) && std::fs::remove_dir_all(&path).is_ok() {
                cleaned += 1;
            }
        }
        Ok(cleaned)
    }
}

impl Drop for WorkerFolder {
    fn drop(&mut self) {
        // What is left, the next worker clears away.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The lock of a folder, held until it is dropped.
fn locked(folder: &Path) -> io::Result<File> {
    let lock = File::create(folder.join(LOCK))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}

/// Whether nobody holds a folder's lock. One that is just being made has none yet, for a moment.
fn abandoned(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(_) => {
            let age = folder.metadata().and_then(|about| about.modified());
            age.ok()
                .and_then(|made| made.elapsed().ok())
                .is_some_and(|age| age.as_secs() > 60)
        }
    }
}

/// A runner's folder, open, so that nothing can be put in its place.
pub(super) struct ScratchFolder(OwnedFd);

impl ScratchFolder {
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::PATH;
        Ok(ScratchFolder(open(path, flags, Mode::empty())?))
    }

    /// Opens a plain file that lies in the folder itself, to read. The error says what is wrong.
    pub fn file(&self, name: &str) -> Result<File, String> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err("that is no plain name".into());
        }
        // Not to wait for the other end of a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = match openat2(&self.0, name, flags, Mode::empty(), beneath) {
            // An old kernel: the name has no way out of the folder by itself.
            Err(rustix::io::Errno::NOSYS) => openat(&self.0, name, flags, Mode::empty()),
            opened => opened,
        };
        let file = File::from(opened.map_err(|error| match error {
            rustix::io::Errno::LOOP => "it is a link".to_owned(),
            error => error.to_string(),
        })?);
        let about = file.metadata().map_err(|error| error.to_string())?;
        match problem(&about) {
            None => Ok(file),
            Some(problem) => Err(problem.into()),
        }
    }
}

fn problem(about: &Metadata) -> Option<&'static str> {
    if !about.is_file() {
        Some("it is no plain file")
    } else if about.nlink() != 1 {
        Some("it has another name elsewhere")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_plain_files_of_the_folder_are_opened() {
        let root = tempfile::tempdir().unwrap();
        let folder = WorkerFolder::new(root.path()).unwrap();
        let path = folder.runner().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let scratch = ScratchFolder::open(&path).unwrap();

        fs::write(path.join("plain"), "text").unwrap();
        assert!(scratch.file("plain").is_ok());
        fs::hard_link(path.join("plain"), root.path().join("other")).unwrap();
        assert_eq!(scratch.file("plain").unwrap_err(), "it has another name elsewhere");
        symlink("/etc/passwd", path.join("link")).unwrap();
        assert_eq!(scratch.file("link").unwrap_err(), "it is a link");
        fs::create_dir(path.join("folder")).unwrap();
        assert_eq!(scratch.file("folder").unwrap_err(), "it is no plain file");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path.join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(scratch.file("pipe").unwrap_err(), "it is no plain file");
        for name in ["", "../plain", "folder/x", ".", "..", "/etc/passwd"] {
            assert_eq!(scratch.file(name).unwrap_err(), "that is no plain name", "{name}");
        }
        assert!(scratch.file("absent").unwrap_err().contains("No such file"));
    }

    #[test]
    fn what_a_dead_worker_left_is_cleared_away_and_what_a_living_one_has_is_not() {
        let root = tempfile::tempdir().unwrap();
        let living = WorkerFolder::new(root.path()).unwrap();
        let kept = living.runner().unwrap();
        let dead = root.path().join("worker-1-0");
        fs::create_dir_all(dead.join("0")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let other = root.path().join("something-else");
        fs::create_dir(&other).unwrap();

        let another = WorkerFolder::new(root.path()).unwrap();
        assert_eq!(another.clean().unwrap(), 1);
        assert!(!dead.exists() && kept.exists() && other.exists());
        drop(living);
        assert!(!kept.exists());
    }
}

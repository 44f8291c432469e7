//! Compiled plugins on disk.
//!
//! An entry is machine code, so it is only ever run when it is certain that this program wrote it whole: the folder must
//! be ours alone, the name holds everything that decides what the code is, and the content is checked against its hash
//! before wasmtime sees it ([`crate::code`]). Whatever fails a check is compiled again.

use crate::code;
use crate::error::SandboxError;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A folder of compiled plugins, safe to share between processes of one user.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the folder, made if need be. Refuses one that another user owns or may write to: what lies in it is run as
    /// machine code.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, SandboxError> {
        let folder = folder.into();
        let io = |source| SandboxError::Io {
            what: format!("open the compile cache {}", folder.display()),
            source,
        };
        create_private(&folder).map_err(io)?;
        let metadata = fs::symlink_metadata(&folder).map_err(io)?;
        if let Some(problem) = untrusted(&metadata) {
            return Err(SandboxError::Cache {
                folder: folder.clone(),
                problem,
            });
        }
        Ok(Cache { folder })
    }

    /// The machine code under a name, if it is there and whole.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut content = fs::read(self.path(name)).ok()?;
        let length = code::unseal(&content)?.0.len();
        content.truncate(length);
        Some(content)
    }

    /// Keeps sealed machine code. A reader sees the old entry or the new one, never a part.
    pub(crate) fn write(&self, name: &str, sealed: &[u8]) -> std::io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let temporary = self.folder.join(format!(
            ".{name}.{}.{}",
            std::process::id(),
            COUNTER.fetch_add(1, Relaxed)
        ));
        let written = private_file(&temporary)
            .and_then(|mut file| file.write_all(sealed))
            .and_then(|()| fs::rename(&temporary, self.path(name)));
        if written.is_err() {
            // Nothing is lost when this fails too: it is a file that nobody reads.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

#[cfg(unix)]
fn create_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(unix)]
fn private_file(path: &Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(unix)]
fn untrusted(metadata: &fs::Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    if !metadata.is_dir() {
        return Some("it is not a folder".into());
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Some(format!("user {} owns it", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Some(format!("others may write to it (mode {:o})", metadata.mode() & 0o777));
    }
    None
}

#[cfg(not(unix))]
fn create_private(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(not(unix))]
fn private_file(path: &Path) -> std::io::Result<fs::File> {
    fs::File::create_new(path)
}

#[cfg(not(unix))]
fn untrusted(_: &fs::Metadata) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("code")).unwrap();
        (folder, cache)
    }

    fn sealed() -> Vec<u8> {
        code::seal(b"machine code".to_vec(), &[7; 32])
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let (_folder, cache) = cache();
        assert_eq!(cache.read("key"), None);
        cache.write("key", &sealed()).unwrap();
        assert_eq!(cache.read("key").unwrap(), b"machine code");
    }

    #[test]
    fn a_damaged_or_foreign_entry_is_as_good_as_none() {
        let (_folder, cache) = cache();
        cache.write("key", &sealed()).unwrap();
        let whole = fs::read(cache.path("key")).unwrap();
        for damaged in [
            &whole[..whole.len() - 1],
            &whole[..20],
            b"",
            b"\x7fELF something else altogether, and long enough for a hash and whatever else may stand at an end",
        ] {
            fs::write(cache.path("key"), damaged).unwrap();
            assert_eq!(cache.read("key"), None);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_private_and_one_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, cache) = cache();
        let mode = fs::metadata(&cache.folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);

        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Cache::open(&open).unwrap_err().to_string();
        assert!(error.contains("others may write to it (mode 777)"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_elsewhere_is_refused() {
        let (folder, cache) = cache();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&cache.folder, &link).unwrap();
        let error = Cache::open(&link).unwrap_err().to_string();
        assert!(error.contains("not a folder"), "{error}");
    }
}

//! Artifacts as files below one folder.
//!
//! A file is written under another name beside its place and renamed when it is whole and on the disk. Those names end in
//! `#` and a number, which no key can.

use crate::objects::{self, failure, io_words, key_of};
use crate::{ArtifactError, Artifacts, ByteStream, StoredObject};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Held by every process that uses the folder. Not a key, and not listed.
const LOCK: &str = "lock#0";
/// After so long without a write, a file that is not whole belongs to nobody.
const ABANDONED: Duration = Duration::from_secs(3600);

/// [`Artifacts`] below a folder.
pub struct DiskArtifacts {
    root: PathBuf,
    store: LocalFileSystem,
    /// Shared while this lives; the system lets go of it however the process ends.
    _lock: Option<File>,
}

impl DiskArtifacts {
    /// Opens a folder, which is made if there is none, and removes what processes that were killed left half-written.
    pub fn open(root: &Path) -> Result<Self, ArtifactError> {
        let failed = |error: io::Error| ArtifactError::Failed {
            key: root.display().to_string(),
            reason: io_words(&error),
        };
        std::fs::create_dir_all(root).map_err(failed)?;
        let root = std::fs::canonicalize(root).map_err(failed)?;
        let lock = File::options().create(true).append(true).open(root.join(LOCK)).ok();
        // Nobody else is here: then nothing half-written will ever be finished.
        let alone = lock.as_ref().is_some_and(|lock| lock.try_lock().is_ok());
        clean(&root, alone);
        if let Some(lock) = &lock {
            lock.lock_shared().map_err(failed)?;
        }
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| failure(&root.display().to_string(), &error))?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        Ok(DiskArtifacts {
            root,
            store,
            _lock: lock,
        })
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_ref())
    }
}

/// Removes files that are not whole. What cannot be removed does no harm.
fn clean(folder: &Path, all: bool) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            clean(&entry.path(), all);
        } else if name != LOCK && kind.is_file() && name.to_string_lossy().contains('#') {
            let abandoned = || {
                let written = entry.metadata().and_then(|metadata| metadata.modified());
                written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > ABANDONED))
            };
            if all || abandoned() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[async_trait]
impl Artifacts for DiskArtifacts {
    async fn put(&self, key: &str, content: Bytes) -> Result<StoredObject, ArtifactError> {
        objects::put(&self.store, key, content).await
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<StoredObject, ArtifactError> {
        objects::put_file(&self.store, key, file).await
    }

    async fn get(&self, key: &str) -> Result<Bytes, ArtifactError> {
        objects::get(&self.store, key).await
    }

    async fn stream(&self, key: &str) -> Result<(u64, ByteStream), ArtifactError> {
        objects::stream(&self.store, key).await
    }

    async fn open(&self, key: &str) -> Result<File, ArtifactError> {
        let path = self.path(&key_of(key)?);
        let opened = tokio::task::spawn_blocking(move || -> io::Result<File> {
            let file = File::open(path)?;
            // A folder can be opened too.
            if file.metadata()?.is_file() {
                Ok(file)
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        })
        .await;
        match opened {
            Ok(Ok(file)) => Ok(file),
            Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(ArtifactError::NotFound { key: key.to_owned() })
            }
            Ok(Err(error)) => Err(ArtifactError::Failed {
                key: key.to_owned(),
                reason: io_words(&error),
            }),
            Err(_) => Err(ArtifactError::Failed {
                key: key.to_owned(),
                reason: "opening it was cut short".into(),
            }),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>, ArtifactError> {
        objects::list(&self.store, prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), ArtifactError> {
        objects::delete(&self.store, key).await
    }

    async fn delete_all(&self, prefix: &str) -> Result<(), ArtifactError> {
        objects::delete_all(&self.store, prefix).await
    }

    async fn check(&self) -> Result<(), ArtifactError> {
        objects::check(&self.store).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name != LOCK)
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_removed_when_nobody_else_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        std::fs::create_dir(&runs).unwrap();
        let leave = |name: &str| std::fs::write(runs.join(name), "half").unwrap();
        leave("a");
        leave("a#1");
        leave("b#27");
        let first = DiskArtifacts::open(folder.path()).unwrap();
        assert_eq!(names(&runs), ["a"]);

        // Somebody else may be writing this one; only what is very old goes.
        leave("a#1");
        leave("b#27");
        let old = std::time::SystemTime::now() - ABANDONED * 2;
        File::options()
            .write(true)
            .open(runs.join("b#27"))
            .unwrap()
            .set_modified(old)
            .unwrap();
        let second = DiskArtifacts::open(folder.path()).unwrap();
        assert_eq!(names(&runs), ["a", "a#1"]);
        // It is neither listed nor in the way.
        assert_eq!(second.list("runs").await.unwrap().len(), 1);
        first.put("runs/a", Bytes::from_static(b"whole")).await.unwrap();
        assert_eq!(second.get("runs/a").await.unwrap(), "whole");
        drop((first, second));

        DiskArtifacts::open(folder.path()).unwrap();
        assert_eq!(names(&runs), ["a"]);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_used_is_an_error_in_words() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(DiskArtifacts::open(&folder.path().join("file")).is_err());
        assert!(DiskArtifacts::open(&folder.path().join("file/below")).is_err());

        let artifacts = DiskArtifacts::open(folder.path()).unwrap();
        let error = artifacts.put("file/below", Bytes::new()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "file/below: the artifact store failed: a folder of its path is a file"
        );
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        std::fs::write(folder.path().join("folder/a"), "").unwrap();
        let error = artifacts.put("folder", Bytes::new()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "folder: the artifact store failed: there is a folder in its place"
        );
        assert_eq!(names(folder.path()), ["file", "folder"]);
    }

    #[tokio::test]
    async fn a_folder_that_may_not_be_written_is_an_error_in_words() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let artifacts = DiskArtifacts::open(folder.path()).unwrap();
        artifacts.put("a", Bytes::from_static(b"before")).await.unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o500)).unwrap();
        // The superuser may write all the same.
        if File::create(folder.path().join("probe")).is_err() {
            let source = tempfile::NamedTempFile::new().unwrap();
            let results = [
                artifacts.put("a", Bytes::new()).await.map(|_| ()),
                artifacts.put_file("a", source.path()).await.map(|_| ()),
                artifacts.delete("a").await,
                artifacts.check().await,
            ];
            for result in results {
                let Err(ArtifactError::Failed { reason, .. }) = result else {
                    panic!("{result:?}")
                };
                assert_eq!(reason, "the folder may not be written or read by this user");
            }
            assert_eq!(artifacts.get("a").await.unwrap(), "before");
        }
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    }

    #[test]
    fn a_full_disk_is_said_to_be_full() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let source = Box::new(io::Error::from(kind));
            let error = failure(
                "a",
                &object_store::Error::Generic {
                    store: "LocalFileSystem",
                    source,
                },
            );
            assert_eq!(error.to_string(), "a: the artifact store failed: the disk is full");
        }
    }
}

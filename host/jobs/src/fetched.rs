//! Objects that were fetched, on the disk: the next that opens the same version of one has no need to fetch it. Files of
//! several processes may lie in one folder.

use std::fs::{File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::NamedTempFile;
use uuid::Uuid;

/// What names of files are made of.
const NAMES: Uuid = Uuid::from_u128(0x3f1c_8f0a_55d2_4f0e_8f0b_0e6d_2b7a_9c41);

/// A folder of fetched objects.
pub(crate) struct FetchedObjects {
    folder: PathBuf,
    /// Bytes that are kept at most; what was not used for longest goes first.
    most: u64,
}

impl FetchedObjects {
    pub fn new(folder: &Path, most: u64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(FetchedObjects {
            folder: folder.to_owned(),
            most,
        })
    }

    /// The file of a version of an object, if it is there.
    pub fn find(&self, version: &str) -> Option<File> {
        let file = File::open(self.path(version)).ok()?;
        // It was used just now. Where that cannot be noted it goes a little too soon.
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        Some(file)
    }

    /// A new file, which is gone unless it is kept.
    pub fn begin(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(".fetching-").tempfile_in(&self.folder)
    }

    /// Keeps a whole file as that of a version, if it is not too large, and makes room for it.
    pub fn keep(&self, version: &str, file: NamedTempFile) -> io::Result<File> {
        let size = file.as_file().metadata()?.len();
        if size > self.most {
            return Ok(file.into_file());
        }
        let kept = file.persist(self.path(version)).map_err(|error| error.error)?;
        self.make_room();
        Ok(kept)
    }

    fn path(&self, version: &str) -> PathBuf {
        self.folder.join(Uuid::new_v5(&NAMES, version.as_bytes()).to_string())
    }

    /// Whoever has a file open that goes keeps what it has.
    fn make_room(&self) {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut kept: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if kept <= self.most {
                return;
            }
            if std::fs::remove_file(path).is_ok() {
                kept -= size;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn keep(fetched: &FetchedObjects, version: &str, content: &[u8]) {
        let mut file = fetched.begin().unwrap();
        file.write_all(content).unwrap();
        fetched.keep(version, file).unwrap();
        // Times of files are coarse.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let fetched = FetchedObjects::new(folder.path(), 10).unwrap();
        keep(&fetched, "a", b"aaaa");
        keep(&fetched, "b", b"bbbb");
        let mut text = String::new();
        fetched.find("a").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "aaaa");
        std::thread::sleep(std::time::Duration::from_millis(20));
        keep(&fetched, "c", b"cccc");
        assert!(fetched.find("b").is_none());
        assert!(fetched.find("a").is_some() && fetched.find("c").is_some());
        keep(&fetched, "too large", b"12345678901");
        assert!(fetched.find("too large").is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let fetched = FetchedObjects::new(folder.path(), 0).unwrap();
        drop(fetched.begin().unwrap());
        keep(&fetched, "a", b"a");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

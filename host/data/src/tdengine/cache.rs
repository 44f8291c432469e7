//! Data sets that were fetched before, so that ten trainings on the same rows fetch them once.
//!
//! An entry is found by everything that decides which rows are read. It is served only while the database still counts
//! what it counted then: rows, values of each column, first and last time.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::OwnedMutexGuard;

use super::spool::UNFINISHED;

const DATA: &str = "arrow";
const ABOUT: &str = "json";

/// A folder of fetched data sets; one process uses it.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    limit: u64,
    turns: std::sync::Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// What is known of a data set at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What the database counted.
    pub figures: String,
    pub rows: u64,
}

impl Cache {
    /// Makes the folder, and clears what an earlier process did not finish.
    pub fn new(folder: &Path, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            limit,
            turns: std::sync::Mutex::default(),
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of what is read.
    pub fn key(of: &impl Serialize) -> String {
        let text = serde_json::to_vec(of).unwrap_or_default();
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Waits until nobody else fetches the same.
    pub async fn turn(&self, key: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(key.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// What is at hand, if the database still counts the same.
    pub fn find(&self, key: &str, figures: &str) -> Option<(File, Entry)> {
        let entry: Entry = serde_json::from_slice(&fs::read(self.path(key, ABOUT)).ok()?).ok()?;
        if entry.figures != figures {
            return None;
        }
        let file = File::open(self.path(key, DATA)).ok()?;
        // What was used last is the last to go.
        let _ = file.set_modified(SystemTime::now());
        Some((file, entry))
    }

    /// Keeps a data set, unless it is larger than all that may be kept. The handle stays good in any case.
    pub fn keep(&self, key: &str, entry: &Entry, data: NamedTempFile) -> io::Result<File> {
        let size = data.as_file().metadata()?.len();
        if size > self.limit {
            return File::open(data.path());
        }
        match fs::remove_file(self.path(key, ABOUT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.make_room(self.limit - size)?;
        let data = data.persist(self.path(key, DATA)).map_err(|error| error.error)?;
        let mut about = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.folder)?;
        about.write_all(&serde_json::to_vec(entry)?)?;
        about.persist(self.path(key, ABOUT)).map_err(|error| error.error)?;
        // Written through one's own handle; readers must not be able to write.
        drop(data);
        File::open(self.path(key, DATA))
    }

    /// Removes what was used longest ago, until so many bytes are left.
    fn make_room(&self, limit: u64) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == DATA)
                && let Ok(about) = entry.metadata()
            {
                kept.push((about.modified()?, about.len(), path));
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in kept {
            if total <= limit {
                break;
            }
            let _ = fs::remove_file(path.with_extension(ABOUT));
            fs::remove_file(&path)?;
            total -= size;
        }
        Ok(())
    }

    fn path(&self, key: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{key}.{extension}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(cache: &Cache, key: &str, size: usize) {
        let mut data = NamedTempFile::new_in(cache.folder()).unwrap();
        data.write_all(&vec![0; size]).unwrap();
        let entry = Entry {
            figures: "f".into(),
            rows: size as u64,
        };
        assert_eq!(
            cache.keep(key, &entry, data).unwrap().metadata().unwrap().len(),
            size as u64
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), 100).unwrap();
        keep(&cache, "a", 40);
        keep(&cache, "b", 40);
        assert!(cache.find("a", "f").is_some());
        std::thread::sleep(std::time::Duration::from_millis(5));
        keep(&cache, "c", 50);
        assert!(cache.find("a", "f").is_some() && cache.find("b", "f").is_none() && cache.find("c", "f").is_some());
        keep(&cache, "huge", 101);
        assert!(cache.find("huge", "f").is_none() && cache.find("a", "f").is_some());
        assert!(cache.find("a", "other").is_none(), "the database counts otherwise now");
    }

    #[test]
    fn what_was_not_finished_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(".unfinished-x");
        fs::write(&left, "x").unwrap();
        Cache::new(folder.path(), 1).unwrap();
        assert!(!left.exists());
    }
}

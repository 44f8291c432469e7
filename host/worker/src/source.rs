//! Finds the rows that a job asks for, and opens them for a runner.

use crate::failure::Failure;
use crate::protocol::DataFile;
use crate::worker::Shared;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use trainyard_data::DataFormat;
use trainyard_data::tdengine::{Fetched, Progress, Request, TdengineError};
use trainyard_jobs::{RowColumns, Source, TrainingDataset};

/// Rows, opened.
#[derive(Debug)]
pub(crate) struct OpenData {
    /// For a runner to read.
    pub file: File,
    /// How to read it.
    pub data: DataFile,
    /// What was fetched to make it, where it was no file before.
    pub fetched: Option<Fetched>,
}

/// Opens what a data set names; fetches it first, if it is in a database. `rows`: at most so many of each device that is
/// fetched. `progress` is told how far that is.
pub(crate) async fn open(
    shared: &Shared,
    dataset: &TrainingDataset,
    rows: Option<u64>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<OpenData, Failure> {
    let columns = dataset.row_columns();
    let opened = |file, format, name| OpenData {
        file,
        data: DataFile { format, name, columns },
        fetched: None,
    };
    match &dataset.source {
        Source::Upload { dataset_id } => {
            let stored = shared.store.dataset(dataset_id).await?;
            let file = shared.artifacts.open(&stored.key()).await?;
            Ok(opened(file, stored.format, stored.name))
        }
        Source::File { path } => {
            let (path, roots) = (path.clone(), shared.options.data_roots.clone());
            let found = tokio::task::spawn_blocking(move || open_file(&path, &roots)).await;
            let (file, format, name) = found.map_err(|error| Failure::ours("file", error))??;
            Ok(opened(file, format, name))
        }
        Source::Tdengine(query) => {
            let Some(tdengine) = &shared.tdengine else {
                return Err(not_configured());
            };
            let named = dataset.read_columns();
            let request = Request {
                query,
                columns: named.as_deref(),
                device_column: dataset.device_column.as_deref(),
                rows,
            };
            let fetched = tdengine.fetch(request, progress).await?;
            Ok(OpenData {
                file: fetched
                    .file
                    .try_clone()
                    .map_err(|error| Failure::ours("dataset file", error))?,
                data: DataFile {
                    format: DataFormat::Arrow,
                    name: fetched.name.clone(),
                    columns: RowColumns {
                        time: Some(fetched.time.clone()),
                        device: fetched.device_column.clone(),
                    },
                },
                fetched: Some(fetched),
            })
        }
    }
}

pub(crate) fn not_configured() -> Failure {
    let message = "this worker has no TDengine server; its operator sets dsn in [tdengine]";
    Failure::job("tdengine.not-configured", message)
}

impl From<TdengineError> for Failure {
    fn from(error: TdengineError) -> Self {
        Failure::job(error.code(), error.to_string())
    }
}

/// Opens a file below one of the folders. The kernel resolves the path, so that no link and no `..` leads out of it.
fn open_file(path: &str, roots: &[PathBuf]) -> Result<(File, DataFormat, String), Failure> {
    let refused = |problem: String| Failure::job("file", format!("{path}: {problem}"));
    let Some(format) = DataFormat::of_name(path) else {
        return Err(refused(
            "the name must end in .csv, .tsv, .parquet, .arrow or .json, so that one knows how to read it".into(),
        ));
    };
    if roots.is_empty() {
        return Err(refused(
            "this worker reads no files; upload the data, or let its operator set data_roots".into(),
        ));
    }
    let wanted = Path::new(path);
    if wanted.components().any(|part| part == Component::ParentDir) {
        return Err(refused("`..` is not allowed; write the path as it is".into()));
    }
    let inside = if wanted.is_absolute() {
        let root = roots.iter().find(|root| wanted.starts_with(root));
        root.and_then(|root| Some((root, wanted.strip_prefix(root).ok()?)))
    } else {
        roots.first().map(|root| (root, wanted))
    };
    let Some((root, below)) = inside else {
        let roots: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        return Err(refused(format!("it is not below {}", roots.join(" or "))));
    };
    let folder = File::open(root).map_err(|error| Failure::job("file", format!("{}: {error}", root.display())))?;
    let opened = rustix::fs::openat2(
        &folder,
        below,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(|error| {
        refused(match error {
            rustix::io::Errno::XDEV => "it leads out of the folder that files may be read from".into(),
            error => std::io::Error::from(error).to_string(),
        })
    })?;
    let file = File::from(opened);
    let kind = file.metadata().map_err(|error| refused(error.to_string()))?;
    if !kind.is_file() {
        return Err(refused("it is no regular file".into()));
    }
    let name = wanted.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok((file, format, name.unwrap_or_else(|| path.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_below_the_roots_only() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        std::fs::create_dir_all(root.join("sub.csv")).unwrap();
        std::fs::write(root.join("a.csv"), "x\n1\n").unwrap();
        std::fs::write(folder.path().join("secret.csv"), "x\n1\n").unwrap();
        std::os::unix::fs::symlink("../secret.csv", root.join("link.csv")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret.csv"), root.join("absolute.csv")).unwrap();
        std::os::unix::fs::symlink("a.csv", root.join("fine.csv")).unwrap();
        let roots = [root.clone()];
        for path in ["a.csv", "./a.csv", "fine.csv", root.join("a.csv").to_str().unwrap()] {
            let (_, format, _) = open_file(path, &roots).unwrap();
            assert_eq!(format, DataFormat::Csv, "{path}");
        }
        let secret = folder.path().join("secret.csv");
        for (path, problem) in [
            ("../secret.csv", "`..`"),
            ("sub/../../secret.csv", "`..`"),
            (secret.to_str().unwrap(), "not below"),
            ("link.csv", "leads out"),
            ("absolute.csv", "leads out"),
            ("sub.csv", "no regular file"),
            ("missing.csv", "No such file"),
            ("a", "must end in"),
            ("/proc/self/environ", "must end in"),
            ("a\0.csv", "a"),
        ] {
            let error = open_file(path, &roots).unwrap_err().to_string();
            assert!(error.contains(problem), "{path:?}: {error}");
        }
        assert!(open_file("a.csv", &[]).unwrap_err().to_string().contains("data_roots"));
    }
}

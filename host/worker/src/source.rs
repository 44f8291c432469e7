//! Finds the rows that a job asks for, and opens them for a runner.

use crate::failure::Failure;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use trainyard_data::DataFormat;
use trainyard_jobs::{Artifacts, Source, Store, TrainingDataset};

/// Rows, opened.
#[derive(Debug)]
pub(crate) struct OpenData {
    /// For a runner to read.
    pub file: File,
    /// How it is written.
    pub format: DataFormat,
    /// What messages call it.
    pub name: String,
}

/// Opens what a data set names.
pub(crate) async fn open(
    dataset: &TrainingDataset,
    store: &Arc<dyn Store>,
    artifacts: &Arc<dyn Artifacts>,
    roots: &[PathBuf],
) -> Result<OpenData, Failure> {
    match &dataset.source {
        Source::Upload { dataset_id } => {
            let stored = store.dataset(dataset_id).await?;
            Ok(OpenData {
                file: artifacts.open(&stored.key()).await?,
                format: stored.format,
                name: stored.name,
            })
        }
        Source::File { path } => {
            let (path, roots) = (path.clone(), roots.to_vec());
            tokio::task::spawn_blocking(move || open_file(&path, &roots))
                .await
                .map_err(|error| Failure::ours("file", error))?
        }
    }
}

/// Opens a file below one of the folders. The kernel resolves the path, so that no link and no `..` leads out of it.
fn open_file(path: &str, roots: &[PathBuf]) -> Result<OpenData, Failure> {
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
    Ok(OpenData {
        file,
        format,
        name: wanted
            .file_name()
            .map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned()),
    })
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
            let open = open_file(path, &roots).unwrap();
            assert_eq!(open.format, DataFormat::Csv, "{path}");
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

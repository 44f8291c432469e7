//! A plugin's content: a file as it is, or the folder of a Python project as a zip.

use crate::failure::{Failure, Result};
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Folders at the top of a project that are no part of the plugin.
const ASIDE: &[&str] = &["tests", "venv", "env", "build", "dist"];

/// Whether a folder holds a plugin in Python: a `pyproject.toml`, or modules.
pub fn is_python(folder: &Path) -> bool {
    folder.join("pyproject.toml").is_file() || files(folder).is_ok_and(|files| !files.is_empty())
}

/// What is uploaded and run.
pub fn content(path: &Path) -> Result<Vec<u8>> {
    match path.is_dir() {
        true => zipped(path),
        false => fs::read(path).map_err(Failure::file("read", path)),
    }
}

/// When any of it was last saved, and its size: what changes with each save.
pub fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let files = match path.is_dir() {
        true => files(path).ok()?,
        false => vec![path.to_path_buf()],
    };
    files
        .iter()
        .try_fold((SystemTime::UNIX_EPOCH, 0), |(last, size), file| {
            let metadata = fs::metadata(file).ok()?;
            Some((last.max(metadata.modified().ok()?), size + metadata.len()))
        })
}

/// The same files give the same bytes, whenever they were written.
fn zipped(folder: &Path) -> Result<Vec<u8>> {
    let files = files(folder)?;
    if files.is_empty() {
        return Err(Failure::Usage(format!(
            "{}: there are no Python files in it",
            folder.display()
        )));
    }
    let unzipped = |error: zip::result::ZipError| Failure::Plugin(format!("{}: {error}", folder.display()));
    // Small texts: not worth a compressor.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for file in files {
        let text = fs::read(&file).map_err(Failure::file("read", &file))?;
        let name = file.strip_prefix(folder).unwrap_or(&file);
        let name: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
        zip.start_file(name.join("/"), options).map_err(unzipped)?;
        zip.write_all(&text).map_err(|error| unzipped(error.into()))?;
    }
    Ok(zip.finish().map_err(unzipped)?.into_inner())
}

/// `pyproject.toml` and every module, in order; without what is hidden, compiled, or aside.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let project = folder.join("pyproject.toml");
    if project.is_file() {
        found.push(project);
    }
    collect(folder, true, &mut found)?;
    Ok(found)
}

fn collect(folder: &Path, top: bool, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(Failure::file("read", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(Failure::file("read", folder))?.path());
    }
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "__pycache__" || (top && ASIDE.contains(&&*name)) {
            continue;
        }
        // A link may lead in a circle.
        if path.is_dir() && !path.is_symlink() {
            collect(&path, false, found)?;
        } else if path.extension().is_some_and(|ending| ending == "py") && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_project_becomes_the_same_zip_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(!is_python(folder.path()));
        assert!(content(folder.path()).is_err());
        write("plugin.py", "import parts\n");
        assert!(is_python(folder.path()));
        write("pyproject.toml", "[project]\nname = 'x'\n");
        write("parts/__init__.py", "A = 1\n");
        write("parts/tests/a.py", "");
        for aside in [
            "tests/a.py",
            ".venv/a.py",
            "venv/a.py",
            "parts/__pycache__/a.py",
            "notes.txt",
        ] {
            write(aside, "nonsense(");
        }
        let zip = content(folder.path()).unwrap();
        let archive = zip::ZipArchive::new(Cursor::new(zip.clone())).unwrap();
        let names: Vec<_> = archive.file_names().map(|name| name.unwrap()).collect();
        assert_eq!(
            names,
            ["pyproject.toml", "parts/__init__.py", "parts/tests/a.py", "plugin.py"]
        );
        let before = stamp(folder.path()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        write("plugin.py", "import parts\n");
        assert_ne!(stamp(folder.path()).unwrap(), before);
        assert_eq!(content(folder.path()).unwrap(), zip);
    }
}

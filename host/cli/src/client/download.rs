//! `trainyard download`: a trained model as a folder. The archive may be anything: what is in it lands in that folder, as
//! plain files, or not at all.

use super::http::Client;
use crate::args::DownloadOptions;
use crate::failure::{Failure, Result};
use crate::output;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use trainyard_parameters::{one_line, quoted};

/// More files than any model has.
const MOST_FILES: usize = 1000;

/// Fetches the model.
pub fn download(options: &DownloadOptions) -> Result<()> {
    let client = Client::new(&options.client.server)?;
    let model = client.model(&options.model)?;
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(folder_name(&model.name, model.id)));
    if !may_replace(&out) {
        return Err(Failure::Usage(format!(
            "{} is there already and is no model; choose another folder with --out",
            out.display()
        )));
    }
    let run = options.run.as_deref().map(|run| ("run", run));
    let response = client.open(&format!("/models/{}/artifact", model.id), run.as_slice())?;
    let mut content = response.into_body().into_reader();
    let files = unpack_into(&mut content, &out)?;
    if options.client.json {
        output::print_json(&json!({"event": "result", "model": model.id, "folder": out, "files": files}));
    } else {
        output::print(&format!("{}: {}", out.display(), files.join(", ")));
        output::print(&format!("  use it: trainyard predict {} --data FILE", out.display()));
    }
    Ok(())
}

/// A folder's name for a model whose name may be anything.
fn folder_name(name: &str, id: i64) -> String {
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let plain = plain.trim_matches(['.', '-']);
    if plain.is_empty() {
        format!("model-{id}")
    } else {
        plain.to_owned()
    }
}

/// Whether a folder is free, empty, or a model's.
fn may_replace(folder: &Path) -> bool {
    let empty = || fs::read_dir(folder).is_ok_and(|mut files| files.next().is_none());
    !folder.exists() || folder.join("model.json").is_file() || empty()
}

/// Unpacks beside the folder, and puts the files in their place once all are there. Gives their names.
fn unpack_into(archive: &mut impl Read, out: &Path) -> Result<Vec<String>> {
    let parent = out
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = out
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let beside = parent.join(format!(".{name}.partial-{}", std::process::id()));
    let outcome = fs::create_dir_all(&beside)
        .map_err(Failure::file("create the folder", &beside))
        .and_then(|()| {
            let files = unpack(archive, &beside).map_err(|problem| Failure::Artifact {
                path: out.to_path_buf(),
                problem,
                remedy: "nothing was written; try again",
            })?;
            place(&files, &beside, out)?;
            Ok(files)
        });
    // What is left of it is of no use to anyone.
    let _ = fs::remove_dir_all(&beside);
    outcome
}

/// Moves files to where they belong. A model's description comes last: a folder without it is no model.
fn place(files: &[String], from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_file(to.join("model.json"));
    let (last, first): (Vec<&String>, Vec<&String>) = files.iter().partition(|file| *file == "model.json");
    for file in first.into_iter().chain(last) {
        let target = to.join(file);
        let folder = target.parent().unwrap_or(to);
        fs::create_dir_all(folder).map_err(Failure::file("create the folder", folder))?;
        fs::rename(from.join(file), &target).map_err(Failure::file("write", &target))?;
    }
    Ok(())
}

/// Unpacks an archive into an empty folder: plain files under plain names. Anything else is refused, and so is an archive
/// that is cut off.
fn unpack(archive: &mut impl Read, folder: &Path) -> std::result::Result<Vec<String>, String> {
    let broken = |error: io::Error| format!("the archive is damaged: {}", one_line(&error.to_string()));
    let mut files = Vec::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let name = plain(&path).ok_or_else(|| {
            format!(
                "the archive has a file called {}, which would land outside",
                quoted(&path.to_string_lossy())
            )
        })?;
        match entry.header().entry_type() {
            tar::EntryType::Directory => continue,
            tar::EntryType::Regular => {}
            _ => return Err(format!("the archive has {}, which is no plain file", quoted(&name))),
        }
        if files.len() == MOST_FILES {
            return Err(format!("the archive has more than {MOST_FILES} files"));
        }
        let target = folder.join(&name);
        let parent = target.parent().unwrap_or(folder);
        let written = fs::create_dir_all(parent)
            // Twice the same name is no plain archive either.
            .and_then(|()| File::create_new(&target))
            .and_then(|mut file| io::copy(&mut entry, &mut file));
        let size = written.map_err(|error| format!("{}: {}", quoted(&name), one_line(&error.to_string())))?;
        if size != entry.size() {
            return Err("the archive is cut off".into());
        }
        files.push(name);
    }
    // What comes after the last file shows whether all of it came.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    if files.is_empty() {
        return Err("the archive is empty".into());
    }
    Ok(files)
}

/// A path that stays below where it begins, as text.
fn plain(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // The builder refuses what these tests are about.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o777);
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn outcome(bytes: &[u8]) -> (std::result::Result<Vec<String>, String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        fs::create_dir(&inside).unwrap();
        (unpack(&mut &bytes[..], &inside), folder)
    }

    use tar::EntryType::{Directory, Link, Regular, Symlink};

    #[test]
    fn plain_files_are_written() {
        let bytes = archive(&[
            ("model.json", Regular, b"{}"),
            ("logs/", Directory, b""),
            ("./logs/a.log", Regular, b"x"),
        ]);
        let (files, folder) = outcome(&bytes);
        assert_eq!(files.unwrap(), ["model.json", "logs/a.log"]);
        assert_eq!(fs::read(folder.path().join("inside/logs/a.log")).unwrap(), b"x");
    }

    #[test]
    fn nothing_lands_outside() {
        for name in ["../evil", "a/../../evil", "/evil"] {
            let (files, folder) = outcome(&archive(&[(name, Regular, b"x")]));
            assert!(files.unwrap_err().contains("outside"), "{name}");
            assert!(!folder.path().join("evil").exists() && !Path::new("/evil").exists());
        }
    }

    #[test]
    fn links_and_repeated_names_are_refused() {
        for kind in [Symlink, Link, tar::EntryType::Fifo, tar::EntryType::Char] {
            let (files, _folder) = outcome(&archive(&[("a", kind, b"")]));
            assert!(files.unwrap_err().contains("no plain file"), "{kind:?}");
        }
        assert!(
            outcome(&archive(&[("a", Regular, b"1"), ("a", Regular, b"2")]))
                .0
                .is_err()
        );
    }

    #[test]
    fn what_is_cut_off_or_empty_is_refused() {
        let whole = archive(&[("a", Regular, &[7; 2000])]);
        assert!(outcome(&whole[..1000]).0.is_err());
        assert!(outcome(&whole[..100]).0.is_err());
        assert!(outcome(&archive(&[])).0.unwrap_err().contains("empty"));
        assert!(outcome(b"not an archive at all").0.is_err());
    }

    #[test]
    fn a_folder_is_replaced_only_where_it_is_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let bytes = archive(&[("model.json", Regular, b"new"), ("plugin.wasm", Regular, b"x")]);
        assert!(may_replace(&out));
        unpack_into(&mut &bytes[..], &out).unwrap();
        assert!(may_replace(&out));
        unpack_into(&mut &bytes[..], &out).unwrap();
        assert_eq!(fs::read(out.join("model.json")).unwrap(), b"new");
        assert!(unpack_into(&mut &bytes[..700], &out).is_err());
        assert_eq!(
            fs::read(out.join("model.json")).unwrap(),
            b"new",
            "a failure leaves what was there"
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        fs::remove_file(out.join("model.json")).unwrap();
        assert!(!may_replace(&out));
    }

    #[test]
    fn every_name_of_a_model_makes_a_folder() {
        assert_eq!(folder_name("pump 3/../x", 7), "pump-3-..-x");
        assert_eq!(folder_name("../..", 7), "model-7");
        assert_eq!(folder_name("ETTh1", 7), "ETTh1");
    }
}

//! Puts the files of the web page into the program: those that `npm run build` left in `console/dist`, or of the folder that
//! `TRAINYARD_CONSOLE` names. Without them there is a page that says how to build it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=TRAINYARD_CONSOLE");
    let folder = |name: &str| PathBuf::from(env::var_os(name).unwrap_or_default());
    let built = match env::var_os("TRAINYARD_CONSOLE") {
        Some(folder) => PathBuf::from(folder),
        None => folder("CARGO_MANIFEST_DIR").join("../../console/dist"),
    };
    println!("cargo::rerun-if-changed={}", built.display());
    let mut files = Vec::new();
    if built.join("index.html").is_file() {
        find(&built, &mut files)?;
        files.sort();
    }
    let out = folder("OUT_DIR");
    let mut list = String::from("&[");
    for (at, file) in files.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", file.display());
        let content = fs::read(file)?;
        // What was given cannot change under a compiler that runs.
        let copy = out.join(format!("{at}"));
        let packed = out.join(format!("{at}.gz"));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&content)?;
        fs::write(&copy, &content)?;
        let gzip = gzip.finish()?;
        // What is small already does not become smaller.
        let smaller: &[u8] = if gzip.len() < content.len() { &gzip } else { &[] };
        fs::write(&packed, smaller)?;
        let path = file.strip_prefix(&built).map_err(io::Error::other)?;
        let path = path
            .to_str()
            .ok_or_else(|| io::Error::other("a file's name is not UTF-8"))?;
        let written = writeln!(
            list,
            "File {{ path: {path:?}, content: include_bytes!({copy:?}), gzip: include_bytes!({packed:?}) }},"
        );
        written.map_err(io::Error::other)?;
    }
    list.push(']');
    fs::write(out.join("files.rs"), list)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => find(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

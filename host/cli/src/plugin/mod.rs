//! `trainyard plugin`: from an empty folder to a file that runs.

mod check;
mod test;
mod watch;

pub use check::check;
pub use test::test;

use crate::args::{BuildOptions, FileOptions, Language, NewOptions};
use crate::failure::{Failure, Result};
use crate::{library, project};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use trainyard_sandbox::{Description, Inspection};

/// The template's files: their path in the new folder, and their text.
const TEMPLATE: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        include_str!("../../../../sdk/rust/template/Cargo.toml.in"),
    ),
    (
        "src/lib.rs",
        include_str!("../../../../sdk/rust/template/src/lib.rs.in"),
    ),
    (".gitignore", include_str!("../../../../sdk/rust/template/gitignore.in")),
    ("README.md", include_str!("../../../../sdk/rust/template/README.md.in")),
];

pub fn new(options: &NewOptions) -> Result<()> {
    let name = &options.name;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || name.len() > 64
        || !name.chars().all(plain)
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
        || name.ends_with('-')
    {
        return Err(Failure::Usage(format!(
            "`{name}` is no name for a plugin: use lower-case letters, digits and hyphens, beginning with a letter"
        )));
    }
    if options.lang == Language::Python {
        return new_python(name, options.path.as_deref().unwrap_or(Path::new(".")));
    }
    let folder = options.path.clone().unwrap_or_else(|| PathBuf::from(name));
    if fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_some()) {
        return Err(Failure::Usage(format!(
            "{} is there already and not empty; choose another name, or --path",
            folder.display()
        )));
    }
    let sdk = sdk(options.sdk.as_deref())?;
    for (file, text) in TEMPLATE {
        let path = folder.join(file);
        let text = text
            .replace("{{name}}", name)
            .replace("{{sdk}}", &sdk.display().to_string());
        let parent = path.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).map_err(Failure::file("create the folder", parent))?;
        fs::write(&path, text).map_err(Failure::file("write", &path))?;
    }
    println!(
        "{}: a plugin that trains a linear model, for you to change",
        folder.display()
    );
    println!("  edit   {}", folder.join("src/lib.rs").display());
    println!("  build  trainyard plugin build {}", folder.display());
    println!(
        "  train  trainyard run {} --data FILE ...",
        folder.join(format!("{name}.wasm")).display()
    );
    Ok(())
}

/// One file is all that a plugin in Python is.
fn new_python(name: &str, folder: &Path) -> Result<()> {
    let path = folder.join(name.replace('-', "_")).with_extension("py");
    if path.exists() {
        return Err(Failure::Usage(format!(
            "{} is there already; choose another name, or --path",
            path.display()
        )));
    }
    let class: String = name
        .split('-')
        .filter_map(|part| {
            let (first, rest) = part.split_at_checked(1)?;
            Some(first.to_uppercase() + rest)
        })
        .collect();
    let text = PYTHON.replace("{{name}}", name).replace("{{class}}", &class);
    fs::create_dir_all(folder).map_err(Failure::file("create the folder", folder))?;
    fs::write(&path, text).map_err(Failure::file("write", &path))?;
    let file = path.display();
    println!("{file}: a plugin that trains a small network, for you to change");
    println!("  check  trainyard plugin check {file}");
    println!("  try    trainyard plugin test {file} --watch");
    println!("  train  trainyard run {file} --data FILE ...");
    println!("  share  trainyard plugin push {file}");
    println!("Editors know the SDK after `pip install ./sdk/python` in a Trainyard checkout.");
    Ok(())
}

const PYTHON: &str = include_str!("../../../../sdk/python/template/plugin.py.in");

/// Where the Rust SDK lies: said, or in the checkout that this binary was built from.
fn sdk(said: Option<&Path>) -> Result<PathBuf> {
    let folder = said
        .map(Path::to_path_buf)
        .or_else(|| std::env::var_os("TRAINYARD_SDK").map(PathBuf::from));
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/rust"));
    match folder.canonicalize() {
        Ok(path) if path.join("Cargo.toml").is_file() => Ok(path),
        _ => Err(Failure::Usage(format!(
            "{} is not the Rust SDK; give the folder sdk/rust of a Trainyard checkout with --sdk",
            folder.display()
        ))),
    }
}

/// Builds a plugin of Rust: the file, beside its Cargo.toml or where it is wanted.
fn built(folder: &Path, out: Option<&Path>) -> Result<PathBuf> {
    let target = folder.join("target");
    let built = trainyard_toolchain::build_plugin(folder, &target, true)?;
    let out = match (out, built.file_name()) {
        (Some(out), _) => out.to_path_buf(),
        (None, Some(name)) => folder.join(name.to_string_lossy().replace('_', "-")),
        (None, None) => built.clone(),
    };
    fs::copy(&built, &out).map_err(Failure::file("write", &out))?;
    Ok(out)
}

pub fn build(options: &BuildOptions) -> Result<()> {
    let out = built(&options.path, options.out.as_deref())?;
    let inspection = Inspection::of_file(&library::engine()?, &out)?;
    inspection.check()?;
    println!(
        "{}: {}",
        out.display(),
        trainyard_kernels::bytes(inspection.size as u64)
    );
    println!("  train  trainyard run {} --data FILE ...", out.display());
    Ok(())
}

pub fn inspect(options: &FileOptions) -> Result<()> {
    let inspection = inspection(options)?;
    if options.json {
        print(&inspection);
    } else {
        println!("{inspection}");
        if let Some(description) = &inspection.description {
            println!("{}", told(description));
        }
    }
    Ok(())
}

/// What a plugin can be told, and what it says of a model.
fn told(description: &Description) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["parameter", "default", "allowed", "meaning"]);
    let schema = &description.parameters;
    for (name, property) in schema.properties() {
        let default = property.get("default").map_or_else(|| "-".into(), ToString::to_string);
        let meaning = property.get("description").and_then(|d| d.as_str()).unwrap_or_default();
        table.add_row([
            name.to_owned(),
            default,
            schema.allowed(name).unwrap_or_default(),
            meaning.to_owned(),
        ]);
    }
    for metric in &description.metrics {
        let better = if metric.maximize {
            "larger is better"
        } else {
            "smaller is better"
        };
        table.add_row([
            format!("-> {}", metric.name),
            String::new(),
            better.to_owned(),
            metric.summary.clone(),
        ]);
    }
    table
}

pub fn list(json: bool) -> Result<()> {
    let plugins = library::all();
    if plugins.is_empty() && !json {
        println!("the library is empty: build it with `cargo xtask plugins`, or set TRAINYARD_PLUGINS to its folder");
    }
    let engine = library::engine()?;
    for (name, path) in plugins {
        let inspection = Inspection::of_file(&engine, &path).map(|i| i.description);
        if json {
            crate::output::print_json(&json!({
                "name": name,
                "file": path,
                "about": inspection.as_ref().ok(),
                "error": inspection.as_ref().err().map(ToString::to_string),
            }));
            continue;
        }
        match inspection {
            Ok(Some(about)) => println!(
                "{name:<12} {:<8} {}  [{}]",
                about.version,
                about.summary,
                about.tasks.join(", ")
            ),
            Ok(None) => println!("{name:<12} does not fit this host: trainyard plugin check {name}"),
            Err(error) => println!("{name:<12} {error}"),
        }
    }
    Ok(())
}

fn inspection(options: &FileOptions) -> Result<Inspection> {
    let path = library::find(&options.plugin)?;
    let content = project::content(&path)?;
    Ok(Inspection::of_named(
        &library::engine()?,
        &content,
        &path.display().to_string(),
    )?)
}

fn print(inspection: &Inspection) {
    match serde_json::to_value(inspection) {
        Ok(value) => crate::output::print_json(&value),
        Err(error) => eprintln!("error: {error}"),
    }
}

//! Data sets on a server: uploaded, listed, shown, deleted.

use super::api::Dataset;
use super::http::{Client, escaped};
use super::plugins::read;
use super::{overview, text};
use crate::args::{ClientOptions, DatasetCommand};
use crate::failure::{Failure, Result};
use crate::output;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{IsTerminal, Read, Seek};
use std::path::Path;
use trainyard_data::DataFormat;
use trainyard_parameters::one_line;

/// Does what was asked for.
pub fn command(options: &ClientOptions, command: &DatasetCommand) -> Result<()> {
    let client = Client::new(&options.server)?;
    match command {
        DatasetCommand::Push { file, name } => push(&client, file, name.as_deref(), options.json),
        DatasetCommand::List => list(&client, options.json),
        DatasetCommand::Show { dataset } => show(&client, dataset, options.json),
        DatasetCommand::Delete { dataset } => {
            let dataset = client.dataset(dataset)?;
            let deleted: Value = client.delete(&format!("/datasets/{}", escaped(&dataset.id)))?;
            if options.json {
                output::print_json(&deleted);
            } else {
                output::print(&format!(
                    "data set {} ({}) is deleted",
                    dataset.id,
                    one_line(&dataset.name)
                ));
            }
            Ok(())
        }
    }
}

fn push(client: &Client, file: &Path, name: Option<&str>, json: bool) -> Result<()> {
    let Uploaded { dataset, is_new } = upload(client, file, name)?;
    if json {
        output::print_json(&json!({
            "event": "result",
            "id": dataset.id,
            "name": dataset.name,
            "rows": dataset.rows,
            "digest": dataset.digest,
            "new": is_new,
        }));
    } else {
        let known = if is_new { "" } else { ", which was there already" };
        output::print(&format!("data set {}: {} rows{known}", dataset.id, dataset.rows));
        for warning in warnings(&dataset) {
            eprintln!("warning: {warning}");
        }
    }
    Ok(())
}

/// What came of an upload.
pub struct Uploaded {
    pub dataset: Dataset,
    /// Whether it was sent; not where the server had the content already.
    pub is_new: bool,
}

/// Uploads a file, unless the server has its content already: under that name, where one is given.
pub fn upload(client: &Client, path: &Path, name: Option<&str>) -> Result<Uploaded> {
    let own = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let called = name.unwrap_or(&own);
    let format = DataFormat::of_name(called)
        .or_else(|| DataFormat::of_name(&own))
        .ok_or_else(|| {
            Failure::Usage(format!(
                "{}: its name does not say how it is written; it ends in .csv, .tsv, .parquet, .arrow or .json",
                path.display()
            ))
        })?;
    let mut file = File::open(path).map_err(Failure::file("read", path))?;
    let size = file.metadata().map_err(Failure::file("read", path))?.len();
    let digest = digest(&mut file).map_err(Failure::file("read", path))?;
    let known: Vec<Dataset> = client.all("/datasets", &[])?;
    let same = |dataset: &&Dataset| {
        dataset.digest == digest && dataset.format == format.as_str() && name.is_none_or(|name| dataset.name == name)
    };
    if let Some(dataset) = known.iter().find(same) {
        return Ok(Uploaded {
            dataset: dataset.clone(),
            is_new: false,
        });
    }
    file.rewind().map_err(Failure::file("read", path))?;
    let bar = bar(&own, size);
    let sent = client.upload(
        "/datasets",
        &[("name", called)],
        content_type(format),
        (bar.wrap_read(file), size),
    );
    bar.finish_and_clear();
    Ok(Uploaded {
        dataset: sent?,
        is_new: true,
    })
}

/// A data set as a person names it.
pub struct Named {
    /// Fields of a `training_dataset`.
    pub fields: Map<String, Value>,
    /// Whether they are all of it, and not only where rows come from.
    pub is_whole: bool,
}

/// What a person names: a .json file, or standard input, that holds a whole `training_dataset`; a file on the worker's
/// machine; or an upload, by its id or name.
pub fn named(client: &Client, said: &str) -> Result<Named> {
    if said == "-" || (said.ends_with(".json") && Path::new(said).is_file()) {
        let fields = read_object(Path::new(said))?;
        return Ok(Named { fields, is_whole: true });
    }
    let pairs = match said.strip_prefix("file:") {
        Some(path) => [("source", json!("file")), ("path", json!(path))],
        None => [
            ("source", json!("upload")),
            ("dataset_id", json!(client.dataset(said)?.id)),
        ],
    };
    Ok(Named {
        fields: pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        is_whole: false,
    })
}

/// The object in a file, or in standard input where that is `-`.
fn read_object(path: &Path) -> Result<Map<String, Value>> {
    let text = match path == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let called = match path == Path::new("-") {
        true => "standard input".into(),
        false => path.display().to_string(),
    };
    match serde_json::from_str(&text.map_err(Failure::file("read", path))?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Failure::Usage(format!(
            "{called}: it is not an object such as {{\"source\":\"upload\",\"dataset_id\":\"…\"}}"
        ))),
        Err(error) => Err(Failure::Usage(format!("{called}: it is not JSON: {error}"))),
    }
}

/// What the server found that may be wrong.
pub fn warnings(dataset: &Dataset) -> impl Iterator<Item = String> {
    let warnings = dataset
        .report
        .get("warnings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    warnings.filter_map(Value::as_str).map(one_line)
}

/// The type of a body that holds rows.
pub fn content_type(format: DataFormat) -> &'static str {
    match format {
        DataFormat::Csv => "text/csv",
        DataFormat::Tsv => "text/tab-separated-values",
        DataFormat::Parquet => "application/vnd.apache.parquet",
        DataFormat::Arrow => "application/vnd.apache.arrow.stream",
        DataFormat::Json => "application/json",
    }
}

fn digest(file: &mut File) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            size => hash.update(&buffer[..size]),
        }
    }
}

/// A bar for what takes a while, at a terminal.
fn bar(name: &str, size: u64) -> ProgressBar {
    if size < 1 << 20 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size).with_message(one_line(name));
    if let Ok(style) =
        ProgressStyle::with_template("{bar:32.cyan/blue} {percent:>3} %  {msg}: {bytes} of {total_bytes}")
    {
        bar.set_style(style.progress_chars("━━╌"));
    }
    bar
}

fn list(client: &Client, json: bool) -> Result<()> {
    let datasets: Vec<Value> = client.all("/datasets", &[])?;
    if json {
        datasets.iter().for_each(output::print_json);
        return Ok(());
    }
    let mut table = text::table(["id", "name", "rows", "size", "uploaded"]);
    for dataset in read::<Dataset>(client, datasets)? {
        table.add_row([
            one_line(&dataset.id),
            one_line(&dataset.name),
            dataset.rows.to_string(),
            trainyard_kernels::bytes(dataset.size),
            text::time(&dataset.created_at),
        ]);
    }
    text::right(&mut table, 2);
    text::right(&mut table, 3);
    output::print(&match table.is_empty() {
        true => format!(
            "{} has no data sets; `trainyard dataset push FILE` uploads one",
            client.url()
        ),
        false => table.to_string(),
    });
    Ok(())
}

fn show(client: &Client, said: &str, json: bool) -> Result<()> {
    let id = client.dataset(said)?.id;
    let value: Value = client.get(&format!("/datasets/{}", escaped(&id)), &[])?;
    if json {
        output::print_json(&value);
        return Ok(());
    }
    let dataset = read::<Dataset>(client, vec![value])?.remove(0);
    let mut facts = vec![
        ("name", one_line(&dataset.name)),
        ("id", one_line(&dataset.id)),
        ("rows", dataset.rows.to_string()),
        ("size", trainyard_kernels::bytes(dataset.size)),
        ("format", one_line(&dataset.format)),
        ("sha-256", one_line(&dataset.digest)),
        ("uploaded", text::time(&dataset.created_at)),
    ];
    let told = overview::facts(&dataset.report);
    facts.extend(told.into_iter().filter(|(name, _)| *name != "rows"));
    output::print(&text::facts(&facts));
    overview::print(&dataset.report);
    Ok(())
}

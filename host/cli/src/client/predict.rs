//! Predictions by a model on a server, written as those of a model here are.

use super::datasets::{content_type, named};
use super::http::Client;
use super::text;
use crate::args::PredictOptions;
use crate::failure::{Failure, Result};
use crate::output;
use crate::predict::{digits, write};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use trainyard_data::DataFormat;
use trainyard_parameters::one_line;

#[derive(Deserialize)]
struct Prediction {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    #[serde(default)]
    warnings: Vec<String>,
    written: Option<u64>,
}

/// The model on a server that is meant, where it is no folder here.
pub fn remote_model(said: &Path) -> Option<&str> {
    let text = said.to_str()?;
    let is_path = said.exists() || text.contains('/') || text.starts_with('.');
    (!is_path && !text.is_empty()).then_some(text)
}

/// Predicts for the rows of a file, or for those of a data set that the server reads.
pub fn predict(options: &PredictOptions, said: &str) -> Result<()> {
    let client = Client::new(&options.server)?;
    let prediction = match (&options.file, &options.dataset) {
        (Some(file), _) => for_file(&client, options, said, file)?,
        (None, dataset) => for_dataset(&client, options, said, dataset.as_deref().unwrap_or_default())?,
    };
    for warning in &prediction.warnings {
        match options.json {
            true => output::print_json(&json!({"event": "warning", "message": warning})),
            false => eprintln!("warning: {}", one_line(warning)),
        }
    }
    if let (Some(written), Some(sink)) = (prediction.written, &options.sink) {
        match options.json {
            true => output::print_json(&json!({"event": "written", "rows": written, "sink": sink})),
            false => eprintln!("{} rows were written to {sink}", text::count(written)),
        }
    }
    let rows: Vec<Vec<String>> = prediction
        .rows
        .iter()
        .map(|row| row.iter().map(cell).collect())
        .collect();
    write(options, &prediction.columns, &rows)
}

fn for_file(client: &Client, options: &PredictOptions, said: &str, path: &Path) -> Result<Prediction> {
    let format = DataFormat::of_name(&path.to_string_lossy()).ok_or_else(|| {
        Failure::Usage(format!(
            "{}: its name does not say how it is written; it ends in .csv, .tsv, .parquet, .arrow or .json",
            path.display()
        ))
    })?;
    if options.score {
        return Err(Failure::Usage(
            "--score with a model on a server needs --dataset: upload the file with `trainyard dataset push`, and give its name"
                .into(),
        ));
    }
    let file = File::open(path).map_err(Failure::file("read", path))?;
    let size = file.metadata().map_err(Failure::file("read", path))?.len();
    client.upload(
        &model(client, said)?,
        rolling(options.rolling),
        content_type(format),
        (file, size),
    )
}

fn for_dataset(client: &Client, options: &PredictOptions, said: &str, dataset: &str) -> Result<Prediction> {
    let path = model(client, said)?;
    let mut body = json!({"dataset": named(client, dataset)?.fields});
    if options.score {
        body["score"] = json!(true);
    }
    if let Some(said) = &options.sink {
        body["sink"] = sink(said)?;
    }
    client.work(&path, rolling(options.rolling || options.score), &body)
}

/// Where a model on the server predicts.
fn model(client: &Client, said: &str) -> Result<String> {
    let model = client.model(said).map_err(|failure| match failure {
        Failure::Unreachable { .. } => Failure::Usage(format!("there is no folder `{said}` here, and {failure}")),
        failure => failure,
    })?;
    Ok(format!("/models/{}/predict", model.id))
}

fn rolling(wanted: bool) -> &'static [(&'static str, &'static str)] {
    match wanted {
        true => &[("rolling", "true")],
        false => &[],
    }
}

/// A table, perhaps after its database and a dot.
fn sink(said: &str) -> Result<Value> {
    match said.split('.').collect::<Vec<_>>()[..] {
        [table] if !table.is_empty() => Ok(json!({"table": table})),
        [database, table] if !database.is_empty() && !table.is_empty() => {
            Ok(json!({"database": database, "table": table}))
        }
        _ => Err(Failure::Usage(format!(
            "--sink {}: write it as DATABASE.TABLE, or as TABLE for one in the configured database",
            one_line(said)
        ))),
    }
}

/// A value as a model here writes it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => digits(number.as_f64().unwrap_or(f64::NAN)),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_here_goes_before_a_model_there() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(remote_model(folder.path()), None);
        assert_eq!(remote_model(Path::new("no/such")), None);
        assert_eq!(remote_model(Path::new("./x")), None);
        assert_eq!(remote_model(Path::new("7")), Some("7"));
        assert_eq!(remote_model(Path::new("pump forecast")), Some("pump forecast"));
    }

    #[test]
    fn a_sink_is_a_table_perhaps_after_its_database() {
        assert_eq!(sink("t").unwrap(), json!({"table": "t"}));
        assert_eq!(sink("plant.t").unwrap(), json!({"database": "plant", "table": "t"}));
        for wrong in ["", ".", "a.", ".t", "a.b.c"] {
            assert!(sink(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_written_as_those_of_a_model_here() {
        let cells = [
            json!(1),
            json!("a,b"),
            json!(0.25),
            Value::Null,
            json!(4.664_411_657_571_875_5),
        ];
        assert_eq!(cells.map(|value| cell(&value)), ["1", "a,b", "0.25", "", "4.664412"]);
    }
}

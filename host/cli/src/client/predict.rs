//! Predictions by a model on a server, written as those of a model here are.

use super::datasets::content_type;
use super::http::Client;
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
}

/// The model on a server that is meant, where it is no folder here.
pub fn remote_model(said: &Path) -> Option<&str> {
    let text = said.to_str()?;
    let is_path = said.exists() || text.contains('/') || text.starts_with('.');
    (!is_path && !text.is_empty()).then_some(text)
}

/// Predicts for the rows of a file.
pub fn predict(options: &PredictOptions, said: &str) -> Result<()> {
    let path = &options.file;
    let format = DataFormat::of_name(&path.to_string_lossy()).ok_or_else(|| {
        Failure::Usage(format!(
            "{}: its name does not say how it is written; it ends in .csv, .tsv, .parquet, .arrow or .json",
            path.display()
        ))
    })?;
    let file = File::open(path).map_err(Failure::file("read", path))?;
    let size = file.metadata().map_err(Failure::file("read", path))?.len();
    let client = Client::new(&options.server)?;
    let model = client.model(said).map_err(|failure| match failure {
        Failure::Unreachable { .. } => Failure::Usage(format!("there is no folder `{said}` here, and {failure}")),
        failure => failure,
    })?;
    let rolling = [("rolling", "true")];
    let query = if options.rolling { &rolling[..] } else { &[] };
    let path = format!("/models/{}/predict", model.id);
    let prediction: Prediction = client.upload(&path, query, content_type(format), (file, size))?;
    for warning in &prediction.warnings {
        match options.json {
            true => output::print_json(&json!({"event": "warning", "message": warning})),
            false => eprintln!("warning: {}", one_line(warning)),
        }
    }
    let rows: Vec<Vec<String>> = prediction
        .rows
        .iter()
        .map(|row| row.iter().map(cell).collect())
        .collect();
    write(options, &prediction.columns, &rows)
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

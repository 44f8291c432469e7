//! Predictions by a model on a server, written as those of a model here are.

use super::datasets::content_type;
use super::http::Client;
use crate::args::PredictOptions;
use crate::failure::{Failure, Result};
use crate::output;
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
    write(options, &prediction)
}

fn write(options: &PredictOptions, prediction: &Prediction) -> Result<()> {
    let rows = prediction.rows.len();
    let Some(out) = &options.out else {
        if options.json {
            for row in &prediction.rows {
                let values: serde_json::Map<_, _> = prediction.columns.iter().cloned().zip(row.iter().cloned()).collect();
                output::print_json(&json!({"event": "prediction", "values": values}));
            }
            output::print_json(&json!({"event": "result", "rows": rows}));
        } else {
            let text = csv(prediction).map_err(Failure::file("write", Path::new("standard output")))?;
            output::print(text.trim_end());
        }
        return Ok(());
    };
    let text = csv(prediction).map_err(Failure::file("write", out))?;
    std::fs::write(out, text).map_err(Failure::file("write", out))?;
    if options.json {
        output::print_json(&json!({"event": "result", "rows": rows, "file": out}));
    } else {
        eprintln!("{rows} rows: {}", out.display());
    }
    Ok(())
}

fn csv(prediction: &Prediction) -> std::io::Result<String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(&prediction.columns)?;
    for row in &prediction.rows {
        csv.write_record(row.iter().map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        }))?;
    }
    let bytes = csv.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
    fn values_are_written_as_they_came() {
        let prediction = Prediction {
            columns: vec!["row".into(), "class".into(), "p(a)".into()],
            rows: vec![vec![json!(1), json!("a,b"), json!(0.25)], vec![json!(2), Value::Null, json!(1.0)]],
            warnings: Vec::new(),
        };
        assert_eq!(csv(&prediction).unwrap(), "row,class,p(a)\n1,\"a,b\",0.25\n2,,1.0\n");
    }
}

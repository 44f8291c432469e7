//! What a training learns from: the `training_dataset` of a request, and uploaded files.

use crate::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use trainyard_data::tdengine::{DeviceQuery, QUERY_FIELDS};
use trainyard_data::{DataError, DataFormat, Duplicates, Missing, PrepareSpec, Scaling, Split, Task, Window};

/// An uploaded file, checked when it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredDataset {
    /// A random UUID.
    pub id: String,
    /// What its owner calls it: the file's name.
    pub name: String,
    /// How it is written.
    pub format: DataFormat,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content, in hexadecimal.
    pub digest: String,
    /// Rows.
    pub rows: u64,
    /// JSON of the [`crate::DataReport`] made at the upload.
    pub report: Value,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

impl StoredDataset {
    /// Where its content lies in the artifacts.
    pub fn key(&self) -> String {
        format!("datasets/{}.{}", self.id, self.format)
    }
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "lowercase")]
pub enum Source {
    /// An uploaded file.
    Upload {
        /// Its name, as the upload gave it.
        dataset_id: String,
    },
    /// A file on the worker's machine, below a folder that its operator allows.
    File {
        /// Absolute, or relative to the first such folder.
        path: String,
    },
    /// Rows of devices from the TDengine server that is configured.
    Tdengine(Box<DeviceQuery>),
}

/// Which columns say when a row is of, and of which device, once the rows are at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowColumns {
    /// The time; found by its name where it is absent.
    pub time: Option<String>,
    /// The device; all rows are of one where it is absent.
    pub device: Option<String>,
}

/// The window of a forecast from TDengine where the request says none: the original's requests never do.
const DEVICE_WINDOW: Window = Window {
    lookback: 96,
    horizon: 24,
};

/// What happens to rows before training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreprocessOptions {
    /// Missing values.
    pub missing: Missing,
    /// How columns are scaled, by the training rows.
    pub scaling: Scaling,
    /// Whether targets are scaled too.
    pub scale_target: bool,
    /// Whether rows are sorted by time.
    pub sort: bool,
    /// Repeated times.
    pub duplicates: Duplicates,
}

impl Default for PreprocessOptions {
    fn default() -> Self {
        PreprocessOptions {
            missing: Missing::Auto,
            scaling: Scaling::Standard,
            scale_target: true,
            sort: false,
            duplicates: Duplicates::Error,
        }
    }
}

/// The `training_dataset` of a request: where rows come from, and how they become a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingDataset {
    /// Where rows come from.
    #[serde(flatten)]
    pub source: Source,
    /// What is to be learned; follows from window and plugin when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The time column; found by its name when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The column (or TDengine's tag) that tells devices apart. Windows and splits never cross a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_column: Option<String>,
    /// What to learn from; all columns of numbers when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// What to predict: a column or several.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<String>,
    /// Rows that a forecast looks back on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookback: Option<u32>,
    /// Rows that a forecast looks ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<u32>,
    /// Training/validation/test, in order of time: fractions or rows, as `0.7/0.1/0.2`.
    #[serde(default)]
    pub split: Split,
    /// What happens to rows before training.
    #[serde(default)]
    pub preprocess: PreprocessOptions,
}

/// The fields that every source has.
const FIELDS: [&str; 9] = [
    "source",
    "task",
    "time",
    "device_column",
    "columns",
    "target",
    "lookback",
    "horizon",
    "split",
];

/// The fields of a source, or why it is none.
fn fields_of(source: &str) -> Result<&'static [&'static str], String> {
    match source {
        "upload" => Ok(&["dataset_id"]),
        "file" => Ok(&["path"]),
        "tdengine" => Ok(&QUERY_FIELDS),
        other => Err(format!(
            "training_dataset has no source {}; it is \"upload\", \"file\" or \"tdengine\"",
            trainyard_parameters::quoted(other)
        )),
    }
}

impl TrainingDataset {
    /// Reads what a request says: an object, or, as the original allows, a text that holds one. The error is one line.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let inner;
        let value = match value {
            Value::String(text) => {
                inner = serde_json::from_str(text)
                    .map_err(|error| format!("training_dataset is a text that is not JSON: {error}"))?;
                &inner
            }
            value => value,
        };
        let Value::Object(object) = value else {
            return Err(
                "training_dataset must be an object such as {\"source\":\"upload\",\"dataset_id\":\"…\"}".into(),
            );
        };
        let mut object = object.clone();
        let source = match object.get("source") {
            Some(Value::String(source)) => source.clone(),
            Some(_) => return Err("training_dataset: source is a text: \"upload\", \"file\" or \"tdengine\"".into()),
            // The original's requests name a device and a time, and nothing else.
            None if object.contains_key("device_id") => {
                object.insert("source".into(), "tdengine".into());
                "tdengine".to_owned()
            }
            None => return Err("training_dataset needs a source: \"upload\", \"file\" or \"tdengine\"".into()),
        };
        let fields = fields_of(&source)?;
        let known = |name: &str| FIELDS.contains(&name) || name == "preprocess" || fields.contains(&name);
        if let Some(name) = object.keys().find(|name| !known(name)) {
            return Err(format!(
                "training_dataset of the source {source} has no field {}; it has {}, preprocess",
                trainyard_parameters::quoted(name),
                [&FIELDS[..], fields].concat().join(", ")
            ));
        }
        let dataset: Self =
            serde_json::from_value(Value::Object(object)).map_err(|error| format!("training_dataset: {error}"))?;
        if let Source::Tdengine(query) = &dataset.source {
            query.check().map_err(|error| format!("training_dataset: {error}"))?;
        }
        if dataset.lookback.is_some() != dataset.horizon.is_some() {
            return Err("training_dataset: lookback and horizon go together".into());
        }
        if dataset.lookback == Some(0) || dataset.horizon == Some(0) {
            return Err("training_dataset: lookback and horizon are at least 1".into());
        }
        Ok(dataset)
    }

    /// The columns to read, targets included; `None` for all.
    pub fn read_columns(&self) -> Option<Vec<String>> {
        let mut columns = self.columns.clone()?;
        let more: Vec<String> = self
            .target
            .iter()
            .filter(|name| !columns.contains(name))
            .cloned()
            .collect();
        columns.extend(more);
        Some(columns)
    }

    /// The columns that the request itself names.
    pub fn row_columns(&self) -> RowColumns {
        RowColumns {
            time: self.time.clone(),
            device: self.device_column.clone(),
        }
    }

    /// How rows are prepared for a plugin that can do these tasks. Whether the rows allow it shows when they are read.
    pub fn spec(&self, tasks: &[Task], rows: &RowColumns) -> Result<PrepareSpec, DataError> {
        let window = match (self.lookback, self.horizon) {
            (Some(lookback), Some(horizon)) => Some(Window { lookback, horizon }),
            _ if !matches!(self.source, Source::Tdengine(_)) => None,
            _ if self.task == Some(Task::Forecasting) => Some(DEVICE_WINDOW),
            _ if self.task.is_none() && tasks == [Task::Forecasting] => Some(DEVICE_WINDOW),
            _ => None,
        };
        let wanted = match (self.task, window) {
            (Some(task), _) => task,
            (None, Some(_)) => Task::Forecasting,
            // Without a window it is a table. Which kind, the plugin decides; several kinds need a word.
            (None, None) => *tasks
                .iter()
                .find(|task| **task != Task::Forecasting)
                .or(tasks.first())
                .unwrap_or(&Task::Forecasting),
        };
        if !tasks.contains(&wanted) {
            let can: Vec<&str> = tasks.iter().map(|task| task.as_str()).collect();
            return Err(DataError::BadRequest {
                problem: format!("the plugin does {}, not {wanted}", can.join(" and ")),
                remedy: "choose another task or another plugin",
            });
        }
        Ok(PrepareSpec {
            // Of a table, the time is only a column.
            time: match wanted {
                Task::Forecasting => rows.time.clone(),
                _ => self.time.clone(),
            },
            device: rows.device.clone(),
            features: self.columns.clone(),
            target: self.target.clone(),
            split: self.split,
            missing: self.preprocess.missing,
            scaling: self.preprocess.scaling,
            scale_target: self.preprocess.scale_target,
            window,
            sort: self.preprocess.sort,
            duplicates: self.preprocess.duplicates,
            ..PrepareSpec::new(wanted)
        })
    }
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(name) => vec![name],
        OneOrMore::More(names) => names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_least_is_a_source_and_survives_json() {
        let dataset = TrainingDataset::parse(&json!({"source": "upload", "dataset_id": "x"})).unwrap();
        assert_eq!(dataset.preprocess, PreprocessOptions::default());
        let again = TrainingDataset::parse(&serde_json::to_value(&dataset).unwrap()).unwrap();
        assert_eq!(again, dataset);
    }

    #[test]
    fn a_text_that_holds_an_object_is_taken_as_the_original_does() {
        let text = r#"{"source":"file","path":"a.csv","target":"y","lookback":3,"horizon":2}"#;
        let dataset = TrainingDataset::parse(&json!(text)).unwrap();
        assert_eq!(dataset.target, ["y"]);
        let spec = dataset.spec(&[Task::Forecasting], &RowColumns::default()).unwrap();
        assert_eq!(
            spec.window,
            Some(Window {
                lookback: 3,
                horizon: 2
            })
        );
    }

    #[test]
    fn the_originals_request_is_one_of_tdengine() {
        let request =
            json!({"device_id": "machine-7", "start_time": "2024-01-01 00:00:00", "end_time": "2024-02-01 00:00:00"});
        let dataset = TrainingDataset::parse(&request).unwrap();
        let Source::Tdengine(query) = &dataset.source else {
            panic!()
        };
        assert_eq!(query.table.as_str(), "device_data");
        let rows = RowColumns {
            time: Some("ts".into()),
            device: None,
        };
        let spec = dataset.spec(&[Task::Forecasting], &rows).unwrap();
        assert_eq!((spec.window, spec.time.as_deref()), (Some(DEVICE_WINDOW), Some("ts")));
        let again = TrainingDataset::parse(&serde_json::to_value(&dataset).unwrap()).unwrap();
        assert_eq!(again, dataset);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |value: Value, expected: &str| {
            let error = TrainingDataset::parse(&value).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        refused(json!(7), "must be an object");
        refused(json!("{"), "not JSON");
        refused(json!({"dataset_id": "x"}), "needs a source");
        refused(
            json!({"source": "upload", "dataset_id": "x", "targets": "y"}),
            "no field `targets`",
        );
        refused(json!({"source": "upload"}), "dataset_id");
        refused(json!({"source": "ftp"}), "ftp");
        refused(
            json!({"source": "file", "path": "a", "interval": "1h"}),
            "no field `interval`",
        );
        refused(json!({"source": "tdengine", "path": "a"}), "no field `path`");
        refused(json!({"source": "tdengine", "table": "a b"}), "no name");
        refused(json!({"source": "tdengine", "fill": "linear"}), "needs an interval");
        refused(json!({"device_id": "a\u{0}"}), "control character");
        refused(json!({"source": "file", "path": "a", "lookback": 3}), "go together");
        refused(
            json!({"source": "file", "path": "a", "preprocess": {"scale": 1}}),
            "scale",
        );
        refused(json!({"source": "file", "path": "a", "split": "1/x"}), "split");
    }
}

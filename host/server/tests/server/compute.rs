//! A worker that only pretends. The real one is tested where it is written.
//!
//! A "plugin" is a text `plugin NAME VERSION`, a "data set" a CSV whose first line has the columns.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Mutex;
use trainyard_data::DataFormat;
use trainyard_jobs::{
    Attempt, Compute, ComputeError, DataReport, Evaluation, PluginReport, PluginVersion, PredictInput, PredictOptions,
    Prediction, Run, SeriesPoint, TrainingDataset, Tried,
};

#[derive(Default)]
pub struct Pretender {
    /// What it was last asked to predict for.
    pub asked: Mutex<Option<(PredictInput, PredictOptions)>>,
    /// What it was last asked to look at.
    pub looked: Mutex<Option<TrainingDataset>>,
    /// Why it refuses to read any data set.
    pub refuses: Mutex<Option<&'static str>>,
}

pub fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "epochs": {"type": "integer", "minimum": 1, "default": 10, "description": "How often the rows are seen"},
            "learning_rate": {"type": "number", "exclusiveMinimum": 0, "default": 0.001},
        },
    })
}

impl Pretender {
    fn read(&self) -> Result<(), ComputeError> {
        match *self.refuses.lock().unwrap() {
            None => Ok(()),
            Some(code) => Err(ComputeError::Refused {
                code: code.into(),
                message: "as asked".into(),
                details: Value::Null,
            }),
        }
    }
}

fn refused(message: &str, details: Value) -> ComputeError {
    ComputeError::Refused {
        code: "not-a-plugin".into(),
        message: message.into(),
        details,
    }
}

#[async_trait]
impl Compute for Pretender {
    async fn inspect_plugin(&self, file: PathBuf) -> Result<PluginReport, ComputeError> {
        let content = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&content);
        let words: Vec<&str> = text.split_whitespace().collect();
        let (name, version) = match words.as_slice() {
            ["plugin", name, version, ..] => (*name, *version),
            ["panic"] => panic!("as asked"),
            ["busy"] => return Err(ComputeError::Busy),
            ["slow"] => return Err(ComputeError::Timeout { seconds: 60 }),
            ["broken"] => return Err(ComputeError::Failed("the runner could not be started".into())),
            _ => {
                return Err(refused(
                    "it is no component",
                    json!({"reasons": ["no magic", "no exports"]}),
                ));
            }
        };
        let digest: String = Sha256::digest(&content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let plugin = PluginVersion {
            name: name.into(),
            version: version.into(),
            digest,
            size: content.len() as u64,
            summary: "pretends".into(),
            tasks: vec!["forecasting".into()],
            parameters: schema(),
            metrics: json!([{"name": "mse", "summary": "mean squared error", "maximize": false}]),
            contract: Some("0.1.0".into()),
            created_at: chrono::Utc::now(),
        };
        Ok(PluginReport {
            plugin,
            inspection: json!({}),
        })
    }

    async fn try_plugin(&self, attempt: Attempt) -> Result<Tried, ComputeError> {
        if !attempt.source.starts_with("plugin ") {
            return Err(refused("it is no Python", json!({"log": ["line 1"]})));
        }
        let point = |step: u32, name: &str| SeriesPoint {
            step: step.into(),
            seconds: f64::from(step),
            name: name.into(),
            value: 1.0 / f64::from(step),
        };
        Ok(Tried {
            metrics: Map::from_iter([("mse".to_owned(), json!(attempt.seed))]),
            series: vec![point(1, "loss"), point(1, "a"), point(2, "loss"), point(2, "a")],
            log: vec![
                json!({"timestamp": chrono::Utc::now(), "level": "INFO", "message": attempt.dataset.target.join(",")}),
            ],
            warnings: attempt
                .rows
                .map(|rows| format!("{} bytes", rows.content.len()))
                .into_iter()
                .collect(),
            seconds: 0.5,
        })
    }

    async fn inspect_data(&self, file: PathBuf, _: &str, _: DataFormat) -> Result<DataReport, ComputeError> {
        let content = std::fs::read_to_string(&file).map_err(|_| ComputeError::Refused {
            code: "unreadable-data".into(),
            message: "line 1: it is not UTF-8".into(),
            details: Value::Null,
        })?;
        let mut lines = content.lines();
        let column = |name: &str| {
            let mut column = Map::new();
            column.insert("name".into(), json!(name));
            column.insert("type".into(), json!("number"));
            column.insert("missing".into(), json!(0));
            column
        };
        let columns = lines.next().unwrap_or_default().split(',').map(column).collect();
        let head: Vec<Vec<Value>> = lines
            .map(|line| line.split(',').map(|cell| json!(cell)).collect())
            .collect();
        Ok(DataReport {
            rows: head.len() as u64,
            columns,
            time: None,
            head,
            warnings: vec![],
            gaps: None,
            devices: None,
            counted: None,
        })
    }

    async fn preview(&self, dataset: TrainingDataset) -> Result<DataReport, ComputeError> {
        self.read()?;
        *self.looked.lock().unwrap() = Some(dataset);
        let column = json!({
            "name": "value", "type": "number", "missing": 1, "min": 1.0, "max": 3.0, "mean": 2.0, "spark": [1.0, null, 3.0],
        });
        Ok(DataReport {
            rows: 3,
            columns: vec![column.as_object().cloned().unwrap()],
            time: Some(("2024-01-01".into(), "2024-01-04".into())),
            head: vec![vec![json!("2024-01-01"), json!(1.0)]],
            warnings: vec![],
            gaps: Some(json!({
                "step": "1 day", "count": 1, "missing_rows": 1,
                "longest": [{"from": "2024-01-02", "to": "2024-01-04", "missing_rows": 1}],
            })),
            devices: Some(json!({"count": 1, "first": [{"name": "machine-7", "rows": 3}]})),
            counted: Some(5),
        })
    }

    async fn predict(&self, _: &Run, input: PredictInput, options: PredictOptions) -> Result<Prediction, ComputeError> {
        self.read()?;
        let written = options.sink.is_some().then_some(3);
        *self.asked.lock().unwrap() = Some((input, options));
        Ok(Prediction {
            columns: vec!["row".into(), "y".into()],
            rows: vec![
                vec![json!(0), json!(1.5)],
                vec![json!(1), json!("a \"b\", c")],
                vec![json!(2), Value::Null],
            ],
            warnings: vec!["few rows".into()],
            written,
        })
    }

    async fn evaluate(&self, _: &Run, dataset: Option<TrainingDataset>) -> Result<Evaluation, ComputeError> {
        let mut metrics = Map::new();
        metrics.insert("mse".into(), json!(0.25));
        metrics.insert("given".into(), json!(dataset.is_some()));
        Ok(Evaluation {
            metrics,
            warnings: vec![],
        })
    }
}

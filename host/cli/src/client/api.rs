//! What a server tells, as far as it is shown, and how a person names it. Fields that are new are passed over, so that a
//! client works with a server of another version.

use super::http::{Client, escaped};
use crate::failure::{Failure, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use trainyard_parameters::one_line;

#[derive(Debug, Clone, Deserialize)]
pub struct Model {
    pub id: i64,
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub plugin: String,
    pub plugin_version: Option<String>,
    pub status: String,
    pub progress: f64,
    pub task_id: Option<String>,
    pub trained_run: Option<String>,
    #[serde(default)]
    pub training_dataset: Value,
    #[serde(default)]
    pub training_parameters: Value,
    #[serde(default)]
    pub metrics: Map<String, Value>,
    pub error_log: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    pub id: String,
    pub model_id: i64,
    pub state: String,
    pub attempt: u32,
    pub worker: Option<String>,
    pub plugin: String,
    pub plugin_version: String,
    #[serde(default)]
    pub plugin_digest: String,
    #[serde(default)]
    pub training_dataset: Value,
    #[serde(default)]
    pub seed: u64,
    #[serde(default)]
    pub limits: Value,
    #[serde(default)]
    pub metrics: Map<String, Value>,
    pub error_log: Option<String>,
    #[serde(default)]
    pub lineage: Value,
    pub resource_usage: Option<Usage>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
}

impl Run {
    /// Whether nothing can follow.
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "TRAINED" | "ERROR" | "CANCELLED")
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Usage {
    pub cpu_percent: f64,
    pub memory_mb: f64,
    #[serde(default)]
    pub gpu_util: f64,
    pub duration_seconds: f64,
    #[serde(default)]
    pub device: Option<String>,
    #[serde(default)]
    pub gpu_memory_mb: Option<f64>,
    #[serde(default)]
    pub gpu_temperature_c: Option<f64>,
    #[serde(default)]
    pub gpu_power_w: Option<f64>,
}

impl Usage {
    /// What its card did, in a few words; nothing of a run on the processor.
    pub fn card(&self) -> Option<String> {
        let device = self.device.as_deref().filter(|device| *device != "cpu")?;
        let mut words = format!("{} {:.0} %", one_line(device), self.gpu_util);
        let figures = [
            (self.gpu_memory_mb, "MiB"),
            (self.gpu_temperature_c, "°C"),
            (self.gpu_power_w, "W"),
        ];
        for (figure, unit) in figures {
            if let Some(figure) = figure {
                words += &format!(", {figure:.0} {unit}");
            }
        }
        Some(words)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Plugin {
    pub name: String,
    pub version: String,
    pub digest: String,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub tasks: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Dataset {
    pub id: String,
    pub name: String,
    pub format: String,
    pub size: u64,
    pub digest: String,
    pub rows: u64,
    #[serde(default)]
    pub report: Value,
    pub created_at: String,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl Client {
    /// A whole list, page after page.
    pub fn all<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", "200"));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, &query)?;
            all.extend(page.items);
            match page.next {
                // A server that repeats itself must not be asked forever.
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(all),
            }
        }
    }

    /// A list that comes at once.
    pub fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        Ok(self.get::<Page<T>>(path, &[])?.items)
    }

    /// The model that a person means: its number, or its name where no other has it.
    pub fn model(&self, said: &str) -> Result<Model> {
        if said.bytes().all(|byte| byte.is_ascii_digit()) && !said.is_empty() {
            return self.get(&format!("/models/{said}"), &[]);
        }
        let close: Vec<Model> = self.all("/models", &[("name", said)])?;
        let mut named: Vec<Model> = close.iter().filter(|model| model.name == said).cloned().collect();
        match (named.pop(), named.len()) {
            (Some(model), 0) => Ok(model),
            (Some(model), _) => {
                let numbers: Vec<String> = named.iter().chain([&model]).map(|model| model.id.to_string()).collect();
                Err(Failure::Usage(format!(
                    "{} models are called `{said}`: give the number, {}",
                    numbers.len(),
                    numbers.join(" or ")
                )))
            }
            (None, _) => Err(Failure::Usage(format!(
                "there is no model `{said}` on {}{}; `trainyard model list` shows all",
                self.url(),
                others(close.iter().map(|model| model.name.as_str()))
            ))),
        }
    }

    /// The data set that a person means: its id, or its name where no other has it.
    pub fn dataset(&self, said: &str) -> Result<Dataset> {
        let all: Vec<Dataset> = self.all("/datasets", &[])?;
        let fits = |dataset: &&Dataset| dataset.id == said || dataset.name == said;
        let found: Vec<&Dataset> = all.iter().filter(fits).collect();
        match found[..] {
            [dataset] => Ok(dataset.clone()),
            [] => Err(Failure::Usage(format!(
                "there is no data set `{said}` on {}{}; `trainyard dataset push FILE` uploads one",
                self.url(),
                others(all.iter().map(|dataset| dataset.name.as_str()))
            ))),
            _ => {
                let ids: Vec<&str> = found.iter().map(|dataset| dataset.id.as_str()).collect();
                Err(Failure::Usage(format!(
                    "{} data sets are called `{said}`: give the id, {}",
                    ids.len(),
                    ids.join(" or ")
                )))
            }
        }
    }

    /// A training of a model: named, or its last one.
    pub fn run(&self, model: &Model, said: Option<&str>) -> Result<Run> {
        let Some(run) = said.or(model.task_id.as_deref()) else {
            return Err(Failure::Usage(format!(
                "model {} was never trained; `trainyard train {}` trains it",
                model.id, model.id
            )));
        };
        self.get(&format!("/models/{}/runs/{}", model.id, escaped(run)), &[])
    }
}

/// Some of what there is, for someone who misspelt it.
fn others<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    match names.len() {
        0 => String::new(),
        1..=SHOWN => format!(", which has {}", names.join(", ")),
        many => format!(", which has {} and {} more", names[..SHOWN].join(", "), many - SHOWN),
    }
}

//! What a plugin says about itself, checked.

use crate::bindings::exports::trainyard::plugin::algorithm as wit;
use crate::error::SandboxError;
use crate::limits::Limits;
use serde::Serialize;
use std::collections::HashSet;
use trainyard_parameters::Schema;
use trainyard_parameters::{one_line, quoted};

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Lower-case letters, digits and hyphens; at most 64 characters.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One line.
    pub summary: String,
    /// Which of `forecasting`, `regression`, `classification` it can do; at least one.
    pub tasks: Vec<String>,
    /// What it can be told, and the defaults.
    pub parameters: Schema,
    /// What its evaluation gives.
    pub metrics: Vec<MetricDescription>,
}

/// One figure of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetricDescription {
    /// Letters, digits, `_`, `-`, `.` and `/`.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Whether larger is better.
    pub maximize: bool,
}

const TASKS: [&str; 3] = ["forecasting", "regression", "classification"];
const NAME: usize = 64;
const SUMMARY: usize = 1_000;

impl Description {
    pub(crate) fn new(said: wit::Description, limits: &Limits) -> Result<Self, SandboxError> {
        Self::checked(said, limits).map_err(SandboxError::InvalidDescription)
    }

    fn checked(said: wit::Description, limits: &Limits) -> Result<Self, String> {
        let name = &said.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty()
            || name.len() > NAME
            || !name.chars().all(plain)
            || !name.starts_with(|c: char| c.is_ascii_lowercase())
        {
            return Err(format!(
                "the name {} must be a lower-case letter and then letters, digits and hyphens, at most {NAME} in all",
                quoted(name)
            ));
        }
        if semver::Version::parse(&said.version).is_err() {
            return Err(format!(
                "the version {} is not a semantic version such as 1.0.0",
                quoted(&said.version)
            ));
        }
        if said.summary.len() > SUMMARY {
            return Err(format!("the summary is longer than {SUMMARY} bytes"));
        }
        if said.tasks.is_empty() {
            return Err(format!("it can do none of {}", TASKS.join(", ")));
        }
        for task in &said.tasks {
            if !TASKS.contains(&task.as_str()) {
                return Err(format!("the task {} is none of {}", quoted(task), TASKS.join(", ")));
            }
        }
        let parameters =
            Schema::parse(&said.parameters).map_err(|problem| format!("the schema of its parameters: {problem}"))?;
        Ok(Description {
            metrics: metrics(said.metrics, limits)?,
            name: said.name,
            version: said.version,
            summary: one_line(&said.summary),
            tasks: said.tasks,
            parameters,
        })
    }
}

fn metrics(said: Vec<wit::MetricDescription>, limits: &Limits) -> Result<Vec<MetricDescription>, String> {
    if said.len() > limits.metrics {
        return Err(format!("it has more than {} metrics", limits.metrics));
    }
    let mut names = HashSet::new();
    for metric in &said {
        check_metric_name(&metric.name)?;
        if !names.insert(&metric.name) {
            return Err(format!("it has two metrics {}", quoted(&metric.name)));
        }
    }
    Ok(said
        .into_iter()
        .map(|metric| MetricDescription {
            name: metric.name,
            summary: one_line(&metric.summary),
            maximize: metric.maximize,
        })
        .collect())
}

/// A metric's name goes into files, tables and addresses.
pub(crate) fn check_metric_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./@".contains(c);
    if name.is_empty() || name.len() > NAME || !name.chars().all(plain) {
        return Err(format!(
            "the metric's name {} must be 1 to {NAME} letters, digits and `_-./@`",
            quoted(name)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> wit::Description {
        wit::Description {
            name: "ridge".into(),
            version: "0.1.0".into(),
            summary: "Linear regression".into(),
            tasks: vec!["regression".into()],
            parameters: r#"{"type":"object","properties":{}}"#.into(),
            metrics: vec![],
        }
    }

    #[test]
    fn a_plain_description_is_taken() {
        let description = Description::new(said(), &Limits::default()).unwrap();
        assert_eq!(description.name, "ridge");
    }

    #[test]
    fn nonsense_is_refused_with_what_is_wrong() {
        let refused = |change: &dyn Fn(&mut wit::Description), expected: &str| {
            let mut said = said();
            change(&mut said);
            let error = Description::new(said, &Limits::default()).unwrap_err();
            assert_eq!(error.code(), "invalid-description");
            let text = error.to_string();
            assert!(text.contains(expected) && text.len() < 500, "{text}");
        };
        refused(&|d| d.name = "Ridge".into(), "the name `Ridge`");
        refused(&|d| d.name = "x".repeat(1_000_000), "at most 64");
        refused(&|d| d.name = "../x".into(), "the name `../x`");
        refused(&|d| d.version = "1".into(), "the version `1`");
        refused(&|d| d.tasks.clear(), "none of forecasting");
        refused(&|d| d.tasks.push("magic".into()), "the task `magic`");
        refused(&|d| d.parameters = "{".into(), "not JSON");
        refused(&|d| d.summary = "x".repeat(1001), "summary");
        let metric = |name: &str| wit::MetricDescription {
            name: name.into(),
            summary: String::new(),
            maximize: false,
        };
        refused(&|d| d.metrics = vec![metric("a b")], "metric's name `a b`");
        refused(&|d| d.metrics = vec![metric("mse"), metric("mse")], "two metrics `mse`");
    }
}

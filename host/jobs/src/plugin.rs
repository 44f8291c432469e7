//! An uploaded plugin, one version of it.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A version of a plugin. It never changes: another content needs another version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// What it calls itself.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// One line.
    pub summary: String,
    /// Which of `forecasting`, `regression`, `classification` it can do.
    pub tasks: Vec<String>,
    /// JSON Schema of its parameters.
    pub parameters: Value,
    /// What its evaluation gives: name, summary, maximize.
    pub metrics: Value,
    /// The version of the contract that it was built for.
    pub contract: Option<String>,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

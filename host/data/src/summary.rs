//! What a data set came to, for people: counts, times and names, without the data.

use std::fmt;

use serde::Serialize;

use crate::{Dataset, SplitName, error::listed, format_time};

/// The main figures of a data set. Displays as a few lines; serialises for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Where the data came from.
    pub source: String,
    /// Rows in the source (one for each time, if it repeats some).
    pub rows: usize,
    /// The time column's first and last time, as the source writes them.
    pub time: Option<(String, String)>,
    /// The usual distance between rows, such as `1 h`.
    pub step: Option<String>,
    /// The splits that have rows.
    pub splits: Vec<SplitSummary>,
    /// The names of the features.
    pub features: Vec<String>,
    /// The names of the targets.
    pub targets: Vec<String>,
    /// The labels of a classification.
    pub classes: Vec<String>,
    /// Missing values in the columns that are used.
    pub missing: usize,
    /// SHA-256 of what is used.
    pub fingerprint: String,
}

/// A split's figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitSummary {
    /// Which split.
    pub name: SplitName,
    /// Its rows.
    pub rows: usize,
    /// Its samples: windows or rows.
    pub samples: usize,
    /// Its first and last time.
    pub time: Option<(String, String)>,
}

impl Dataset {
    /// The main figures, to print or to store with a run.
    pub fn summary(&self) -> Summary {
        let inner = &self.inner;
        let between = |rows: std::ops::Range<usize>| {
            let (times, format) = inner.times.as_ref()?;
            let times = &times[rows];
            Some((
                format_time(*times.first()?, *format),
                format_time(*times.last()?, *format),
            ))
        };
        let splits = SplitName::ALL.iter().map(|&name| SplitSummary {
            name,
            rows: self.rows(name),
            samples: self.len(name),
            time: between(inner.part(name)),
        });
        let schema = self.schema();
        Summary {
            source: inner.source.clone(),
            rows: inner.source_rows,
            time: inner.times.as_ref().and_then(|(times, _)| between(0..times.len())),
            step: inner.preprocessing.step.map(|step| step.to_string()),
            splits: splits.filter(|split| split.rows > 0).collect(),
            features: schema.features,
            targets: schema.targets,
            classes: schema.classes,
            missing: inner.missing,
            fingerprint: inner.fingerprint.clone(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} rows", self.source, self.rows)?;
        if let Some((first, last)) = &self.time {
            write!(f, ", {first} to {last}")?;
        }
        if let Some(step) = &self.step {
            write!(f, ", one every {step}")?;
        }
        writeln!(f)?;
        for split in &self.splits {
            write!(
                f,
                "  {:<10} {:>9} rows {:>9} samples",
                split.name, split.rows, split.samples
            )?;
            match &split.time {
                Some((first, last)) => writeln!(f, "  {first} to {last}")?,
                None => writeln!(f)?,
            }
        }
        writeln!(f, "  features   {}", listed(&self.features))?;
        writeln!(f, "  targets    {}", listed(&self.targets))?;
        if !self.classes.is_empty() {
            writeln!(f, "  classes    {}", listed(&self.classes))?;
        }
        write!(f, "  missing    {}", self.missing)
    }
}

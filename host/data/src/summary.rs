//! What a data set came to, for people: counts, times and names, without the data.

use std::fmt;

use serde::Serialize;

use crate::{
    Dataset, DeviceSummary, SplitName,
    error::{listed, quoted},
    format_time,
    runs::Runs,
};

/// Devices that are named in lines for people.
const NAMED: usize = 5;

/// The main figures of a data set. Displays as a few lines; serialises for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Where the data came from.
    pub source: String,
    /// Rows in the source (one for each time, if it repeats some).
    pub rows: usize,
    /// The time column's first and last time, as the source writes them.
    pub time: Option<(String, String)>,
    /// How many devices the rows are of; 0 where no column tells.
    #[serde(skip_serializing_if = "is_zero")]
    pub device_count: usize,
    /// The first 50 devices, with their rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceSummary>,
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
        let (device_count, devices) = inner.devices.clone();
        let between = |rows: &Runs| {
            let (times, format) = inner.times.as_ref()?;
            let (first, last) = match device_count > 1 {
                // Each device starts anew.
                true => (rows.values(times).min()?, rows.values(times).max()?),
                false => {
                    let last = rows.len().checked_sub(1)?;
                    (times[rows.get(0)], times[rows.get(last)])
                }
            };
            Some((format_time(first, *format), format_time(last, *format)))
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
            time: inner
                .times
                .as_ref()
                .and_then(|(times, _)| between(&Runs::from(0..times.len()))),
            device_count,
            devices,
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
        if self.device_count > 0 {
            let described = |device: &DeviceSummary| format!("{} ({} rows)", quoted(&device.name), device.rows);
            let named: Vec<String> = self.devices.iter().take(NAMED).map(described).collect();
            let (count, s) = (self.device_count, if self.device_count == 1 { "" } else { "s" });
            write!(f, "  {count} device{s}: {}", named.join(", "))?;
            match count - named.len() {
                0 => writeln!(f)?,
                more => writeln!(f, " and {more} more")?,
            }
        }
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

pub(crate) fn is_zero(count: &usize) -> bool {
    *count == 0
}

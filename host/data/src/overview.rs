//! What a file of data holds, before anyone has said what to learn from it: for whoever uploads one.

use serde::Serialize;

use crate::{
    DataError, DeviceSummary, Frame, Gaps, Values, Warning, devices::DeviceLabels, format_time, summary::is_zero,
};

/// Rows at the beginning that are shown whole.
const HEAD: usize = 20;
/// Characters of a text that are shown.
const SHOWN: usize = 200;
/// Points of a column's spark line.
const POINTS: usize = 60;

/// What an overview is to tell apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OverviewOptions {
    /// The column that tells which device a row is of. Absent: all rows are of one.
    pub device: Option<String>,
}

/// The main figures of a frame, and its first rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// How many rows.
    pub rows: usize,
    /// The columns: the time first, the others in the file's order.
    pub columns: Vec<ColumnOverview>,
    /// The first and the last row's time, as the file writes them.
    pub time: Option<(String, String)>,
    /// The gaps in time. `None` without a time column, or where rows are not in order of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<Gaps>,
    /// How many devices the rows are of; 0 where no column tells.
    #[serde(skip_serializing_if = "is_zero")]
    pub device_count: usize,
    /// The first 50 devices, with their rows. The spark lines are of the first one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceSummary>,
    /// The first rows, in the order of the columns: numbers, texts, or null where there is no value.
    pub head: Vec<Vec<serde_json::Value>>,
    /// What was odd in the file.
    pub warnings: Vec<Warning>,
}

/// One column's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnOverview {
    /// Its name.
    pub name: String,
    /// `number`, `text` or `time`.
    pub r#type: &'static str,
    /// Missing values.
    pub missing: usize,
    /// Different texts, in a column of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<usize>,
    /// The smallest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The numbers' mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// The numbers' course: means of up to 60 equal stretches of rows, in order; null where a stretch has no number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spark: Vec<Option<f64>>,
}

impl Frame {
    /// The main figures, and the first rows.
    pub fn overview(&self) -> Overview {
        self.overview_of(None)
    }

    /// The same, told apart as the options say. Refuses a device column that is not there.
    pub fn overview_with(&self, options: &OverviewOptions) -> Result<Overview, DataError> {
        let device = options.device.as_deref();
        let labels = device.map(|column| DeviceLabels::read(self, column)).transpose()?;
        Ok(self.overview_of(labels.as_ref()))
    }

    fn overview_of(&self, devices: Option<&DeviceLabels>) -> Overview {
        let time = self.time().map(|time| ColumnOverview {
            r#type: "time",
            ..ColumnOverview::new(&time.name)
        });
        let others = self.columns().iter().map(|column| match &column.values {
            Values::Numeric(values) => ColumnOverview {
                spark: match devices {
                    Some(devices) => spark(devices.first(values)),
                    None => spark(values.iter().copied()),
                },
                ..ColumnOverview::of_numbers(&column.name, values)
            },
            Values::Text(text) => ColumnOverview {
                r#type: "text",
                missing: (0..self.rows()).filter(|&row| text.get(row).is_none()).count(),
                distinct: Some(text.texts.len()),
                ..ColumnOverview::new(&column.name)
            },
        });
        Overview {
            rows: self.rows(),
            columns: time.into_iter().chain(others).collect(),
            time: self.time().and_then(|time| {
                let written = |micros: &i64| format_time(*micros, time.format);
                Some((time.micros.first().map(written)?, time.micros.last().map(written)?))
            }),
            gaps: self.gaps(devices),
            device_count: devices.map_or(0, |devices| devices.names.len()),
            devices: devices.map(DeviceLabels::summary).unwrap_or_default(),
            head: (0..self.rows().min(HEAD)).map(|row| self.shown(row)).collect(),
            warnings: self.warnings().to_vec(),
        }
    }

    fn gaps(&self, devices: Option<&DeviceLabels>) -> Option<Gaps> {
        let time = self.time()?;
        let Some(devices) = devices else {
            return Gaps::find(&time.micros, std::slice::from_ref(&(0..self.rows())), &[], time.format);
        };
        let (order, rows) = devices.grouped();
        match order {
            Some(order) => {
                let micros: Vec<i64> = order.into_iter().map(|row| time.micros[row]).collect();
                Gaps::find(&micros, &rows, &devices.names, time.format)
            }
            None => Gaps::find(&time.micros, &rows, &devices.names, time.format),
        }
    }

    fn shown(&self, row: usize) -> Vec<serde_json::Value> {
        let time = self
            .time()
            .map(|time| format_time(time.micros[row], time.format).into());
        let others = self.columns().iter().map(|column| match &column.values {
            // What JSON has no word for, it calls null.
            Values::Numeric(values) => values[row].into(),
            Values::Text(text) => text
                .get(row)
                .map(|text| text.chars().take(SHOWN).collect::<String>())
                .into(),
        });
        time.into_iter().chain(others).collect()
    }
}

impl ColumnOverview {
    fn new(name: &str) -> Self {
        ColumnOverview {
            name: name.to_owned(),
            r#type: "number",
            missing: 0,
            distinct: None,
            min: None,
            max: None,
            mean: None,
            spark: Vec::new(),
        }
    }

    fn of_numbers(name: &str, values: &[f64]) -> Self {
        let present = || values.iter().copied().filter(|value| value.is_finite());
        let mean = crate::scaling::mean(values.iter().copied());
        ColumnOverview {
            missing: values.iter().filter(|value| value.is_nan()).count(),
            min: present().reduce(f64::min),
            max: present().reduce(f64::max),
            mean: mean.is_finite().then_some(mean),
            ..ColumnOverview::new(name)
        }
    }
}

/// Means of equal stretches of values.
fn spark(values: impl Iterator<Item = f64> + Clone) -> Vec<Option<f64>> {
    let count = values.clone().count();
    let points = count.min(POINTS);
    let mut means = vec![(0.0, 0.0); points];
    for (row, value) in values.enumerate().filter(|(_, value)| value.is_finite()) {
        // As many rows in each, or one more.
        let (sum, present) = &mut means[row * points / count];
        *sum += value;
        *present += 1.0;
    }
    let mean = |(sum, present): (f64, f64)| Some(sum / present).filter(|mean| mean.is_finite());
    means.into_iter().map(mean).collect()
}

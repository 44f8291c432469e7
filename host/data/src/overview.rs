//! What a file of data holds, before anyone has said what to learn from it: for whoever uploads one.

use serde::Serialize;

use crate::{Frame, Values, Warning, format_time};

/// Rows at the beginning that are shown whole.
const HEAD: usize = 20;
/// Characters of a text that are shown.
const SHOWN: usize = 200;

/// The main figures of a frame, and its first rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// How many rows.
    pub rows: usize,
    /// The columns: the time first, the others in the file's order.
    pub columns: Vec<ColumnOverview>,
    /// The first and the last row's time, as the file writes them.
    pub time: Option<(String, String)>,
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
}

impl Frame {
    /// The main figures, and the first rows.
    pub fn overview(&self) -> Overview {
        let time = self.time().map(|time| ColumnOverview {
            r#type: "time",
            ..ColumnOverview::new(&time.name)
        });
        let others = self.columns().iter().map(|column| match &column.values {
            Values::Numeric(values) => ColumnOverview::of_numbers(&column.name, values),
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
            head: (0..self.rows().min(HEAD)).map(|row| self.shown(row)).collect(),
            warnings: self.warnings().to_vec(),
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
        }
    }

    fn of_numbers(name: &str, values: &[f64]) -> Self {
        let present = || values.iter().copied().filter(|value| value.is_finite());
        let mean = crate::scaling::mean(values);
        ColumnOverview {
            missing: values.iter().filter(|value| value.is_nan()).count(),
            min: present().reduce(f64::min),
            max: present().reduce(f64::max),
            mean: mean.is_finite().then_some(mean),
            ..ColumnOverview::new(name)
        }
    }
}

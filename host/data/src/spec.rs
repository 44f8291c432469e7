//! What a person asks for: the task, the columns, and how they are prepared.
//!
//! All of it can be written in JSON (names in snake_case) and on a command line ([`std::str::FromStr`]).

use serde::{Deserialize, Serialize};

use crate::{DataError, Split};

/// Gives an enum its names: text in both directions, for JSON, command lines and messages alike.
macro_rules! named {
    ($(#[$about:meta])* $name:ident ($what:literal) { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &[$name] = &[$(Self::$variant),+];

            /// The name in JSON and on command lines.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = DataError;

            fn from_str(text: &str) -> Result<Self, DataError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(DataError::BadRequest {
                        problem: format!("{} {} is not known", $what, crate::error::quoted(text)),
                        remedy: concat!("use one of", $(" ", $text,)+),
                    }),
                }
            }
        }
    };
}

named! {
    /// What is to be learned.
    Task ("task") {
        /// Coming values of time series from their past ones, by windows.
        Forecasting = "forecasting",
        /// Numbers from a row's other columns.
        Regression = "regression",
        /// A class from a row's other columns.
        Classification = "classification",
    }
}

named! {
    /// What happens to missing values. None of these lets a validation or test value into the training rows.
    Missing ("way with missing values") {
        /// `linear` for forecasting, `drop` for the other tasks.
        Auto = "auto",
        /// A missing value is an error.
        Error = "error",
        /// Rows with one are left out; for forecasting, windows with one (leaving out rows would join distant times).
        Drop = "drop",
        /// The last value before is repeated. At the very start there is none: the first value there is.
        Forward = "forward",
        /// A straight line over the gap, by rows, within each part of the split. A gap at the end of a part repeats
        /// the last value, one at the start of validation or test too (from the part before).
        Linear = "linear",
        /// The mean of the training rows.
        Mean = "mean",
    }
}

named! {
    /// How columns are scaled, by figures from the training rows alone; the same as scikit-learn's scaler of that name.
    Scaling ("scaling") {
        /// Not at all.
        None = "none",
        /// Mean 0 and (population) standard deviation 1.
        Standard = "standard",
        /// From 0 to 1.
        MinMax = "min_max",
        /// Median 0 and interquartile range 1.
        Robust = "robust",
    }
}

named! {
    /// What happens when several rows have the same time.
    Duplicates ("way with repeated times") {
        /// It is an error.
        Error = "error",
        /// The first of them counts.
        First = "first",
        /// The last of them counts.
        Last = "last",
        /// Numbers are averaged; of texts the first counts.
        Mean = "mean",
    }
}

named! {
    /// How a table is written.
    DataFormat ("format") {
        /// A header, then rows, separated by commas or semicolons.
        Csv = "csv",
        /// The same, separated by tabs.
        Tsv = "tsv",
        /// Apache Parquet.
        Parquet = "parquet",
        /// Apache Arrow's IPC stream.
        Arrow = "arrow",
        /// An array of objects: column to value.
        Json = "json",
    }
}

impl DataFormat {
    /// The format that a file's name ends in: `csv`, `tsv` (or `tab`), `parquet` (or `pq`), `arrow` (or `arrows`, `ipc`),
    /// `json`; whatever the case.
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        Some(match ending.to_ascii_lowercase().as_str() {
            "csv" => DataFormat::Csv,
            "tsv" | "tab" => DataFormat::Tsv,
            "parquet" | "pq" => DataFormat::Parquet,
            "arrow" | "arrows" | "ipc" => DataFormat::Arrow,
            "json" => DataFormat::Json,
            _ => return None,
        })
    }
}

named! {
    /// A part of the data. A data set for training has the first three, one for predicting the last.
    SplitName ("split") {
        /// The earliest rows, which the model learns from.
        Train = "train",
        /// The rows after those, to tune by.
        Validation = "validation",
        /// The last rows, to judge by.
        Test = "test",
        /// What to predict for.
        Predict = "predict",
    }
}

impl SplitName {
    /// As an adjective in a message.
    pub(crate) fn part(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Predict => "given",
        }
    }
}

/// Sizes of a sliding window, in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Rows that a forecast looks back on; at least 1.
    pub lookback: u32,
    /// Rows that it looks ahead; at least 1.
    pub horizon: u32,
}

impl Window {
    /// Rows that one training sample covers.
    pub fn rows(self) -> usize {
        self.lookback as usize + self.horizon as usize
    }
}

/// How a frame becomes a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareSpec {
    /// What is to be learned.
    pub task: Task,
    /// The time column. Absent: the first column if its name and content say that it is one.
    #[serde(default)]
    pub time: Option<String>,
    /// The column that tells which device a row is of: of texts, or of numbers that are told apart by value. Absent: all
    /// rows are of one. The order of rows, the split and windows then go by each device's own rows; scales are common.
    #[serde(default)]
    pub device: Option<String>,
    /// What to learn from. Absent: every column of numbers, for tabular tasks without the targets.
    #[serde(default)]
    pub features: Option<Vec<String>>,
    /// What to predict. Empty: every column of numbers for forecasting; an error for tabular tasks.
    #[serde(default)]
    pub target: Vec<String>,
    /// Training, validation and test rows, in order; of each device, if there are several.
    #[serde(default)]
    pub split: Split,
    /// What happens to missing values.
    #[serde(default = "default_missing")]
    pub missing: Missing,
    /// How columns are scaled.
    #[serde(default = "default_scaling")]
    pub scaling: Scaling,
    /// Whether targets are scaled too. Classes never are.
    #[serde(default = "default_scale_target")]
    pub scale_target: bool,
    /// Window sizes; needed for forecasting, refused for other tasks.
    #[serde(default)]
    pub window: Option<Window>,
    /// Sorts rows by time, where rows out of order are otherwise an error.
    #[serde(default)]
    pub sort: bool,
    /// What happens when several rows have the same time.
    #[serde(default = "default_duplicates")]
    pub duplicates: Duplicates,
}

impl PrepareSpec {
    /// The defaults for a task: split 0.7/0.1/0.2, standard scaling of features and targets, missing values filled by
    /// straight lines (forecasting) or their rows dropped (other tasks), order and repeated times checked.
    pub fn new(task: Task) -> Self {
        Self {
            task,
            time: None,
            device: None,
            features: None,
            target: Vec::new(),
            split: Split::default(),
            missing: default_missing(),
            scaling: default_scaling(),
            scale_target: default_scale_target(),
            window: None,
            sort: false,
            duplicates: default_duplicates(),
        }
    }

    /// What happens to missing values once `auto` has been decided by the task.
    pub(crate) fn missing_policy(&self) -> Missing {
        match (self.missing, self.task) {
            (Missing::Auto, Task::Forecasting) => Missing::Linear,
            (Missing::Auto, _) => Missing::Drop,
            (chosen, _) => chosen,
        }
    }

    /// The window of a forecasting task; refuses one that is absent, empty or out of place.
    pub(crate) fn checked_window(&self) -> Result<Option<Window>, DataError> {
        match (self.task, self.window) {
            (Task::Forecasting, None) => Err(DataError::BadRequest {
                problem: "forecasting needs a window".to_owned(),
                remedy: "say how many rows to look back on and ahead (--lookback N --horizon N)",
            }),
            (Task::Forecasting, Some(Window { lookback: 0, .. } | Window { horizon: 0, .. })) => {
                Err(DataError::BadRequest {
                    problem: "a window of 0 rows was asked for".to_owned(),
                    remedy: "lookback and horizon are at least 1",
                })
            }
            (Task::Forecasting, window) => Ok(window),
            (_, None) => Ok(None),
            (task, Some(_)) => Err(DataError::BadRequest {
                problem: format!("a {task} has no windows, but lookback and horizon were given"),
                remedy: "leave them out, or choose a forecasting task",
            }),
        }
    }
}

fn default_missing() -> Missing {
    Missing::Auto
}

fn default_scaling() -> Scaling {
    Scaling::Standard
}

fn default_scale_target() -> bool {
    true
}

fn default_duplicates() -> Duplicates {
    Duplicates::Error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_of_only_a_task_has_every_default() {
        let spec: PrepareSpec = serde_json::from_str(r#"{"task":"regression"}"#).unwrap();
        assert_eq!(spec, PrepareSpec::new(Task::Regression));
        assert_eq!(spec.missing_policy(), Missing::Drop);
        assert_eq!(PrepareSpec::new(Task::Forecasting).missing_policy(), Missing::Linear);
    }

    #[test]
    fn a_spec_survives_json() {
        let mut spec = PrepareSpec::new(Task::Forecasting);
        spec.window = Some(Window {
            lookback: 3,
            horizon: 2,
        });
        spec.split = "10/5/5".parse().unwrap();
        spec.scaling = Scaling::MinMax;
        let json = serde_json::to_string(&spec).unwrap();
        assert!(
            json.contains(r#""split":"10/5/5""#) && json.contains(r#""scaling":"min_max""#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<PrepareSpec>(&json).unwrap(), spec);
    }

    #[test]
    fn a_misspelt_field_or_name_is_refused() {
        assert!(serde_json::from_str::<PrepareSpec>(r#"{"task":"regression","targets":["y"]}"#).is_err());
        let error = "quick".parse::<Scaling>().unwrap_err().to_string();
        assert_eq!(
            error,
            r#"scaling "quick" is not known: use one of none standard min_max robust"#
        );
    }
}

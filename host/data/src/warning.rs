//! What a person should know about their data although it can be used.

use std::fmt;

use serde::Serialize;

use crate::{
    SplitName,
    error::{listed, quoted},
};

/// Something odd that did not stop the preparation. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// A column has one value throughout the training rows: nothing can be learned from it. It is centred, not scaled.
    ConstantColumn {
        /// The column.
        column: String,
    },
    /// A class appears in validation or test rows only. It gets an index after those of the training rows.
    UnseenClass {
        /// The class.
        class: String,
    },
    /// All training rows have the same class.
    OneClass {
        /// The class.
        class: String,
    },
    /// A column has no value in a whole part, so that part was filled with the last value before it (or the mean).
    EmptyPart {
        /// The column.
        column: String,
        /// `validation` or `test`.
        part: &'static str,
    },
    /// A column has no value in the training rows of some devices, so the mean of all training rows stands in until the
    /// device's first value.
    EmptyDevices {
        /// The column.
        column: String,
        /// The devices.
        devices: Vec<String>,
    },
    /// Devices have too few rows in a part for a single sample, and are left out of that part.
    ShortDevices {
        /// The first of them.
        devices: Vec<ShortDevice>,
        /// How many times there is another.
        more: usize,
    },
    /// The times are finer than a microsecond, which they are kept to; the rest is cut off.
    FinerTimes {
        /// The time column.
        column: String,
    },
    /// Columns of text were left out of the features.
    TextLeftOut {
        /// The columns.
        columns: Vec<String>,
    },
    /// Columns without a name in the header were ignored.
    Unnamed {
        /// Their positions, counted from 1.
        positions: Vec<usize>,
    },
    /// The first column is called like a time but holds plain numbers, so it counts as a column of numbers.
    TimeAsNumber {
        /// The column.
        column: String,
    },
    /// Columns that are neither numbers nor text nor times were ignored.
    OtherType {
        /// The columns.
        columns: Vec<String>,
    },
    /// Rows were left out because of missing values.
    RowsDropped {
        /// How many.
        rows: usize,
    },
    /// Windows were left out because of missing values.
    WindowsDropped {
        /// How many.
        windows: usize,
    },
}

/// A device that has too few rows in a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShortDevice {
    /// Its name.
    pub device: String,
    /// The part.
    pub part: SplitName,
    /// Its rows there.
    pub rows: usize,
    /// Rows that one sample needs.
    pub needed: usize,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConstantColumn { column } => {
                write!(
                    f,
                    "column {} is constant in the training rows, so nothing can be learned from it",
                    quoted(column)
                )
            }
            Self::UnseenClass { class } => {
                write!(
                    f,
                    "class {} never appears in the training rows, so it cannot be learned",
                    quoted(class)
                )
            }
            Self::OneClass { class } => {
                write!(
                    f,
                    "all training rows have class {}, so there is nothing to tell apart",
                    quoted(class)
                )
            }
            Self::EmptyPart { column, part } => {
                write!(
                    f,
                    "column {} has no value in the {part} rows; they were filled from before",
                    quoted(column)
                )
            }
            Self::EmptyDevices { column, devices } => {
                write!(
                    f,
                    "column {} has no value in the training rows of some devices; the mean of all stands in: {}",
                    quoted(column),
                    listed(devices)
                )
            }
            Self::ShortDevices { devices, more } => {
                let described = |short: &ShortDevice| {
                    format!(
                        "{} of the {} part ({} rows, {} needed)",
                        quoted(&short.device),
                        short.part.part(),
                        short.rows,
                        short.needed
                    )
                };
                let devices: Vec<String> = devices.iter().map(described).collect();
                write!(f, "devices with too few rows were left out: {}", devices.join(", "))?;
                match more {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::FinerTimes { column } => {
                write!(
                    f,
                    "column {} holds times finer than a microsecond; what is finer was cut off",
                    quoted(column)
                )
            }
            Self::TextLeftOut { columns } => write!(f, "columns of text were left out: {}", listed(columns)),
            Self::Unnamed { positions } => {
                let positions: Vec<String> = positions.iter().take(20).map(usize::to_string).collect();
                write!(
                    f,
                    "columns without a name were ignored: position {}",
                    positions.join(", ")
                )
            }
            Self::TimeAsNumber { column } => {
                write!(
                    f,
                    "column {} holds numbers that are no times, so it counts as a column of numbers",
                    quoted(column)
                )
            }
            Self::OtherType { columns } => write!(
                f,
                "columns that are neither numbers nor text were ignored: {}",
                listed(columns)
            ),
            Self::RowsDropped { rows } => write!(f, "{rows} rows with missing values were left out"),
            Self::WindowsDropped { windows } => write!(f, "{windows} windows with missing values were left out"),
        }
    }
}

//! A table as it was read: named columns of equal length, one of them maybe the time.
//!
//! A frame knows where its rows came from, so that an error about a row can say which line to look at. What the columns
//! are used for is decided later, by a [`crate::PrepareSpec`].

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
};

use bytes::Bytes;

use crate::{DataError, DataFormat, Place, TimeFormat, Warning, csv, error::quoted, ipc, json, parquet};

/// Columns of one length, read from one source.
#[derive(Debug, Clone)]
pub struct Frame {
    source: String,
    rows: usize,
    columns: Vec<Column>,
    time: Option<TimeColumn>,
    lines: Lines,
    warnings: Vec<Warning>,
}

/// A named column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name in the header.
    pub name: String,
    /// Its values.
    pub values: Values,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers; NaN is a missing value.
    Numeric(Vec<f64>),
    /// Texts.
    Text(TextValues),
}

/// A column of text: each different text once, and a number for every row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextValues {
    /// The different texts, in order of appearance.
    pub texts: Vec<String>,
    /// For every row the index of its text; [`TextValues::MISSING`] where there is none.
    pub codes: Vec<u32>,
    /// The first row that is not a number, if most rows are: then the column was probably meant to be numbers.
    pub stray: Option<usize>,
}

impl TextValues {
    /// The code of a missing text.
    pub const MISSING: u32 = u32::MAX;

    /// The text in a row, if it has one.
    pub fn get(&self, row: usize) -> Option<&str> {
        self.codes
            .get(row)
            .and_then(|&code| self.texts.get(code as usize))
            .map(String::as_str)
    }
}

/// The time column.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeColumn {
    /// Its name in the header.
    pub name: String,
    /// Microseconds since 1970-01-01 00:00 UTC.
    pub micros: Vec<i64>,
    /// How it was written.
    pub format: TimeFormat,
    /// Whether nobody named it and its name and content spoke for themselves.
    pub guessed: bool,
}

/// What to read of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The time column. Absent: the first column, if it is called ts, time, date, datetime or timestamp and holds times.
    pub time: Option<String>,
    /// The columns to read besides the time. Absent: all.
    pub columns: Option<Vec<String>>,
    /// The column that tells devices apart, which is read too where there is one of that name.
    pub device: Option<String>,
}

impl ReadOptions {
    /// Whether a column besides the time is to be read.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.columns.is_none() || self.names(name)
    }

    /// Whether a column is named as one besides the time.
    pub(crate) fn names(&self, name: &str) -> bool {
        let mut names = self.columns.iter().flatten().chain(&self.device);
        names.any(|named| named == name)
    }
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lines {
    /// Whether the source is a text file, in which people look for lines.
    pub text: bool,
    /// The line or row number of each row. Absent: the first row of a text file is on line 2, below the header, and all
    /// others follow; rows of another source are counted from 1.
    pub numbers: Option<Vec<u64>>,
}

impl Frame {
    /// Reads a file whose name ends in a format's ending ([`DataFormat::of_name`]).
    pub fn read(path: &Path, options: &ReadOptions) -> Result<Self, DataError> {
        let name = source_name(&path.display().to_string());
        let format = match DataFormat::of_name(&name) {
            Some(format) => format,
            None if path.exists() => return Err(DataError::UnknownFormat { file: name }),
            None => {
                return Err(DataError::Unreadable {
                    file: name,
                    reason: "there is no such file".to_owned(),
                });
            }
        };
        let file = File::open(path).map_err(unreadable(&name))?;
        Self::from_file(file, &name, format, options)
    }

    /// Reads an open file, from its beginning. `name` is what errors call it.
    pub fn from_file(mut file: File, name: &str, format: DataFormat, options: &ReadOptions) -> Result<Self, DataError> {
        let name = source_name(name);
        file.rewind().map_err(unreadable(&name))?;
        match format {
            DataFormat::Parquet => parquet::read(file, name, options),
            DataFormat::Arrow => {
                let length = file.metadata().map_err(unreadable(&name))?.len();
                ipc::read(BufReader::new(file), length, name, options)
            }
            DataFormat::Csv | DataFormat::Tsv | DataFormat::Json => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(unreadable(&name))?;
                text(&bytes, name, format, options)
            }
        }
    }

    /// Reads a file's content. `name` is what errors call it.
    pub fn from_bytes(
        bytes: impl Into<Bytes>,
        name: &str,
        format: DataFormat,
        options: &ReadOptions,
    ) -> Result<Self, DataError> {
        let (bytes, name) = (bytes.into(), source_name(name));
        match format {
            DataFormat::Parquet => parquet::read(bytes, name, options),
            DataFormat::Arrow => ipc::read(&bytes[..], bytes.len() as u64, name, options),
            DataFormat::Csv | DataFormat::Tsv | DataFormat::Json => text(&bytes, name, format, options),
        }
    }

    /// A frame from columns at hand. `source` is what errors call it. Refuses columns of different lengths or one name.
    pub fn new(source: impl Into<String>, columns: Vec<Column>, time: Option<TimeColumn>) -> Result<Self, DataError> {
        Self::with_lines(
            source.into(),
            columns,
            time,
            Lines {
                text: false,
                numbers: None,
            },
            Vec::new(),
        )
    }

    pub(crate) fn with_lines(
        source: String,
        columns: Vec<Column>,
        time: Option<TimeColumn>,
        lines: Lines,
        warnings: Vec<Warning>,
    ) -> Result<Self, DataError> {
        let times = time.iter().map(|time| (&time.name, time.micros.len()));
        let lengths: Vec<(&String, usize)> = times.chain(columns.iter().map(|c| (&c.name, c.values.len()))).collect();
        for (second, (name, length)) in lengths.iter().enumerate() {
            if let Some(first) = lengths[..second].iter().position(|(other, _)| other == name) {
                let column = (*name).clone();
                return Err(DataError::DuplicateColumn {
                    file: source,
                    column,
                    first: first + 1,
                    second: second + 1,
                });
            }
            if *length != lengths[0].1 {
                return Err(DataError::Malformed {
                    file: source,
                    place: Place::File,
                    problem: format!(
                        "column {} has {length} rows, others have {}",
                        quoted(name),
                        lengths[0].1
                    ),
                    remedy: "columns must have the same length",
                });
            }
        }
        let rows = lengths.first().map_or(0, |(_, length)| *length);
        Ok(Self {
            source,
            rows,
            columns,
            time,
            lines,
            warnings,
        })
    }

    /// What errors call this frame: usually its file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns besides the time, in the file's order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The time column, if there is one.
    pub fn time(&self) -> Option<&TimeColumn> {
        self.time.as_ref()
    }

    /// Oddities met while reading.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The names of all columns, the time first.
    pub fn names(&self) -> Vec<String> {
        self.time
            .iter()
            .map(|time| &time.name)
            .chain(self.columns.iter().map(|column| &column.name))
            .cloned()
            .collect()
    }

    /// The column of that name, or an error that lists those there are.
    pub fn column(&self, name: &str) -> Result<&Column, DataError> {
        self.columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(|| self.no_such_column(name))
    }

    /// The numbers of a column, or an error that shows the first text in it.
    pub fn numbers(&self, name: &str) -> Result<&[f64], DataError> {
        let text = match &self.column(name)?.values {
            Values::Numeric(values) => return Ok(values),
            Values::Text(text) => text,
        };
        let row = text
            .stray
            .or_else(|| text.codes.iter().position(|&code| code != TextValues::MISSING))
            .unwrap_or(0);
        let (file, place, column) = (self.source.clone(), self.place(row), name.to_owned());
        let found = text.get(row).unwrap_or_default().to_owned();
        Err(match text.stray {
            Some(_) => DataError::TextInNumber {
                file,
                place,
                column,
                text: found,
            },
            None => DataError::NotNumeric {
                file,
                place,
                column,
                text: found,
            },
        })
    }

    /// Where a row is in the source.
    pub fn place(&self, row: usize) -> Place {
        let number = self.lines.number(row);
        if self.lines.text {
            Place::Line(number)
        } else {
            Place::Row(number)
        }
    }

    pub(crate) fn check_not_empty(&self) -> Result<(), DataError> {
        if self.rows == 0 {
            Err(DataError::NoRows {
                file: self.source.clone(),
            })
        } else {
            Ok(())
        }
    }

    /// An infinite value is an error.
    pub(crate) fn check_finite(&self, name: &str, values: &[f64]) -> Result<(), DataError> {
        match values.iter().position(|value| value.is_infinite()) {
            Some(row) => {
                let (file, place) = (self.source.clone(), self.place(row));
                Err(DataError::Infinite {
                    file,
                    place,
                    column: name.to_owned(),
                })
            }
            None => Ok(()),
        }
    }

    pub(crate) fn no_such_column(&self, name: &str) -> DataError {
        DataError::NoSuchColumn {
            file: self.source.clone(),
            column: name.to_owned(),
            available: self.names(),
        }
    }

    /// The rows of these indices, in that order; they keep their lines.
    pub(crate) fn take(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| Column {
            name: column.name.clone(),
            values: column.values.take(rows),
        });
        let time = self.time.as_ref().map(|time| TimeColumn {
            micros: rows.iter().map(|&row| time.micros[row]).collect(),
            ..time.clone()
        });
        let numbers = Some(rows.iter().map(|&row| self.lines.number(row)).collect());
        let lines = Lines {
            text: self.lines.text,
            numbers,
        };
        Self {
            source: self.source.clone(),
            rows: rows.len(),
            columns: columns.collect(),
            time,
            lines,
            warnings: self.warnings.clone(),
        }
    }

    pub(crate) fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.columns
    }
}

impl TimeColumn {
    /// The times of the rows that were kept, or of the first `rows`; and how they are written.
    pub(crate) fn of_rows(&self, kept: Option<&[usize]>, rows: usize) -> (Vec<i64>, TimeFormat) {
        let micros = match kept {
            Some(kept) => kept.iter().map(|&row| self.micros[row]).collect(),
            None => self.micros[..rows].to_vec(),
        };
        (micros, self.format)
    }
}

impl Lines {
    fn number(&self, row: usize) -> u64 {
        let counted = row as u64 + 1 + u64::from(self.text);
        self.numbers
            .as_ref()
            .and_then(|numbers| numbers.get(row).copied())
            .unwrap_or(counted)
    }
}

impl Values {
    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Numeric(values) => values.len(),
            Self::Text(text) => text.codes.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numeric(values) => Self::Numeric(rows.iter().map(|&row| values[row]).collect()),
            Self::Text(text) => Self::Text(TextValues {
                texts: text.texts.clone(),
                codes: rows.iter().map(|&row| text.codes[row]).collect(),
                stray: text.stray.and_then(|stray| rows.iter().position(|&row| row == stray)),
            }),
        }
    }
}

/// Whether the first column's name says that it holds times.
pub(crate) fn sounds_like_time(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    ["ts", "time", "date", "datetime", "date_time", "timestamp"].contains(&name.as_str())
}

/// Reads what is text.
fn text(bytes: &[u8], name: String, format: DataFormat, options: &ReadOptions) -> Result<Frame, DataError> {
    match format {
        DataFormat::Json => json::read(bytes, name, options),
        format => csv::read(bytes, format == DataFormat::Tsv, name, options),
    }
}

fn unreadable(name: &str) -> impl Fn(std::io::Error) -> DataError {
    |error| DataError::Unreadable {
        file: name.to_owned(),
        reason: error.kind().to_string(),
    }
}

/// A file's name for messages: as given, on one line.
fn source_name(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

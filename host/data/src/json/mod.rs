//! Reads JSON: an array of objects, each a row, from column to number, text, boolean or null.
//!
//! Columns come in the order in which they first appear. A key that a row lacks is a missing value, and so are the words
//! that a CSV file may write for one. A column is numbers if all its values are (`true` is 1), otherwise text.

mod rows;

use std::{borrow::Cow, collections::HashMap};

use serde::de::Deserializer;

use crate::{
    Column, DataError, Frame, Place, ReadOptions, TimeColumn, Values, Warning,
    error::quoted,
    frame::{Lines, sounds_like_time},
    text::TextBuilder,
    time::{EXPECTED, TimeReader},
};
use rows::{Cell, Rows};

/// Cells that a file may have for each of its bytes: a file that names another column in each row would else take memory
/// out of all proportion.
const CELLS_PER_BYTE: usize = 16;

pub(crate) fn read(bytes: &[u8], source: String, options: &ReadOptions) -> Result<Frame, DataError> {
    let mut gatherer = Gatherer {
        source,
        options,
        positions: HashMap::new(),
        columns: Vec::new(),
        rows: 0,
        most_cells: bytes.len().saturating_mul(CELLS_PER_BYTE),
        problem: None,
    };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = json.deserialize_seq(Rows(&mut gatherer)).and_then(|()| json.end());
    if let Some(problem) = gatherer.problem {
        return Err(problem);
    }
    if let Err(error) = read {
        let array = error.is_data();
        return Err(DataError::Malformed {
            file: gatherer.source,
            place: Place::Line(error.line() as u64),
            problem: if array {
                format!("is not an array of objects ({})", quoted(&error.to_string()))
            } else {
                format!("is not JSON ({})", quoted(&error.to_string()))
            },
            remedy: "write rows as [{\"column\": value, …}, …]",
        });
    }
    gatherer.finish()
}

/// Columns while they are being read.
struct Gatherer<'a> {
    source: String,
    options: &'a ReadOptions,
    positions: HashMap<String, usize>,
    columns: Vec<Growing>,
    rows: usize,
    most_cells: usize,
    problem: Option<DataError>,
}

struct Growing {
    name: String,
    builder: Builder,
    /// Rows that it has a value for, or knows to be missing.
    filled: usize,
}

enum Builder {
    /// Not wanted, or without a name.
    Skip,
    /// Only missing values so far.
    Undecided,
    Numbers(Vec<f64>),
    Text(TextBuilder),
    Time {
        micros: Vec<i64>,
        reader: TimeReader,
        guessed: bool,
    },
}

impl Gatherer<'_> {
    /// The position of a column, new or known.
    fn position(&mut self, name: &str) -> usize {
        if let Some(&position) = self.positions.get(name) {
            return position;
        }
        let position = self.columns.len();
        self.positions.insert(name.to_owned(), position);
        let named = self.options.time.as_deref() == Some(name);
        let guessed = self.options.time.is_none()
            && position == 0
            && self.rows == 0
            && sounds_like_time(name)
            && !self.options.names(name);
        self.columns.push(Growing {
            name: name.to_owned(),
            builder: match () {
                _ if named || guessed => Builder::Time {
                    micros: Vec::new(),
                    reader: TimeReader::default(),
                    guessed: !named,
                },
                _ if name.is_empty() || !self.options.wants(name) => Builder::Skip,
                _ => Builder::Undecided,
            },
            filled: 0,
        });
        position
    }

    fn add(&mut self, position: usize, cell: Cell<'_>) -> Result<(), DataError> {
        let (row, source) = (self.rows, &self.source);
        let column = &mut self.columns[position];
        let malformed = |problem: String, remedy| DataError::Malformed {
            file: source.clone(),
            place: Place::Row(row as u64 + 1),
            problem: format!("column {} {problem}", quoted(&column.name)),
            remedy,
        };
        if matches!(cell, Cell::Nested) && !matches!(column.builder, Builder::Skip) {
            return Err(malformed("holds a list or an object".into(), "give one value, or null"));
        }
        if column.filled > row {
            return Err(malformed("is given twice".into(), "give it once in each object"));
        }
        column.pad(row, source)?;
        column.push(cell, row, source)?;
        column.filled = row + 1;
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), DataError> {
        self.rows += 1;
        if self.rows.saturating_mul(self.columns.len()) > self.most_cells {
            return Err(DataError::Malformed {
                file: self.source.clone(),
                place: Place::Row(self.rows as u64),
                problem: format!(
                    "there are {} columns by now, nearly all of them empty",
                    self.columns.len()
                ),
                remedy: "give every row the same columns",
            });
        }
        Ok(())
    }

    fn finish(self) -> Result<Frame, DataError> {
        let (source, rows) = (self.source, self.rows);
        if rows == 0 {
            return Err(DataError::NoRows { file: source });
        }
        for name in self.options.time.iter().chain(self.options.columns.iter().flatten()) {
            if !self.positions.contains_key(name) {
                return Err(DataError::NoSuchColumn {
                    file: source,
                    column: name.clone(),
                    available: self.columns.into_iter().map(|column| column.name).collect(),
                });
            }
        }
        let (mut columns, mut time, mut warnings) = (Vec::new(), None, Vec::new());
        for (position, mut column) in self.columns.into_iter().enumerate() {
            column.pad(rows, &source)?;
            let values = match column.builder {
                Builder::Skip if column.name.is_empty() => {
                    warnings.push(Warning::Unnamed {
                        positions: vec![position + 1],
                    });
                    continue;
                }
                Builder::Skip => continue,
                Builder::Time {
                    micros,
                    reader,
                    guessed,
                } => {
                    time = Some(TimeColumn {
                        name: column.name,
                        micros,
                        format: reader.format(),
                        guessed,
                    });
                    continue;
                }
                Builder::Undecided => Values::Numeric(vec![f64::NAN; rows]),
                Builder::Numbers(values) => {
                    if position == 0 && time.is_none() && sounds_like_time(&column.name) {
                        warnings.push(Warning::TimeAsNumber {
                            column: column.name.clone(),
                        });
                    }
                    Values::Numeric(values)
                }
                Builder::Text(text) => Values::Text(text.finish()),
            };
            columns.push(Column {
                name: column.name,
                values,
            });
        }
        let lines = Lines {
            text: false,
            numbers: None,
        };
        Frame::with_lines(source, columns, time, lines, warnings)
    }
}

impl Growing {
    /// Makes up for the rows that lacked this column.
    fn pad(&mut self, rows: usize, source: &str) -> Result<(), DataError> {
        let missing = rows - self.filled;
        match &mut self.builder {
            Builder::Skip | Builder::Undecided => {}
            Builder::Numbers(values) => values.resize(rows, f64::NAN),
            Builder::Text(text) => (0..missing).for_each(|_| text.push(None)),
            Builder::Time { .. } if missing > 0 => return Err(self.not_a_time(self.filled, "null", source)),
            Builder::Time { .. } => {}
        }
        self.filled = rows;
        Ok(())
    }

    fn push(&mut self, cell: Cell<'_>, row: usize, source: &str) -> Result<(), DataError> {
        match (&mut self.builder, cell) {
            (Builder::Skip, _) | (Builder::Undecided, Cell::Missing | Cell::Nested) => {}
            (Builder::Time { .. }, cell) => return self.push_time(cell, row, source),
            (Builder::Numbers(values), Cell::Number(value)) => values.push(value),
            (Builder::Numbers(values), Cell::Integer(value)) => values.push(value as f64),
            (Builder::Numbers(values), Cell::Missing | Cell::Nested) => values.push(f64::NAN),
            (Builder::Numbers(values), Cell::Text(said)) => {
                let mut text = TextBuilder::default();
                for value in values {
                    text.push((!value.is_nan()).then(|| value.to_string()).as_deref());
                }
                text.push(Some(&said));
                self.builder = Builder::Text(text);
            }
            (Builder::Text(text), cell) => match cell {
                Cell::Missing | Cell::Nested => text.push(None),
                Cell::Text(said) => text.push(Some(&said)),
                Cell::Number(value) => text.push(Some(&value.to_string())),
                Cell::Integer(value) => text.push(Some(&value.to_string())),
            },
            (Builder::Undecided, Cell::Text(said)) => {
                let mut text = TextBuilder::after_missing(row);
                text.push(Some(&said));
                self.builder = Builder::Text(text);
            }
            (Builder::Undecided, Cell::Number(value)) => self.numbers_from(row, value),
            (Builder::Undecided, Cell::Integer(value)) => self.numbers_from(row, value as f64),
        }
        Ok(())
    }

    fn numbers_from(&mut self, row: usize, value: f64) {
        let mut values = vec![f64::NAN; row];
        values.push(value);
        self.builder = Builder::Numbers(values);
    }

    fn push_time(&mut self, cell: Cell<'_>, row: usize, source: &str) -> Result<(), DataError> {
        let text: Cow<'_, str> = match &cell {
            Cell::Missing | Cell::Nested => "null".into(),
            Cell::Text(text) => text.as_ref().into(),
            Cell::Number(value) => value.to_string().into(),
            Cell::Integer(value) => value.to_string().into(),
        };
        let Builder::Time {
            micros,
            reader,
            guessed,
        } = &mut self.builder
        else {
            return Ok(());
        };
        match reader.read(&text) {
            Some(time) => micros.push(time),
            // A number that is no time, in a column that nobody called the time: it is just a number.
            None if *guessed && row == 0 && matches!(cell, Cell::Number(_) | Cell::Integer(_)) => {
                self.builder = Builder::Undecided;
                return self.push(cell, row, source);
            }
            None => return Err(self.not_a_time(row, &text, source)),
        }
        Ok(())
    }

    fn not_a_time(&self, row: usize, text: &str, source: &str) -> DataError {
        DataError::UnparsableTime {
            file: source.to_owned(),
            place: Place::Row(row as u64 + 1),
            column: self.name.clone(),
            text: text.to_owned(),
            expected: EXPECTED.to_owned(),
        }
    }
}

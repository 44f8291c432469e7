//! Reads Parquet files, and Arrow record batches in general.
//!
//! Integers, floats, decimals and booleans become numbers; strings and dictionaries of them text. NULL is a missing value.
//! Timestamps and dates become the time column, or text where another column is the time. Others are ignored.

use std::sync::Arc;

use ::parquet::{
    arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::reader::ChunkReader,
};
use arrow_array::{ArrayRef, RecordBatch, cast::AsArray};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Schema};

use crate::{
    Column, DataError, Frame, Place, ReadOptions, TimeColumn, TimeFormat, Values, Warning,
    arrays::{NoTime, TextGatherer, push_numbers, push_times},
    frame::sounds_like_time,
    time::{EXPECTED, TimeReader},
};

pub(crate) fn read(
    file: impl ChunkReader + 'static,
    source: String,
    options: &ReadOptions,
) -> Result<Frame, DataError> {
    let damaged = |error: String| DataError::Malformed {
        file: source.clone(),
        place: Place::File,
        problem: format!("is no whole Parquet file ({})", crate::error::quoted(&error)),
        remedy: "export or copy it again",
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(error.to_string()))?;
    let reader = Gatherer::new(builder.schema(), &source, options)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), reader.positions());
    let batches = builder
        .with_projection(mask)
        .build()
        .map_err(|error| damaged(error.to_string()))?;
    reader.gather(batches.map(|batch| batch.map_err(|error| damaged(error.to_string()))))
}

impl Frame {
    /// A frame from Arrow record batches of one schema. `source` is what errors call it.
    pub fn from_batches(
        source: impl Into<String>,
        schema: &Arc<Schema>,
        batches: impl IntoIterator<Item = RecordBatch>,
        options: &ReadOptions,
    ) -> Result<Self, DataError> {
        of_batches(source.into(), schema, 0, batches.into_iter().map(Ok), options)
    }
}

/// A frame from record batches of one schema, as they are read. Room is made for `rows` at once.
pub(crate) fn of_batches(
    source: String,
    schema: &Schema,
    rows: usize,
    batches: impl Iterator<Item = Result<RecordBatch, DataError>>,
    options: &ReadOptions,
) -> Result<Frame, DataError> {
    let mut gatherer = Gatherer::new(schema, &source, options)?;
    gatherer.reserve(rows);
    let positions = gatherer.positions();
    gatherer.gather(batches.map(|batch| {
        batch?.project(&positions).map_err(|error| DataError::Malformed {
            file: source.clone(),
            place: Place::File,
            problem: error.to_string(),
            remedy: "all batches must have the same columns",
        })
    }))
}

/// What an Arrow type means to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Moment { date_only: bool, zoned: bool },
    Other,
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Null | DataType::Boolean => Kind::Number,
        _ if data_type.is_numeric() => Kind::Number,
        DataType::Timestamp(_, zone) => Kind::Moment {
            date_only: false,
            zoned: zone.is_some(),
        },
        DataType::Date32 => Kind::Moment {
            date_only: true,
            zoned: false,
        },
        DataType::Date64 => Kind::Moment {
            date_only: false,
            zoned: false,
        },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Dictionary(_, values) => kind(values),
        _ => Kind::Other,
    }
}

/// A column while it is being read.
struct Wanted {
    name: String,
    position: usize,
    kind: Kind,
    builder: Builder,
}

enum Builder {
    Numbers(Vec<f64>),
    Text(Box<TextGatherer>),
    /// The time column, of timestamps.
    Moments {
        micros: Vec<i64>,
        /// Whether some were finer than microseconds.
        finer: bool,
    },
    /// The time column, of texts or counts.
    Written {
        micros: Vec<i64>,
        reader: TimeReader,
    },
}

struct Gatherer<'a> {
    source: &'a str,
    columns: Vec<Wanted>,
    time: Option<(String, bool)>,
    warnings: Vec<Warning>,
    rows: usize,
}

impl<'a> Gatherer<'a> {
    fn new(schema: &Schema, source: &'a str, options: &ReadOptions) -> Result<Self, DataError> {
        let names = || {
            schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect::<Vec<_>>()
        };
        for name in options.time.iter().chain(options.columns.iter().flatten()) {
            if schema.index_of(name).is_err() {
                return Err(DataError::NoSuchColumn {
                    file: source.to_owned(),
                    column: name.clone(),
                    available: names(),
                });
            }
        }
        let guessed = guess_time(schema)
            .filter(|name| !options.names(name))
            .map(|name| (name, true));
        let time = options.time.clone().map(|name| (name, false)).or(guessed);
        let mut others = Vec::new();
        let mut columns = Vec::new();
        for (position, field) in schema.fields().iter().enumerate() {
            let (name, kind) = (field.name().clone(), kind(field.data_type()));
            let is_time = time.as_ref().is_some_and(|(time, _)| *time == name);
            if !is_time && !options.wants(&name) {
                continue;
            }
            let builder = match (is_time, kind) {
                (_, Kind::Other) => {
                    others.push(name);
                    continue;
                }
                (true, Kind::Moment { .. }) => Builder::Moments {
                    micros: Vec::new(),
                    finer: false,
                },
                (true, _) => Builder::Written {
                    micros: Vec::new(),
                    reader: TimeReader::default(),
                },
                (false, Kind::Number) => Builder::Numbers(Vec::new()),
                (false, Kind::Text | Kind::Moment { .. }) => Builder::Text(Box::default()),
            };
            columns.push(Wanted {
                name,
                position,
                kind,
                builder,
            });
        }
        let warnings = if others.is_empty() {
            Vec::new()
        } else {
            vec![Warning::OtherType { columns: others }]
        };
        Ok(Self {
            source,
            columns,
            time,
            warnings,
            rows: 0,
        })
    }

    fn positions(&self) -> Vec<usize> {
        self.columns.iter().map(|column| column.position).collect()
    }

    /// Reads batches that hold exactly the wanted columns, in order.
    fn reserve(&mut self, rows: usize) {
        for column in &mut self.columns {
            match &mut column.builder {
                Builder::Numbers(values) => values.reserve(rows),
                Builder::Moments { micros, .. } => micros.reserve(rows),
                Builder::Text(_) | Builder::Written { .. } => {}
            }
        }
    }

    fn gather(mut self, batches: impl Iterator<Item = Result<RecordBatch, DataError>>) -> Result<Frame, DataError> {
        for batch in batches {
            let batch = batch?;
            for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
                column.push(array, self.rows, self.source)?;
            }
            self.rows += batch.num_rows();
        }
        let mut time = None;
        let mut columns = Vec::new();
        for Wanted {
            name, kind, builder, ..
        } in self.columns
        {
            let guessed = self.time.as_ref().is_some_and(|(_, guessed)| *guessed);
            match builder {
                Builder::Numbers(values) => columns.push(Column {
                    name,
                    values: Values::Numeric(values),
                }),
                Builder::Text(text) => columns.push(Column {
                    name,
                    values: Values::Text(text.finish()),
                }),
                Builder::Moments { micros, finer } => {
                    if finer {
                        self.warnings.push(Warning::FinerTimes { column: name.clone() });
                    }
                    let (date_only, zoned) = match kind {
                        Kind::Moment { date_only, zoned } => (date_only, zoned),
                        _ => (false, false),
                    };
                    let format = TimeFormat::plain(&micros, date_only, zoned);
                    time = Some(TimeColumn {
                        name,
                        micros,
                        format,
                        guessed,
                    });
                }
                Builder::Written { micros, reader } => {
                    time = Some(TimeColumn {
                        name,
                        micros,
                        format: reader.format(),
                        guessed,
                    });
                }
            }
        }
        let lines = crate::frame::Lines {
            text: false,
            numbers: None,
        };
        Frame::with_lines(self.source.to_owned(), columns, time, lines, self.warnings)
    }
}

impl Wanted {
    fn push(&mut self, array: &ArrayRef, before: usize, source: &str) -> Result<(), DataError> {
        let unusable = |error: ArrowError| DataError::Malformed {
            file: source.to_owned(),
            place: Place::File,
            problem: format!("column {}: {error}", crate::error::quoted(&self.name)),
            remedy: "export the column as another type",
        };
        let not_a_time = |row: usize, text: &str| DataError::UnparsableTime {
            file: source.to_owned(),
            place: Place::Row((before + row) as u64 + 1),
            column: self.name.clone(),
            text: text.to_owned(),
            expected: EXPECTED.to_owned(),
        };
        match &mut self.builder {
            Builder::Numbers(values) => push_numbers(values, array).map_err(unusable)?,
            Builder::Text(text) => text.push(array).map_err(unusable)?,
            Builder::Moments { micros, finer } => match push_times(micros, array) {
                Ok(cut_off) => *finer |= cut_off,
                Err(NoTime::Row(row, text)) => return Err(not_a_time(row, &text)),
                Err(NoTime::Type(error)) => return Err(unusable(error)),
            },
            Builder::Written { micros, reader } => {
                let array = cast(array, &DataType::Utf8).map_err(unusable)?;
                for (row, text) in array.as_string::<i32>().iter().enumerate() {
                    let text = text.unwrap_or("NULL");
                    micros.push(reader.read(text).ok_or_else(|| not_a_time(row, text))?);
                }
            }
        }
        Ok(())
    }
}

/// The first column, if it is called like a time and of a fitting type; else the only column of timestamps.
fn guess_time(schema: &Schema) -> Option<String> {
    let is_moment = |data_type: &DataType| matches!(kind(data_type), Kind::Moment { .. });
    let first = schema.fields().first()?;
    if sounds_like_time(first.name()) && (is_moment(first.data_type()) || kind(first.data_type()) == Kind::Text) {
        return Some(first.name().clone());
    }
    let mut moments = schema.fields().iter().filter(|field| is_moment(field.data_type()));
    match (moments.next(), moments.next()) {
        (Some(only), None) => Some(only.name().clone()),
        _ => None,
    }
}

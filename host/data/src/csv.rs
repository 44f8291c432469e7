//! Reads CSV files: with a header, in UTF-8, separated by commas, semicolons or tabs.
//!
//! A column is numbers if all its values are, otherwise text. Spreadsheets' habits are taken as they are: a byte order
//! mark, quotes, either line ending, several words for a missing value, columns without a name.

use std::collections::HashSet;

use ::csv::{ReaderBuilder, StringRecord};

use crate::{
    Column, DataError, Frame, Place, ReadOptions, TimeColumn, Values, Warning,
    frame::{Lines, sounds_like_time},
    text::TextBuilder,
    time::{EXPECTED, TimeReader},
};

/// `tabs`: separated by tabs, whatever the header looks like.
pub(crate) fn read(bytes: &[u8], tabs: bool, source: String, options: &ReadOptions) -> Result<Frame, DataError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(DataError::Malformed {
            file: source,
            place: Place::Line(line_at(bytes, error.valid_up_to())),
            problem: "is not UTF-8 text".to_owned(),
            remedy: "save the file as CSV in UTF-8",
        });
    }
    let delimiter = if tabs { b'\t' } else { sniff_delimiter(bytes) };
    let file = Source {
        bytes,
        delimiter,
        name: source,
    };
    // A column that turns out to be text after some numbers has lost how those were written, so the file is read again
    // with that column known to be text. It happens at most once a column, and seldom at all.
    let mut known_as_text = HashSet::new();
    loop {
        match file.pass(options, &known_as_text)? {
            Pass::Done(frame) => return Ok(frame),
            Pass::TextAfterNumbers(column) => known_as_text.insert(column),
        };
    }
}

/// What one reading of the file came to.
enum Pass {
    Done(Frame),
    TextAfterNumbers(usize),
}

struct Source<'a> {
    bytes: &'a [u8],
    delimiter: u8,
    name: String,
}

/// A column while it is being read.
enum Builder {
    /// Not wanted, or without a name.
    Skip,
    /// Only missing values so far.
    Undecided(usize),
    Numbers(Vec<f64>),
    Text(TextBuilder),
    Time {
        micros: Vec<i64>,
        reader: TimeReader,
        guessed: bool,
    },
}

impl Source<'_> {
    fn pass(&self, options: &ReadOptions, known_as_text: &HashSet<usize>) -> Result<Pass, DataError> {
        let mut reader = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(self.bytes);
        let mut record = StringRecord::new();
        let mut more = |record: &mut StringRecord| {
            reader
                .read_record(record)
                .map_err(|error| self.malformed(Place::File, error.to_string(), "repair the file"))
        };
        if !more(&mut record)? {
            return Err(DataError::NoRows {
                file: self.name.clone(),
            });
        }
        let header: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
        self.check_header(&header)?;
        let mut builders = self.builders(&header, options, known_as_text)?;
        let mut lines = LineCounter::default();
        let mut row = 0;
        while more(&mut record)? {
            let start = record.position().map_or(0, |position| position.byte() as usize);
            let line = lines.advance(self.bytes, start, row);
            if record.len() != header.len() {
                let problem = format!("has {} fields, but the header has {}", record.len(), header.len());
                return Err(self.malformed(
                    Place::Line(line),
                    problem,
                    "correct the line, and put quotes around values that contain the separator",
                ));
            }
            for (index, (builder, field)) in builders.iter_mut().zip(record.iter()).enumerate() {
                let field = field.trim();
                match builder.push(field, row) {
                    Pushed::Ok => {}
                    Pushed::TextAfterNumbers => return Ok(Pass::TextAfterNumbers(index)),
                    Pushed::NotATime { hint } => {
                        return Err(DataError::UnparsableTime {
                            file: self.name.clone(),
                            place: Place::Line(line),
                            column: header[index].clone(),
                            text: field.to_owned(),
                            expected: format!("{EXPECTED}{hint}"),
                        });
                    }
                }
            }
            row += 1;
        }
        self.finish(header, builders, lines, row).map(Pass::Done)
    }

    fn malformed(&self, place: Place, problem: String, remedy: &'static str) -> DataError {
        DataError::Malformed {
            file: self.name.clone(),
            place,
            problem,
            remedy,
        }
    }

    /// Refuses a header that is data, or that has a name twice.
    fn check_header(&self, header: &[String]) -> Result<(), DataError> {
        let is_data = |name: &String| name.parse::<f64>().is_ok() || TimeReader::default().read(name).is_some();
        let mut named = header.iter().filter(|name| !name.is_empty()).peekable();
        if named.peek().is_some() && named.all(is_data) {
            return Err(DataError::NoHeader {
                file: self.name.clone(),
                found: header.join(", "),
            });
        }
        let mut seen: HashSet<&str> = HashSet::new();
        for (index, name) in header.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if !seen.insert(name) {
                return Err(DataError::DuplicateColumn {
                    file: self.name.clone(),
                    column: name.clone(),
                    first: header.iter().position(|other| other == name).unwrap_or(0) + 1,
                    second: index + 1,
                });
            }
        }
        Ok(())
    }

    /// One builder a column: the time, the wanted ones, and nothing for the rest.
    fn builders(
        &self,
        header: &[String],
        options: &ReadOptions,
        known_as_text: &HashSet<usize>,
    ) -> Result<Vec<Builder>, DataError> {
        for name in options.time.iter().chain(options.columns.iter().flatten()) {
            if !header.contains(name) {
                return Err(DataError::NoSuchColumn {
                    file: self.name.clone(),
                    column: name.clone(),
                    available: header.iter().filter(|name| !name.is_empty()).cloned().collect(),
                });
            }
        }
        let wanted = |name: &String| !name.is_empty() && options.wants(name);
        let builder = |(index, name): (usize, &String)| {
            let named = options.time.as_ref() == Some(name);
            let guessed = options.time.is_none() && index == 0 && sounds_like_time(name) && !options.names(name);
            match () {
                _ if named || guessed => Builder::Time {
                    micros: Vec::new(),
                    reader: TimeReader::default(),
                    guessed: !named,
                },
                _ if !wanted(name) => Builder::Skip,
                _ if known_as_text.contains(&index) => Builder::Text(TextBuilder::default()),
                _ => Builder::Undecided(0),
            }
        };
        Ok(header.iter().enumerate().map(builder).collect())
    }

    fn finish(
        &self,
        header: Vec<String>,
        builders: Vec<Builder>,
        lines: LineCounter,
        rows: usize,
    ) -> Result<Frame, DataError> {
        let mut warnings = Vec::new();
        let positions: Vec<usize> = header
            .iter()
            .enumerate()
            .filter(|(_, name)| name.is_empty())
            .map(|(index, _)| index + 1)
            .collect();
        if !positions.is_empty() {
            warnings.push(Warning::Unnamed { positions });
        }
        let mut columns = Vec::new();
        let mut time = None;
        for (name, builder) in header.into_iter().zip(builders) {
            let values = match builder {
                Builder::Skip => continue,
                Builder::Time {
                    micros,
                    reader,
                    guessed,
                } => {
                    time = Some(TimeColumn {
                        name,
                        micros,
                        format: reader.format(),
                        guessed,
                    });
                    continue;
                }
                Builder::Undecided(rows) => Values::Numeric(vec![f64::NAN; rows]),
                Builder::Numbers(values) => {
                    if columns.is_empty() && time.is_none() && sounds_like_time(&name) {
                        warnings.push(Warning::TimeAsNumber { column: name.clone() });
                    }
                    Values::Numeric(values)
                }
                Builder::Text(text) => Values::Text(text.finish()),
            };
            columns.push(Column { name, values });
        }
        debug_assert!(columns.iter().all(|column| column.values.len() == rows));
        Frame::with_lines(self.name.clone(), columns, time, lines.finish(), warnings)
    }
}

/// What came of adding a field to a column.
enum Pushed {
    Ok,
    TextAfterNumbers,
    NotATime { hint: &'static str },
}

impl Builder {
    fn push(&mut self, field: &str, row: usize) -> Pushed {
        match self {
            Self::Skip => {}
            Self::Numbers(values) => match number(field) {
                Some(value) => values.push(value),
                None => return Pushed::TextAfterNumbers,
            },
            Self::Undecided(missing) => {
                if is_missing(field) {
                    *missing += 1;
                } else if let Some(value) = number(field) {
                    let mut values = vec![f64::NAN; *missing];
                    values.push(value);
                    *self = Self::Numbers(values);
                } else {
                    let mut text = TextBuilder::after_missing(*missing);
                    text.push(Some(field));
                    *self = Self::Text(text);
                }
            }
            Self::Text(text) => text.push((!is_missing(field)).then_some(field)),
            Self::Time {
                micros,
                reader,
                guessed,
            } => match reader.read(field) {
                Some(time) => micros.push(time),
                // A number that is no time, in a column that nobody called the time: it is just a number.
                None if *guessed && row == 0 && number(field).is_some() => {
                    *self = Self::Undecided(0);
                    return self.push(field, row);
                }
                None if *guessed => {
                    return Pushed::NotATime {
                        hint: " (or another name for the column, if it holds no times)",
                    };
                }
                None => return Pushed::NotATime { hint: "" },
            },
        }
        Pushed::Ok
    }
}

/// A number or a missing value (NaN); `None` for any other text.
fn number(field: &str) -> Option<f64> {
    match field.parse() {
        Ok(value) => Some(value),
        Err(_) => is_missing(field).then_some(f64::NAN),
    }
}

/// The ways in which spreadsheets, pandas, R and databases write that there is no value.
pub(crate) fn is_missing(field: &str) -> bool {
    const WORDS: [&str; 6] = ["na", "n/a", "nan", "null", "none", "-"];
    field.is_empty() || (field.len() <= 4 && WORDS.iter().any(|word| field.eq_ignore_ascii_case(word)))
}

/// The separator that appears most often in the header, outside quotes.
fn sniff_delimiter(bytes: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for &byte in bytes {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if quoted => {}
            _ => counts
                .iter_mut()
                .filter(|(delimiter, _)| *delimiter == byte)
                .for_each(|(_, count)| *count += 1),
        }
    }
    // The first of the most frequent: a header of one column counts as separated by commas.
    let most = counts.iter().map(|(_, count)| *count).max();
    counts
        .iter()
        .find(|(_, count)| Some(*count) == most)
        .map_or(b',', |(delimiter, _)| *delimiter)
}

/// The line, counted from 1, that a byte is on.
fn line_at(bytes: &[u8], position: usize) -> u64 {
    bytes[..position.min(bytes.len())]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count() as u64
        + 1
}

/// Finds the line that each row starts on. Blank lines and line breaks inside quotes make that more than counting rows.
#[derive(Default)]
struct LineCounter {
    seen: usize,
    breaks: u64,
    numbers: Option<Vec<u64>>,
}

impl LineCounter {
    /// The line of a row whose record was found at `start`, where blank lines before it may still come.
    fn advance(&mut self, bytes: &[u8], start: usize, row: usize) -> u64 {
        let blank = bytes[start..]
            .iter()
            .take_while(|byte| matches!(byte, b'\n' | b'\r'))
            .count();
        let start = start + blank;
        self.breaks += line_at(&bytes[self.seen..], start - self.seen) - 1;
        self.seen = start;
        let line = self.breaks + 1;
        match &mut self.numbers {
            Some(numbers) => numbers.push(line),
            None if line == row as u64 + 2 => {}
            None => {
                let mut numbers: Vec<u64> = (0..row as u64).map(|row| row + 2).collect();
                numbers.push(line);
                self.numbers = Some(numbers);
            }
        }
        line
    }

    fn finish(self) -> Lines {
        Lines {
            text: true,
            numbers: self.numbers,
        }
    }
}

//! What can be wrong with data or with what was asked of it.
//!
//! Every message is one line: the file, the row or column, what is wrong, and what to do. Texts taken from a file are
//! escaped and shortened, so that no file can write a line of its own into a log.

use std::fmt;

/// Why data could not be read or prepared. [`DataError::code`] is stable; the wording is not.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file is absent, a folder, or may not be read.
    #[error("{file}: cannot be read ({reason}): check the path and its permissions")]
    Unreadable {
        /// The file.
        file: String,
        /// What the operating system said.
        reason: String,
    },
    /// The file's ending is none that is read.
    #[error(
        "{file}: only .csv, .tsv, .parquet, .arrow and .json files are read: convert it, or give it the right ending"
    )]
    UnknownFormat {
        /// The file.
        file: String,
    },
    /// The file is damaged or not what its ending says.
    #[error("{file}: {place}: {problem}: {remedy}")]
    Malformed {
        /// The file.
        file: String,
        /// Where, as far as it is known.
        place: Place,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The first line holds numbers where names are needed.
    #[error("{file}: line 1: names of columns are needed, but it holds data ({}): add a header line", quoted(.found))]
    NoHeader {
        /// The file.
        file: String,
        /// The first line's beginning.
        found: String,
    },
    /// Two columns have one name.
    #[error("{file}: column {} appears twice (columns {first} and {second}): rename one of them", quoted(.column))]
    DuplicateColumn {
        /// The file.
        file: String,
        /// The name.
        column: String,
        /// Position of the first, counted from 1.
        first: usize,
        /// Position of the second, counted from 1.
        second: usize,
    },
    /// Names of columns and nothing below them.
    #[error("{file}: has no rows of data: check that it is the right file and that its export finished")]
    NoRows {
        /// The file.
        file: String,
    },
    /// A column was asked for that is not there.
    #[error("{file}: has no column {}{}: its columns are {}", quoted(.column), did_you_mean(.column, .available), listed(.available))]
    NoSuchColumn {
        /// The file.
        file: String,
        /// The name that was asked for.
        column: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// A column of numbers holds text somewhere.
    #[error("{file}: {place}: column {} is a column of numbers but holds {}: {}", quoted(.column), quoted(.text), number_remedy(.text))]
    TextInNumber {
        /// The file.
        file: String,
        /// The first such row.
        place: Place,
        /// The column.
        column: String,
        /// What stands there.
        text: String,
    },
    /// A column of text was asked for where numbers are needed.
    #[error("{file}: {place}: column {} holds text ({}), but a feature or target must be a number: {}", quoted(.column), quoted(.text), number_remedy(.text))]
    NotNumeric {
        /// The file.
        file: String,
        /// The first row with text.
        place: Place,
        /// The column.
        column: String,
        /// What stands there.
        text: String,
    },
    /// A value is infinite.
    #[error("{file}: {place}: column {} is infinite: correct the value, or leave it empty to have it treated as missing", quoted(.column))]
    Infinite {
        /// The file.
        file: String,
        /// The first such row.
        place: Place,
        /// The column.
        column: String,
    },
    /// A value is missing and the spec said that none may be.
    #[error("{file}: {place}: column {} is missing ({count} missing in all): fill it in, or choose what happens to missing values (--missing drop, forward, linear or mean)", quoted(.column))]
    MissingValue {
        /// The file.
        file: String,
        /// The first such row.
        place: Place,
        /// The column.
        column: String,
        /// Missing values in that column.
        count: usize,
    },
    /// A column has no value to learn from.
    #[error("{file}: column {} has no value in the {rows} {part} rows: leave the column out, or check how the file was exported", quoted(.column))]
    AllMissing {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// Which rows: `training` or `given`.
        part: &'static str,
        /// How many rows were looked at.
        rows: usize,
    },
    /// A time cannot be understood.
    #[error("{file}: {place}: time column {} holds {}: expected {expected}", quoted(.column), quoted(.text))]
    UnparsableTime {
        /// The file.
        file: String,
        /// The row.
        place: Place,
        /// The time column.
        column: String,
        /// What stands there.
        text: String,
        /// The formats that would have been understood.
        expected: String,
    },
    /// A time is earlier than the one before it.
    #[error(
        "{file}: {place}: {time} comes after {previous}, so the rows are not in order of time: sort the file, or have it sorted (--sort)"
    )]
    UnsortedTime {
        /// The file.
        file: String,
        /// The first row that is earlier than the one above it.
        place: Place,
        /// Its time.
        time: String,
        /// The time above it.
        previous: String,
    },
    /// A time appears more than once.
    #[error(
        "{file}: {first} and {second} have the same time {time} ({repeated} rows repeat an earlier time): remove one, or choose which counts (--duplicates first, last or mean)"
    )]
    RepeatedTime {
        /// The file.
        file: String,
        /// The first row with the time.
        first: Place,
        /// The next row with it.
        second: Place,
        /// The time.
        time: String,
        /// Rows in the whole file that repeat the time of an earlier row.
        repeated: usize,
    },
    /// A split that cannot be understood.
    #[error("split {}: {problem}: write fractions like 0.7/0.1/0.2 or rows like 8640/2880/2880 (training/validation/test), or two parts without validation", quoted(.split))]
    BadSplit {
        /// The split as written.
        split: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The split asks for more rows than there are.
    #[error(
        "{file}: has {rows} rows, but the split {split} asks for {asked}: ask for fewer, or give fractions (0.7/0.1/0.2)"
    )]
    SplitTooLarge {
        /// The file.
        file: String,
        /// The split.
        split: String,
        /// Rows that it adds up to.
        asked: usize,
        /// Rows that exist.
        rows: usize,
    },
    /// A part of the split has too few rows for a single sample.
    #[error("{file}: the {part} part has {rows} of {total} rows, but {needs}: {remedy}")]
    TooFewRows {
        /// The file.
        file: String,
        /// `training`, `validation`, `test` or `given`.
        part: &'static str,
        /// Rows in that part.
        rows: usize,
        /// Rows in the file.
        total: usize,
        /// What one sample needs.
        needs: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Every window of a part touches a missing value.
    #[error("{file}: every window of the {part} part contains a missing value (first at {place}, column {}): fill them instead of dropping (--missing linear), or use shorter windows", quoted(.column))]
    NoWholeWindow {
        /// The file.
        file: String,
        /// Which part.
        part: &'static str,
        /// The first missing value.
        place: Place,
        /// Its column.
        column: String,
    },
    /// The window to predict from contains a missing value and the model was trained to drop those.
    #[error("{file}: {place}: column {} is missing within the last {lookback} rows, which the forecast looks back on: fill it in, or train with missing values filled (--missing linear)", quoted(.column))]
    MissingInLastWindow {
        /// The file.
        file: String,
        /// The first missing value of the window.
        place: Place,
        /// Its column.
        column: String,
        /// Rows that the forecast looks back on.
        lookback: u32,
    },
    /// A task that needs a target was given none.
    #[error("{file}: a {task} needs a target column (--target NAME): its columns are {}", listed(.available))]
    NoTarget {
        /// The file.
        file: String,
        /// The task.
        task: String,
        /// The columns to choose from.
        available: Vec<String>,
    },
    /// No column can serve as a feature.
    #[error("{file}: has no column of numbers to learn from besides time and target: its columns are {}", listed(.available))]
    NoFeatures {
        /// The file.
        file: String,
        /// The columns that exist.
        available: Vec<String>,
    },
    /// What was asked for contradicts itself.
    #[error("{problem}: {remedy}")]
    BadRequest {
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A sample was asked for that does not exist.
    #[error("sample {index} of the {split} split does not exist: it has {size}, counted from 0")]
    NoSuchSample {
        /// The index.
        index: usize,
        /// The split.
        split: String,
        /// Samples in the split.
        size: usize,
    },
}

impl DataError {
    /// A name for the kind of error that never changes, for programs to compare.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "data.unreadable",
            Self::UnknownFormat { .. } => "data.unknown-format",
            Self::Malformed { .. } => "data.malformed",
            Self::NoHeader { .. } => "data.no-header",
            Self::DuplicateColumn { .. } => "data.duplicate-column",
            Self::NoRows { .. } => "data.no-rows",
            Self::NoSuchColumn { .. } => "data.no-such-column",
            Self::TextInNumber { .. } => "data.text-in-number",
            Self::NotNumeric { .. } => "data.not-numeric",
            Self::Infinite { .. } => "data.infinite",
            Self::MissingValue { .. } => "data.missing-value",
            Self::AllMissing { .. } => "data.all-missing",
            Self::UnparsableTime { .. } => "data.unparsable-time",
            Self::UnsortedTime { .. } => "data.unsorted-time",
            Self::RepeatedTime { .. } => "data.repeated-time",
            Self::BadSplit { .. } => "data.bad-split",
            Self::SplitTooLarge { .. } => "data.split-too-large",
            Self::TooFewRows { .. } => "data.too-few-rows",
            Self::NoWholeWindow { .. } => "data.no-whole-window",
            Self::MissingInLastWindow { .. } => "data.missing-in-last-window",
            Self::NoTarget { .. } => "data.no-target",
            Self::NoFeatures { .. } => "data.no-features",
            Self::BadRequest { .. } => "data.bad-request",
            Self::NoSuchSample { .. } => "data.no-such-sample",
        }
    }
}

/// Where in a file something is, as a person would look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of a text file, counted from 1 as editors do.
    Line(u64),
    /// A row of data, counted from 1, where there are no lines.
    Row(u64),
    /// The file as a whole.
    File,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
            Self::File => f.write_str("the file"),
        }
    }
}

/// A text from a file in quotation marks: on one line, and of bounded length.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{:?}", start + "…")
}

/// Names for a message: the first twenty, and how many more there are.
pub(crate) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| quoted(name)).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        shown.join(", ")
    }
}

/// `, did you mean "x"?`-like insert when one of the names is close to what was asked for.
fn did_you_mean(asked: &str, names: &[String]) -> String {
    closest(asked, names)
        .map(|name| format!(" (did you mean {}?)", quoted(name)))
        .unwrap_or_default()
}

/// The name most like `asked`, if about a third of it or less would have to be changed; case does not count.
fn closest<'a>(asked: &str, names: &'a [String]) -> Option<&'a str> {
    let asked: Vec<char> = asked.to_lowercase().chars().collect();
    let limit = (asked.len() / 3).max(1);
    names
        .iter()
        .map(|name| {
            (
                edit_distance(&asked, &name.trim().to_lowercase().chars().collect::<Vec<_>>()),
                name,
            )
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= limit)
        .map(|(_, name)| name.as_str())
}

/// Fewest single-letter insertions, deletions and replacements between two words (Levenshtein), in one row of memory.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// What to do about a text that should have been a number. A decimal comma is common enough for a hint of its own.
fn number_remedy(text: &str) -> &'static str {
    let decimal_comma = text.trim().replacen(',', ".", 1);
    if text.contains(',') && decimal_comma.parse::<f64>().is_ok() {
        "write decimals with a point, as in 3.14"
    } else {
        "correct it, leave it empty for missing, or leave the column out (--features)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_close_name_is_suggested_and_a_distant_one_is_not() {
        let columns = names(&["date", "HUFL", "temperature"]);
        assert_eq!(closest("hufl", &columns), Some("HUFL"));
        assert_eq!(closest("temprature", &columns), Some("temperature"));
        assert_eq!(closest("pressure", &columns), None);
        assert_eq!(closest("x", &[]), None);
    }

    #[test]
    fn a_message_is_one_line_whatever_the_file_holds() {
        let error = DataError::TextInNumber {
            file: "a.csv".into(),
            place: Place::Line(3),
            column: "x\ny".into(),
            text: "evil\r\nline".repeat(100),
        };
        let message = error.to_string();
        assert!(!message.contains(['\n', '\r']), "{message}");
        assert!(message.len() < 400, "{message}");
    }

    #[test]
    fn a_decimal_comma_gets_its_own_advice() {
        assert!(number_remedy("3,14").contains("point"));
        assert!(number_remedy("n.a.").contains("--features"));
    }

    #[test]
    fn a_long_list_of_columns_is_cut() {
        let many: Vec<String> = (0..50).map(|i| format!("c{i}")).collect();
        assert!(listed(&many).ends_with("and 30 more"));
        assert_eq!(listed(&[]), "none");
    }
}

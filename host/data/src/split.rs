//! Cutting rows into training, validation and test: always in order, never at random.

use std::{fmt, ops::Range, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::DataError;

/// Sizes of training, validation and test part. Written `0.7/0.1/0.2` or `8640/2880/2880`; with two parts, the second is
/// the test part. Rows that are left over belong to no part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Split {
    /// Shares of the rows, which add up to at most 1.
    Fractions([f64; 3]),
    /// Numbers of rows.
    Rows([usize; 3]),
}

/// 0.7 + 0.2 + 0.1 is a little less than 1 in binary, other sums are a little more.
const TOLERANCE: f64 = 1e-9;

impl Default for Split {
    fn default() -> Self {
        Self::Fractions([0.7, 0.1, 0.2])
    }
}

impl Split {
    /// The rows of training, validation and test among `rows`. Bounds of fractions are rounded to the nearest row.
    pub fn ranges(&self, rows: usize, file: &str) -> Result<[Range<usize>; 3], DataError> {
        let ends = self.ends(rows);
        if ends[2] > rows {
            return Err(DataError::SplitTooLarge {
                file: file.to_owned(),
                split: self.to_string(),
                asked: ends[2],
                rows,
            });
        }
        Ok([0..ends[0], ends[0]..ends[1], ends[1]..ends[2]])
    }

    /// The same of one device among several: where it has fewer rows than asked for, its later parts are cut short.
    pub(crate) fn ranges_of_device(&self, rows: &Range<usize>) -> [Range<usize>; 3] {
        let ends = self.ends(rows.len()).map(|end| rows.start + end.min(rows.len()));
        [rows.start..ends[0], ends[0]..ends[1], ends[1]..ends[2]]
    }

    /// Where training, validation and test end.
    fn ends(&self, rows: usize) -> [usize; 3] {
        match self {
            Self::Rows(parts) => {
                let mut end = 0usize;
                parts.map(|part| {
                    end = end.saturating_add(part);
                    end
                })
            }
            Self::Fractions(parts) => {
                let mut share = 0.0;
                parts.map(|part| {
                    share += part;
                    if share >= 1.0 - TOLERANCE {
                        rows
                    } else {
                        (share * rows as f64).round() as usize
                    }
                })
            }
        }
    }
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let bad = |problem| DataError::BadSplit {
            split: text.to_owned(),
            problem,
        };
        let parts: Vec<&str> = text.split('/').map(str::trim).collect();
        let three = match parts[..] {
            [train, validation, test] => [train, validation, test],
            [train, test] => [train, "0", test],
            _ => return Err(bad("it has neither two nor three parts")),
        };
        let mut numbers = [0.0_f64; 3];
        for (number, part) in numbers.iter_mut().zip(three) {
            *number = part.parse().map_err(|_| bad("a part is not a number"))?;
            if !number.is_finite() || *number < 0.0 {
                return Err(bad("a part is negative or not finite"));
            }
        }
        if numbers[0] == 0.0 {
            return Err(bad("it leaves nothing to train on"));
        }
        let sum: f64 = numbers.iter().sum();
        if sum <= 1.0 + TOLERANCE {
            return Ok(Self::Fractions(numbers));
        }
        let mut rows = [0; 3];
        for (count, part) in rows.iter_mut().zip(three) {
            *count = part
                .parse()
                .map_err(|_| bad("fractions may add up to no more than 1, and rows must be whole"))?;
        }
        Ok(Self::Rows(rows))
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fractions([train, validation, test]) => write!(f, "{train}/{validation}/{test}"),
            Self::Rows([train, validation, test]) => write!(f, "{train}/{validation}/{test}"),
        }
    }
}

impl TryFrom<String> for Split {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<Split> for String {
    fn from(split: Split) -> Self {
        split.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(split: &str, rows: usize) -> [Range<usize>; 3] {
        split.parse::<Split>().unwrap().ranges(rows, "a.csv").unwrap()
    }

    #[test]
    fn fractions_cover_every_row_when_they_add_up_to_one() {
        for rows in 1..200 {
            let [train, validation, test] = ranges("0.7/0.1/0.2", rows);
            assert_eq!(
                (train.start, train.end, validation.end, test.end),
                (0, validation.start, test.start, rows)
            );
        }
        assert_eq!(ranges("0.7/0.1/0.2", 10), [0..7, 7..8, 8..10]);
        assert_eq!(ranges("0.5/0.1/0.1", 10), [0..5, 5..6, 6..7]);
    }

    #[test]
    fn rows_beyond_the_sum_are_left_over() {
        assert_eq!(ranges("8640/2880/2880", 17420), [0..8640, 8640..11520, 11520..14400]);
    }

    #[test]
    fn two_parts_are_training_and_test() {
        assert_eq!(ranges("0.8/0.2", 10), [0..8, 8..8, 8..10]);
        assert_eq!(ranges("6/3", 10), [0..6, 6..6, 6..9]);
    }

    #[test]
    fn more_rows_than_exist_are_refused_with_the_numbers() {
        let error = "80/20/20".parse::<Split>().unwrap().ranges(100, "a.csv").unwrap_err();
        assert_eq!(error.code(), "data.split-too-large");
        assert!(
            error
                .to_string()
                .starts_with("a.csv: has 100 rows, but the split 80/20/20 asks for 120"),
            "{error}"
        );
        let huge = format!("{0}/{0}/{0}", usize::MAX);
        assert!(huge.parse::<Split>().unwrap().ranges(100, "a.csv").is_err());
    }

    #[test]
    fn a_short_device_has_short_later_parts() {
        let split: Split = "6/3/2".parse().unwrap();
        assert_eq!(split.ranges_of_device(&(100..120)), [100..106, 106..109, 109..111]);
        assert_eq!(split.ranges_of_device(&(100..108)), [100..106, 106..108, 108..108]);
        assert_eq!(split.ranges_of_device(&(100..104)), [100..104, 104..104, 104..104]);
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for (split, reason) in [
            ("", "neither two nor three"),
            ("0.8", "neither two nor three"),
            ("a/b/c", "not a number"),
            ("-1/1/1", "negative"),
            ("inf/1/1", "not finite"),
            ("nan/1/1", "not finite"),
            ("0/0.5/0.5", "nothing to train on"),
            ("0.7/0.2/0.2", "no more than 1"),
            ("0.7/100/100", "no more than 1"),
        ] {
            let error = split.parse::<Split>().unwrap_err();
            assert_eq!(error.code(), "data.bad-split");
            assert!(error.to_string().contains(reason), "{split}: {error}");
        }
    }

    #[test]
    fn a_split_reads_back_as_it_is_written() {
        for split in ["0.7/0.1/0.2", "8640/2880/2880", "0.5/0/0.25"] {
            assert_eq!(split.parse::<Split>().unwrap().to_string(), split);
        }
    }
}

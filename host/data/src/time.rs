//! Times: reading them in the formats that mean one thing only, and writing them back the same way.
//!
//! A time is an `i64`: microseconds since 1970-01-01 00:00 UTC. Times without an offset are taken as UTC.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};

/// What a person may write, for messages.
pub(crate) const EXPECTED: &str = "2016-07-01, 2016-07-01 13:45, 2016-07-01 13:45:30.5, 2016-07-01T13:45:30+02:00, 2016/07/01 13:45:30, or seconds, milli-, micro- or nanoseconds since 1970";

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// How a time was written, so that forecasts can be written the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// A date, maybe with a time of day.
    Calendar {
        /// Between year, month and day: `-` or `/`.
        separator: char,
        /// Between date and time of day: `T` or a space.
        joiner: char,
        /// The last unit that is written.
        precision: Precision,
        /// Seconds east of UTC, when an offset was written.
        offset: Option<i32>,
    },
    /// A count since 1970: as many of these make a second (1, 1 000, 1 000 000 or 1 000 000 000).
    Epoch {
        /// Units in a second.
        per_second: i64,
    },
}

/// The last unit of a written time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// A date alone.
    Day,
    /// Hours and minutes.
    Minute,
    /// Seconds.
    Second,
    /// So many digits of a second, at most 6.
    Fraction(u8),
}

/// Reads the times of one column. All must be written in the way of the first, though some may be more precise.
#[derive(Debug, Default)]
pub(crate) struct TimeReader {
    format: Option<TimeFormat>,
}

impl TimeReader {
    /// The time that `text` says, or `None` if it says none, or says it in another way than the rows before.
    pub fn read(&mut self, text: &str) -> Option<i64> {
        let text = text.trim();
        let (micros, format) = match self.format {
            None => read_calendar(text).or_else(|| read_epoch(text, None))?,
            Some(TimeFormat::Calendar { .. }) => read_calendar(text)?,
            Some(TimeFormat::Epoch { per_second }) => read_epoch(text, Some(per_second))?,
        };
        self.format = Some(match self.format {
            None => format,
            Some(before) => before.refined(format)?,
        });
        Some(micros)
    }

    /// How the column is written, at its most precise; the common form when nothing was read.
    pub fn format(&self) -> TimeFormat {
        self.format.unwrap_or(TimeFormat::Calendar {
            separator: '-',
            joiner: ' ',
            precision: Precision::Second,
            offset: None,
        })
    }
}

impl TimeFormat {
    /// This format with the finer precision of both; `None` if only one of them has an offset.
    fn refined(self, other: Self) -> Option<Self> {
        match (self, other) {
            (
                Self::Calendar {
                    separator,
                    joiner,
                    precision,
                    offset,
                },
                Self::Calendar {
                    joiner: other_joiner,
                    precision: finer,
                    offset: other_offset,
                    ..
                },
            ) => (offset.is_some() == other_offset.is_some()).then_some(Self::Calendar {
                separator,
                joiner: if precision == Precision::Day {
                    other_joiner
                } else {
                    joiner
                },
                precision: precision.max(finer),
                offset,
            }),
            _ => Some(self),
        }
    }

    /// The plain format with as many digits as these times need.
    pub(crate) fn plain(times: &[i64], date_only: bool, zoned: bool) -> Self {
        let multiple_of = |unit| times.iter().all(|time| time % unit == 0);
        let precision = match () {
            _ if date_only => Precision::Day,
            _ if multiple_of(SECOND) => Precision::Second,
            _ if multiple_of(1_000) => Precision::Fraction(3),
            _ => Precision::Fraction(6),
        };
        Self::Calendar {
            separator: '-',
            joiner: ' ',
            precision,
            offset: zoned.then_some(0),
        }
    }
}

/// Writes a time in a format.
pub fn format_time(micros: i64, format: TimeFormat) -> String {
    let (separator, joiner, precision, offset) = match format {
        TimeFormat::Epoch { per_second } => {
            return (i128::from(micros) * i128::from(per_second))
                .div_euclid(i128::from(SECOND))
                .to_string();
        }
        TimeFormat::Calendar {
            separator,
            joiner,
            precision,
            offset,
        } => (separator, joiner, precision, offset),
    };
    let local = micros.saturating_add(i64::from(offset.unwrap_or(0)) * SECOND);
    let Some(moment) = DateTime::from_timestamp_micros(local) else {
        return micros.to_string();
    };
    let moment = moment.naive_utc();
    let mut text = format!(
        "{:04}{separator}{:02}{separator}{:02}",
        moment.year(),
        moment.month(),
        moment.day()
    );
    match precision {
        Precision::Day => return text,
        Precision::Minute => text += &format!("{joiner}{}", moment.format("%H:%M")),
        Precision::Second | Precision::Fraction(_) => text += &format!("{joiner}{}", moment.format("%H:%M:%S")),
    }
    if let Precision::Fraction(digits) = precision {
        let fraction = format!("{:06}", local.rem_euclid(SECOND));
        text += &format!(".{}", &fraction[..usize::from(digits.min(6))]);
    }
    match offset {
        None => text,
        Some(0) => text + "Z",
        Some(seconds) => {
            let sign = if seconds < 0 { '-' } else { '+' };
            let minutes = seconds.abs() / 60;
            format!("{text}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    }
}

/// Walks over the bytes of a written time.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn skip(&mut self, wanted: u8) -> Option<()> {
        let rest = self.0.strip_prefix(&[wanted])?;
        self.0 = rest;
        Some(())
    }

    /// A number of `least..=most` digits.
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let digits = self
            .0
            .iter()
            .take(most)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits < least {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        Some(number.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    }
}

/// `YYYY-MM-DD`, `YYYY/MM/DD`, then maybe `HH:MM[:SS[.f]]`, then maybe `Z` or an offset.
fn read_calendar(text: &str) -> Option<(i64, TimeFormat)> {
    let mut cursor = Cursor(text.as_bytes());
    let year = cursor.number(4, 4)?;
    let separator = cursor.peek().filter(|byte| matches!(byte, b'-' | b'/'))?;
    cursor.skip(separator)?;
    let month = cursor.number(1, 2)?;
    cursor.skip(separator)?;
    let day = cursor.number(1, 2)?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    let mut micros = date.signed_duration_since(NaiveDate::default()).num_days() * DAY;
    let (mut joiner, mut precision, mut offset) = (' ', Precision::Day, None);
    if let Some(byte @ (b'T' | b't' | b' ')) = cursor.peek() {
        cursor.skip(byte)?;
        joiner = if byte == b' ' { ' ' } else { 'T' };
        let (of_day, written) = read_time_of_day(&mut cursor)?;
        micros += of_day;
        precision = written;
        offset = read_offset(&mut cursor)?;
        micros -= i64::from(offset.unwrap_or(0)) * SECOND;
    }
    cursor.0.is_empty().then_some((
        micros,
        TimeFormat::Calendar {
            separator: char::from(separator),
            joiner,
            precision,
            offset,
        },
    ))
}

/// Microseconds since midnight, and how precisely they were written.
fn read_time_of_day(cursor: &mut Cursor) -> Option<(i64, Precision)> {
    let hour = cursor.number(1, 2)?;
    cursor.skip(b':')?;
    let minute = cursor.number(2, 2)?;
    let mut precision = Precision::Minute;
    let (mut second, mut fraction) = (0, 0);
    if cursor.skip(b':').is_some() {
        second = cursor.number(2, 2)?;
        precision = Precision::Second;
        if cursor.skip(b'.').is_some() {
            let before = cursor.0.len();
            let value = cursor.number(1, 9)?;
            let digits = before - cursor.0.len();
            // Nine digits, whatever was written; what is finer than a microsecond is cut off.
            fraction = i64::from(value) * 10_i64.pow(9 - digits as u32) / 1_000;
            precision = Precision::Fraction(digits.min(6) as u8);
        }
    }
    let whole = NaiveTime::from_hms_opt(hour, minute, second)?
        .signed_duration_since(NaiveTime::MIN)
        .num_seconds();
    Some((whole * SECOND + fraction, precision))
}

/// `Z`, `+02:00`, `+0200`, `+02` or nothing, in seconds. The outer `None` is an offset that makes no sense.
fn read_offset(cursor: &mut Cursor) -> Option<Option<i32>> {
    let sign = match cursor.peek() {
        None => return Some(None),
        Some(byte @ (b'Z' | b'z')) => {
            cursor.skip(byte)?;
            return Some(Some(0));
        }
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    cursor.0 = &cursor.0[1..];
    let hours = cursor.number(2, 2)?;
    let colon = cursor.skip(b':').is_some();
    let minutes = if colon || cursor.peek().is_some() {
        cursor.number(2, 2)?
    } else {
        0
    };
    (hours < 24 && minutes < 60).then_some(Some(sign * (hours * 3600 + minutes * 60) as i32))
}

/// A count since 1970, in the unit that puts it between the 1970s and 2200. Compact dates (20160701, 201607010000) do
/// not fall in there, so they are not taken for counts.
fn read_epoch(text: &str, per_second: Option<i64>) -> Option<(i64, TimeFormat)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 19 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let count: i64 = whole.parse().ok()?;
    let per_second = match per_second {
        Some(known) => known,
        None => match count {
            100_000_000..7_260_000_000 => 1,
            220_000_000_000..7_260_000_000_000 => 1_000,
            100_000_000_000_000..7_260_000_000_000_000 => SECOND,
            100_000_000_000_000_000..7_260_000_000_000_000_000 => 1_000 * SECOND,
            _ => return None,
        },
    };
    let mut micros = i64::try_from(i128::from(count) * i128::from(SECOND) / i128::from(per_second)).ok()?;
    if per_second < SECOND && !fraction.is_empty() {
        let part: f64 = format!("0.{fraction}").parse().ok()?;
        micros = micros.checked_add((part * SECOND as f64 / per_second as f64).round() as i64)?;
    }
    Some((micros, TimeFormat::Epoch { per_second }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<i64> {
        TimeReader::default().read(text)
    }

    fn column(texts: &[&str]) -> (Vec<i64>, TimeFormat) {
        let mut reader = TimeReader::default();
        let times = texts.iter().map(|text| reader.read(text).unwrap()).collect();
        (times, reader.format())
    }

    #[test]
    fn every_way_of_writing_a_moment_reads_the_same() {
        let moment = Some(1_467_380_730_000_000);
        for text in [
            "2016-07-01 13:45:30",
            "2016-07-01T13:45:30",
            "2016-07-01T13:45:30Z",
            "2016-07-01T15:45:30+02:00",
            "2016-07-01T15:45:30+0200",
            "2016-07-01 09:15:30.000-04:30",
            "2016/07/01 13:45:30",
            "2016/7/1 13:45:30",
            " 2016-07-01 13:45:30.000000000 ",
            "1467380730",
            "1467380730.0",
            "1467380730000",
            "1467380730000000",
            "1467380730000000000",
        ] {
            assert_eq!(read(text), moment, "{text}");
        }
        assert_eq!(read("2016-07-01"), Some(1_467_331_200_000_000));
        assert_eq!(read("2016-07-01 00:00"), Some(1_467_331_200_000_000));
        assert_eq!(read("1969-12-31 23:59:59.5"), Some(-500_000));
    }

    #[test]
    fn what_could_mean_two_things_or_nothing_is_not_a_time() {
        for text in [
            "",
            "1",
            "2016",
            "20160701",
            "201607010000",
            "01/07/2016",
            "1.7.2016",
            "2016-13-01",
            "2016-02-30",
            "2016-07-01 25:00",
            "2016-07-01 10:60",
            "2016-07-01 24:00:00",
            "2016-07-01x",
            "2016-07/01",
            "yesterday",
            "2016-07-01T10:00:00+25:00",
            "-1467380730",
            "1e9",
            "99999999999999999999",
            "2016-07-01 10:00:00.",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_column_keeps_to_one_way_of_writing() {
        let mut reader = TimeReader::default();
        assert!(reader.read("2016-07-01 00:00:00").is_some());
        assert_eq!(reader.read("1467380730"), None);
        assert_eq!(reader.read("2016-07-01T00:00:00Z"), None);
        let mut reader = TimeReader::default();
        assert!(reader.read("1467380730").is_some());
        assert_eq!(reader.read("1467380790"), Some(1_467_380_790_000_000));
        assert_eq!(reader.read("2016-07-01"), None);
    }

    #[test]
    fn times_are_written_as_they_were_read() {
        for text in [
            "2016-07-01",
            "2016/07/01 13:45",
            "2016-07-01 13:45:30",
            "2016-07-01T13:45:30Z",
            "2016-07-01T13:45:30.25+02:00",
            "1969-12-31 23:59:59.500",
            "1467380730",
            "1467380730123",
            "1467380730123456",
        ] {
            let (times, format) = column(&[text]);
            assert_eq!(format_time(times[0], format), text);
        }
        let (times, format) = column(&["2016-07-01", "2016-07-01 06:30"]);
        assert_eq!(
            format_time(times[0], format),
            "2016-07-01 00:00",
            "the most precise row decides"
        );
        assert_eq!(format_time(i64::MAX, format), i64::MAX.to_string());
    }
}

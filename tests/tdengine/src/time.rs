//! Timestamps: a database's precision, the texts that SQL accepts, and windows of time, all in UTC.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};

/// What one unit of a database's timestamps is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// `'ms'`, TDengine's default
    #[default]
    Milliseconds,
    /// `'us'`
    Microseconds,
    /// `'ns'`
    Nanoseconds,
}

impl Precision {
    /// Units in a second.
    pub fn per_second(self) -> i64 {
        match self {
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
            Self::Nanoseconds => 1_000_000_000,
        }
    }

    /// The number on the wire: 0, 1 or 2.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Milliseconds, Self::Microseconds, Self::Nanoseconds]
            .into_iter()
            .find(|p| p.name() == name)
    }

    fn of(self, moment: NaiveDateTime) -> Option<i64> {
        let moment = moment.and_utc();
        let below = i64::from(moment.timestamp_subsec_nanos()) / (1_000_000_000 / self.per_second());
        moment.timestamp().checked_mul(self.per_second())?.checked_add(below)
    }

    /// The timestamp of a text such as `2016-07-01 00:00:00.125`; a zone such as `Z` or `+08:00` is heeded.
    pub(crate) fn parse(self, text: &str) -> Option<i64> {
        let text = text.trim();
        if let Ok(zoned) = DateTime::parse_from_rfc3339(text) {
            return self.of(zoned.naive_utc());
        }
        for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
            if let Ok(moment) = NaiveDateTime::parse_from_str(text, format) {
                return self.of(moment);
            }
        }
        self.of(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?)
    }
}

/// The width of the windows of an `interval(...)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Units of the database's precision.
    Fixed(i64),
    /// Calendar months; a year is twelve.
    Months(i64),
}

impl Width {
    /// `count` of a unit: b, u, a, s, m, h, d, w, n (months) or y. `None` for another unit, for a width below one unit
    /// of the precision, or one that is too large.
    pub(crate) fn new(count: i64, unit: char, precision: Precision) -> Option<Self> {
        let nanoseconds: i64 = match unit {
            'b' => 1,
            'u' => 1_000,
            'a' => 1_000_000,
            's' => 1_000_000_000,
            'm' => 60_000_000_000,
            'h' => 3_600_000_000_000,
            'd' => 86_400_000_000_000,
            'w' => 604_800_000_000_000,
            'n' => return (1..=12_000).contains(&count).then_some(Self::Months(count)),
            'y' => return (1..=1_000).contains(&count).then_some(Self::Months(12 * count)),
            _ => return None,
        };
        let width = i128::from(count) * i128::from(nanoseconds) * i128::from(precision.per_second()) / 1_000_000_000;
        i64::try_from(width).ok().filter(|&width| width > 0).map(Self::Fixed)
    }

    /// The start of the window that a timestamp lies in. Fixed widths, weeks too, count from 1970-01-01 (a Thursday);
    /// months count from 1900-01, as the server's C library does.
    pub(crate) fn start_of(self, timestamp: i64, precision: Precision) -> i64 {
        match self {
            Self::Fixed(width) => timestamp.div_euclid(width) * width,
            Self::Months(months) => {
                let month = month_of(timestamp, precision);
                start_of_month(month.div_euclid(months) * months, precision)
            }
        }
    }

    /// The start of the window after the one that starts here.
    pub(crate) fn next(self, start: i64, precision: Precision) -> i64 {
        match self {
            Self::Fixed(width) => start.saturating_add(width),
            Self::Months(months) => start_of_month(month_of(start, precision) + months, precision),
        }
    }
}

/// Months since 1900-01.
fn month_of(timestamp: i64, precision: Precision) -> i64 {
    let day = DateTime::from_timestamp(timestamp.div_euclid(precision.per_second()), 0).unwrap_or_default();
    (i64::from(day.year()) - 1900) * 12 + i64::from(day.month0())
}

fn start_of_month(month: i64, precision: Precision) -> i64 {
    let year = 1900 + month.div_euclid(12);
    NaiveDate::from_ymd_opt(year as i32, month.rem_euclid(12) as u32 + 1, 1)
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .and_then(|moment| precision.of(moment))
        .unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Precision = Precision::Milliseconds;

    #[test]
    fn texts_are_read_in_the_precision_of_the_database() {
        assert_eq!(MS.parse("2016-07-01 00:00:00"), Some(1_467_331_200_000));
        assert_eq!(MS.parse("2016-07-01T08:00:00.25+08:00"), Some(1_467_331_200_250));
        assert_eq!(Precision::Microseconds.parse("1970-01-01 00:00:00.000001"), Some(1));
        assert_eq!(Precision::Nanoseconds.parse("1969-12-31 23:59:59.999999999"), Some(-1));
        assert_eq!(MS.parse("tomorrow"), None);
    }

    #[test]
    fn weeks_start_on_thursdays_and_months_on_their_first_day() {
        let friday = MS.parse("2024-03-15 12:34:56").unwrap();
        let start = |count, unit| Width::new(count, unit, MS).unwrap().start_of(friday, MS);
        assert_eq!(Some(start(1, 'w')), MS.parse("2024-03-14"));
        assert_eq!(Some(start(1, 'n')), MS.parse("2024-03-01"));
        assert_eq!(Some(start(1, 'y')), MS.parse("2024-01-01"));
        assert_eq!(Some(start(15, 'm')), MS.parse("2024-03-15 12:30:00"));
        assert_eq!(Some(Width::Months(1).next(start(1, 'n'), MS)), MS.parse("2024-04-01"));
        assert_eq!(Width::new(1, 'b', MS), None);
    }
}

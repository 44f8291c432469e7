//! Points in time as a request writes them, and as a database counts them.

use std::fmt;

use chrono::{DateTime, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::quoted;

/// What a database counts time in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimePrecision {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millisecond,
    /// Microseconds.
    #[serde(rename = "us")]
    Microsecond,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanosecond,
}

impl TimePrecision {
    /// Ticks in a second.
    pub fn per_second(self) -> i64 {
        match self {
            Self::Millisecond => 1_000,
            Self::Microsecond => 1_000_000,
            Self::Nanosecond => 1_000_000_000,
        }
    }

    /// The first tick that is not before a moment: `ts >= ticks` and `ts < ticks` mean then what they mean for the moment.
    pub fn ticks(self, moment: DateTime<Utc>) -> Result<i64, String> {
        let nanos = i128::from(moment.timestamp()) * 1_000_000_000 + i128::from(moment.timestamp_subsec_nanos());
        let tick = i128::from(1_000_000_000 / self.per_second());
        let ticks = nanos.div_euclid(tick) + i128::from(nanos.rem_euclid(tick) != 0);
        i64::try_from(ticks).map_err(|_| format!("{moment} is too far away for a database that counts in {self}"))
    }

    /// The moment of a tick.
    pub fn moment(self, ticks: i64) -> DateTime<Utc> {
        let per_second = self.per_second();
        let nanos = ticks.rem_euclid(per_second) * (1_000_000_000 / per_second);
        Utc.timestamp_opt(ticks.div_euclid(per_second), nanos as u32)
            .single()
            .unwrap_or(if ticks < 0 {
                DateTime::<Utc>::MIN_UTC
            } else {
                DateTime::<Utc>::MAX_UTC
            })
    }
}

impl fmt::Display for TimePrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Millisecond => "milliseconds",
            Self::Microsecond => "microseconds",
            Self::Nanosecond => "nanoseconds",
        })
    }
}

/// A point in time: an instant, a local time, or one that depends on now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// With its offset from UTC, or counted since 1970.
    Instant(DateTime<Utc>),
    /// A calendar's and a clock's reading, in the data set's time zone.
    Local(NaiveDateTime),
    /// So long before now.
    Ago(Ago),
}

/// A span before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ago {
    /// So many seconds.
    Seconds(u64),
    /// So many calendar months.
    Months(u32),
}

/// The forms that are understood, for messages.
const FORMS: &str = "write it as 2024-05-01T08:00:00+08:00, as 2024-05-01 08:00:00 in the data set's time_zone, as seconds, milliseconds, microseconds or nanoseconds since 1970, or relative as -30d (s, m, h, d, w, M for months, y) or now";

impl Moment {
    /// Reads what a request says. The error is one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let read = || {
            if trimmed.eq_ignore_ascii_case("now") {
                return Some(Self::Ago(Ago::Seconds(0)));
            }
            if let Some(span) = trimmed.strip_prefix('-').or_else(|| trimmed.strip_prefix("now-"))
                && span.ends_with(|c: char| c.is_ascii_alphabetic())
            {
                return ago(span).map(Self::Ago);
            }
            if let Ok(count) = trimmed.parse::<i64>() {
                return Some(Self::Instant(epoch(count)));
            }
            if let Ok(instant) = DateTime::parse_from_rfc3339(trimmed) {
                return Some(Self::Instant(instant.to_utc()));
            }
            [
                "%Y-%m-%d %H:%M:%S%.f",
                "%Y-%m-%dT%H:%M:%S%.f",
                "%Y-%m-%d %H:%M",
                "%Y-%m-%dT%H:%M",
            ]
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(trimmed, form).ok())
            .or_else(|| {
                Some(
                    NaiveDate::parse_from_str(trimmed, "%Y-%m-%d")
                        .ok()?
                        .and_time(NaiveTime::MIN),
                )
            })
            .map(Self::Local)
        };
        read().ok_or_else(|| format!("{} is no time: {FORMS}", quoted(text)))
    }

    /// The instant that is meant. The error is one line.
    pub fn resolve(self, zone: Tz, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
        match self {
            Self::Instant(instant) => Ok(instant),
            Self::Local(local) => zone
                .from_local_datetime(&local)
                .earliest()
                .map(|time| time.to_utc())
                .ok_or_else(|| format!("{local} does not exist in {zone}: the clocks were set forward then")),
            Self::Ago(ago) => match ago {
                Ago::Seconds(seconds) => i64::try_from(seconds)
                    .ok()
                    .and_then(TimeDelta::try_seconds)
                    .and_then(|span| now.checked_sub_signed(span)),
                Ago::Months(months) => now.checked_sub_months(Months::new(months)),
            }
            .ok_or_else(|| format!("{self} is too long ago")),
        }
    }
}

fn ago(span: &str) -> Option<Ago> {
    let unit = span.chars().last()?;
    let count: u64 = span[..span.len() - unit.len_utf8()].parse().ok()?;
    let seconds = |unit: u64| count.checked_mul(unit).map(Ago::Seconds);
    match unit {
        's' => seconds(1),
        'm' => seconds(60),
        'h' => seconds(3600),
        'd' => seconds(86_400),
        'w' => seconds(604_800),
        'M' => u32::try_from(count).ok().map(Ago::Months),
        'y' => u32::try_from(count).ok()?.checked_mul(12).map(Ago::Months),
        _ => None,
    }
}

/// Seconds, milliseconds, microseconds or nanoseconds, by how many digits there are: seconds reach to the year 5138.
fn epoch(count: i64) -> DateTime<Utc> {
    let precision = match count.unsigned_abs() {
        0..100_000_000_000 => return DateTime::from_timestamp(count, 0).unwrap_or_default(),
        100_000_000_000..100_000_000_000_000 => TimePrecision::Millisecond,
        100_000_000_000_000..100_000_000_000_000_000 => TimePrecision::Microsecond,
        _ => TimePrecision::Nanosecond,
    };
    precision.moment(count)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instant(instant) => f.write_str(&instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
            Self::Local(local) => write!(f, "{}", local.format("%Y-%m-%d %H:%M:%S%.f")),
            Self::Ago(Ago::Seconds(0)) => f.write_str("now"),
            Self::Ago(Ago::Seconds(seconds)) => write!(f, "-{seconds}s"),
            Self::Ago(Ago::Months(months)) => write!(f, "-{months}M"),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a time, as a text or a whole number")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Moment, E> {
                Moment::parse(text).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Moment, E> {
                Ok(Moment::Instant(epoch(count)))
            }

            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Moment, E> {
                i64::try_from(count)
                    .map(|count| Moment::Instant(epoch(count)))
                    .map_err(|_| E::custom(format!("{count} is no time: {FORMS}")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: Tz) -> String {
        let now = "2024-03-31T12:00:00Z".parse().unwrap();
        Moment::parse(text).unwrap().resolve(zone, now).unwrap().to_rfc3339()
    }

    #[test]
    fn every_form_means_one_instant() {
        let zone = chrono_tz::Asia::Shanghai;
        for (text, expected) in [
            ("2024-05-01T08:00:00+08:00", "2024-05-01T00:00:00+00:00"),
            ("2024-05-01T08:00:00Z", "2024-05-01T08:00:00+00:00"),
            ("2024-05-01 08:00:00", "2024-05-01T00:00:00+00:00"),
            ("2024-05-01T08:00", "2024-05-01T00:00:00+00:00"),
            ("2024-05-01", "2024-04-30T16:00:00+00:00"),
            ("1714521600", "2024-05-01T00:00:00+00:00"),
            ("1714521600000", "2024-05-01T00:00:00+00:00"),
            ("1714521600000000", "2024-05-01T00:00:00+00:00"),
            ("1714521600000000001", "2024-05-01T00:00:00.000000001+00:00"),
            ("-30d", "2024-03-01T12:00:00+00:00"),
            ("-90s", "2024-03-31T11:58:30+00:00"),
            ("now-1M", "2024-02-29T12:00:00+00:00"),
            ("-2y", "2022-03-31T12:00:00+00:00"),
            ("now", "2024-03-31T12:00:00+00:00"),
        ] {
            assert_eq!(at(text, zone), expected, "{text}");
            let moment = Moment::parse(text).unwrap();
            assert_eq!(Moment::parse(&moment.to_string()).unwrap(), moment, "{text}");
        }
        assert_eq!(
            serde_json::from_str::<Moment>("1714521600").unwrap(),
            Moment::parse("1714521600").unwrap()
        );
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms() {
        for text in [
            "",
            "yesterday",
            "-30",
            "2024-13-01",
            "30d",
            "-d",
            "-1x",
            "' or 1=1",
            "2024-05-01T08:00:00+99:00",
            "-99999999999999999999d",
            "-é",
        ] {
            let read = Moment::parse(text).and_then(|moment| moment.resolve(chrono_tz::UTC, Utc::now()));
            // A bare negative number counts seconds before 1970.
            assert!(read.is_err() || text == "-30", "{text}: {read:?}");
        }
        assert!(
            Moment::parse("-9000000000000d")
                .unwrap()
                .resolve(chrono_tz::UTC, Utc::now())
                .unwrap_err()
                .contains("too long ago")
        );
        assert!(at_gap().unwrap_err().contains("does not exist"));
    }

    fn at_gap() -> Result<DateTime<Utc>, String> {
        Moment::parse("2024-03-31 02:30:00")
            .unwrap()
            .resolve(chrono_tz::Europe::Berlin, Utc::now())
    }

    #[test]
    fn a_bound_between_two_ticks_is_the_later_tick() {
        let moment: DateTime<Utc> = "1970-01-01T00:00:00.000000001Z".parse().unwrap();
        assert_eq!(TimePrecision::Millisecond.ticks(moment), Ok(1));
        assert_eq!(TimePrecision::Nanosecond.ticks(moment), Ok(1));
        let before: DateTime<Utc> = "1969-12-31T23:59:59.9999Z".parse().unwrap();
        assert_eq!(TimePrecision::Millisecond.ticks(before), Ok(0));
        assert_eq!(TimePrecision::Microsecond.ticks(before), Ok(-100));
        assert_eq!(TimePrecision::Microsecond.moment(-100), before);
        let far: DateTime<Utc> = "2400-01-01T00:00:00Z".parse().unwrap();
        assert!(TimePrecision::Nanosecond.ticks(far).unwrap_err().contains("too far"));
    }
}

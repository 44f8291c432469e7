//! The usual distance between rows, by which a forecast's times go on after the last one.

use std::fmt;

use chrono::{DateTime, Datelike, Months, NaiveDateTime};
use serde::{Deserialize, Serialize};

use crate::time::{DAY, SECOND};

/// The usual distance between one row and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// So many microseconds.
    Micros(i64),
    /// So many calendar months, on the same day of the month.
    Months(u32),
}

impl Step {
    /// The median distance of ordered times; months when every row falls on the same day of its month (or on the last
    /// day, where the month is too short for it). `None` for fewer than two rows.
    pub fn infer(times: &[i64]) -> Option<Self> {
        Self::of_devices([times].into_iter())
    }

    /// The same of several devices' times: the median of all distances within one.
    pub(crate) fn of_devices<'a>(devices: impl Iterator<Item = &'a [i64]> + Clone) -> Option<Self> {
        if let Some(months) = months_between(devices.clone()) {
            return Some(Self::Months(months));
        }
        let pairs = devices.flat_map(|times| times.windows(2));
        median(pairs.map(|pair| pair[1].saturating_sub(pair[0])).collect()).map(Self::Micros)
    }

    /// How many steps lie between two times.
    pub(crate) fn between(self, from: i64, to: i64) -> f64 {
        match self {
            Self::Micros(micros) => to.saturating_sub(from) as f64 / micros as f64,
            Self::Months(months) => match (naive(from), naive(to)) {
                (Some(from), Some(to)) => months_from(from, to) as f64 / f64::from(months),
                _ => 0.0,
            },
        }
    }

    /// The time that is `count` steps after another.
    pub fn after(self, time: i64, count: u32) -> i64 {
        match self {
            Self::Micros(micros) => time.saturating_add(micros.saturating_mul(i64::from(count))),
            Self::Months(months) => naive(time)
                .and_then(|moment| moment.checked_add_months(Months::new(months.saturating_mul(count))))
                .map_or(time, |moment| moment.and_utc().timestamp_micros()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = match self {
            Self::Months(12) => return f.write_str("1 year"),
            Self::Months(1) => return f.write_str("1 month"),
            Self::Months(months) => return write!(f, "{months} months"),
            Self::Micros(micros) => *micros,
        };
        for (unit, name) in [
            (DAY, "d"),
            (3600 * SECOND, "h"),
            (60 * SECOND, "min"),
            (SECOND, "s"),
            (1_000, "ms"),
        ] {
            if micros != 0 && micros % unit == 0 {
                return write!(f, "{} {name}", micros / unit);
            }
        }
        write!(f, "{micros} µs")
    }
}

fn median(mut values: Vec<i64>) -> Option<i64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable(middle).1)
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|moment| moment.naive_utc())
}

fn months_from(from: NaiveDateTime, to: NaiveDateTime) -> i32 {
    (to.year() - from.year()) * 12 + to.month() as i32 - from.month() as i32
}

/// The median number of months between rows, if rows come by the month.
fn months_between<'a>(devices: impl Iterator<Item = &'a [i64]>) -> Option<u32> {
    let mut distances = Vec::new();
    for times in devices.filter(|times| !times.is_empty()) {
        add_months_between(times, &mut distances)?;
    }
    median(distances).and_then(|months| u32::try_from(months).ok())
}

/// The numbers of months between one device's rows; `None` if they do not come by the month.
fn add_months_between(times: &[i64], distances: &mut Vec<i64>) -> Option<()> {
    // Most series fail at their second row, so this costs nothing for them.
    let moments = || times.iter().map(|&time| naive(time));
    let day = times
        .iter()
        .take(12)
        .filter_map(|&time| naive(time))
        .map(|moment| moment.day())
        .max()?;
    let mut before: Option<NaiveDateTime> = None;
    for moment in moments() {
        let moment = moment?;
        let expected = day.min(u32::from(moment.num_days_in_month()));
        if moment.day() != expected {
            return None;
        }
        if let Some(before) = before {
            let months = months_from(before, moment);
            if months < 1 || moment.time() != before.time() {
                return None;
            }
            distances.push(i64::from(months));
        }
        before = Some(moment);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::TimeReader;

    fn column(texts: &[&str]) -> Vec<i64> {
        texts
            .iter()
            .map(|text| TimeReader::default().read(text).unwrap())
            .collect()
    }

    #[test]
    fn the_step_is_the_usual_distance_despite_gaps() {
        let times = column(&["2020-01-01", "2020-01-02", "2020-01-09", "2020-01-10"]);
        let step = Step::infer(&times).unwrap();
        assert_eq!(step.to_string(), "1 d");
        assert_eq!(step.after(times[3], 3), column(&["2020-01-13"])[0]);
        assert_eq!(Step::infer(&times[..1]), None);
    }

    #[test]
    fn months_and_years_follow_the_calendar() {
        let times = column(&["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"]);
        let step = Step::infer(&times).unwrap();
        assert_eq!(step, Step::Months(1));
        assert_eq!(step.after(times[0], 13), column(&["2021-02-28"])[0]);
        let times = column(&["2018-06-01", "2019-06-01", "2020-06-01"]);
        assert_eq!(Step::infer(&times).unwrap().to_string(), "1 year");
    }

    #[test]
    fn the_step_of_several_devices_is_that_within_a_device() {
        let days = column(&["2020-01-01", "2020-01-02", "2020-01-03"]);
        let months = column(&["2019-05-31", "2019-06-30", "2019-07-31"]);
        let of = |devices: &[&[i64]]| Step::of_devices(devices.iter().copied());
        assert_eq!(of(&[&days, &[], &days[..1], &days]), Some(Step::Micros(DAY)));
        assert_eq!(of(&[&months, &months[1..], &days[..1]]), Some(Step::Months(1)));
        assert_eq!(of(&[&days[..1], &days[..1]]), None);
    }

    #[test]
    fn steps_are_counted_in_months_where_rows_come_by_the_month() {
        let [from, to] = column(&["2020-01-31", "2020-07-31"])[..] else {
            panic!()
        };
        assert_eq!(Step::Months(1).between(from, to), 6.0);
        assert_eq!(Step::Months(3).between(from, to), 2.0);
        assert_eq!(Step::Micros(DAY).between(from, to), 182.0);
    }

    #[test]
    fn steps_are_named_in_their_own_unit() {
        for (micros, name) in [
            (300 * SECOND, "5 min"),
            (3600 * SECOND, "1 h"),
            (SECOND, "1 s"),
            (20_000, "20 ms"),
            (7, "7 µs"),
        ] {
            assert_eq!(Step::Micros(micros).to_string(), name);
        }
    }
}

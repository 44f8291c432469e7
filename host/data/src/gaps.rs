//! Gaps in time: where rows are further apart than they usually are.

use std::{cmp::Reverse, ops::Range};

use serde::Serialize;

use crate::{Step, TimeFormat, format_time};

/// Rows further apart than this many usual steps have a gap between them.
const STEPS: f64 = 1.5;
/// Gaps that are shown.
const SHOWN: usize = 5;

/// The gaps of a time column; of several devices, those within each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gaps {
    /// The usual distance between rows, such as `1 h`; of several devices, the usual one among all.
    pub step: String,
    /// How many gaps there are: distances of more than 1.5 usual steps of the same device.
    pub count: usize,
    /// Rows that would fill them.
    pub missing_rows: u64,
    /// The longest of them, longest first.
    pub longest: Vec<Gap>,
}

/// A gap.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gap {
    /// The device in whose rows it is, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The last time before it, as the source writes times.
    pub from: String,
    /// The first time after it.
    pub to: String,
    /// Rows that would fill it.
    pub missing_rows: u64,
}

impl Gaps {
    /// Finds the gaps within each device's times. `None` where times fall, or have no usual distance.
    pub(crate) fn find(times: &[i64], devices: &[Range<usize>], names: &[String], format: TimeFormat) -> Option<Self> {
        let of = |rows: &Range<usize>| &times[rows.clone()];
        if !devices.iter().all(|rows| of(rows).is_sorted()) {
            return None;
        }
        let usual = |step: &Step| *step != Step::Micros(0);
        let step = Step::of_devices(devices.iter().map(of)).filter(usual)?;
        let (mut count, mut missing_rows) = (0, 0_u64);
        // The longest so far: how long, whose, and the times around it. Of equally long ones the first counts.
        let mut longest: Vec<(i64, usize, i64, i64, u64)> = Vec::new();
        for (device, rows) in devices.iter().enumerate() {
            let Some(step) = Step::infer(of(rows)).filter(usual) else {
                continue;
            };
            for pair in of(rows).windows(2) {
                let steps = step.between(pair[0], pair[1]);
                if steps <= STEPS {
                    continue;
                }
                let missing = steps.round() as u64 - 1;
                count += 1;
                missing_rows = missing_rows.saturating_add(missing);
                let length = pair[1].saturating_sub(pair[0]);
                if longest.len() < SHOWN || longest.last().is_some_and(|shortest| length > shortest.0) {
                    longest.push((length, device, pair[0], pair[1], missing));
                    longest.sort_by_key(|gap| Reverse(gap.0));
                    longest.truncate(SHOWN);
                }
            }
        }
        let gap = |(_, device, from, to, missing_rows): (i64, usize, i64, i64, u64)| Gap {
            device: names.get(device).cloned(),
            from: format_time(from, format),
            to: format_time(to, format),
            missing_rows,
        };
        Some(Self {
            step: step.to_string(),
            count,
            missing_rows,
            longest: longest.into_iter().map(gap).collect(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;
    use crate::time::TimeReader;

    const FORMAT: TimeFormat = TimeFormat::Epoch { per_second: 1 };

    fn seconds(times: &[i64]) -> Vec<i64> {
        times.iter().map(|time| time * 1_000_000).collect()
    }

    fn of_series(times: &[i64]) -> Option<Gaps> {
        Gaps::find(times, &[0..times.len()], &[], FORMAT)
    }

    fn gap(device: Option<&str>, from: &str, to: &str, missing_rows: u64) -> Gap {
        Gap {
            device: device.map(str::to_owned),
            from: from.into(),
            to: to.into(),
            missing_rows,
        }
    }

    #[test]
    fn a_gap_is_more_than_one_and_a_half_usual_steps() {
        let gaps = of_series(&seconds(&[0, 10, 20, 35, 45, 61, 71, 101, 111])).unwrap();
        assert_eq!((gaps.step.as_str(), gaps.count, gaps.missing_rows), ("10 s", 2, 1 + 2));
        assert_eq!(gaps.longest, [gap(None, "71", "101", 2), gap(None, "45", "61", 1)]);
    }

    #[test]
    fn the_five_longest_are_shown_and_of_equals_the_first() {
        let mut times = vec![0];
        for gap in [1, 1, 3, 1, 4, 1, 3, 1, 5, 1, 3, 1, 3, 1, 9, 1, 1, 1] {
            times.push(times.last().unwrap() + gap);
        }
        let gaps = of_series(&seconds(&times)).unwrap();
        assert_eq!((gaps.count, gaps.missing_rows), (7, 2 + 3 + 2 + 4 + 2 + 2 + 8));
        let from: Vec<&str> = gaps.longest.iter().map(|gap| gap.from.as_str()).collect();
        assert_eq!(from, ["29", "15", "6", "2", "11"]);
    }

    #[test]
    fn gaps_of_several_devices_are_sought_by_the_step_of_each() {
        let times = seconds(&[0, 1, 2, 3, 9, 10, /* b */ 0, 60, 120, 300, 360]);
        let names = ["a", "b"].map(String::from);
        let gaps = Gaps::find(&times, &[0..6, 6..11], &names, FORMAT).unwrap();
        assert_eq!((gaps.step.as_str(), gaps.count, gaps.missing_rows), ("6 s", 2, 5 + 2));
        assert_eq!(
            gaps.longest,
            [gap(Some("b"), "120", "300", 2), gap(Some("a"), "3", "9", 5)]
        );
    }

    #[test]
    fn months_are_steps_where_rows_come_by_the_month() {
        let days = ["2024-01-31", "2024-02-29", "2024-03-31", "2024-06-30", "2024-07-31"];
        let times: Vec<i64> = days
            .iter()
            .map(|day| TimeReader::default().read(day).unwrap())
            .collect();
        let gaps = of_series(&times).unwrap();
        assert_eq!((gaps.step.as_str(), gaps.count, gaps.missing_rows), ("1 month", 1, 2));
    }

    #[test]
    fn times_that_fall_or_stand_still_have_no_gaps() {
        assert_eq!(of_series(&seconds(&[0, 10, 5, 20])), None);
        assert_eq!(of_series(&seconds(&[7, 7, 7, 9])), None);
        assert_eq!(of_series(&seconds(&[7])), None);
        assert_eq!(of_series(&[]), None);
    }
}

//! Puts each device's rows in order of time, and leaves one row for each time.

use std::ops::Range;

use crate::{DataError, Duplicates, Frame, Values, Warning, format_time};

/// Checks that times rise, or makes them: sorts when asked to, and settles repeated times as asked. Frames without a time
/// column are in the order they should be. `devices` are the rows of each device, one after the other, and are brought up
/// to date.
pub(crate) fn in_order(
    frame: Frame,
    devices: &mut Vec<Range<usize>>,
    sort: bool,
    duplicates: Duplicates,
) -> Result<Frame, DataError> {
    settle_repeats(sorted(frame, devices, sort)?, devices, duplicates)
}

/// Checks that a device's times do not fall, or sorts them when asked to.
pub(crate) fn sorted(frame: Frame, devices: &[Range<usize>], sort: bool) -> Result<Frame, DataError> {
    let Some(time) = frame.time() else { return Ok(frame) };
    let falls = |rows: &Range<usize>| {
        let times = &time.micros[rows.clone()];
        Some(rows.start + times.windows(2).position(|pair| pair[1] < pair[0])?)
    };
    let Some(row) = devices.iter().find_map(falls) else {
        return Ok(frame);
    };
    if !sort {
        let shown = |row: usize| format_time(time.micros[row], time.format);
        return Err(DataError::UnsortedTime {
            file: frame.source().to_owned(),
            place: frame.place(row + 1),
            time: shown(row + 1),
            previous: shown(row),
        });
    }
    let mut order: Vec<usize> = (0..frame.rows()).collect();
    for rows in devices {
        // Stable: of equal times, the first in the file stays the first.
        order[rows.clone()].sort_by_key(|&row| time.micros[row]);
    }
    Ok(frame.take(&order))
}

fn settle_repeats(frame: Frame, devices: &mut Vec<Range<usize>>, duplicates: Duplicates) -> Result<Frame, DataError> {
    let Some(time) = frame.time() else { return Ok(frame) };
    let pairs = |rows: &Range<usize>| time.micros[rows.clone()].windows(2);
    let repeats = |rows: &Range<usize>| Some(rows.start + pairs(rows).position(|pair| pair[1] == pair[0])?);
    let Some(first) = devices.iter().find_map(repeats) else {
        return Ok(frame);
    };
    if duplicates == Duplicates::Error {
        let cut_off = frame
            .warnings()
            .iter()
            .any(|warning| matches!(warning, Warning::FinerTimes { .. }));
        let kept = if cut_off {
            " to the microsecond, which is as fine as times are kept"
        } else {
            ""
        };
        return Err(DataError::RepeatedTime {
            file: frame.source().to_owned(),
            first: frame.place(first),
            second: frame.place(first + 1),
            time: format_time(time.micros[first], time.format) + kept,
            repeated: devices.iter().flat_map(pairs).filter(|pair| pair[1] == pair[0]).count(),
        });
    }
    // Where each group of equal times starts, and the end of the last one.
    let mut starts: Vec<usize> = Vec::new();
    let mut settled_devices = Vec::with_capacity(devices.len());
    for rows in devices.iter() {
        let before = starts.len();
        let is_first = |&row: &usize| row == rows.start || time.micros[row] != time.micros[row - 1];
        starts.extend(rows.clone().filter(is_first));
        settled_devices.push(before..starts.len());
    }
    *devices = settled_devices;
    let kept: Vec<usize> = match duplicates {
        Duplicates::Last => starts[1..]
            .iter()
            .chain([&frame.rows()])
            .map(|&next| next - 1)
            .collect(),
        _ => starts.clone(),
    };
    let mut settled = frame.take(&kept);
    if duplicates == Duplicates::Mean {
        starts.push(frame.rows());
        for (column, before) in settled.columns_mut().iter_mut().zip(frame.columns()) {
            if let (Values::Numeric(means), Values::Numeric(values)) = (&mut column.values, &before.values) {
                for (mean, group) in means.iter_mut().zip(starts.windows(2)) {
                    *mean = mean_of_present(&values[group[0]..group[1]]);
                }
            }
        }
    }
    Ok(settled)
}

/// The mean of what is not missing; NaN if everything is.
fn mean_of_present(values: &[f64]) -> f64 {
    match values {
        [only] => *only,
        _ => {
            let (sum, count) = values
                .iter()
                .filter(|v| !v.is_nan())
                .fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
            sum / count
        }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;
    use crate::{Column, TimeColumn, TimeFormat};

    fn frame(times: &[i64], values: &[f64]) -> Frame {
        let micros = times.iter().map(|time| time * 1_000_000).collect();
        let format = TimeFormat::Epoch { per_second: 1 };
        let time = TimeColumn {
            name: "ts".into(),
            micros,
            format,
            guessed: false,
        };
        let column = Column {
            name: "x".into(),
            values: Values::Numeric(values.to_vec()),
        };
        Frame::new("a.csv", vec![column], Some(time)).unwrap()
    }

    fn in_order(frame: Frame, sort: bool, duplicates: Duplicates) -> Result<Frame, DataError> {
        let mut all = vec![0..frame.rows()];
        super::in_order(frame, &mut all, sort, duplicates)
    }

    fn settled(duplicates: Duplicates) -> Vec<f64> {
        let frame = frame(&[1, 1, 2, 3, 3, 3], &[1.0, 3.0, 5.0, f64::NAN, 7.0, 9.0]);
        let frame = in_order(frame, false, duplicates).unwrap();
        assert_eq!(frame.time().unwrap().micros, [1_000_000, 2_000_000, 3_000_000]);
        frame
            .numbers("x")
            .unwrap()
            .iter()
            .map(|v| if v.is_nan() { -1.0 } else { *v })
            .collect()
    }

    #[test]
    fn one_row_stays_for_each_time() {
        assert_eq!(settled(Duplicates::First), [1.0, 5.0, -1.0]);
        assert_eq!(settled(Duplicates::Last), [3.0, 5.0, 9.0]);
        assert_eq!(settled(Duplicates::Mean), [2.0, 5.0, 8.0]);
    }

    #[test]
    fn sorted_rows_still_know_where_they_came_from() {
        let frame = in_order(frame(&[3, 1, 2], &[30.0, 10.0, 20.0]), true, Duplicates::Error).unwrap();
        assert_eq!(frame.numbers("x").unwrap(), [10.0, 20.0, 30.0]);
        assert_eq!(frame.place(0).to_string(), "row 2");
    }

    #[test]
    fn rows_out_of_order_and_repeated_times_are_refused() {
        let error = in_order(frame(&[1, 3, 2], &[0.0; 3]), false, Duplicates::First).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.csv: row 3: 2 comes after 3, so the rows are not in order of time: sort the file, or have it sorted (--sort)"
        );
        let error = in_order(frame(&[1, 2, 2, 2], &[0.0; 4]), false, Duplicates::Error).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a.csv: row 2 and row 3 have the same time 2 (2 rows repeat"),
            "{error}"
        );
    }

    #[test]
    fn each_device_is_in_order_for_itself() {
        let times = frame(&[2, 1, 1, 1, 3, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mut devices = vec![0..2, 2..3, 3..6];
        let settled = super::in_order(times, &mut devices, true, Duplicates::Last).unwrap();
        assert_eq!(settled.numbers("x").unwrap(), [2.0, 1.0, 3.0, 4.0, 6.0]);
        assert_eq!(devices, [0..2, 2..3, 3..5]);
    }
}

//! Fills missing values (NaN) of one column without a look into the future of another part.
//!
//! `parts` are a device's rows of training, validation and test, one after the other. A part may use what came before it, because
//! that is known when its rows are predicted; it never uses what comes after it.

use std::ops::Range;

use crate::Missing;

/// Fills in place. `mean` is that of the training rows, and stands in where nothing at all is known yet. Values stay
/// missing only if the policy leaves them.
pub(crate) fn fill(values: &mut [f64], parts: &[Range<usize>], policy: Missing, mean: f64) {
    match policy {
        Missing::Mean => parts.iter().flat_map(|part| part.clone()).for_each(|row| {
            if values[row].is_nan() {
                values[row] = mean;
            }
        }),
        Missing::Forward | Missing::Linear => {
            let mut known = None;
            for part in parts {
                let part = &mut values[part.clone()];
                if policy == Missing::Linear {
                    interpolate(part);
                }
                known = carry(part, known);
                if known.is_none() {
                    part.fill(mean);
                }
            }
        }
        Missing::Auto | Missing::Error | Missing::Drop => {}
    }
}

/// Draws straight lines over the gaps that have a value on both sides.
fn interpolate(values: &mut [f64]) {
    let mut before: Option<usize> = None;
    for row in 0..values.len() {
        if values[row].is_nan() {
            continue;
        }
        if let Some(before) = before.filter(|before| row - before > 1) {
            let (start, end, width) = (values[before], values[row], (row - before) as f64);
            for step in 1..row - before {
                let share = step as f64 / width;
                values[before + step] = start * (1.0 - share) + end * share;
            }
        }
        before = Some(row);
    }
}

/// Repeats the last value over every gap; before the first one, what is `known` from earlier, else that first value itself.
/// Returns what is known afterwards.
fn carry(values: &mut [f64], known: Option<f64>) -> Option<f64> {
    let mut last = known.or_else(|| values.iter().copied().find(|value| !value.is_nan()));
    for value in values {
        match last {
            Some(last) if value.is_nan() => *value = last,
            _ if !value.is_nan() => last = Some(*value),
            _ => {}
        }
    }
    last
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    const GAP: f64 = f64::NAN;

    fn filled(values: &[f64], parts: &[Range<usize>], policy: Missing) -> Vec<f64> {
        let mut values = values.to_vec();
        fill(&mut values, parts, policy, 99.0);
        values
    }

    #[test]
    fn a_gap_inside_a_part_becomes_a_straight_line() {
        assert_eq!(
            filled(&[1.0, GAP, GAP, 4.0], &[0..4], Missing::Linear),
            [1.0, 2.0, 3.0, 4.0]
        );
    }

    #[test]
    fn a_gap_across_the_end_of_training_does_not_look_ahead() {
        let values = [1.0, 2.0, GAP, GAP, 50.0, GAP, 70.0];
        assert_eq!(
            filled(&values, &[0..3, 3..7], Missing::Linear),
            [1.0, 2.0, 2.0, 2.0, 50.0, 60.0, 70.0]
        );
        assert_eq!(
            filled(&values, &[0..3, 3..7], Missing::Forward),
            [1.0, 2.0, 2.0, 2.0, 50.0, 50.0, 70.0]
        );
    }

    #[test]
    fn a_gap_at_the_very_start_takes_the_first_value() {
        for policy in [Missing::Linear, Missing::Forward] {
            assert_eq!(filled(&[GAP, GAP, 3.0, GAP], &[0..4], policy), [3.0, 3.0, 3.0, 3.0]);
        }
    }

    #[test]
    fn a_part_without_values_repeats_what_came_before() {
        assert_eq!(
            filled(&[1.0, GAP, GAP, 9.0], &[0..1, 1..3, 3..4], Missing::Linear),
            [1.0, 1.0, 1.0, 9.0]
        );
    }

    #[test]
    fn a_part_before_any_value_takes_the_mean() {
        for policy in [Missing::Linear, Missing::Forward] {
            assert_eq!(
                filled(&[GAP, GAP, GAP, 3.0], &[0..2, 2..4], policy),
                [99.0, 99.0, 3.0, 3.0]
            );
        }
    }

    #[test]
    fn the_mean_is_the_one_given() {
        assert_eq!(filled(&[1.0, GAP], &[0..2], Missing::Mean), [1.0, 99.0]);
    }

    #[test]
    fn opposite_huge_values_do_not_overflow_on_the_way() {
        assert_eq!(filled(&[-1e308, GAP, 1e308], &[0..3], Missing::Linear)[1], 0.0);
    }
}

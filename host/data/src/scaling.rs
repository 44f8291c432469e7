//! Where a column's scale comes from: the same figures as scikit-learn's StandardScaler, MinMaxScaler and RobustScaler.

use crate::Scaling;

/// How one column is scaled: `(value - center) / scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fit {
    pub center: f64,
    pub scale: f64,
    /// Whether all values are the same, so that there is nothing to scale.
    pub constant: bool,
}

/// Fits to the values that are present. A spread of (nearly) nothing becomes a scale of 1, by scikit-learn's bounds.
pub(crate) fn fit(values: impl Iterator<Item = f64> + Clone, scaling: Scaling) -> Fit {
    let present = values.filter(|value| !value.is_nan());
    let nothing = (f64::INFINITY, f64::NEG_INFINITY);
    let (least, most) = present.clone().fold(nothing, |(a, b), v| (a.min(v), b.max(v)));
    let empty = least > most;
    let constant = empty || least == most;
    let tiny = |spread: f64| if spread < 10.0 * f64::EPSILON { 1.0 } else { spread };
    let (center, scale) = match scaling {
        _ if empty => (0.0, 1.0),
        Scaling::None => (0.0, 1.0),
        Scaling::Standard => standard(present),
        Scaling::MinMax => (least, tiny(most - least)),
        Scaling::Robust => {
            let mut sorted: Vec<f64> = present.collect();
            sorted.sort_unstable_by(f64::total_cmp);
            (median(&sorted), tiny(quantile(&sorted, 0.75) - quantile(&sorted, 0.25)))
        }
    };
    Fit {
        center,
        scale,
        constant,
    }
}

/// The mean of the values that are present; NaN if there are none.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (Sum::default(), 0_usize);
    // Not a `for` loop, here and below: this way, values in several runs are as fast as values in one.
    values.filter(|value| !value.is_nan()).for_each(|value| {
        sum.add(value);
        count += 1;
    });
    sum.total() / count as f64
}

/// Mean and population standard deviation, in two passes, with the second one correcting the rounding of the first.
fn standard(present: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let mean = mean(present.clone());
    let (mut rest, mut squares, mut count) = (Sum::default(), Sum::default(), 0_usize);
    present.for_each(|value| {
        rest.add(value - mean);
        squares.add((value - mean) * (value - mean));
        count += 1;
    });
    let (count, rest) = (count as f64, rest.total());
    let variance = ((squares.total() - rest * rest / count) / count).max(0.0);
    // Below this bound a variance is the rounding error of a constant column.
    let bound = count * f64::EPSILON * variance + (count * mean * f64::EPSILON).powi(2);
    (mean, if variance <= bound { 1.0 } else { variance.sqrt() })
}

/// A sum whose rounding error does not grow with its length (Neumaier, 1974).
#[derive(Default)]
struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let next = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - next) + value
        } else {
            (value - next) + self.sum
        };
        self.sum = next;
    }

    fn total(&self) -> f64 {
        if self.lost.is_finite() {
            self.sum + self.lost
        } else {
            self.sum
        }
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        0.5 * (sorted[middle - 1] + sorted[middle])
    } else {
        sorted[middle]
    }
}

/// The value that a share of the sorted values lies below, between two of them by a straight line.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = sorted[position as usize];
    let above = sorted[(position as usize + 1).min(sorted.len() - 1)];
    below + (above - below) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_column_is_centred_and_not_scaled() {
        for scaling in [Scaling::Standard, Scaling::MinMax, Scaling::Robust] {
            assert_eq!(
                fit([5.1; 7].into_iter(), scaling),
                Fit {
                    center: 5.1,
                    scale: 1.0,
                    constant: true
                }
            );
        }
    }

    #[test]
    fn missing_values_take_no_part() {
        assert_eq!(
            fit([1.0, f64::NAN, 3.0].into_iter(), Scaling::Standard),
            fit([1.0, 3.0].into_iter(), Scaling::Standard)
        );
        assert_eq!(mean([1.0, f64::NAN, 3.0].into_iter()), 2.0);
        assert!(mean([f64::NAN].into_iter()).is_nan());
    }

    #[test]
    fn a_long_sum_of_small_numbers_on_a_large_one_keeps_them() {
        let values = std::iter::once(1e16)
            .chain(std::iter::repeat_n(1.0, 1_000))
            .chain([-1e16]);
        let mut sum = Sum::default();
        values.for_each(|value| sum.add(value));
        assert_eq!(sum.total(), 1_000.0);
    }

    #[test]
    fn half_of_a_column_at_zero_is_no_constant_column() {
        let fit = fit([0.0, 0.0, 0.0, 0.0, 100.0].into_iter(), Scaling::Robust);
        assert_eq!(
            fit,
            Fit {
                center: 0.0,
                scale: 1.0,
                constant: false
            }
        );
    }
}

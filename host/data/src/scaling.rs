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
pub(crate) fn fit(values: &[f64], scaling: Scaling) -> Fit {
    let mut present: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let (least, most) = present
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    let constant = present.is_empty() || least == most;
    let tiny = |spread: f64| if spread < 10.0 * f64::EPSILON { 1.0 } else { spread };
    let (center, scale) = match scaling {
        _ if present.is_empty() => (0.0, 1.0),
        Scaling::None => (0.0, 1.0),
        Scaling::Standard => standard(&present),
        Scaling::MinMax => (least, tiny(most - least)),
        Scaling::Robust => {
            present.sort_unstable_by(f64::total_cmp);
            (
                median(&present),
                tiny(quantile(&present, 0.75) - quantile(&present, 0.25)),
            )
        }
    };
    Fit {
        center,
        scale,
        constant,
    }
}

/// The mean of the values that are present; NaN if there are none.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let present = || values.iter().copied().filter(|value| !value.is_nan());
    sum(present()) / present().count() as f64
}

/// Mean and population standard deviation, in two passes, with the second one correcting the rounding of the first.
fn standard(present: &[f64]) -> (f64, f64) {
    let count = present.len() as f64;
    let mean = mean(present);
    let rest = sum(present.iter().map(|value| value - mean));
    let squares = sum(present.iter().map(|value| (value - mean) * (value - mean)));
    let variance = ((squares - rest * rest / count) / count).max(0.0);
    // Below this bound a variance is the rounding error of a constant column.
    let bound = count * f64::EPSILON * variance + (count * mean * f64::EPSILON).powi(2);
    (mean, if variance <= bound { 1.0 } else { variance.sqrt() })
}

/// A sum whose rounding error does not grow with its length (Neumaier, 1974).
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() {
            (total - next) + value
        } else {
            (value - next) + total
        };
        total = next;
    }
    if lost.is_finite() { total + lost } else { total }
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
                fit(&[5.1; 7], scaling),
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
            fit(&[1.0, f64::NAN, 3.0], Scaling::Standard),
            fit(&[1.0, 3.0], Scaling::Standard)
        );
        assert_eq!(mean(&[1.0, f64::NAN, 3.0]), 2.0);
        assert!(mean(&[f64::NAN]).is_nan());
    }

    #[test]
    fn a_long_sum_of_small_numbers_on_a_large_one_keeps_them() {
        let values = std::iter::once(1e16)
            .chain(std::iter::repeat_n(1.0, 1_000))
            .chain([-1e16]);
        assert_eq!(sum(values), 1_000.0);
    }

    #[test]
    fn half_of_a_column_at_zero_is_no_constant_column() {
        let fit = fit(&[0.0, 0.0, 0.0, 0.0, 100.0], Scaling::Robust);
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

//! Losses: the sum over all elements in `f64`, which the caller divides by their number, and the derivatives.
//!
//! Backward functions take `scale`, the gradient that arrives over the number of elements, and overwrite dx. Formulas
//! and what happens at the kinks are PyTorch's. In losses of a difference, the target's gradient is minus the
//! prediction's.

use rayon::prelude::*;

use super::Real;
use super::index::{Index, IndexOutOfRange};
use super::par::{self, map2, parallel, wide};
use super::softmax::logsumexp_row;

#[inline(always)]
fn total<T: Real>(prediction: &[T], target: &[T], f: impl Fn(T, T) -> T + Copy + Sync) -> f64 {
    assert_eq!(prediction.len(), target.len());
    par::sum_chunks(prediction.len(), |range| {
        wide(
            #[inline(always)]
            move || {
                par::sum2(
                    &prediction[range.clone()],
                    &target[range],
                    #[inline(always)]
                    move |p, t| f(p, t).to_f64(),
                )
            },
        )
    })
}

/// sum (prediction - target)^2
pub fn mse<T: Real>(prediction: &[T], target: &[T]) -> f64 {
    total(
        prediction,
        target,
        #[inline(always)]
        move |p, t| (p - t) * (p - t),
    )
}

/// 2 scale (prediction - target)
pub fn mse_backward<T: Real>(prediction: &[T], target: &[T], scale: f64, dx: &mut [T]) {
    let factor = T::from_f64(2.0 * scale);
    map2(
        prediction,
        target,
        dx,
        #[inline(always)]
        move |p, t| factor * (p - t),
    );
}

/// sum |prediction - target|
pub fn l1<T: Real>(prediction: &[T], target: &[T]) -> f64 {
    total(
        prediction,
        target,
        #[inline(always)]
        move |p, t| (p - t).abs(),
    )
}

/// scale sign(prediction - target), zero where they are equal.
pub fn l1_backward<T: Real>(prediction: &[T], target: &[T], scale: f64, dx: &mut [T]) {
    let scale = T::from_f64(scale);
    map2(
        prediction,
        target,
        dx,
        #[inline(always)]
        move |p, t| {
            let d = p - t;
            // What is left over is zero or NaN.
            let rest = if d < T::ZERO { -scale } else { d };
            if d > T::ZERO { scale } else { rest }
        },
    );
}

/// sum of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); d = prediction - target.
pub fn huber<T: Real>(prediction: &[T], target: &[T], delta: f64) -> f64 {
    let (half, delta) = (T::from_f64(0.5), T::from_f64(delta));
    total(
        prediction,
        target,
        #[inline(always)]
        move |p, t| {
            let d = (p - t).abs();
            let linear = delta * (d - half * delta);
            if d > delta { linear } else { half * d * d }
        },
    )
}

/// scale d, limited to -delta .. delta before scaling.
pub fn huber_backward<T: Real>(prediction: &[T], target: &[T], delta: f64, scale: f64, dx: &mut [T]) {
    let (delta, scale) = (T::from_f64(delta), T::from_f64(scale));
    map2(
        prediction,
        target,
        dx,
        #[inline(always)]
        move |p, t| {
            let d = p - t;
            let d = if d > delta { delta } else { d };
            scale * if d < -delta { -delta } else { d }
        },
    );
}

/// sum max(q e, (q - 1) e) with e = target - prediction (Koenker and Bassett 1978).
pub fn quantile<T: Real>(prediction: &[T], target: &[T], q: f64) -> f64 {
    let (above, below) = (T::from_f64(q), T::from_f64(q - 1.0));
    total(
        prediction,
        target,
        #[inline(always)]
        move |p, t| {
            let e = t - p;
            e * if e > T::ZERO { above } else { below }
        },
    )
}

/// -scale q below the target, scale (1 - q) above it, and the mean of both on it.
pub fn quantile_backward<T: Real>(prediction: &[T], target: &[T], q: f64, scale: f64, dx: &mut [T]) {
    let (below, above) = (T::from_f64(-q * scale), T::from_f64((1.0 - q) * scale));
    let equal = T::from_f64((0.5 - q) * scale);
    map2(
        prediction,
        target,
        dx,
        #[inline(always)]
        move |p, t| {
            let e = t - p;
            // What is left over is zero or NaN.
            let rest = if e < T::ZERO { above } else { equal + e };
            if e > T::ZERO { below } else { rest }
        },
    );
}

/// sum max(x, 0) - x t + ln(1 + exp(-|x|)) over logits x and targets t in 0 .. 1.
pub fn bce_with_logits<T: Real>(logits: &[T], target: &[T]) -> f64 {
    total(
        logits,
        target,
        #[inline(always)]
        move |x, t| {
            let positive = if x > T::ZERO { x } else { T::ZERO };
            positive - x * t + (-x.abs()).exp().ln_1p()
        },
    )
}

/// scale (sigmoid(x) - t)
pub fn bce_with_logits_backward<T: Real>(logits: &[T], target: &[T], scale: f64, dx: &mut [T]) {
    let scale = T::from_f64(scale);
    map2(
        logits,
        target,
        dx,
        #[inline(always)]
        move |x, t| scale * (x.sigmoid() - t),
    );
}

/// The gradient of the targets: -scale x.
pub fn bce_with_logits_backward_target<T: Real>(logits: &[T], scale: f64, d_target: &mut [T]) {
    let scale = T::from_f64(scale);
    par::map(
        logits,
        d_target,
        #[inline(always)]
        move |x| -(scale * x),
    );
}

/// Cross-entropy of logits [rows, classes] against class indices `[rows]`, with label smoothing s: the sum over rows of
/// lse - (1 - s) `x[target]` - s mean(x), lse = logsumexp x, which is kept in `lse` `[rows]` for the backward pass.
///
/// # Errors
/// If a target is not below `classes`.
pub fn cross_entropy<T: Real, I: Index>(
    classes: usize,
    logits: &[T],
    targets: &[I],
    smoothing: f64,
    lse: &mut [T],
) -> Result<f64, IndexOutOfRange> {
    assert!(logits.len() == targets.len() * classes && lse.len() == targets.len());
    super::index::check_indices(targets, classes)?;
    if logits.is_empty() {
        return Ok(0.0);
    }
    let run = |logits: &[T], targets: &[I], lse: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                let mut sum = 0.0;
                for ((x, target), lse) in logits.chunks_exact(classes).zip(targets).zip(lse) {
                    let all = logsumexp_row(x);
                    *lse = T::from_f64(all);
                    // Checked above.
                    let chosen = x[target.position(classes).unwrap_or_default()];
                    sum += (1.0 - smoothing) * (all - chosen.to_f64());
                    if smoothing > 0.0 {
                        let mean = par::sum(
                            x,
                            #[inline(always)]
                            move |x| x.to_f64(),
                        ) / classes as f64;
                        sum += smoothing * (all - mean);
                    }
                }
                sum
            },
        )
    };
    // Always in the same chunks, so that the sum has the same order on any number of threads.
    let size = par::rows_per_chunk(classes);
    let parts: Vec<f64> = if parallel(logits.len()) {
        let rows = logits
            .par_chunks(size * classes)
            .zip(targets.par_chunks(size))
            .zip(lse.par_chunks_mut(size));
        rows.map(|((x, targets), lse)| run(x, targets, lse)).collect()
    } else {
        let rows = logits
            .chunks(size * classes)
            .zip(targets.chunks(size))
            .zip(lse.chunks_mut(size));
        rows.map(|((x, targets), lse)| run(x, targets, lse)).collect()
    };
    Ok(parts.into_iter().sum())
}

/// From the logits and their `lse`: scale (softmax(x) - (1 - s) [class is target] - s / classes).
///
/// # Errors
/// If a target is not below `classes`.
pub fn cross_entropy_backward<T: Real, I: Index>(
    classes: usize,
    logits: &[T],
    lse: &[T],
    targets: &[I],
    smoothing: f64,
    scale: f64,
    dx: &mut [T],
) -> Result<(), IndexOutOfRange> {
    assert!(logits.len() == targets.len() * classes && lse.len() == targets.len() && dx.len() == logits.len());
    super::index::check_indices(targets, classes)?;
    if logits.is_empty() {
        return Ok(());
    }
    let spread = T::from_f64(smoothing / classes as f64);
    let chosen = T::from_f64((1.0 - smoothing) * scale);
    let scale = T::from_f64(scale);
    let run = |logits: &[T], lse: &[T], targets: &[I], dx: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                let rows = logits.chunks_exact(classes).zip(dx.chunks_exact_mut(classes));
                for ((x, dx), (&lse, target)) in rows.zip(lse.iter().zip(targets)) {
                    for (dx, &x) in dx.iter_mut().zip(x) {
                        *dx = scale * ((x - lse).exp() - spread);
                    }
                    dx[target.position(classes).unwrap_or_default()] -= chosen;
                }
            },
        );
    };
    if parallel(logits.len()) {
        let size = par::rows_per_chunk(classes);
        let rows = dx.par_chunks_mut(size * classes).zip(logits.par_chunks(size * classes));
        let saved = lse.par_chunks(size).zip(targets.par_chunks(size));
        rows.zip(saved)
            .for_each(|((dx, x), (lse, targets))| run(x, lse, targets, dx));
    } else {
        run(logits, lse, targets, dx);
    }
    Ok(())
}

/// The sum over rows of -`x[target]` of log-probabilities [rows, classes].
///
/// # Errors
/// If a target is not below `classes`.
pub fn nll<T: Real, I: Index>(classes: usize, x: &[T], targets: &[I]) -> Result<f64, IndexOutOfRange> {
    assert_eq!(x.len(), targets.len() * classes);
    let mut sum = 0.0;
    for (i, target) in targets.iter().enumerate() {
        sum -= x[i * classes + target.position(classes)?].to_f64();
    }
    Ok(sum)
}

/// -scale at the targets, zero elsewhere.
///
/// # Errors
/// If a target is not below `classes`.
pub fn nll_backward<T: Real, I: Index>(
    classes: usize,
    targets: &[I],
    scale: f64,
    dx: &mut [T],
) -> Result<(), IndexOutOfRange> {
    assert_eq!(dx.len(), targets.len() * classes);
    dx.fill(T::ZERO);
    for (i, target) in targets.iter().enumerate() {
        dx[i * classes + target.position(classes)?] = T::from_f64(-scale);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradient, numbers, same_with_one_and_two_threads};
    use super::*;

    type Forward = fn(&[f64], &[f64]) -> f64;
    type Backward = fn(&[f64], &[f64], &mut [f64]);
    /// Name, forward, backward, definition.
    type Row = (&'static str, Forward, Backward, fn(f64, f64) -> f64);

    #[test]
    fn losses_agree_with_their_definitions_and_finite_differences() {
        let table: [Row; 5] = [
            (
                "mse",
                mse,
                |p, t, dx| mse_backward(p, t, 1.0, dx),
                |p, t| (p - t).powi(2),
            ),
            ("l1", l1, |p, t, dx| l1_backward(p, t, 1.0, dx), |p, t| (p - t).abs()),
            (
                "huber",
                |p, t| huber(p, t, 0.5),
                |p, t, dx| huber_backward(p, t, 0.5, 1.0, dx),
                |p, t| {
                    let d = (p - t).abs();
                    if d <= 0.5 { 0.5 * d * d } else { 0.5 * (d - 0.25) }
                },
            ),
            (
                "quantile",
                |p, t| quantile(p, t, 0.9),
                |p, t, dx| quantile_backward(p, t, 0.9, 1.0, dx),
                |p, t| f64::max(0.9 * (t - p), -0.1 * (t - p)),
            ),
            (
                "bce",
                |p, t| bce_with_logits(p, t),
                |p, t, dx| bce_with_logits_backward(p, t, 1.0, dx),
                |p, t| -(t * (1.0 / (1.0 + (-p).exp())).ln() + (1.0 - t) * (1.0 - 1.0 / (1.0 + (-p).exp())).ln()),
            ),
        ];
        let p: Vec<f64> = numbers(57, 1);
        let t: Vec<f64> = numbers(57, 2).iter().map(|t: &f64| t.abs()).collect();
        for (name, forward, backward, definition) in table {
            println!("{name}");
            let want: f64 = p.iter().zip(&t).map(|(&p, &t)| definition(p, t)).sum();
            assert!((forward(&p, &t) - want).abs() < 1e-12);
            let mut dx = vec![0.0; 57];
            backward(&p, &t, &mut dx);
            check_gradient(&p, &dx, |p| forward(p, &t));
        }
        let mut d_target = vec![0.0; 57];
        bce_with_logits_backward_target(&p, 1.0, &mut d_target);
        check_gradient(&t, &d_target, |t| bce_with_logits(&p, t));
    }

    #[test]
    fn kinks_are_split_as_in_pytorch() {
        let mut dx = [9.0; 2];
        l1_backward(&[1.0, f64::NAN], &[1.0, 1.0], 2.0, &mut dx);
        assert!(dx[0] == 0.0 && dx[1].is_nan());
        quantile_backward(&[1.0, f64::NAN], &[1.0, 1.0], 0.9, 1.0, &mut dx);
        assert!((dx[0] + 0.4).abs() < 1e-15 && dx[1].is_nan());
        assert!(bce_with_logits(&[1000.0f32, -1000.0], &[1.0, 0.0]) == 0.0);
    }

    #[test]
    fn cross_entropy_agrees_with_the_definition_and_finite_differences() {
        let (rows, classes) = (6, 21);
        let x: Vec<f64> = numbers(rows * classes, 1);
        let targets = [0i64, 20, 5, 5, 7, 1];
        for smoothing in [0.0, 0.1, 1.0] {
            let mut lse = vec![0.0; rows];
            let sum = cross_entropy(classes, &x, &targets, smoothing, &mut lse).unwrap();
            let mut want = 0.0;
            for (row, target) in x.chunks(classes).zip(targets) {
                let total: f64 = row.iter().map(|x| x.exp()).sum();
                for (i, x) in row.iter().enumerate() {
                    let share = if i as i64 == target { 1.0 - smoothing } else { 0.0 } + smoothing / classes as f64;
                    want -= share * (x.exp() / total).ln();
                }
            }
            assert!((sum - want).abs() < 1e-12);
            let mut dx = vec![0.0; x.len()];
            cross_entropy_backward(classes, &x, &lse, &targets, smoothing, 0.5, &mut dx).unwrap();
            check_gradient(&x, &dx, |x| {
                0.5 * cross_entropy(classes, x, &targets, smoothing, &mut vec![0.0; rows]).unwrap()
            });
        }
        let mut dx = vec![0.0; x.len()];
        nll_backward(classes, &targets, 0.5, &mut dx).unwrap();
        check_gradient(&x, &dx, |x| 0.5 * nll(classes, x, &targets).unwrap());
        let error = cross_entropy(classes, &x, &[21u32; 6], 0.0, &mut vec![0.0; rows]).unwrap_err();
        assert_eq!(error, IndexOutOfRange { index: 21, size: 21 });
    }

    #[test]
    fn threads_change_no_bit() {
        let (x, t): (Vec<f32>, Vec<f32>) = (numbers(100_000, 1), numbers(100_000, 2));
        let targets: Vec<u32> = (0..10_000).map(|i| i % 10).collect();
        same_with_one_and_two_threads(|| {
            let (mut lse, mut dx) = (vec![0.0; 10_000], vec![0.0; 100_000]);
            let sum = cross_entropy(10, &x, &targets, 0.1, &mut lse).unwrap();
            cross_entropy_backward(10, &x, &lse, &targets, 0.1, 1e-4, &mut dx).unwrap();
            (sum, mse(&x, &t), huber(&x, &t, 0.5), lse, dx)
        });
    }
}

//! Over rows. The gradients of weight and bias are sums over rows: in the element type within a few rows, in `f64`
//! beyond.

use rayon::prelude::*;

use super::super::Real;
use super::super::par::{self, parallel, wide};

/// Rows whose gradients of weight and bias are added in the element type before they go into an `f64` sum.
const SHORT: usize = 64;

/// y = (x - mean) rstd weight + bias in each row of n elements, rstd = 1 / sqrt(variance + epsilon) with the
/// population's variance. Keeps `mean` and `rstd` `[rows]` for the backward pass.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn layer_norm<T: Real>(
    n: usize,
    x: &[T],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    epsilon: f64,
    y: &mut [T],
    mean: &mut [T],
    rstd: &mut [T],
) {
    assert!(weight.is_none_or(|w| w.len() == n) && bias.is_none_or(|b| b.len() == n));
    assert!(mean.len() * n == x.len() && rstd.len() == mean.len());
    forward_rows(
        n,
        x,
        y,
        mean,
        rstd,
        #[inline(always)]
        move |x, y, mean, rstd| {
            let centre = par::sum(
                x,
                #[inline(always)]
                |x| x.to_f64(),
            ) / n as f64;
            let squares = par::sum(
                x,
                #[inline(always)]
                |x| {
                    let d = x.to_f64() - centre;
                    d * d
                },
            );
            *mean = T::from_f64(centre);
            *rstd = T::from_f64(1.0 / (squares / n as f64 + epsilon).sqrt());
            let (mean, rstd) = (*mean, *rstd);
            scale_row(
                x,
                y,
                weight,
                bias,
                #[inline(always)]
                |x| (x - mean) * rstd,
            );
        },
    );
}

/// y = x rstd weight in each row of n elements, rstd = 1 / sqrt(mean(x^2) + epsilon) (Zhang and Sennrich 2019). Keeps
/// `rstd` `[rows]` for the backward pass.
pub fn rms_norm<T: Real>(n: usize, x: &[T], weight: Option<&[T]>, epsilon: f64, y: &mut [T], rstd: &mut [T]) {
    assert!(weight.is_none_or(|w| w.len() == n) && rstd.len() * n == x.len());
    // A row has no mean here; the slot is written and not read.
    forward_rows(
        n,
        x,
        y,
        &mut vec![(); rstd.len()],
        rstd,
        #[inline(always)]
        move |x, y, (), rstd| {
            let squares = par::sum(
                x,
                #[inline(always)]
                |x| x.to_f64() * x.to_f64(),
            );
            *rstd = T::from_f64(1.0 / (squares / n as f64 + epsilon).sqrt());
            let rstd = *rstd;
            scale_row(
                x,
                y,
                weight,
                None,
                #[inline(always)]
                |x| x * rstd,
            );
        },
    );
}

#[inline(always)]
fn forward_rows<T: Real, M: Send>(
    n: usize,
    x: &[T],
    y: &mut [T],
    mean: &mut [M],
    rstd: &mut [T],
    f: impl Fn(&[T], &mut [T], &mut M, &mut T) + Copy + Sync,
) {
    assert_eq!(x.len(), y.len());
    if x.is_empty() {
        return;
    }
    let run = |x: &[T], y: &mut [T], mean: &mut [M], rstd: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                let rows = x.chunks_exact(n).zip(y.chunks_exact_mut(n));
                for ((x, y), (mean, rstd)) in rows.zip(mean.iter_mut().zip(rstd)) {
                    f(x, y, mean, rstd);
                }
            },
        );
    };
    if parallel(x.len()) {
        let size = par::rows_per_chunk(n);
        let saved = mean.par_chunks_mut(size).zip(rstd.par_chunks_mut(size));
        let rows = y.par_chunks_mut(size * n).zip(x.par_chunks(size * n));
        rows.zip(saved).for_each(|((y, x), (mean, rstd))| run(x, y, mean, rstd));
    } else {
        run(x, y, mean, rstd);
    }
}

/// y = normal(x) weight + bias
#[inline(always)]
fn scale_row<T: Real>(x: &[T], y: &mut [T], weight: Option<&[T]>, bias: Option<&[T]>, normal: impl Fn(T) -> T) {
    let n = x.len();
    match (weight, bias) {
        (Some(w), Some(b)) => {
            let (y, w, b) = (&mut y[..n], &w[..n], &b[..n]);
            for i in 0..n {
                y[i] = normal(x[i]) * w[i] + b[i];
            }
        }
        (Some(w), None) => {
            for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
                *y = normal(x) * w;
            }
        }
        (None, Some(b)) => {
            for ((y, &x), &b) in y.iter_mut().zip(x).zip(b) {
                *y = normal(x) + b;
            }
        }
        (None, None) => {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = normal(x);
            }
        }
    }
}

/// The derivative of [`layer_norm`]: with g = dy weight and h = (x - mean) rstd,
/// dx = rstd (g - mean(g) - h mean(g h)); d_weight `[n]` = sum over rows of dy h; d_bias `[n]` = sum over rows of dy.
///
/// Absent outputs are not computed; the others are overwritten.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn layer_norm_backward<T: Real>(
    n: usize,
    x: &[T],
    weight: Option<&[T]>,
    mean: &[T],
    rstd: &[T],
    dy: &[T],
    dx: Option<&mut [T]>,
    d_weight: Option<&mut [T]>,
    d_bias: Option<&mut [T]>,
) {
    assert!(mean.len() * n == x.len());
    backward_rows::<T, true>(n, x, weight, mean, rstd, dy, dx, d_weight, d_bias);
}

/// The derivative of [`rms_norm`]: with g = dy weight and h = x rstd, dx = rstd (g - h mean(g h));
/// d_weight `[n]` = sum over rows of dy h. Absent outputs are not computed; the others are overwritten.
pub fn rms_norm_backward<T: Real>(
    n: usize,
    x: &[T],
    weight: Option<&[T]>,
    rstd: &[T],
    dy: &[T],
    dx: Option<&mut [T]>,
    d_weight: Option<&mut [T]>,
) {
    backward_rows::<T, false>(n, x, weight, rstd, rstd, dy, dx, d_weight, None);
}

/// Both derivatives; without `CENTRED` the mean counts as zero and is not read.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
fn backward_rows<T: Real, const CENTRED: bool>(
    n: usize,
    x: &[T],
    weight: Option<&[T]>,
    mean: &[T],
    rstd: &[T],
    dy: &[T],
    dx: Option<&mut [T]>,
    d_weight: Option<&mut [T]>,
    d_bias: Option<&mut [T]>,
) {
    let rows = rstd.len();
    assert!(x.len() == rows * n && dy.len() == x.len() && weight.is_none_or(|w| w.len() == n));
    assert!(dx.as_ref().is_none_or(|dx| dx.len() == x.len()));
    assert!(d_weight.as_ref().is_none_or(|d| d.len() == n) && d_bias.as_ref().is_none_or(|d| d.len() == n));
    let ones = if weight.is_some() { Vec::new() } else { vec![T::ONE; n] };
    let weight = weight.unwrap_or(&ones);
    let sums = if d_weight.is_some() || d_bias.is_some() { n } else { 0 };
    // A task takes a number of rows that depends on n alone, so the sums have the same order on any number of threads.
    let size = (2 * par::rows_per_chunk(n)).next_multiple_of(SHORT);
    let pieces: Vec<Option<&mut [T]>> = match dx {
        Some(dx) if n > 0 => dx.chunks_mut(size * n).map(Some).collect(),
        _ => (0..rows.div_ceil(size)).map(|_| None).collect(),
    };
    let run = |piece: usize, mut dx: Option<&mut [T]>| {
        let first = piece * size;
        let (mut long_w, mut long_b) = (vec![0.0; sums], vec![0.0; sums]);
        let (mut short_w, mut short_b) = (vec![T::ZERO; sums], vec![T::ZERO; sums]);
        wide(
            #[inline(always)]
            || {
                for row in first..rows.min(first + size) {
                    let (x, dy) = (&x[row * n..][..n], &dy[row * n..][..n]);
                    let (mean, rstd) = (if CENTRED { mean[row] } else { T::ZERO }, rstd[row]);
                    if let Some(dx) = &mut dx {
                        row_gradient::<T, CENTRED>(x, weight, dy, mean, rstd, &mut dx[(row - first) * n..][..n]);
                    }
                    if sums > 0 {
                        let (w, b) = (&mut short_w[..n], &mut short_b[..n]);
                        for i in 0..n {
                            w[i] += dy[i] * ((x[i] - mean) * rstd);
                            b[i] += dy[i];
                        }
                        if (row + 1) % SHORT == 0 || row + 1 == rows {
                            flush(w, &mut long_w);
                            flush(b, &mut long_b);
                        }
                    }
                }
            },
        );
        (long_w, long_b)
    };
    let parts: Vec<(Vec<f64>, Vec<f64>)> = if parallel(x.len()) {
        pieces.into_par_iter().enumerate().map(|(i, dx)| run(i, dx)).collect()
    } else {
        pieces.into_iter().enumerate().map(|(i, dx)| run(i, dx)).collect()
    };
    let (of_weight, of_bias): (Vec<Vec<f64>>, Vec<Vec<f64>>) = parts.into_iter().unzip();
    for (out, parts) in [(d_weight, of_weight), (d_bias, of_bias)] {
        for (i, out) in out.into_iter().flatten().enumerate() {
            *out = T::from_f64(parts.iter().map(|part| part[i]).sum());
        }
    }
}

/// Moves what was added in the element type into the `f64` sum.
#[inline(always)]
fn flush<T: Real>(short: &mut [T], long: &mut [f64]) {
    for (short, long) in short.iter_mut().zip(long) {
        *long += short.to_f64();
        *short = T::ZERO;
    }
}

#[inline(always)]
fn row_gradient<T: Real, const CENTRED: bool>(x: &[T], w: &[T], dy: &[T], mean: T, rstd: T, dx: &mut [T]) {
    let n = x.len();
    // g goes through dx, which saves a second product.
    for ((dx, &dy), &w) in dx.iter_mut().zip(dy).zip(w) {
        *dx = dy * w;
    }
    let along = par::sum2(
        dx,
        x,
        #[inline(always)]
        |g, x| (g * ((x - mean) * rstd)).to_f64(),
    );
    let along = T::from_f64(along / n as f64);
    let shift = if CENTRED {
        T::from_f64(
            par::sum(
                dx,
                #[inline(always)]
                |g| g.to_f64(),
            ) / n as f64,
        )
    } else {
        T::ZERO
    };
    for (dx, &x) in dx.iter_mut().zip(x) {
        *dx = rstd * (*dx - shift - (x - mean) * rstd * along);
    }
}

//! Normalisation: over the last dimension (layer norm, RMS norm) and over all but the channels (batch norm).
//!
//! Means and variances are accumulated in `f64` lanes. Weights are optional everywhere: absent ones count as 1 and 0. The
//! gradients of weight and bias are sums over rows: `f32` within a few rows, `f64` beyond.

use rayon::prelude::*;

use super::Real;
use super::par::{self, parallel, wide};

/// Rows whose gradients of weight and bias are added in the element type before they go into an `f64` sum.
const SHORT: usize = 64;

/// y = (x - mean) rstd weight + bias in each row of n elements, rstd = 1 / sqrt(variance + epsilon) with the population's
/// variance. Keeps `mean` and `rstd` [rows] for the backward pass.
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
/// `rstd` [rows] for the backward pass.
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
/// dx = rstd (g - mean(g) - h mean(g h)); d_weight [n] = sum over rows of dy h; d_bias [n] = sum over rows of dy.
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
/// d_weight [n] = sum over rows of dy h. Absent outputs are not computed; the others are overwritten.
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

/// The shape [n, c, inner] around the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// Batch size.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Product of the sizes after the channels.
    pub inner: usize,
}

impl Channels {
    fn len(self) -> usize {
        self.n * self.c * self.inner
    }

    /// Elements of one channel.
    pub fn count(self) -> usize {
        self.n * self.inner
    }
}

/// What batch norm keeps for evaluation, [c] each.
#[derive(Debug)]
pub struct Running<'a, T> {
    /// Moving mean.
    pub mean: &'a mut [T],
    /// Moving variance.
    pub variance: &'a mut [T],
    /// Share of the new value, as in PyTorch: running = (1 - momentum) running + momentum new.
    pub momentum: f64,
}

/// Batch norm by the statistics of x [n, c, inner] itself: y = (x - mean) rstd weight + bias for each channel, with
/// rstd = 1 / sqrt(variance + epsilon) and the population's variance. Keeps `mean` and `rstd` [c] for the backward pass
/// and moves the running statistics, whose variance is the sample's.
///
/// With one element a channel there is no variance: PyTorch refuses, which is left to the caller.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn batch_norm_train<T: Real>(
    dims: Channels,
    x: &[T],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    epsilon: f64,
    running: Option<Running<'_, T>>,
    y: &mut [T],
    mean: &mut [T],
    rstd: &mut [T],
) {
    assert!(x.len() == dims.len() && mean.len() == dims.c && rstd.len() == dims.c);
    let count = dims.count() as f64;
    let [mut means] = channel_sums(
        dims,
        x,
        x,
        [],
        #[inline(always)]
        |x, _, []: [f64; 0]| [x.to_f64()],
    );
    means.iter_mut().for_each(|mean| *mean /= count);
    let [squares] = channel_sums(
        dims,
        x,
        x,
        [&means],
        #[inline(always)]
        |x, _, [mean]| {
            let d = x.to_f64() - mean;
            [d * d]
        },
    );
    for c in 0..dims.c {
        mean[c] = T::from_f64(means[c]);
        rstd[c] = T::from_f64(1.0 / (squares[c] / count + epsilon).sqrt());
    }
    if let Some(running) = running {
        let mix = |old: &mut T, new: f64| {
            *old = T::from_f64((1.0 - running.momentum) * old.to_f64() + running.momentum * new);
        };
        running
            .mean
            .iter_mut()
            .zip(&means)
            .for_each(|(old, &new)| mix(old, new));
        running
            .variance
            .iter_mut()
            .zip(&squares)
            .for_each(|(old, &new)| mix(old, new / (count - 1.0)));
    }
    batch_norm_apply(dims, x, weight, bias, mean, rstd, y);
}

/// Batch norm by the running statistics [c]. Keeps `rstd` [c] for the backward pass.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn batch_norm_eval<T: Real>(
    dims: Channels,
    x: &[T],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    epsilon: f64,
    running_mean: &[T],
    running_variance: &[T],
    y: &mut [T],
    rstd: &mut [T],
) {
    for (rstd, variance) in rstd.iter_mut().zip(running_variance) {
        *rstd = T::from_f64(1.0 / (variance.to_f64() + epsilon).sqrt());
    }
    batch_norm_apply(dims, x, weight, bias, running_mean, rstd, y);
}

fn batch_norm_apply<T: Real>(
    dims: Channels,
    x: &[T],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    mean: &[T],
    rstd: &[T],
    y: &mut [T],
) {
    assert!(weight.is_none_or(|w| w.len() == dims.c) && bias.is_none_or(|b| b.len() == dims.c));
    let factor: Vec<T> = (0..dims.c).map(|c| rstd[c] * weight.map_or(T::ONE, |w| w[c])).collect();
    let shift: Vec<T> = (0..dims.c).map(|c| bias.map_or(T::ZERO, |b| b[c])).collect();
    let parameters = [&mean[..dims.c], &factor, &shift];
    channel_map(
        dims,
        x,
        x,
        y,
        parameters,
        #[inline(always)]
        |x, _, [mean, factor, shift]| (x - mean) * factor + shift,
    );
}

/// The derivative of batch norm from the `mean` and `rstd` [c] that were used: with h = (x - mean) rstd,
/// d_weight = sum(dy h), d_bias = sum(dy), and dx = weight rstd (dy - d_bias / count - h d_weight / count) in `training`,
/// else weight rstd dy. Absent outputs are not computed; the others are overwritten.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn batch_norm_backward<T: Real>(
    dims: Channels,
    x: &[T],
    weight: Option<&[T]>,
    mean: &[T],
    rstd: &[T],
    training: bool,
    dy: &[T],
    dx: Option<&mut [T]>,
    d_weight: Option<&mut [T]>,
    d_bias: Option<&mut [T]>,
) {
    assert!(x.len() == dims.len() && dy.len() == x.len() && mean.len() == dims.c && rstd.len() == dims.c);
    let [along, sum] = if d_weight.is_some() || d_bias.is_some() || training {
        channel_sums(
            dims,
            x,
            dy,
            [mean, rstd],
            #[inline(always)]
            |x, dy, [mean, rstd]| [(dy * ((x - mean) * rstd)).to_f64(), dy.to_f64()],
        )
    } else {
        [vec![0.0; dims.c], vec![0.0; dims.c]]
    };
    for (out, sums) in [(d_weight, &along), (d_bias, &sum)] {
        if let Some(out) = out {
            out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = T::from_f64(sum));
        }
    }
    let Some(dx) = dx else { return };
    let count = dims.count() as f64;
    let mean_of = |sums: &[f64]| -> Vec<T> {
        sums.iter()
            .map(|&sum| if training { T::from_f64(sum / count) } else { T::ZERO })
            .collect()
    };
    let (along, shift) = (mean_of(&along), mean_of(&sum));
    let factor: Vec<T> = (0..dims.c).map(|c| rstd[c] * weight.map_or(T::ONE, |w| w[c])).collect();
    channel_map(
        dims,
        x,
        dy,
        dx,
        [&factor, &shift, mean, rstd, &along],
        #[inline(always)]
        |x, dy, [factor, shift, mean, rstd, along]| factor * (dy - shift - (x - mean) * rstd * along),
    );
}

/// For each channel the sums of the parts of f(a, b, parameters of the channel [c]).
#[inline(always)]
fn channel_sums<T: Real, P: Copy + Default + Sync, const N: usize, const M: usize>(
    dims: Channels,
    a: &[T],
    b: &[T],
    parameters: [&[P]; N],
    f: impl Fn(T, T, [P; N]) -> [f64; M] + Copy + Sync,
) -> [Vec<f64>; M] {
    let Channels { n, c: channels, inner } = dims;
    let mut totals: [Vec<f64>; M] = std::array::from_fn(|_| vec![0.0; channels]);
    if inner == 1 {
        let size = par::rows_per_chunk(channels);
        let run = |chunk: usize| {
            let mut sums: [Vec<f64>; M] = std::array::from_fn(|_| vec![0.0; channels]);
            let totals = &mut sums;
            wide(
                #[inline(always)]
                move || {
                    let parameters = parameters.map(
                        #[inline(always)]
                        |p| &p[..channels],
                    );
                    let sums = totals.each_mut().map(
                        #[inline(always)]
                        |sum| &mut sum[..channels],
                    );
                    for row in chunk * size..n.min((chunk + 1) * size) {
                        let (a, b) = (&a[row * channels..][..channels], &b[row * channels..][..channels]);
                        for c in 0..channels {
                            let mut of_channel = [P::default(); N];
                            for i in 0..N {
                                of_channel[i] = parameters[i][c];
                            }
                            let parts = f(a[c], b[c], of_channel);
                            for i in 0..M {
                                sums[i][c] += parts[i];
                            }
                        }
                    }
                },
            );
            sums
        };
        let chunks = n.div_ceil(size);
        let parts: Vec<_> = if parallel(a.len()) {
            (0..chunks).into_par_iter().map(run).collect()
        } else {
            (0..chunks).map(run).collect()
        };
        for (total, part) in parts.iter().flat_map(|parts| parts.iter().enumerate()) {
            totals[total]
                .iter_mut()
                .zip(part)
                .for_each(|(total, part)| *total += part);
        }
        return totals;
    }
    let run = |c: usize| {
        let of_channel = parameters.map(|p| p[c]);
        wide(
            #[inline(always)]
            move || {
                let mut sums = [0.0; M];
                for row in 0..n {
                    let at = (row * channels + c) * inner;
                    let (a, b) = (&a[at..at + inner], &b[at..at + inner]);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum += par::sum2(
                            a,
                            b,
                            #[inline(always)]
                            |a, b| f(a, b, of_channel)[i],
                        );
                    }
                }
                sums
            },
        )
    };
    let sums: Vec<[f64; M]> = if parallel(a.len()) {
        (0..channels).into_par_iter().map(run).collect()
    } else {
        (0..channels).map(run).collect()
    };
    for (c, sums) in sums.into_iter().enumerate() {
        totals.iter_mut().zip(sums).for_each(|(total, sum)| total[c] = sum);
    }
    totals
}

/// y = f(a, b, parameters of the channel [c])
#[inline(always)]
fn channel_map<T: Real, const N: usize>(
    dims: Channels,
    a: &[T],
    b: &[T],
    y: &mut [T],
    parameters: [&[T]; N],
    f: impl Fn(T, T, [T; N]) -> T + Copy + Sync,
) {
    let Channels { c: channels, inner, .. } = dims;
    par::rows2(
        channels * inner,
        a,
        b,
        y,
        #[inline(always)]
        move |a, b, y| {
            let parameters = parameters.map(
                #[inline(always)]
                |p| &p[..channels],
            );
            if inner == 1 {
                let (a, b, y) = (&a[..channels], &b[..channels], &mut y[..channels]);
                for c in 0..channels {
                    y[c] = f(
                        a[c],
                        b[c],
                        parameters.map(
                            #[inline(always)]
                            |p| p[c],
                        ),
                    );
                }
            } else {
                let inputs = a.chunks_exact(inner).zip(b.chunks_exact(inner));
                for (c, ((a, b), y)) in inputs.zip(y.chunks_exact_mut(inner)).enumerate() {
                    let of_channel = parameters.map(
                        #[inline(always)]
                        |p| p[c],
                    );
                    for ((&a, &b), y) in a.iter().zip(b).zip(y) {
                        *y = f(a, b, of_channel);
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    #[test]
    fn layer_norm_agrees_with_the_definition_far_from_zero() {
        for n in [1, 5, 16, 100] {
            let x: Vec<f32> = numbers(4 * n, 1).iter().map(|x: &f32| 1000.0 + x).collect();
            let (w, b): (Vec<f32>, Vec<f32>) = (numbers(n, 2), numbers(n, 3));
            let mut want = Vec::new();
            for row in x.chunks(n) {
                let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
                let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n as f64;
                want.extend(row.iter().enumerate().map(|(i, &x)| {
                    (f64::from(x) - mean) / (variance + 1e-5).sqrt() * f64::from(w[i]) + f64::from(b[i])
                }));
            }
            let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; 4], vec![0.0; 4]);
            layer_norm(n, &x, Some(&w), Some(&b), 1e-5, &mut y, &mut mean, &mut rstd);
            // Half a unit in the last place of 1000, on a spread of 0.6.
            assert_close(&y, &want, 1e-4);
        }
    }

    #[test]
    fn layer_norm_gradients_agree_with_finite_differences() {
        let (n, rows) = (18, 5);
        let x: Vec<f64> = numbers(n * rows, 1);
        let (w, b, g): (Vec<f64>, Vec<f64>, Vec<f64>) = (numbers(n, 2), numbers(n, 3), numbers(n * rows, 4));
        let run = |x: &[f64], w: Option<&[f64]>, b: Option<&[f64]>| {
            let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
            layer_norm(n, x, w, b, 1e-3, &mut y, &mut mean, &mut rstd);
            (dot(&y, &g), mean, rstd)
        };
        let (_, mean, rstd) = run(&x, Some(&w), Some(&b));
        let (mut dx, mut dw, mut db) = (vec![9.0; x.len()], vec![9.0; n], vec![9.0; n]);
        let outputs = (Some(&mut dx[..]), Some(&mut dw[..]), Some(&mut db[..]));
        layer_norm_backward(n, &x, Some(&w), &mean, &rstd, &g, outputs.0, outputs.1, outputs.2);
        check_gradient(&x, &dx, |x| run(x, Some(&w), Some(&b)).0);
        check_gradient(&w, &dw, |w| run(&x, Some(w), Some(&b)).0);
        check_gradient(&b, &db, |b| run(&x, Some(&w), Some(b)).0);
        layer_norm_backward(n, &x, None, &mean, &rstd, &g, Some(&mut dx), None, None);
        check_gradient(&x, &dx, |x| run(x, None, None).0);
    }

    #[test]
    fn rms_norm_gradients_agree_with_finite_differences() {
        let (n, rows) = (18, 130);
        let x: Vec<f64> = numbers(n * rows, 1);
        let (w, g): (Vec<f64>, Vec<f64>) = (numbers(n, 2), numbers(n * rows, 4));
        let run = |x: &[f64], w: &[f64]| {
            let (mut y, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows]);
            rms_norm(n, x, Some(w), 1e-3, &mut y, &mut rstd);
            let square = x[..n].iter().map(|x| x * x).sum::<f64>() / n as f64;
            assert!((y[1] - x[1] / (square + 1e-3).sqrt() * w[1]).abs() < 1e-12);
            (dot(&y, &g), rstd)
        };
        let (_, rstd) = run(&x, &w);
        let (mut dx, mut dw) = (vec![9.0; x.len()], vec![9.0; n]);
        rms_norm_backward(n, &x, Some(&w), &rstd, &g, Some(&mut dx), Some(&mut dw));
        check_gradient(&x, &dx, |x| run(x, &w).0);
        check_gradient(&w, &dw, |w| run(&x, w).0);
    }

    #[test]
    fn batch_norm_gradients_agree_with_finite_differences() {
        for inner in [1, 4, 19] {
            let dims = Channels { n: 6, c: 3, inner };
            let x: Vec<f64> = numbers(dims.len(), 1);
            let (w, b, g): (Vec<f64>, Vec<f64>, Vec<f64>) = (numbers(3, 2), numbers(3, 3), numbers(dims.len(), 4));
            let (running_mean, running_variance) = ([0.1, -0.2, 0.3], [0.5, 1.5, 2.5]);
            for training in [true, false] {
                let run = |x: &[f64], w: &[f64], b: &[f64]| {
                    let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], running_mean.to_vec(), vec![0.0; 3]);
                    if training {
                        batch_norm_train(dims, x, Some(w), Some(b), 1e-3, None, &mut y, &mut mean, &mut rstd);
                    } else {
                        let (mean, variance) = (&running_mean, &running_variance);
                        batch_norm_eval(dims, x, Some(w), Some(b), 1e-3, mean, variance, &mut y, &mut rstd);
                    }
                    (dot(&y, &g), mean, rstd)
                };
                let (_, mean, rstd) = run(&x, &w, &b);
                let (mut dx, mut dw, mut db) = (vec![9.0; x.len()], vec![9.0; 3], vec![9.0; 3]);
                let outputs = (Some(&mut dx[..]), Some(&mut dw[..]), Some(&mut db[..]));
                let (dx_out, dw_out, db_out) = outputs;
                batch_norm_backward(dims, &x, Some(&w), &mean, &rstd, training, &g, dx_out, dw_out, db_out);
                check_gradient(&x, &dx, |x| run(x, &w, &b).0);
                check_gradient(&w, &dw, |w| run(&x, w, &b).0);
                check_gradient(&b, &db, |b| run(&x, &w, b).0);
            }
        }
    }

    #[test]
    fn running_statistics_move_as_in_pytorch() {
        let dims = Channels { n: 4, c: 1, inner: 1 };
        let (mut mean, mut variance) = ([1.0], [2.0]);
        let running = Running {
            mean: &mut mean,
            variance: &mut variance,
            momentum: 0.1,
        };
        let (mut y, mut m, mut r) = ([0.0; 4], [0.0], [0.0]);
        batch_norm_train(
            dims,
            &[1.0, 2.0, 3.0, 6.0],
            None,
            None,
            0.0,
            Some(running),
            &mut y,
            &mut m,
            &mut r,
        );
        assert_close(&mean, &[0.9 + 0.1 * 3.0], 1e-15);
        assert_close(&variance, &[0.9 * 2.0 + 0.1 * 14.0 / 3.0], 1e-15);
        assert_close(&y, &[-2.0, -1.0, 0.0, 3.0].map(|d: f64| d / 3.5f64.sqrt()), 1e-15);
    }

    #[test]
    fn threads_change_no_bit() {
        let (n, rows) = (24, 5000);
        let (x, g): (Vec<f32>, Vec<f32>) = (numbers(n * rows, 1), numbers(n * rows, 2));
        same_with_one_and_two_threads(|| {
            let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
            layer_norm(n, &x, None, None, 1e-5, &mut y, &mut mean, &mut rstd);
            let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; n], vec![0.0; n]);
            let outputs = (Some(&mut dx[..]), Some(&mut dw[..]), Some(&mut db[..]));
            layer_norm_backward(n, &x, None, &mean, &rstd, &g, outputs.0, outputs.1, outputs.2);
            (y, dx, dw, db)
        });
        for dims in [
            Channels {
                n: 5000,
                c: 24,
                inner: 1,
            },
            Channels {
                n: 50,
                c: 24,
                inner: 100,
            },
        ] {
            same_with_one_and_two_threads(|| {
                let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; 24], vec![0.0; 24]);
                batch_norm_train(dims, &x, None, None, 1e-5, None, &mut y, &mut mean, &mut rstd);
                let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; 24]);
                let outputs = (Some(&mut dx[..]), Some(&mut dw[..]));
                batch_norm_backward(dims, &x, None, &mean, &rstd, true, &g, outputs.0, outputs.1, None);
                (y, mean, rstd, dx, dw)
            });
        }
    }
}

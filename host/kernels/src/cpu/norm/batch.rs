//! Over all but the channels (Ioffe and Szegedy 2015).

use rayon::prelude::*;

use super::super::Real;
use super::super::par::{self, parallel, wide};

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
    pub(super) fn len(self) -> usize {
        self.n * self.c * self.inner
    }

    /// Elements of one channel.
    pub fn count(self) -> usize {
        self.n * self.inner
    }
}

/// What batch norm keeps for evaluation, `[c]` each.
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
/// rstd = 1 / sqrt(variance + epsilon) and the population's variance. Keeps `mean` and `rstd` `[c]` for the backward
/// pass and moves the running statistics, whose variance is the sample's.
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

/// Batch norm by the running statistics `[c]`. Keeps `rstd` `[c]` for the backward pass.
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

/// The derivative of batch norm from the `mean` and `rstd` `[c]` that were used: with h = (x - mean) rstd, d_weight =
/// sum(dy h), d_bias = sum(dy), and dx = weight rstd (dy - d_bias / count - h d_weight / count) in `training`, else
/// weight rstd dy. Absent outputs are not computed; the others are overwritten.
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

/// For each channel the sums of the parts of f(a, b, parameters of the channel `[c]`).
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

/// y = f(a, b, parameters of the channel `[c]`)
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

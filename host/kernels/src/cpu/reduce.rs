//! Reductions over the middle dimension of [outer, n, inner], giving [outer, inner].
//!
//! Sums are accumulated in `f64`, in blocks of a fixed size added in order. NaN wins in extremes, as in PyTorch.

use rayon::prelude::*;

use super::Real;
use super::index::Dims;
use super::par::{self, CHUNK, parallel, wide};

/// Rows that one block of a sum over columns takes.
const ROWS: usize = 2048;

/// For each column of [outer, n, inner] the sum of f(column's number in [outer, inner], x), in `f64`, given to
/// `finish`.
#[inline(always)]
fn sums<T: Real>(
    dims: Dims,
    x: &[T],
    out: &mut [T],
    f: impl Fn(usize, T) -> f64 + Copy + Sync,
    finish: impl Fn(f64) -> T + Sync,
) {
    let Dims { outer, n, inner } = dims;
    assert!(x.len() == dims.len() && out.len() == outer * inner);
    if n == 0 || out.is_empty() {
        out.fill(finish(0.0));
        return;
    }
    if inner == 1 {
        let piece = |o: usize, x: &[T]| {
            wide(
                #[inline(always)]
                move || {
                    par::sum(
                        x,
                        #[inline(always)]
                        |x| f(o, x),
                    )
                },
            )
        };
        let row = |o: usize, x: &[T]| x.chunks(CHUNK).map(|x| piece(o, x)).sum::<f64>();
        if !parallel(x.len()) {
            out.iter_mut()
                .zip(x.chunks_exact(n))
                .enumerate()
                .for_each(|(o, (out, x))| *out = finish(row(o, x)));
        } else if n >= 2 * CHUNK {
            for (o, (out, x)) in out.iter_mut().zip(x.chunks_exact(n)).enumerate() {
                let parts: Vec<f64> = x.par_chunks(CHUNK).map(|x| piece(o, x)).collect();
                *out = finish(parts.into_iter().sum());
            }
        } else {
            let size = par::rows_per_chunk(n);
            out.par_chunks_mut(size)
                .zip(x.par_chunks(size * n))
                .enumerate()
                .for_each(|(chunk, (out, x))| {
                    let rows = out.iter_mut().zip(x.chunks_exact(n)).enumerate();
                    rows.for_each(|(i, (out, x))| *out = finish(row(chunk * size + i, x)));
                });
        }
        return;
    }
    // One block of rows of one outer slice, added to `total` [inner].
    let block = |o: usize, block: usize, total: &mut [f64]| {
        wide(
            #[inline(always)]
            move || {
                for j in block * ROWS..n.min((block + 1) * ROWS) {
                    let x = &x[(o * n + j) * inner..][..inner];
                    let total = &mut total[..inner];
                    for i in 0..inner {
                        total[i] += f(o * inner + i, x[i]);
                    }
                }
            },
        );
    };
    let add = |total: &mut [f64], part: &[f64]| total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    let blocks = n.div_ceil(ROWS);
    let slice = |o: usize, out: &mut [T], inside: bool| {
        let mut total = vec![0.0; inner];
        if inside && blocks > 1 {
            let parts: Vec<Vec<f64>> = (0..blocks)
                .into_par_iter()
                .map(|b| {
                    let mut part = vec![0.0; inner];
                    block(o, b, &mut part);
                    part
                })
                .collect();
            parts.iter().for_each(|part| add(&mut total, part));
        } else {
            let mut part = vec![0.0; if blocks > 1 { inner } else { 0 }];
            for b in 0..blocks {
                if blocks == 1 {
                    block(o, b, &mut total);
                } else {
                    part.fill(0.0);
                    block(o, b, &mut part);
                    add(&mut total, &part);
                }
            }
        }
        out.iter_mut()
            .zip(&total)
            .for_each(|(out, &total)| *out = finish(total));
    };
    if parallel(x.len()) && outer > 1 {
        out.par_chunks_mut(inner)
            .enumerate()
            .for_each(|(o, out)| slice(o, out, false));
    } else {
        let inside = parallel(x.len());
        out.chunks_mut(inner)
            .enumerate()
            .for_each(|(o, out)| slice(o, out, inside));
    }
}

/// out [outer, inner] = sum over n
pub fn sum<T: Real>(dims: Dims, x: &[T], out: &mut [T]) {
    sums(
        dims,
        x,
        out,
        #[inline(always)]
        move |_, x| x.to_f64(),
        T::from_f64,
    );
}

/// out [outer, inner] = mean over n; NaN of nothing.
pub fn mean<T: Real>(dims: Dims, x: &[T], out: &mut [T]) {
    let n = dims.n as f64;
    sums(
        dims,
        x,
        out,
        #[inline(always)]
        move |_, x| x.to_f64(),
        |sum| T::from_f64(sum / n),
    );
}

/// out [outer, inner] = sum over n of (x - mean)^2 / (n - correction); the mean is given too, for the backward pass.
///
/// As in PyTorch a divisor below zero counts as zero, so too few elements give NaN or infinity.
pub fn variance<T: Real>(dims: Dims, correction: f64, x: &[T], mean_out: &mut [T], out: &mut [T]) {
    mean(dims, x, mean_out);
    let divisor = (dims.n as f64 - correction).max(0.0);
    let mean = &*mean_out;
    // The mean is rounded to T, which adds at most half a unit in the last place of the mean, squared.
    sums(
        dims,
        x,
        out,
        #[inline(always)]
        move |i, x| {
            let d = x.to_f64() - mean[i].to_f64();
            d * d
        },
        |sum| T::from_f64(sum / divisor),
    );
}

/// The derivative of [`sum`] with `scale` 1, of [`mean`] with 1 / n: dx [outer, n, inner] = scale d_out [outer, inner].
pub fn spread<T: Real>(dims: Dims, scale: f64, d_out: &[T], dx: &mut [T]) {
    assert!(dx.len() == dims.len() && d_out.len() == dims.outer * dims.inner);
    let scale = T::from_f64(scale);
    par::slices(dims.inner, dx, |row, dx| {
        let d_out = &d_out[row / dims.n * dims.inner..][..dims.inner];
        dx.iter_mut().zip(d_out).for_each(|(dx, &d)| *dx = scale * d);
    });
}

/// dx = d_out 2 (x - mean) / (n - correction)
pub fn variance_backward<T: Real>(dims: Dims, correction: f64, x: &[T], mean: &[T], d_out: &[T], dx: &mut [T]) {
    assert!(dx.len() == dims.len() && x.len() == dx.len());
    assert!(d_out.len() == dims.outer * dims.inner && mean.len() == d_out.len());
    let factor = T::from_f64(2.0 / (dims.n as f64 - correction).max(0.0));
    par::slices(dims.inner, dx, |row, dx| {
        let at = row / dims.n * dims.inner;
        let (d_out, mean) = (&d_out[at..][..dims.inner], &mean[at..][..dims.inner]);
        let x = &x[row * dims.inner..][..dims.inner];
        for i in 0..dims.inner {
            dx[i] = factor * d_out[i] * (x[i] - mean[i]);
        }
    });
}

/// Whether a value is not a number, for any type with an order.
#[inline(always)]
#[expect(clippy::eq_op, reason = "only NaN differs from itself")]
fn is_nan<T: PartialOrd>(x: &T) -> bool {
    x != x
}

/// Whether `new` takes the place of `old`, both being numbers.
#[inline(always)]
fn wins<T: PartialOrd, const MAX: bool>(new: &T, old: &T) -> bool {
    if MAX { new > old } else { new < old }
}

/// Independent runs of an extreme over one row.
const LANES: usize = 16;

fn extreme<T: Copy + PartialOrd + Send + Sync, const MAX: bool>(dims: Dims, x: &[T], out: &mut [T]) {
    let Dims { outer, n, inner } = dims;
    assert!(x.len() == dims.len() && out.len() == outer * inner);
    assert!(n > 0 || out.is_empty(), "an extreme of nothing");
    let slice = |o: usize, out: &mut [T]| {
        let x = &x[o * n * inner..][..n * inner];
        wide(
            #[inline(always)]
            move || {
                if inner == 1 {
                    let mut lanes = [x[0]; LANES];
                    let (blocks, rest) = x.as_chunks::<LANES>();
                    for block in blocks {
                        for i in 0..LANES {
                            lanes[i] = if wins::<T, MAX>(&block[i], &lanes[i]) {
                                block[i]
                            } else {
                                lanes[i]
                            };
                        }
                    }
                    let mut best = x[0];
                    for x in lanes.iter().chain(rest) {
                        best = if wins::<T, MAX>(x, &best) { *x } else { best };
                    }
                    let mut odd = false;
                    for x in x {
                        odd |= is_nan(x);
                    }
                    out[0] = if odd {
                        x.iter().copied().find(is_nan).unwrap_or(best)
                    } else {
                        best
                    };
                } else {
                    out.copy_from_slice(&x[..inner]);
                    for x in x.chunks_exact(inner).skip(1) {
                        for (out, x) in out.iter_mut().zip(x) {
                            *out = if wins::<T, MAX>(x, out) | is_nan(x) { *x } else { *out };
                        }
                    }
                }
            },
        );
    };
    if parallel(x.len()) && outer > 1 {
        let size = par::rows_per_chunk(n * inner);
        out.par_chunks_mut(size * inner).enumerate().for_each(|(chunk, out)| {
            out.chunks_mut(inner)
                .enumerate()
                .for_each(|(i, out)| slice(chunk * size + i, out));
        });
    } else if inner > 0 {
        out.chunks_mut(inner).enumerate().for_each(|(o, out)| slice(o, out));
    }
}

/// out [outer, inner] = the largest over n; NaN if there is one.
///
/// # Panics
/// If n is zero but there is a result to give; so do [`min`], [`argmax`] and [`argmin`].
pub fn max<T: Copy + PartialOrd + Send + Sync>(dims: Dims, x: &[T], out: &mut [T]) {
    extreme::<T, true>(dims, x, out);
}

/// out [outer, inner] = the smallest over n; NaN if there is one.
pub fn min<T: Copy + PartialOrd + Send + Sync>(dims: Dims, x: &[T], out: &mut [T]) {
    extreme::<T, false>(dims, x, out);
}

/// The derivative of [`max`] and [`min`] from x and their output y [outer, inner]: elements equal to y share d_out.
pub fn extreme_backward<T: Real>(dims: Dims, x: &[T], y: &[T], d_out: &[T], dx: &mut [T]) {
    let Dims { n, inner, .. } = dims;
    assert!(dx.len() == dims.len() && x.len() == dx.len());
    assert!(d_out.len() == dims.outer * inner && y.len() == d_out.len());
    par::slices(n * inner, dx, |o, dx| {
        let x = &x[o * n * inner..][..n * inner];
        for i in 0..inner {
            let (y, d) = (y[o * inner + i], d_out[o * inner + i]);
            let equal = |x: T| x == y || x.is_nan() && y.is_nan();
            let ties = (0..n).filter(|j| equal(x[j * inner + i])).count();
            let share = d / T::from_f64(ties as f64);
            for j in 0..n {
                dx[j * inner + i] = if equal(x[j * inner + i]) { share } else { T::ZERO };
            }
        }
    });
}

fn place<T: Copy + PartialOrd + Send + Sync, const MAX: bool>(dims: Dims, x: &[T], out: &mut [u32]) {
    let Dims { outer, n, inner } = dims;
    assert!(x.len() == dims.len() && out.len() == outer * inner);
    assert!(n > 0 || out.is_empty(), "an extreme of nothing");
    assert!(u32::try_from(n).is_ok(), "too many elements for u32");
    let slice = |o: usize, out: &mut [u32]| {
        let x = &x[o * n * inner..][..n * inner];
        for (i, out) in out.iter_mut().enumerate() {
            let mut best = 0;
            for j in 1..n {
                let (new, old) = (&x[j * inner + i], &x[best * inner + i]);
                if wins::<T, MAX>(new, old) || is_nan(new) && !is_nan(old) {
                    best = j;
                }
            }
            *out = best as u32;
        }
    };
    if parallel(x.len()) && outer > 1 {
        out.par_chunks_mut(inner).enumerate().for_each(|(o, out)| slice(o, out));
    } else if inner > 0 {
        out.chunks_mut(inner).enumerate().for_each(|(o, out)| slice(o, out));
    }
}

/// out [outer, inner] = the place along n of the largest; of equal ones the first; NaN counts as the largest.
pub fn argmax<T: Copy + PartialOrd + Send + Sync>(dims: Dims, x: &[T], out: &mut [u32]) {
    place::<T, true>(dims, x, out);
}

/// out [outer, inner] = the place along n of the smallest; of equal ones the first; NaN counts as the smallest.
pub fn argmin<T: Copy + PartialOrd + Send + Sync>(dims: Dims, x: &[T], out: &mut [u32]) {
    place::<T, false>(dims, x, out);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    fn column(dims: Dims, x: &[f64], o: usize, i: usize) -> Vec<f64> {
        (0..dims.n).map(|j| x[(o * dims.n + j) * dims.inner + i]).collect()
    }

    #[test]
    fn reductions_agree_with_their_definitions() {
        for (outer, n, inner) in [(3, 7, 1), (2, 40, 5), (1, 5000, 3), (1, 40_000, 1), (4, 1, 2)] {
            let dims = Dims { outer, n, inner };
            let x: Vec<f32> = numbers(dims.len(), 1).iter().map(|x: &f32| 100.0 + x).collect();
            let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            let check = |run: &dyn Fn(&mut [f32]), want: &dyn Fn(&[f64]) -> f64, tolerance: f64| {
                let mut out = vec![0.0; outer * inner];
                run(&mut out);
                let columns = (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i)));
                let want: Vec<f64> = columns.map(|(o, i)| want(&column(dims, &exact, o, i))).collect();
                assert_close(&out, &want, tolerance);
            };
            let average = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
            check(&|out| sum(dims, &x, out), &|x| x.iter().sum(), 1e-7);
            check(&|out| mean(dims, &x, out), &average, 1e-7);
            check(
                &|out| max(dims, &x, out),
                &|x| x.iter().copied().fold(f64::MIN, f64::max),
                0.0,
            );
            check(
                &|out| min(dims, &x, out),
                &|x| x.iter().copied().fold(f64::MAX, f64::min),
                0.0,
            );
            check(
                &|out| variance(dims, 0.0, &x, &mut vec![0.0; outer * inner], out),
                &|x| x.iter().map(|y| (y - average(x)).powi(2)).sum::<f64>() / x.len() as f64,
                1e-7,
            );
        }
    }

    #[test]
    fn the_first_extreme_counts_and_nan_wins() {
        let dims = Dims {
            outer: 2,
            n: 4,
            inner: 1,
        };
        let x = [1.0, 3.0, 3.0, 1.0, 2.0, f32::NAN, 5.0, f32::NAN];
        let mut places = [0; 2];
        argmax(dims, &x, &mut places);
        assert_eq!(places, [1, 1]);
        argmin(dims, &x, &mut places);
        assert_eq!(places, [0, 1]);
        let mut out = [0.0; 2];
        max(dims, &x, &mut out);
        assert!(out[0] == 3.0 && out[1].is_nan());
        let mut dx = [9.0; 8];
        extreme_backward(dims, &x, &out, &[1.0, 4.0], &mut dx);
        assert_eq!(dx, [0.0, 0.5, 0.5, 0.0, 0.0, 2.0, 0.0, 2.0]);
        let row = Dims {
            outer: 1,
            n: 40,
            inner: 1,
        };
        let mut x = vec![1.0f32; 40];
        x[3] = f32::NAN;
        max(row, &x, &mut out[..1]);
        assert!(out[0].is_nan());
        let mut out = [0u32];
        min(
            Dims {
                outer: 1,
                n: 3,
                inner: 1,
            },
            &[7u32, 3, 5],
            &mut out,
        );
        assert_eq!(out, [3]);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for dims in [
            Dims {
                outer: 2,
                n: 5,
                inner: 3,
            },
            Dims {
                outer: 3,
                n: 20,
                inner: 1,
            },
        ] {
            let x: Vec<f64> = numbers(dims.len(), 1);
            let results = dims.outer * dims.inner;
            let g: Vec<f64> = numbers(results, 2);
            let mut dx = vec![9.0; x.len()];
            spread(dims, 1.0 / dims.n as f64, &g, &mut dx);
            check_gradient(&x, &dx, |x| {
                let mut y = vec![0.0; results];
                mean(dims, x, &mut y);
                dot(&y, &g)
            });
            let run = |x: &[f64]| {
                let (mut y, mut mean) = (vec![0.0; results], vec![0.0; results]);
                variance(dims, 1.0, x, &mut mean, &mut y);
                (dot(&y, &g), mean)
            };
            let (_, mean) = run(&x);
            variance_backward(dims, 1.0, &x, &mean, &g, &mut dx);
            check_gradient(&x, &dx, |x| run(x).0);
            let run = |x: &[f64]| {
                let mut y = vec![0.0; results];
                max(dims, x, &mut y);
                (dot(&y, &g), y)
            };
            let (_, y) = run(&x);
            extreme_backward(dims, &x, &y, &g, &mut dx);
            check_gradient(&x, &dx, |x| run(x).0);
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let x: Vec<f32> = numbers(200_000, 1);
        for (outer, n, inner) in [
            (1, 200_000, 1),
            (2000, 100, 1),
            (1, 50_000, 4),
            (20, 5000, 2),
            (1, 10, 20_000),
            (2, 100_000, 1),
        ] {
            let dims = Dims { outer, n, inner };
            same_with_one_and_two_threads(|| {
                let (mut y, mut mean, mut top) = (
                    vec![0.0; outer * inner],
                    vec![0.0; outer * inner],
                    vec![0.0; outer * inner],
                );
                variance(dims, 1.0, &x, &mut mean, &mut y);
                max(dims, &x, &mut top);
                (y, mean, top)
            });
        }
    }
}

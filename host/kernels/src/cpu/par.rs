//! How loops run: on wide vectors where the processor has them, and over several threads in chunks of a fixed size.

use rayon::prelude::*;

use super::Real;

/// Elements in one chunk of parallel work.
pub(super) const CHUNK: usize = 1 << 14;
/// Fewer elements than this are not worth a second thread.
const PARALLEL_FROM: usize = 1 << 16;

/// Whether work on so many elements is to be spread over the current rayon pool. It changes who computes, never what.
pub(super) fn parallel(elements: usize) -> bool {
    elements >= PARALLEL_FROM && rayon::current_num_threads() > 1
}

/// Runs `f` compiled for AVX2 where the processor has it. Only what is inlined into it is compiled so: mark closures
/// `#[inline(always)]`, and write `for` loops, as `for_each` and `fold` may stay calls. Mark them `move` too: what a
/// closure that goes to other threads borrows might be what the loop writes, as far as the compiler knows. Fused
/// multiply-add stays off, hence the bits are the same either way.
#[inline(always)]
pub(super) fn wide<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn avx2<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as just checked; nothing else is asked of the caller.
            return unsafe { avx2(f) };
        }
    }
    f()
}

/// y[i] = f(x[i])
#[inline(always)]
pub(super) fn map<T: Real>(x: &[T], y: &mut [T], f: impl Fn(T) -> T + Copy + Sync) {
    assert_eq!(x.len(), y.len());
    let run = |x: &[T], y: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = f(x);
                }
            },
        );
    };
    if parallel(x.len()) {
        y.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .for_each(|(y, x)| run(x, y));
    } else {
        run(x, y);
    }
}

/// y[i] = f(a[i], b[i])
#[inline(always)]
pub(super) fn map2<T: Real>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Copy + Sync) {
    assert_eq!(a.len(), y.len());
    assert_eq!(b.len(), y.len());
    let run = |a: &[T], b: &[T], y: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                    *y = f(a, b);
                }
            },
        );
    };
    if parallel(y.len()) {
        let inputs = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
        y.par_chunks_mut(CHUNK).zip(inputs).for_each(|(y, (a, b))| run(a, b, y));
    } else {
        run(a, b, y);
    }
}

/// The sum over chunks of `f(range)`, each chunk a fixed range of 0 .. n, added in order.
pub(super) fn sum_chunks(n: usize, f: impl Fn(std::ops::Range<usize>) -> f64 + Sync) -> f64 {
    let chunk = |i: usize| f(i * CHUNK..n.min((i + 1) * CHUNK));
    let chunks = n.div_ceil(CHUNK);
    if parallel(n) {
        let parts: Vec<f64> = (0..chunks).into_par_iter().map(chunk).collect();
        parts.into_iter().sum()
    } else {
        (0..chunks).map(chunk).sum()
    }
}

/// Rows of n elements in one chunk of parallel work.
pub(super) fn rows_per_chunk(n: usize) -> usize {
    (CHUNK / n.max(1)).max(1)
}

/// Calls `f(row of x, row of y)` for all rows of n elements.
#[inline(always)]
pub(super) fn rows<T: Real>(n: usize, x: &[T], y: &mut [T], f: impl Fn(&[T], &mut [T]) + Copy + Sync) {
    assert_eq!(x.len(), y.len());
    if x.is_empty() {
        return;
    }
    assert!(n > 0 && x.len().is_multiple_of(n), "no whole number of rows");
    let run = |x: &[T], y: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
                    f(x, y);
                }
            },
        );
    };
    if parallel(x.len()) {
        let size = rows_per_chunk(n) * n;
        y.par_chunks_mut(size)
            .zip(x.par_chunks(size))
            .for_each(|(y, x)| run(x, y));
    } else {
        run(x, y);
    }
}

/// Calls `f(row of a, row of b, row of y)` for all rows of n elements.
#[inline(always)]
pub(super) fn rows2<T: Real>(n: usize, a: &[T], b: &[T], y: &mut [T], f: impl Fn(&[T], &[T], &mut [T]) + Copy + Sync) {
    assert_eq!(a.len(), y.len());
    assert_eq!(b.len(), y.len());
    if y.is_empty() {
        return;
    }
    assert!(n > 0 && y.len().is_multiple_of(n), "no whole number of rows");
    let run = |a: &[T], b: &[T], y: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                let inputs = a.chunks_exact(n).zip(b.chunks_exact(n));
                for ((a, b), y) in inputs.zip(y.chunks_exact_mut(n)) {
                    f(a, b, y);
                }
            },
        );
    };
    if parallel(y.len()) {
        let size = rows_per_chunk(n) * n;
        let inputs = a.par_chunks(size).zip(b.par_chunks(size));
        y.par_chunks_mut(size).zip(inputs).for_each(|(y, (a, b))| run(a, b, y));
    } else {
        run(a, b, y);
    }
}

/// out[i] = f(row i of x), rows of n elements.
#[inline(always)]
pub(super) fn rows_to<T: Real>(n: usize, x: &[T], out: &mut [T], f: impl Fn(&[T]) -> T + Copy + Sync) {
    assert_eq!(x.len(), out.len() * n);
    if n == 0 {
        out.fill(f(&[]));
        return;
    }
    let run = |x: &[T], out: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                for (x, out) in x.chunks_exact(n).zip(out) {
                    *out = f(x);
                }
            },
        );
    };
    if parallel(x.len()) {
        let size = rows_per_chunk(n);
        out.par_chunks_mut(size)
            .zip(x.par_chunks(size * n))
            .for_each(|(out, x)| run(x, out));
    } else {
        run(x, out);
    }
}

/// Calls `f(row of x, a[i], b[i], row of y)` for all rows i of n elements.
#[inline(always)]
pub(super) fn rows_with<T: Real>(
    n: usize,
    x: &[T],
    a: &[T],
    b: &[T],
    y: &mut [T],
    f: impl Fn(&[T], T, T, &mut [T]) + Copy + Sync,
) {
    assert_eq!(x.len(), y.len());
    assert_eq!(x.len(), a.len() * n);
    assert_eq!(a.len(), b.len());
    if x.is_empty() {
        return;
    }
    let run = |x: &[T], a: &[T], b: &[T], y: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                let scalars = a.iter().zip(b);
                let rows = x.chunks_exact(n).zip(y.chunks_exact_mut(n));
                for ((x, y), (&a, &b)) in rows.zip(scalars) {
                    f(x, a, b, y);
                }
            },
        );
    };
    if parallel(x.len()) {
        let size = rows_per_chunk(n);
        let scalars = a.par_chunks(size).zip(b.par_chunks(size));
        let rows = y.par_chunks_mut(size * n).zip(x.par_chunks(size * n));
        rows.zip(scalars).for_each(|((y, x), (a, b))| run(x, a, b, y));
    } else {
        run(x, a, b, y);
    }
}

/// Calls `f(i, slice i of out)` for all slices of `length` elements.
pub(super) fn slices<T: Send>(length: usize, out: &mut [T], f: impl Fn(usize, &mut [T]) + Copy + Sync) {
    if out.is_empty() {
        return;
    }
    if parallel(out.len()) {
        let size = rows_per_chunk(length);
        out.par_chunks_mut(size * length).enumerate().for_each(|(chunk, out)| {
            out.chunks_mut(length)
                .enumerate()
                .for_each(|(i, out)| f(chunk * size + i, out));
        });
    } else {
        out.chunks_mut(length).enumerate().for_each(|(i, out)| f(i, out));
    }
}

/// Lanes of a reduction: four vectors of AVX2 `f64`.
const LANES: usize = 16;

/// Adds the lanes in a fixed tree.
#[inline(always)]
fn fold(lanes: [f64; LANES]) -> f64 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of f(x[i]) in `f64` lanes. To be called within [`wide`].
#[inline(always)]
pub(super) fn sum<T: Real>(x: &[T], f: impl Fn(T) -> f64) -> f64 {
    if x.len() < LANES {
        let mut sum = 0.0;
        for &x in x {
            sum += f(x);
        }
        return sum;
    }
    let mut lanes = [0.0; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] += f(block[i]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    fold(lanes)
}

/// The sum of f(a[i], b[i]) in `f64` lanes. To be called within [`wide`].
#[inline(always)]
pub(super) fn sum2<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> f64) -> f64 {
    if a.len() < LANES {
        let mut sum = 0.0;
        for (&a, &b) in a.iter().zip(b) {
            sum += f(a, b);
        }
        return sum;
    }
    let mut lanes = [0.0; LANES];
    let ((blocks_a, rest_a), (blocks_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in blocks_a.iter().zip(blocks_b) {
        for i in 0..LANES {
            lanes[i] += f(a[i], b[i]);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(rest_a.iter().zip(rest_b)) {
        *lane += f(a, b);
    }
    fold(lanes)
}

/// The largest element that is a number, -inf if there is none. To be called within [`wide`].
#[inline(always)]
pub(super) fn max<T: Real>(x: &[T]) -> T {
    if x.len() < LANES {
        let mut max = T::NEG_INFINITY;
        for &x in x {
            max = if x > max { x } else { max };
        }
        return max;
    }
    let mut lanes = [T::NEG_INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = if block[i] > lanes[i] { block[i] } else { lanes[i] };
        }
    }
    let mut max = T::NEG_INFINITY;
    for &x in lanes.iter().chain(rest) {
        max = if x > max { x } else { max };
    }
    max
}

/// The sum of exp(x[i] - shift), by way of a buffer, as exponentials do not vectorise in lanes. To be called within
/// [`wide`].
#[inline(always)]
pub(super) fn sum_exp<T: Real>(x: &[T], shift: T) -> f64 {
    const BUFFER: usize = 256;
    let mut buffer = [T::ZERO; BUFFER];
    let mut total = 0.0;
    for x in x.chunks(BUFFER) {
        for (y, &x) in buffer.iter_mut().zip(x) {
            *y = (x - shift).exp();
        }
        total += sum(
            &buffer[..x.len()],
            #[inline(always)]
            |y| y.to_f64(),
        );
    }
    total
}

//! Softmax and its relatives over the rows of [rows, n]; other dimensions are transposed by the caller.
//!
//! The largest element is taken off first, so nothing overflows. A row of nothing but -inf gives NaN, as in PyTorch.

use super::Real;
use super::par;

/// y = exp(x - max x) / sum exp(x - max x) in each row of n elements.
pub fn softmax<T: Real>(n: usize, x: &[T], y: &mut [T]) {
    par::rows(
        n,
        x,
        y,
        #[inline(always)]
        move |x, y| softmax_row(x, y),
    );
}

#[inline(always)]
fn softmax_row<T: Real>(x: &[T], y: &mut [T]) {
    let max = par::max(x);
    for (y, &x) in y.iter_mut().zip(x) {
        *y = (x - max).exp();
    }
    let factor = T::from_f64(
        1.0 / par::sum(
            y,
            #[inline(always)]
            move |y| y.to_f64(),
        ),
    );
    for y in y {
        *y *= factor;
    }
}

/// From the output y: dx = y (dy - sum(dy y)) in each row of n elements.
pub fn softmax_backward<T: Real>(n: usize, y: &[T], dy: &[T], dx: &mut [T]) {
    par::rows2(
        n,
        y,
        dy,
        dx,
        #[inline(always)]
        move |y, dy, dx| {
            let dot = T::from_f64(par::sum2(
                y,
                dy,
                #[inline(always)]
                move |y, dy| (y * dy).to_f64(),
            ));
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = y * (dy - dot);
            }
        },
    );
}

/// y = x - logsumexp x in each row of n elements.
pub fn log_softmax<T: Real>(n: usize, x: &[T], y: &mut [T]) {
    par::rows(
        n,
        x,
        y,
        #[inline(always)]
        move |x, y| {
            let max = par::max(x);
            let shift = T::from_f64(par::sum_exp(x, max)).ln();
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - max) - shift;
            }
        },
    );
}

/// From the output y: dx = dy - exp(y) sum(dy) in each row of n elements.
pub fn log_softmax_backward<T: Real>(n: usize, y: &[T], dy: &[T], dx: &mut [T]) {
    par::rows2(
        n,
        y,
        dy,
        dx,
        #[inline(always)]
        move |y, dy, dx| {
            let sum = T::from_f64(par::sum(
                dy,
                #[inline(always)]
                move |dy| dy.to_f64(),
            ));
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = dy - y.exp() * sum;
            }
        },
    );
}

/// out `[rows]` = ln sum exp x over each row of n elements of x.
pub fn logsumexp<T: Real>(n: usize, x: &[T], out: &mut [T]) {
    par::rows_to(
        n,
        x,
        out,
        #[inline(always)]
        move |x| T::from_f64(logsumexp_row(x)),
    );
}

/// Of one row; to be called within [`par::wide`].
#[inline(always)]
pub(super) fn logsumexp_row<T: Real>(x: &[T]) -> f64 {
    let max = par::max(x);
    // Infinity minus infinity would be NaN where the result is that infinity.
    let shift = if max.is_finite() { max } else { T::ZERO };
    libm::log(par::sum_exp(x, shift)) + shift.to_f64()
}

/// From x and the output `[rows]`: dx = d_out exp(x - out) in each row of n elements.
pub fn logsumexp_backward<T: Real>(n: usize, x: &[T], out: &[T], d_out: &[T], dx: &mut [T]) {
    assert_eq!(out.len() * n, x.len());
    par::rows_with(
        n,
        x,
        out,
        d_out,
        dx,
        #[inline(always)]
        move |x, out, d_out, dx| {
            for (dx, &x) in dx.iter_mut().zip(x) {
                *dx = d_out * (x - out).exp();
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    fn naive(n: usize, x: &[f64]) -> Vec<f64> {
        x.chunks(n)
            .flat_map(|row| {
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                row.iter().map(move |x| x.exp() / sum)
            })
            .collect()
    }

    #[test]
    fn outputs_agree_with_the_definition() {
        for n in [1, 3, 16, 37, 200] {
            let x: Vec<f32> = numbers(5 * n, 1).iter().map(|x: &f32| 8.0 * x).collect();
            let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            let want = naive(n, &exact);
            let mut y = vec![0.0; x.len()];
            softmax(n, &x, &mut y);
            assert_close(&y, &want, 1e-6);
            log_softmax(n, &x, &mut y);
            assert_close(&y, &want.iter().map(|y| y.ln()).collect::<Vec<_>>(), 1e-6);
            let mut out = vec![0.0; 5];
            logsumexp(n, &x, &mut out);
            let sums: Vec<f64> = exact
                .chunks(n)
                .map(|row| row.iter().map(|x| x.exp()).sum::<f64>().ln())
                .collect();
            assert_close(&out, &sums, 1e-6);
        }
    }

    #[test]
    fn huge_and_infinite_logits_stay_finite_where_the_result_is() {
        let x = [1e30f32, 1e30, f32::NEG_INFINITY, -5.0];
        let mut y = [0.0; 4];
        softmax(4, &x, &mut y);
        assert_eq!(y, [0.5, 0.5, 0.0, 0.0]);
        let mut out = [0.0; 2];
        logsumexp(2, &[f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY, 0.0], &mut out);
        assert_eq!(out, [f32::NEG_INFINITY, f32::INFINITY]);
        softmax(2, &[f32::NAN, 0.0], &mut y[..2]);
        assert!(y[0].is_nan() && y[1].is_nan());
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let n = 19;
        let (x, g): (Vec<f64>, Vec<f64>) = (numbers(3 * n, 1), numbers(3 * n, 2));
        let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let f = |x: &[f64]| {
            let mut y = vec![0.0; x.len()];
            softmax(n, x, &mut y);
            dot(&y, &g)
        };
        softmax(n, &x, &mut y);
        softmax_backward(n, &y, &g, &mut dx);
        check_gradient(&x, &dx, f);
        let f = |x: &[f64]| {
            let mut y = vec![0.0; x.len()];
            log_softmax(n, x, &mut y);
            dot(&y, &g)
        };
        log_softmax(n, &x, &mut y);
        log_softmax_backward(n, &y, &g, &mut dx);
        check_gradient(&x, &dx, f);
        let f = |x: &[f64]| {
            let mut y = vec![0.0; 3];
            logsumexp(n, x, &mut y);
            dot(&y, &g[..3])
        };
        logsumexp(n, &x, &mut y[..3]);
        logsumexp_backward(n, &x, &y[..3], &g[..3], &mut dx);
        check_gradient(&x, &dx, f);
    }

    #[test]
    fn threads_change_no_bit() {
        let x: Vec<f32> = numbers(3000 * 37, 1);
        same_with_one_and_two_threads(|| {
            let (mut y, mut dx, mut out) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; 3000]);
            softmax(37, &x, &mut y);
            softmax_backward(37, &y, &x, &mut dx);
            logsumexp(37, &x, &mut out);
            (y, dx, out)
        });
    }
}

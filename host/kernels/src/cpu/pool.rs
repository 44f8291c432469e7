//! Maximum and mean over windows of [planes, height, width]; one-dimensional pooling has height 1.
//!
//! Shapes follow PyTorch with `ceil_mode` off. Padding is at most half the kernel, so no window lies wholly outside.

use rayon::prelude::*;

use super::Real;
use super::par::{self, parallel};

/// Windows over planes of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Height and width of a plane.
    pub size: (usize, usize),
    /// Height and width of a window.
    pub kernel: (usize, usize),
    /// Distance between windows.
    pub stride: (usize, usize),
    /// Added on either side.
    pub padding: (usize, usize),
}

impl Windows {
    /// Along the only dimension.
    pub fn new_1d(length: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            size: (1, length),
            kernel: (1, kernel),
            stride: (1, stride),
            padding: (0, padding),
        }
    }

    /// The same in both dimensions.
    pub fn new_2d(size: (usize, usize), kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            size,
            kernel: (kernel, kernel),
            stride: (stride, stride),
            padding: (padding, padding),
        }
    }

    /// Height and width of the result; `None` if no window fits, or the padding exceeds half the kernel.
    pub fn output(&self) -> Option<(usize, usize)> {
        let along = |n: usize, kernel: usize, stride: usize, padding: usize| {
            let room = (n + 2 * padding).checked_sub(kernel)?;
            (kernel > 0 && stride > 0 && 2 * padding <= kernel).then(|| room / stride + 1)
        };
        let height = along(self.size.0, self.kernel.0, self.stride.0, self.padding.0)?;
        Some((
            height,
            along(self.size.1, self.kernel.1, self.stride.1, self.padding.1)?,
        ))
    }

    /// Sizes of a plane before and after.
    fn planes(&self) -> (usize, usize) {
        let (height, width) = self.output().expect("windows that fit their planes");
        (self.size.0 * self.size.1, height * width)
    }

    /// Calls `f(number of the window, rows, columns)` with the part of each window that lies inside the plane.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, std::ops::Range<usize>, std::ops::Range<usize>)) {
        let (height, width) = self.output().expect("windows that fit their planes");
        let inside = |i: usize, n: usize, kernel: usize, stride: usize, padding: usize| {
            let start = i * stride;
            start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(n)
        };
        for i in 0..height {
            let rows = inside(i, self.size.0, self.kernel.0, self.stride.0, self.padding.0);
            for j in 0..width {
                let columns = inside(j, self.size.1, self.kernel.1, self.stride.1, self.padding.1);
                f(i * width + j, rows.clone(), columns);
            }
        }
    }
}

/// y [planes, output] = the largest in each window, and its place within its plane; NaN wins.
///
/// # Panics
/// If [`Windows::output`] is `None`; so do the other functions.
pub fn max_pool<T: Real>(windows: Windows, x: &[T], y: &mut [T], places: &mut [u32]) {
    let (before, after) = windows.planes();
    assert!(x.len() * after == y.len() * before && places.len() == y.len());
    assert!(u32::try_from(before).is_ok(), "too many elements for u32");
    if x.is_empty() {
        return;
    }
    let run = |x: &[T], y: &mut [T], places: &mut [u32]| {
        windows.each(
            #[inline(always)]
            |window, rows, columns| {
                let mut best = (rows.start * windows.size.1 + columns.start, T::NEG_INFINITY);
                for row in rows {
                    let at = row * windows.size.1;
                    for (i, &x) in x[at + columns.start..at + columns.end].iter().enumerate() {
                        if x > best.1 || x.is_nan() {
                            best = (at + columns.start + i, x);
                        }
                    }
                }
                places[window] = best.0 as u32;
                y[window] = best.1;
            },
        );
    };
    if parallel(x.len().max(y.len())) {
        let outputs = y.par_chunks_mut(after).zip(places.par_chunks_mut(after));
        outputs
            .zip(x.par_chunks(before))
            .for_each(|((y, places), x)| run(x, y, places));
    } else {
        let outputs = y.chunks_mut(after).zip(places.chunks_mut(after));
        outputs
            .zip(x.chunks(before))
            .for_each(|((y, places), x)| run(x, y, places));
    }
}

/// dx [planes, size] is overwritten with dy at the places that [`max_pool`] gave.
pub fn max_pool_backward<T: Real>(windows: Windows, places: &[u32], dy: &[T], dx: &mut [T]) {
    let (before, after) = windows.planes();
    assert!(dx.len() * after == dy.len() * before && places.len() == dy.len());
    par::slices(before, dx, |plane, dx| {
        dx.fill(T::ZERO);
        let at = plane * after..(plane + 1) * after;
        for (&place, &dy) in places[at.clone()].iter().zip(&dy[at]) {
            dx[place as usize] += dy;
        }
    });
}

/// y [planes, output] = the sum of each window over the kernel's size: padding counts as zeros.
pub fn avg_pool<T: Real>(windows: Windows, x: &[T], y: &mut [T]) {
    let (before, after) = windows.planes();
    assert_eq!(x.len() * after, y.len() * before);
    let count = (windows.kernel.0 * windows.kernel.1) as f64;
    par::slices(after, y, |plane, y| {
        let x = &x[plane * before..][..before];
        windows.each(
            #[inline(always)]
            |window, rows, columns| {
                let mut sum = 0.0;
                for row in rows {
                    let at = row * windows.size.1;
                    sum = x[at + columns.start..at + columns.end]
                        .iter()
                        .fold(sum, |sum, x| sum + x.to_f64());
                }
                y[window] = T::from_f64(sum / count);
            },
        );
    });
}

/// dx [planes, size] is overwritten with each window's share of dy.
pub fn avg_pool_backward<T: Real>(windows: Windows, dy: &[T], dx: &mut [T]) {
    let (before, after) = windows.planes();
    assert_eq!(dx.len() * after, dy.len() * before);
    let share = T::from_f64(1.0 / (windows.kernel.0 * windows.kernel.1) as f64);
    par::slices(before, dx, |plane, dx| {
        dx.fill(T::ZERO);
        let dy = &dy[plane * after..][..after];
        windows.each(
            #[inline(always)]
            |window, rows, columns| {
                let dy = dy[window] * share;
                for row in rows {
                    let at = row * windows.size.1;
                    dx[at + columns.start..at + columns.end]
                        .iter_mut()
                        .for_each(|dx| *dx += dy);
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    #[test]
    fn outputs_are_those_of_pytorch() {
        let windows = Windows::new_1d(5, 3, 2, 1);
        assert_eq!(windows.output(), Some((1, 3)));
        let x = [1.0, -2.0, 3.0, 0.5, -7.0];
        let (mut y, mut places) = ([0.0; 3], [0; 3]);
        max_pool(windows, &x, &mut y, &mut places);
        assert_eq!((y, places), ([1.0, 3.0, 0.5], [0, 2, 3]));
        avg_pool(windows, &x, &mut y);
        assert_eq!(y, [-1.0 / 3.0, 0.5, -6.5 / 3.0]);
        assert_eq!(Windows::new_1d(2, 4, 1, 0).output(), None);
        assert_eq!(Windows::new_1d(9, 3, 1, 2).output(), None);
        max_pool(windows, &[1.0, f64::NAN, 3.0, 0.5, -7.0], &mut y, &mut places);
        assert!(y[0].is_nan() && y[1].is_nan() && y[2] == 0.5);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let planes = 3;
        for windows in [
            Windows::new_1d(11, 4, 3, 2),
            Windows::new_2d((6, 7), 3, 2, 1),
            Windows::new_2d((4, 5), 2, 1, 0),
            Windows {
                size: (5, 6),
                kernel: (3, 2),
                stride: (2, 3),
                padding: (1, 0),
            },
        ] {
            let (before, after) = windows.planes();
            let x: Vec<f64> = numbers(planes * before, 1);
            let g: Vec<f64> = numbers(planes * after, 2);
            let mut dx = vec![9.0; x.len()];
            let run = |x: &[f64]| {
                let (mut y, mut places) = (vec![0.0; planes * after], vec![0; planes * after]);
                max_pool(windows, x, &mut y, &mut places);
                (dot(&y, &g), places)
            };
            max_pool_backward(windows, &run(&x).1, &g, &mut dx);
            check_gradient(&x, &dx, |x| run(x).0);
            avg_pool_backward(windows, &g, &mut dx);
            check_gradient(&x, &dx, |x| {
                let mut y = vec![0.0; planes * after];
                avg_pool(windows, x, &mut y);
                dot(&y, &g)
            });
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let windows = Windows::new_2d((40, 50), 3, 2, 1);
        let (before, after) = windows.planes();
        let x: Vec<f32> = numbers(60 * before, 1);
        same_with_one_and_two_threads(|| {
            let (mut y, mut places) = (vec![0.0; 60 * after], vec![0; 60 * after]);
            max_pool(windows, &x, &mut y, &mut places);
            let mut dx = vec![0.0; x.len()];
            max_pool_backward(windows, &places, &y, &mut dx);
            avg_pool(windows, &dx, &mut y);
            (y, places, dx)
        });
    }
}

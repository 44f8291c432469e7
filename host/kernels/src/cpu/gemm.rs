//! Matrix products of strided operands, over the `gemm` crate.
//!
//! Transposed operands need no copy: swap their strides. The bits do not depend on the number of threads, as each
//! element of the result sums over k in the same blocks whoever computes it (tested below).

use gemm::Parallelism;
use rayon::prelude::*;

use super::Real;

/// Fewer multiplications than this are not worth a second thread.
const PARALLEL_FROM: usize = 1 << 19;

/// A matrix within a slice: element (i, j) of batch b lies at `b * batch + i * row + j * column`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, T> {
    /// Holds all elements; the first one is that of batch 0, row 0, column 0.
    pub data: &'a [T],
    /// From one row to the next, in elements.
    pub row: usize,
    /// From one column to the next, in elements.
    pub column: usize,
    /// From one matrix of a batch to the next, in elements; 0 uses the same matrix for all.
    pub batch: usize,
}

impl<'a, T> View<'a, T> {
    /// A contiguous row-major matrix of so many columns.
    pub fn new(data: &'a [T], columns: usize) -> Self {
        Self {
            data,
            row: columns,
            column: 1,
            batch: 0,
        }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            row: self.column,
            column: self.row,
            ..self
        }
    }

    /// The same with a distance between the matrices of a batch.
    pub fn batched(self, batch: usize) -> Self {
        Self { batch, ..self }
    }
}

/// As [`View`], for the result. Its elements must not overlap.
#[derive(Debug)]
pub struct ViewMut<'a, T> {
    /// Holds all elements; the first one is that of batch 0, row 0, column 0.
    pub data: &'a mut [T],
    /// From one row to the next, in elements.
    pub row: usize,
    /// From one column to the next, in elements.
    pub column: usize,
    /// From one matrix of a batch to the next, in elements.
    pub batch: usize,
}

impl<'a, T> ViewMut<'a, T> {
    /// A contiguous row-major matrix of so many columns.
    pub fn new(data: &'a mut [T], columns: usize) -> Self {
        Self {
            data,
            row: columns,
            column: 1,
            batch: 0,
        }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            row: self.column,
            column: self.row,
            ..self
        }
    }

    /// The same with a distance between the matrices of a batch.
    pub fn batched(self, batch: usize) -> Self {
        Self { batch, ..self }
    }
}

/// Elements from the first to the last one of an m x n matrix, inclusive; more than any slice has if that overflows.
fn extent(m: usize, n: usize, row: usize, column: usize) -> usize {
    if m == 0 || n == 0 {
        return 0;
    }
    let last = (m - 1)
        .saturating_mul(row)
        .saturating_add((n - 1).saturating_mul(column));
    last.saturating_add(1)
}

/// c [m, n] = alpha a [m, k] b [k, n] + beta c, with `size` = (m, n, k). With beta = 0 the former c is not read.
///
/// # Panics
/// If a slice is too short, or elements of c overlap.
pub fn gemm<T: Real>(
    size: (usize, usize, usize),
    alpha: T,
    a: View<'_, T>,
    b: View<'_, T>,
    beta: T,
    c: ViewMut<'_, T>,
) {
    let (m, n, k) = size;
    let work = m.saturating_mul(n).saturating_mul(k);
    let threads = if work >= PARALLEL_FROM {
        rayon::current_num_threads()
    } else {
        1
    };
    let parallelism = if threads > 1 {
        Parallelism::Rayon(threads)
    } else {
        Parallelism::None
    };
    run(size, alpha, a, b, beta, c, parallelism);
}

/// [`gemm()`] for each of `batch` matrices, which lie [`View::batch`] apart.
///
/// # Panics
/// If a slice is too short, or elements of c overlap.
pub fn gemm_batched<T: Real>(
    batch: usize,
    size: (usize, usize, usize),
    alpha: T,
    a: View<'_, T>,
    b: View<'_, T>,
    beta: T,
    c: ViewMut<'_, T>,
) {
    let (m, n, k) = size;
    if batch == 0 || m == 0 || n == 0 {
        return;
    }
    let length = extent(m, n, c.row, c.column);
    assert!(batch == 1 || c.batch > 0, "the matrices of the result overlap");
    let one = |i: usize, c_data: &mut [T], parallelism| {
        let a_data = &a.data[i * a.batch..i * a.batch + extent(m, k, a.row, a.column)];
        let b_data = &b.data[i * b.batch..i * b.batch + extent(k, n, b.row, b.column)];
        let c = ViewMut {
            data: c_data,
            row: c.row,
            column: c.column,
            batch: 0,
        };
        run(
            size,
            alpha,
            View { data: a_data, ..a },
            View { data: b_data, ..b },
            beta,
            c,
            parallelism,
        );
    };
    let work = m.saturating_mul(n).saturating_mul(k);
    let threads = rayon::current_num_threads();
    let spread = threads > 1 && batch > 1 && work.saturating_mul(batch) >= PARALLEL_FROM;
    if spread && c.batch >= length && (batch >= 2 * threads || work < PARALLEL_FROM) {
        c.data
            .par_chunks_mut(c.batch)
            .take(batch)
            .enumerate()
            .for_each(|(i, c)| one(i, c, Parallelism::None));
    } else {
        let inner = if threads > 1 && work >= PARALLEL_FROM {
            Parallelism::Rayon(threads)
        } else {
            Parallelism::None
        };
        for i in 0..batch {
            one(i, &mut c.data[i * c.batch..], inner);
        }
    }
}

fn run<T: Real>(
    (m, n, k): (usize, usize, usize),
    alpha: T,
    a: View<'_, T>,
    b: View<'_, T>,
    beta: T,
    c: ViewMut<'_, T>,
    parallelism: Parallelism,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        a.data.len() >= extent(m, k, a.row, a.column),
        "the first operand is too short"
    );
    assert!(
        b.data.len() >= extent(k, n, b.row, b.column),
        "the second operand is too short"
    );
    assert!(c.data.len() >= extent(m, n, c.row, c.column), "the result is too short");
    let disjoint = (m == 1 || c.row >= extent(1, n, c.row, c.column)) && (n == 1 || c.column > 0)
        || (n == 1 || c.column >= extent(m, 1, c.row, c.column)) && (m == 1 || c.row > 0);
    assert!(disjoint, "elements of the result overlap");
    // SAFETY: the asserts above keep every access within the slices; a stride too large for isize is one that no second
    // row or column uses, as a slice holds less. The elements of c are disjoint, so threads that write different ones
    // do not race. T is f32 or f64, as `Real` is sealed, which the crate dispatches on.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.data.as_mut_ptr(),
            c.column as isize,
            c.row as isize,
            beta != T::ZERO,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            beta,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, numbers, same_with_one_and_two_threads};
    use super::*;

    fn naive(m: usize, n: usize, k: usize, a: View<'_, f64>, b: View<'_, f64>) -> Vec<f64> {
        let mut c = Vec::new();
        for i in 0..m {
            for j in 0..n {
                c.push(
                    (0..k)
                        .map(|l| a.data[i * a.row + l * a.column] * b.data[l * b.row + j * b.column])
                        .sum(),
                );
            }
        }
        c
    }

    #[test]
    fn all_transpositions_agree_with_the_definition() {
        for (m, n, k) in [
            (1, 1, 1),
            (3, 5, 2),
            (7, 1, 9),
            (1, 8, 4),
            (17, 33, 65),
            (64, 48, 300),
            (5, 4, 0),
        ] {
            let (a, b): (Vec<f64>, Vec<f64>) = (numbers(m * k, 1), numbers(k * n, 2));
            let a_views = [View::new(&a, k), View::new(&a, m).transposed()];
            let b_views = [View::new(&b, n), View::new(&b, k).transposed()];
            for (a, b) in a_views
                .into_iter()
                .flat_map(|a| b_views.into_iter().map(move |b| (a, b)))
            {
                let product = naive(m, n, k, a, b);
                let mut c = vec![f64::NAN; m * n];
                gemm((m, n, k), 1.0, a, b, 0.0, ViewMut::new(&mut c, n));
                assert_close(&c, &product, 1e-12);
                gemm((m, n, k), 2.0, a, b, -0.5, ViewMut::new(&mut c, n));
                let want: Vec<f64> = product.iter().map(|p| 1.5 * p).collect();
                assert_close(&c, &want, 1e-12);
            }
        }
    }

    #[test]
    fn a_batch_is_so_many_products() {
        let (batch, m, n, k) = (5, 6, 7, 8);
        let (a, b): (Vec<f32>, Vec<f32>) = (numbers(batch * m * k, 1), numbers(k * n, 2));
        let mut c = vec![0.0; batch * m * n];
        let views = (View::new(&a, k).batched(m * k), View::new(&b, n));
        gemm_batched(
            batch,
            (m, n, k),
            1.0,
            views.0,
            views.1,
            0.0,
            ViewMut::new(&mut c, n).batched(m * n),
        );
        for i in 0..batch {
            let mut one = vec![0.0; m * n];
            gemm(
                (m, n, k),
                1.0,
                View::new(&a[i * m * k..], k),
                views.1,
                0.0,
                ViewMut::new(&mut one, n),
            );
            assert_eq!(one, c[i * m * n..][..m * n]);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let sizes = [1, 2, 3, 8, 31, 64, 100, 257];
        let mut shapes = vec![
            (1024, 1000, 513),
            (1, 4096, 4096),
            (4096, 1, 4096),
            (2000, 3, 2000),
            (3, 2000, 2000),
        ];
        shapes.extend([
            (700, 900, 1),
            (700, 900, 2),
            (16, 16, 100_000),
            (512, 64, 8192),
            (33, 129, 20_000),
        ]);
        for m in sizes {
            for n in sizes {
                shapes.extend(sizes.map(|k| (m, n, 8 * k)));
            }
        }
        for (m, n, k) in shapes {
            let (a, b): (Vec<f32>, Vec<f32>) = (numbers(m * k, 1), numbers(k * n, 2));
            for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false)] {
                same_with_one_and_two_threads(|| {
                    let a = if transpose_a {
                        View::new(&a, m).transposed()
                    } else {
                        View::new(&a, k)
                    };
                    let b = if transpose_b {
                        View::new(&b, k).transposed()
                    } else {
                        View::new(&b, n)
                    };
                    let mut c = vec![0.5; m * n];
                    gemm((m, n, k), 1.0, a, b, 1.0, ViewMut::new(&mut c, n));
                    c
                });
            }
        }
        for (batch, m, n, k) in [(2, 128, 128, 128), (16, 32, 64, 64), (3, 200, 200, 100)] {
            let (a, b): (Vec<f64>, Vec<f64>) = (numbers(batch * m * k, 1), numbers(batch * k * n, 2));
            same_with_one_and_two_threads(|| {
                let (a, b) = (View::new(&a, k).batched(m * k), View::new(&b, n).batched(k * n));
                let mut c = vec![0.0; batch * m * n];
                gemm_batched(batch, (m, n, k), 1.0, a, b, 0.0, ViewMut::new(&mut c, n).batched(m * n));
                c
            });
        }
    }
}

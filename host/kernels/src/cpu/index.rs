//! Moving elements about: by indices, in windows, sorted, padded, flipped, masked to a triangle; and running sums.
//!
//! A tensor is seen as [outer, n, inner] around the dimension at hand, [`Dims`]. What only moves elements takes any
//! type. Sums run in the order of the indices, so they do not depend on threads.

use std::cmp::Ordering;

use super::Real;
use super::par;

/// An index does not fit the dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("index {index} is out of range for a dimension of size {size}")]
pub struct IndexOutOfRange {
    /// The first offending index.
    pub index: i64,
    /// Of the dimension it points into.
    pub size: usize,
}

/// A type of indices: `u32` or `i64`.
pub trait Index: Copy + Send + Sync {
    /// As a position below `size`; negative ones do not count from the end.
    fn position(self, size: usize) -> Result<usize, IndexOutOfRange>;
}

impl Index for u32 {
    #[inline(always)]
    fn position(self, size: usize) -> Result<usize, IndexOutOfRange> {
        let position = self as usize;
        if position < size {
            Ok(position)
        } else {
            Err(IndexOutOfRange {
                index: self.into(),
                size,
            })
        }
    }
}

impl Index for i64 {
    #[inline(always)]
    fn position(self, size: usize) -> Result<usize, IndexOutOfRange> {
        match usize::try_from(self) {
            Ok(position) if position < size => Ok(position),
            _ => Err(IndexOutOfRange { index: self, size }),
        }
    }
}

/// Whether all indices lie below `size`.
pub fn check_indices<I: Index>(indices: &[I], size: usize) -> Result<(), IndexOutOfRange> {
    indices.iter().try_for_each(|index| index.position(size).map(|_| ()))
}

/// A tensor around one of its dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Product of the sizes before the dimension.
    pub outer: usize,
    /// Size of the dimension.
    pub n: usize,
    /// Product of the sizes after it.
    pub inner: usize,
}

impl Dims {
    /// Around dimension `dim` of a shape.
    pub fn new(shape: &[usize], dim: usize) -> Self {
        Self {
            outer: shape[..dim].iter().product(),
            n: shape[dim],
            inner: shape[dim + 1..].iter().product(),
        }
    }

    /// Elements in all.
    pub fn len(&self) -> usize {
        self.outer * self.n * self.inner
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of weight [entries, width] by index: out [indices, width].
pub fn embedding<T: Copy + Send + Sync, I: Index>(
    width: usize,
    indices: &[I],
    weight: &[T],
    out: &mut [T],
) -> Result<(), IndexOutOfRange> {
    let dims = Dims {
        outer: 1,
        n: weight.len() / width.max(1),
        inner: width,
    };
    index_select(dims, indices, weight, out)
}

/// d_weight [entries, width] is overwritten with the sum of the rows of d_out [indices, width] at each index.
pub fn embedding_backward<T: Real, I: Index>(
    width: usize,
    indices: &[I],
    d_out: &[T],
    d_weight: &mut [T],
) -> Result<(), IndexOutOfRange> {
    let dims = Dims {
        outer: 1,
        n: d_weight.len() / width.max(1),
        inner: width,
    };
    index_select_backward(dims, indices, d_out, d_weight)
}

/// out [outer, indices, inner] = x [outer, `indices[j]`, inner]
pub fn index_select<T: Copy + Send + Sync, I: Index>(
    dims: Dims,
    indices: &[I],
    x: &[T],
    out: &mut [T],
) -> Result<(), IndexOutOfRange> {
    assert_eq!(x.len(), dims.len());
    assert_eq!(out.len(), dims.outer * indices.len() * dims.inner);
    check_indices(indices, dims.n)?;
    par::slices(dims.inner, out, |row, out| {
        let (o, j) = (row / indices.len(), row % indices.len());
        // Checked above.
        let i = indices[j].position(dims.n).unwrap_or_default();
        out.copy_from_slice(&x[(o * dims.n + i) * dims.inner..][..dims.inner]);
    });
    Ok(())
}

/// dx [outer, n, inner] is overwritten with the sum of d_out [outer, indices, inner] at each index.
pub fn index_select_backward<T: Real, I: Index>(
    dims: Dims,
    indices: &[I],
    d_out: &[T],
    dx: &mut [T],
) -> Result<(), IndexOutOfRange> {
    assert_eq!(dx.len(), dims.len());
    assert_eq!(d_out.len(), dims.outer * indices.len() * dims.inner);
    check_indices(indices, dims.n)?;
    if dims.is_empty() {
        return Ok(());
    }
    par::slices(dims.n * dims.inner, dx, |o, dx| {
        dx.fill(T::ZERO);
        let d_out = &d_out[o * indices.len() * dims.inner..][..indices.len() * dims.inner];
        for (index, d_out) in indices.iter().zip(d_out.chunks_exact(dims.inner)) {
            let i = index.position(dims.n).unwrap_or_default();
            dx[i * dims.inner..][..dims.inner]
                .iter_mut()
                .zip(d_out)
                .for_each(|(dx, &d)| *dx += d);
        }
    });
    Ok(())
}

/// Row-major strides of a shape.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    strides
}

/// Calls `f(place of the index, offset in a without the dimension dim, offset in b)` for every position of
/// `index_shape` in row-major order; a has the strides `a`, b the strides `b`.
fn positions<E>(
    index_shape: &[usize],
    dim: usize,
    a: &[usize],
    b: &[usize],
    mut f: impl FnMut(usize, usize, usize) -> Result<(), E>,
) -> Result<(), E> {
    let Some((&columns, rows)) = index_shape.split_last() else {
        return f(0, 0, 0);
    };
    let last = rows.len();
    let (step_a, step_b) = (if dim == last { 0 } else { a[last] }, b[last]);
    let mut at = vec![0; last];
    for row in 0..rows.iter().product() {
        let offset_a: usize = (0..last).filter(|&d| d != dim).map(|d| at[d] * a[d]).sum();
        let offset_b: usize = (0..last).map(|d| at[d] * b[d]).sum();
        for column in 0..columns {
            f(
                row * columns + column,
                offset_a + column * step_a,
                offset_b + column * step_b,
            )?;
        }
        for d in (0..last).rev() {
            at[d] += 1;
            if at[d] < rows[d] {
                break;
            }
            at[d] = 0;
        }
    }
    Ok(())
}

/// One element per index along `dim`, as PyTorch's `gather`: out has the shape of the indices, which may be smaller
/// than x in the other dimensions.
pub fn gather<T: Copy, I: Index>(
    shape: &[usize],
    dim: usize,
    index_shape: &[usize],
    indices: &[I],
    x: &[T],
    out: &mut [T],
) -> Result<(), IndexOutOfRange> {
    assert_eq!(indices.len(), out.len());
    let (a, b) = (strides(shape), strides(index_shape));
    let (size, step) = (shape.get(dim).copied().unwrap_or(1), a.get(dim).copied().unwrap_or(1));
    positions(index_shape, dim, &a, &b, |i, offset, _| {
        out[i] = x[offset + indices[i].position(size)? * step];
        Ok(())
    })
}

/// dx (of `shape`) is overwritten with zeros and d_out (of the indices' shape) added at the indices.
pub fn gather_backward<T: Real, I: Index>(
    shape: &[usize],
    dim: usize,
    index_shape: &[usize],
    indices: &[I],
    d_out: &[T],
    dx: &mut [T],
) -> Result<(), IndexOutOfRange> {
    dx.fill(T::ZERO);
    scatter_add(shape, dim, index_shape, index_shape, indices, d_out, dx)
}

/// Adds `source` to `out` (of `shape`) at the indices along `dim`, as PyTorch's `scatter_add_`: the indices' shape may
/// be smaller than the source's, and than `shape` in the other dimensions.
pub fn scatter_add<T: Real, I: Index>(
    shape: &[usize],
    dim: usize,
    index_shape: &[usize],
    source_shape: &[usize],
    indices: &[I],
    source: &[T],
    out: &mut [T],
) -> Result<(), IndexOutOfRange> {
    let (a, b) = (strides(shape), strides(source_shape));
    let (size, step) = (shape.get(dim).copied().unwrap_or(1), a.get(dim).copied().unwrap_or(1));
    positions(index_shape, dim, &a, &b, |i, offset, from| {
        out[offset + indices[i].position(size)? * step] += source[from];
        Ok(())
    })
}

/// The gradient of the source: d_out at the indices, zero where the source has no index. (That of x is d_out itself.)
pub fn scatter_add_backward<T: Real, I: Index>(
    shape: &[usize],
    dim: usize,
    index_shape: &[usize],
    source_shape: &[usize],
    indices: &[I],
    d_out: &[T],
    d_source: &mut [T],
) -> Result<(), IndexOutOfRange> {
    let (a, b) = (strides(shape), strides(source_shape));
    let (size, step) = (shape.get(dim).copied().unwrap_or(1), a.get(dim).copied().unwrap_or(1));
    d_source.fill(T::ZERO);
    positions(index_shape, dim, &a, &b, |i, offset, to| {
        d_source[to] = d_out[offset + indices[i].position(size)? * step];
        Ok(())
    })
}

/// Windows of `size` every `step` (at least 1) along n: (n - size) / step + 1 of them, none if size > n.
pub fn windows(n: usize, size: usize, step: usize) -> usize {
    if size > n { 0 } else { (n - size) / step + 1 }
}

/// out [outer, windows, inner, size] = x [outer, window * step + k, inner]
pub fn unfold<T: Copy + Send + Sync>(dims: Dims, size: usize, step: usize, x: &[T], out: &mut [T]) {
    let windows = windows(dims.n, size, step);
    assert_eq!(x.len(), dims.len());
    assert_eq!(out.len(), dims.outer * windows * dims.inner * size);
    par::slices(dims.inner * size, out, |row, out| {
        let first = (row / windows * dims.n + row % windows * step) * dims.inner;
        if dims.inner == 1 {
            out.copy_from_slice(&x[first..first + size]);
        } else {
            for (i, out) in out.iter_mut().enumerate() {
                *out = x[first + i % size * dims.inner + i / size];
            }
        }
    });
}

/// The derivative of [`unfold`], known as fold: dx is overwritten with the sum of all windows that hold an element.
pub fn fold<T: Real>(dims: Dims, size: usize, step: usize, d_out: &[T], dx: &mut [T]) {
    let windows = windows(dims.n, size, step);
    assert_eq!(dx.len(), dims.len());
    assert_eq!(d_out.len(), dims.outer * windows * dims.inner * size);
    let slice = windows * dims.inner * size;
    par::slices(dims.n * dims.inner, dx, |o, dx| {
        dx.fill(T::ZERO);
        let d_out = &d_out[o * slice..][..slice];
        for window in 0..windows {
            let d_out = &d_out[window * dims.inner * size..][..dims.inner * size];
            let dx = &mut dx[window * step * dims.inner..][..size * dims.inner];
            if dims.inner == 1 {
                dx.iter_mut().zip(d_out).for_each(|(dx, &d)| *dx += d);
            } else {
                for (i, &d) in d_out.iter().enumerate() {
                    dx[i % size * dims.inner + i / size] += d;
                }
            }
        }
    });
}

/// Sorts along n: values and their former places. Stable, also when descending; NaN comes last either way.
///
/// # Panics
/// If n exceeds what `u32` can count.
pub fn sort<T: Copy + PartialOrd + Send + Sync>(
    dims: Dims,
    descending: bool,
    x: &[T],
    values: &mut [T],
    places: &mut [u32],
) {
    assert!(x.len() == dims.len() && values.len() == x.len() && places.len() == x.len());
    assert!(u32::try_from(dims.n).is_ok(), "too many elements for u32");
    if dims.is_empty() {
        return;
    }
    let order = |a: &T, b: &T| {
        #[expect(clippy::eq_op, reason = "only NaN differs from itself")]
        let (a_nan, b_nan) = (a != a, b != b);
        match a.partial_cmp(b) {
            Some(order) if descending => order.reverse(),
            Some(order) => order,
            None if a_nan && b_nan => Ordering::Equal,
            None if a_nan => Ordering::Greater,
            None => Ordering::Less,
        }
    };
    let slice = dims.n * dims.inner;
    par::slices(slice, places, |o, places| {
        let x = &x[o * slice..][..slice];
        let mut row: Vec<u32> = Vec::with_capacity(dims.n);
        for i in 0..dims.inner {
            row.clear();
            row.extend(0..dims.n as u32);
            row.sort_by(|&a, &b| order(&x[a as usize * dims.inner + i], &x[b as usize * dims.inner + i]));
            for (j, &place) in row.iter().enumerate() {
                places[j * dims.inner + i] = place;
            }
        }
    });
    for (i, value) in values.iter_mut().enumerate() {
        *value = x[i / slice * slice + places[i] as usize * dims.inner + i % dims.inner];
    }
}

/// dx is overwritten with d_values at the places that [`sort`] gave.
pub fn sort_backward<T: Real>(dims: Dims, places: &[u32], d_values: &[T], dx: &mut [T]) {
    assert!(dx.len() == dims.len() && d_values.len() == dx.len() && places.len() == dx.len());
    let slice = dims.n * dims.inner;
    for (i, (&place, &d)) in places.iter().zip(d_values).enumerate() {
        dx[i / slice * slice + place as usize * dims.inner + i % dims.inner] = d;
    }
}

/// Running sum along n, accumulated in `f64`; from the end when `reverse`, which is the derivative of the other.
pub fn cumsum<T: Real>(dims: Dims, reverse: bool, x: &[T], y: &mut [T]) {
    assert!(x.len() == dims.len() && y.len() == x.len());
    let slice = dims.n * dims.inner;
    par::slices(slice, y, |o, y| {
        let x = &x[o * slice..][..slice];
        for i in 0..dims.inner {
            let mut sum = 0.0;
            for j in 0..dims.n {
                let at = if reverse { dims.n - 1 - j } else { j } * dims.inner + i;
                sum += x[at].to_f64();
                y[at] = T::from_f64(sum);
            }
        }
    });
}

/// Reverses the order along n. Its own derivative.
pub fn flip<T: Copy + Send + Sync>(dims: Dims, x: &[T], y: &mut [T]) {
    assert!(x.len() == dims.len() && y.len() == x.len());
    par::slices(dims.inner, y, |row, y| {
        let (o, i) = (row / dims.n, row % dims.n);
        y.copy_from_slice(&x[(o * dims.n + dims.n - 1 - i) * dims.inner..][..dims.inner]);
    });
}

/// out [outer, before + n + after, inner]: x with `value` around it along n.
pub fn pad<T: Copy + Send + Sync>(dims: Dims, before: usize, after: usize, value: T, x: &[T], out: &mut [T]) {
    let n = before + dims.n + after;
    assert!(x.len() == dims.len() && out.len() == dims.outer * n * dims.inner);
    par::slices(n * dims.inner, out, |o, out| {
        let (head, rest) = out.split_at_mut(before * dims.inner);
        let (middle, tail) = rest.split_at_mut(dims.n * dims.inner);
        head.fill(value);
        middle.copy_from_slice(&x[o * dims.n * dims.inner..][..dims.n * dims.inner]);
        tail.fill(value);
    });
}

/// dx [outer, n, inner] is overwritten with the middle of d_out [outer, before + n + after, inner].
pub fn pad_backward<T: Copy + Send + Sync>(dims: Dims, before: usize, after: usize, d_out: &[T], dx: &mut [T]) {
    let n = before + dims.n + after;
    assert!(dx.len() == dims.len() && d_out.len() == dims.outer * n * dims.inner);
    par::slices(dims.n * dims.inner, dx, |o, dx| {
        dx.copy_from_slice(&d_out[(o * n + before) * dims.inner..][..dims.n * dims.inner]);
    });
}

/// As [`pad`], with copies of the first and the last element along n; n is at least 1.
pub fn pad_edge<T: Copy + Send + Sync>(dims: Dims, before: usize, after: usize, x: &[T], out: &mut [T]) {
    let n = before + dims.n + after;
    assert!(x.len() == dims.len() && out.len() == dims.outer * n * dims.inner && dims.n > 0);
    par::slices(dims.inner, out, |row, out| {
        let (o, i) = (row / n, row % n);
        let from = i.saturating_sub(before).min(dims.n - 1);
        out.copy_from_slice(&x[(o * dims.n + from) * dims.inner..][..dims.inner]);
    });
}

/// dx [outer, n, inner] is overwritten: the edges collect the gradients of their copies.
pub fn pad_edge_backward<T: Real>(dims: Dims, before: usize, after: usize, d_out: &[T], dx: &mut [T]) {
    let n = before + dims.n + after;
    assert!(dx.len() == dims.len() && d_out.len() == dims.outer * n * dims.inner && dims.n > 0);
    par::slices(dims.n * dims.inner, dx, |o, dx| {
        dx.fill(T::ZERO);
        let d_out = &d_out[o * n * dims.inner..][..n * dims.inner];
        for i in 0..n {
            let to = i.saturating_sub(before).min(dims.n - 1);
            let d_out = &d_out[i * dims.inner..][..dims.inner];
            dx[to * dims.inner..][..dims.inner]
                .iter_mut()
                .zip(d_out)
                .for_each(|(dx, &d)| *dx += d);
        }
    });
}

/// Which part of a matrix to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Triangle {
    /// Elements with column - row <= diagonal.
    Lower,
    /// Elements with column - row >= diagonal.
    Upper,
}

/// A triangle of each matrix [rows, columns] of x, zeros elsewhere. Its own derivative.
pub fn triangle<T: Copy + Default + Send + Sync>(
    part: Triangle,
    diagonal: i64,
    (rows, columns): (usize, usize),
    x: &[T],
    y: &mut [T],
) {
    assert_eq!(x.len(), y.len());
    par::slices(columns, y, |i, y| {
        let x = &x[i * columns..][..columns];
        // Columns up to and with row + diagonal belong to the lower triangle, those from there on to the upper.
        let edge = (i % rows) as i64 + diagonal + i64::from(part == Triangle::Lower);
        let edge = edge.clamp(0, columns as i64) as usize;
        let (kept, zeroed) = match part {
            Triangle::Lower => (0..edge, edge..columns),
            Triangle::Upper => (edge..columns, 0..edge),
        };
        y[kept.clone()].copy_from_slice(&x[kept]);
        y[zeroed].fill(T::default());
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    const DIMS: Dims = Dims {
        outer: 2,
        n: 4,
        inner: 3,
    };

    #[test]
    fn selection_and_its_derivative() {
        let x: Vec<f64> = numbers(24, 1);
        let g: Vec<f64> = numbers(30, 2);
        let indices = [3u32, 0, 3, 1, 3];
        let mut out = vec![0.0; 30];
        index_select(DIMS, &indices, &x, &mut out).unwrap();
        assert_eq!(out[15 + 3..15 + 6], x[12..15]);
        let f = |x: &[f64]| {
            let mut out = vec![0.0; 30];
            index_select(DIMS, &indices, x, &mut out).unwrap();
            dot(&out, &g)
        };
        let mut dx = vec![9.0; 24];
        index_select_backward(DIMS, &indices, &g, &mut dx).unwrap();
        check_gradient(&x, &dx, f);

        let mut rows = vec![0.0; 6];
        embedding(3, &[7i64, 0], &x, &mut rows).unwrap();
        assert_eq!((&rows[..3], &rows[3..]), (&x[21..], &x[..3]));
        let mut d_weight = vec![0.0; 24];
        embedding_backward(3, &[7i64, 7], &g[..6], &mut d_weight).unwrap();
        assert_eq!(d_weight[21], g[0] + g[3]);
    }

    #[test]
    fn an_index_out_of_range_is_named() {
        let (x, mut out) = ([1.0f32; 24], [0.0; 6]);
        let error = index_select(DIMS, &[4u32], &x, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "index 4 is out of range for a dimension of size 4");
        assert_eq!(
            embedding(3, &[-1i64, 0], &x, &mut out),
            Err(IndexOutOfRange { index: -1, size: 8 })
        );
        assert!(gather(&[2, 4, 3], 1, &[1, 2, 3], &[0i64, 1, 2, 3, 0, 9], &x, &mut out).is_err());
        let mut copy = x;
        assert!(scatter_add(&[2, 4, 3], 1, &[1, 2, 3], &[1, 2, 3], &[-7i64; 6], &out, &mut copy).is_err());
    }

    #[test]
    fn gather_and_scatter_add_take_smaller_indices_as_pytorch_does() {
        let x: Vec<f64> = (0..24).map(f64::from).collect();
        let indices = [2u32, 0, 3, 1];
        let mut out = vec![0.0; 4];
        // out[0, i, j] = x[0, indices[i, j], j]
        gather(&[2, 4, 3], 1, &[1, 2, 2], &indices, &x, &mut out).unwrap();
        assert_eq!(out, [6.0, 1.0, 9.0, 4.0]);
        let mut last = vec![0.0; 4];
        // last[i, j, 0] = x[i, j, indices[i, j, 0]]
        gather(&[2, 4, 3], 2, &[2, 2, 1], &[2u32, 0, 1, 1], &x, &mut last).unwrap();
        assert_eq!(last, [2.0, 3.0, 13.0, 16.0]);

        let g: Vec<f64> = numbers(24, 3);
        let source: Vec<f64> = numbers(8, 4);
        let f = |source: &[f64]| {
            let mut out = vec![0.0; 24];
            scatter_add(&[2, 4, 3], 1, &[1, 2, 2], &[1, 2, 4], &indices, source, &mut out).unwrap();
            dot(&out, &g)
        };
        let mut d_source = vec![9.0; 8];
        scatter_add_backward(&[2, 4, 3], 1, &[1, 2, 2], &[1, 2, 4], &indices, &g, &mut d_source).unwrap();
        check_gradient(&source, &d_source, f);

        let f = |x: &[f64]| {
            let mut out = vec![0.0; 4];
            gather(&[2, 4, 3], 1, &[1, 2, 2], &indices, x, &mut out).unwrap();
            dot(&out, &g[..4])
        };
        let mut dx = vec![9.0; 24];
        gather_backward(&[2, 4, 3], 1, &[1, 2, 2], &indices, &g[..4], &mut dx).unwrap();
        check_gradient(&x, &dx, f);
    }

    #[test]
    fn windows_and_their_derivative() {
        let dims = Dims {
            outer: 2,
            n: 7,
            inner: 3,
        };
        let x: Vec<f64> = numbers(42, 1);
        let g: Vec<f64> = numbers(2 * 3 * 3 * 3, 2);
        let mut out = vec![0.0; g.len()];
        unfold(dims, 3, 2, &x, &mut out);
        // [1, 2, 0, 1]: batch 1, window 2, inner 0, second element, that is x [1, 5, 0].
        assert_eq!(out[((3 + 2) * 3) * 3 + 1], x[21 + 15]);
        let mut dx = vec![9.0; 42];
        fold(dims, 3, 2, &g, &mut dx);
        let f = |x: &[f64]| {
            let mut out = vec![0.0; g.len()];
            unfold(dims, 3, 2, x, &mut out);
            dot(&out, &g)
        };
        check_gradient(&x, &dx, f);
        let flat = Dims {
            outer: 1,
            n: 42,
            inner: 1,
        };
        let mut out = vec![0.0; 8 * 5];
        unfold(flat, 5, 5, &x, &mut out);
        assert_eq!(out[..40], x[..40]);
        assert_eq!(windows(3, 4, 1), 0);
    }

    #[test]
    fn sorting_is_stable_and_puts_nan_last() {
        let dims = Dims {
            outer: 1,
            n: 5,
            inner: 1,
        };
        let x = [2.0, f32::NAN, 1.0, 2.0, -1.0];
        let (mut values, mut places) = ([0.0; 5], [0; 5]);
        sort(dims, false, &x, &mut values, &mut places);
        assert_eq!((places, &values[..4]), ([4, 2, 0, 3, 1], &[-1.0, 1.0, 2.0, 2.0][..]));
        sort(dims, true, &x, &mut values, &mut places);
        assert_eq!((places, &values[..4]), ([0, 3, 2, 4, 1], &[2.0, 2.0, 1.0, -1.0][..]));
        let (x, g): (Vec<f64>, Vec<f64>) = (numbers(24, 1), numbers(24, 2));
        let (mut values, mut places, mut dx) = (vec![0.0; 24], vec![0; 24], vec![0.0; 24]);
        sort(DIMS, false, &x, &mut values, &mut places);
        assert!((0..9).all(|i| values[i] <= values[i + 3]));
        sort_backward(DIMS, &places, &g, &mut dx);
        check_gradient(&x, &dx, |x| {
            let (mut values, mut places) = (vec![0.0; 24], vec![0; 24]);
            sort(DIMS, false, x, &mut values, &mut places);
            dot(&values, &g)
        });
    }

    #[test]
    fn running_sums_flips_and_paddings() {
        let (x, g): (Vec<f64>, Vec<f64>) = (numbers(24, 1), numbers(2 * 9 * 3, 2));
        let mut y = vec![0.0; 24];
        cumsum(DIMS, false, &x, &mut y);
        assert!((y[21] - (x[12] + x[15] + x[18] + x[21])).abs() < 1e-15);
        let mut dx = vec![9.0; 24];
        cumsum(DIMS, true, &g[..24], &mut dx);
        check_gradient(&x, &dx, |x| {
            let mut y = vec![0.0; 24];
            cumsum(DIMS, false, x, &mut y);
            dot(&y, &g[..24])
        });
        flip(DIMS, &x, &mut y);
        assert_eq!(y[12..15], x[21..24]);

        let mut out = vec![0.0; 54];
        pad(DIMS, 2, 3, 7.0, &x, &mut out);
        assert_eq!((out[0], out[26], &out[33..36]), (7.0, 7.0, &x[12..15]));
        pad_backward(DIMS, 2, 3, &out, &mut y);
        assert_eq!(y, x);
        pad_edge(DIMS, 2, 3, &x, &mut out);
        assert_eq!((&out[27..30], &out[51..54]), (&x[12..15], &x[21..24]));
        pad_edge_backward(DIMS, 2, 3, &g, &mut dx);
        check_gradient(&x, &dx, |x| {
            let mut out = vec![0.0; 54];
            pad_edge(DIMS, 2, 3, x, &mut out);
            dot(&out, &g)
        });
    }

    #[test]
    fn triangles_keep_their_side_of_the_diagonal() {
        let x: Vec<u32> = (1..=12).collect();
        let mut y = vec![0; 12];
        triangle(Triangle::Lower, 0, (3, 4), &x, &mut y);
        assert_eq!(y, [1, 0, 0, 0, 5, 6, 0, 0, 9, 10, 11, 0]);
        triangle(Triangle::Upper, 1, (3, 4), &x, &mut y);
        assert_eq!(y, [0, 2, 3, 4, 0, 0, 7, 8, 0, 0, 0, 12]);
        triangle(Triangle::Lower, -5, (3, 4), &x, &mut y);
        assert_eq!(y, [0; 12]);
        triangle(Triangle::Upper, -5, (3, 4), &x, &mut y);
        assert_eq!(y, x);
    }

    #[test]
    fn threads_change_no_bit() {
        let dims = Dims {
            outer: 30,
            n: 300,
            inner: 10,
        };
        let x: Vec<f32> = numbers(dims.len(), 1);
        let indices: Vec<u32> = numbers::<f64>(500, 2)
            .iter()
            .map(|x| (x.abs() * 299.0) as u32)
            .collect();
        same_with_one_and_two_threads(|| {
            let mut out = vec![0.0; 30 * 500 * 10];
            index_select(dims, &indices, &x, &mut out).unwrap();
            let mut dx = vec![0.0; x.len()];
            index_select_backward(dims, &indices, &out, &mut dx).unwrap();
            let mut sum = vec![0.0; x.len()];
            cumsum(dims, false, &dx, &mut sum);
            (out, dx, sum)
        });
    }
}

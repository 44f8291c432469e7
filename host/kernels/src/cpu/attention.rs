//! Scaled dot-product attention: softmax(scale q k^T + mask) v for each of `heads` (batch times heads) matrices.
//!
//! Scores exist for a block of query rows at a time, and the backward pass computes them again from the kept logsumexp:
//! memory grows with the length, not its square (Dao, Fu, Ermon, Rudra and Re 2022). A block takes some 256 KiB a
//! thread (512 KiB in the backward pass), more if eight rows of scores do.
//!
//! A row whose every score is -inf gives zeros and no gradients, as PyTorch's `scaled_dot_product_attention` does.

use rayon::prelude::*;

use super::gemm::{View, ViewMut, gemm};
use super::par::{self, parallel, wide};
use super::{Cancelled, Real, Stop};

/// Scores of a block of rows.
const BLOCK: usize = 1 << 16;

/// Shapes: q [heads, queries, width], k [heads, keys, width], v [heads, keys, value_width], and a mask added to the
/// scores, [queries, keys] for all or [heads, queries, keys].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Batch size times number of heads.
    pub heads: usize,
    /// Length of the queries.
    pub queries: usize,
    /// Length of keys and values.
    pub keys: usize,
    /// Of queries and keys.
    pub width: usize,
    /// Of values.
    pub value_width: usize,
    /// Query i sees keys 0 ..= i only.
    pub causal: bool,
    /// Multiplies the scores, by default 1 / sqrt(width).
    pub scale: f64,
}

impl Attention {
    /// Blocks of query rows with the number of keys that any of them sees.
    fn blocks(&self) -> impl Iterator<Item = (std::ops::Range<usize>, usize)> + use<> {
        let (rows, queries, keys, causal) = (self.rows(), self.queries, self.keys, self.causal);
        (0..queries).step_by(rows).map(move |start| {
            let block = start..queries.min(start + rows);
            let seen = if causal { keys.min(block.end) } else { keys };
            (block, seen)
        })
    }

    fn rows(&self) -> usize {
        (BLOCK / self.keys.max(1)).clamp(8, 128).min(self.queries.max(1))
    }

    /// Keys that row i sees.
    fn seen(&self, i: usize) -> usize {
        if self.causal { self.keys.min(i + 1) } else { self.keys }
    }

    fn check<T>(&self, q: &[T], k: &[T], v: &[T], mask: Option<&[T]>) {
        assert_eq!(q.len(), self.heads * self.queries * self.width);
        assert_eq!(k.len(), self.heads * self.keys * self.width);
        assert_eq!(v.len(), self.heads * self.keys * self.value_width);
        let all = self.queries * self.keys;
        assert!(mask.is_none_or(|mask| mask.len() == all || mask.len() == self.heads * all));
    }

    /// The part of the mask for one head.
    fn mask_of<'a, T>(&self, mask: Option<&'a [T]>, head: usize) -> Option<&'a [T]> {
        let all = self.queries * self.keys;
        mask.map(|mask| {
            if mask.len() == all {
                mask
            } else {
                &mask[head * all..][..all]
            }
        })
    }

    /// scale q k^T of a block into `scores` [block, seen].
    fn scores<T: Real>(&self, q: &[T], k: &[T], block: &std::ops::Range<usize>, seen: usize, scores: &mut [T]) {
        let q = View::new(&q[block.start * self.width..], self.width);
        let k = View::new(k, self.width).transposed();
        let scale = T::from_f64(self.scale);
        gemm(
            (block.len(), seen, self.width),
            scale,
            q,
            k,
            T::ZERO,
            ViewMut::new(scores, seen),
        );
    }

    fn is_parallel(&self) -> bool {
        self.heads > 1 && parallel((self.heads * self.queries * self.keys).saturating_mul(self.width / 8 + 1))
    }
}

/// out [heads, queries, value_width] = softmax(scale q k^T + mask) v. Keeps `lse` [heads, queries], the logsumexp of
/// each row of scores, for the backward pass.
///
/// # Errors
/// When `cancelled` says so; it is asked before each block of rows.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn attention<T: Real>(
    shape: Attention,
    q: &[T],
    k: &[T],
    v: &[T],
    mask: Option<&[T]>,
    out: &mut [T],
    lse: &mut [T],
    cancelled: Stop<'_>,
) -> Result<(), Cancelled> {
    shape.check(q, k, v, mask);
    assert!(out.len() == shape.heads * shape.queries * shape.value_width && lse.len() == shape.heads * shape.queries);
    if lse.is_empty() || shape.value_width == 0 {
        return Ok(());
    }
    let Attention {
        queries,
        keys,
        width,
        value_width,
        ..
    } = shape;
    let head = |h: usize, out: &mut [T], lse: &mut [T]| {
        let (q, k) = (
            &q[h * queries * width..][..queries * width],
            &k[h * keys * width..][..keys * width],
        );
        let v = &v[h * keys * value_width..][..keys * value_width];
        let mask = shape.mask_of(mask, h);
        let mut buffer = vec![T::ZERO; shape.rows() * keys];
        for (block, seen) in shape.blocks() {
            if cancelled() {
                return Err(Cancelled);
            }
            let scores = &mut buffer[..block.len() * seen];
            shape.scores(q, k, &block, seen, scores);
            wide(
                #[inline(always)]
                || {
                    for i in block.clone() {
                        let row = &mut scores[(i - block.start) * seen..][..seen];
                        if let Some(mask) = mask {
                            row.iter_mut()
                                .zip(&mask[i * keys..][..seen])
                                .for_each(|(s, &m)| *s += m);
                        }
                        lse[i] = softmax_row(row, shape.seen(i));
                    }
                },
            );
            let out = ViewMut::new(&mut out[block.start * value_width..], value_width);
            let (p, v) = (View::new(scores, seen), View::new(v, value_width));
            gemm((block.len(), value_width, seen), T::ONE, p, v, T::ZERO, out);
        }
        Ok(())
    };
    let (out_size, lse_size) = (queries * value_width, queries);
    if shape.is_parallel() {
        let parts = out.par_chunks_mut(out_size).zip(lse.par_chunks_mut(lse_size));
        parts.enumerate().try_for_each(|(h, (out, lse))| head(h, out, lse))
    } else {
        let mut parts = out.chunks_mut(out_size).zip(lse.chunks_mut(lse_size)).enumerate();
        parts.try_for_each(|(h, (out, lse))| head(h, out, lse))
    }
}

/// Turns the first `seen` scores into probabilities and the others into zeros; gives the logsumexp.
#[inline(always)]
fn softmax_row<T: Real>(row: &mut [T], seen: usize) -> T {
    let (row, hidden) = row.split_at_mut(seen);
    hidden.fill(T::ZERO);
    let max = par::max(row);
    // NaN is not seen by the maximum, and must not get lost.
    if max == T::NEG_INFINITY && !row.iter().any(|s| s.is_nan()) {
        row.fill(T::ZERO);
        return max;
    }
    for s in row.iter_mut() {
        *s = (*s - max).exp();
    }
    let sum = par::sum(
        row,
        #[inline(always)]
        |p| p.to_f64(),
    );
    let factor = T::from_f64(1.0 / sum);
    for s in row.iter_mut() {
        *s *= factor;
    }
    max + T::from_f64(sum).ln()
}

/// Gradients of [`attention`], each overwritten.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// As q.
    pub q: &'a mut [T],
    /// As k.
    pub k: &'a mut [T],
    /// As v.
    pub v: &'a mut [T],
    /// As the mask, if that needs one. For a mask that all heads share, the heads then run one after the other.
    pub mask: Option<&'a mut [T]>,
}

/// The derivative of [`attention`] from what it was given, gave and kept: with p the probabilities, dp = d_out v^T and
/// ds = p (dp - rowsum(d_out out)): dv = p^T d_out, d_mask = ds, dq = scale ds k, dk = scale ds^T q.
///
/// # Errors
/// When `cancelled` says so; it is asked before each block of rows.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn attention_backward<T: Real>(
    shape: Attention,
    q: &[T],
    k: &[T],
    v: &[T],
    mask: Option<&[T]>,
    out: &[T],
    lse: &[T],
    d_out: &[T],
    gradients: Gradients<'_, T>,
    cancelled: Stop<'_>,
) -> Result<(), Cancelled> {
    shape.check(q, k, v, mask);
    let Attention {
        heads,
        queries,
        keys,
        width,
        value_width,
        ..
    } = shape;
    assert!(out.len() == heads * queries * value_width && d_out.len() == out.len() && lse.len() == heads * queries);
    let Gradients {
        q: dq,
        k: dk,
        v: dv,
        mask: mut d_mask,
    } = gradients;
    assert!(dq.len() == q.len() && dk.len() == k.len() && dv.len() == v.len());
    dk.fill(T::ZERO);
    dv.fill(T::ZERO);
    if let Some(d_mask) = &mut d_mask {
        assert!(mask.is_some_and(|mask| mask.len() == d_mask.len()));
        d_mask.fill(T::ZERO);
    }
    if dq.is_empty() || dk.is_empty() || dv.is_empty() {
        dq.fill(T::ZERO);
        return Ok(());
    }
    let scale = T::from_f64(shape.scale);
    let head = |h: usize, dq: &mut [T], dk: &mut [T], dv: &mut [T], mut d_mask: Option<&mut [T]>| {
        let (q, k) = (
            &q[h * queries * width..][..queries * width],
            &k[h * keys * width..][..keys * width],
        );
        let v = &v[h * keys * value_width..][..keys * value_width];
        let rows = h * queries * value_width..(h + 1) * queries * value_width;
        let (out, d_out, lse) = (&out[rows.clone()], &d_out[rows], &lse[h * queries..][..queries]);
        let mask = shape.mask_of(mask, h);
        let mut buffers = vec![T::ZERO; 2 * shape.rows() * keys];
        for (block, seen) in shape.blocks() {
            if cancelled() {
                return Err(Cancelled);
            }
            let (p, ds) = buffers.split_at_mut(shape.rows() * keys);
            let (p, ds) = (&mut p[..block.len() * seen], &mut ds[..block.len() * seen]);
            shape.scores(q, k, &block, seen, p);
            let d_rows = View::new(&d_out[block.start * value_width..], value_width);
            let v = View::new(v, value_width).transposed();
            gemm(
                (block.len(), seen, value_width),
                T::ONE,
                d_rows,
                v,
                T::ZERO,
                ViewMut::new(ds, seen),
            );
            wide(
                #[inline(always)]
                || {
                    for i in block.clone() {
                        let at = (i - block.start) * seen;
                        let (p, ds) = (&mut p[at..at + seen], &mut ds[at..at + seen]);
                        if let Some(mask) = mask {
                            p.iter_mut().zip(&mask[i * keys..][..seen]).for_each(|(s, &m)| *s += m);
                        }
                        let (out, d_out) = (&out[i * value_width..][..value_width], &d_out[i * value_width..]);
                        let d_out = &d_out[..value_width];
                        let along = par::sum2(
                            out,
                            d_out,
                            #[inline(always)]
                            |o, d| (o * d).to_f64(),
                        );
                        gradient_row(p, ds, shape.seen(i), lse[i], T::from_f64(along));
                        if let Some(d_mask) = &mut d_mask {
                            d_mask[i * keys..][..seen]
                                .iter_mut()
                                .zip(&*ds)
                                .for_each(|(d, &ds)| *d += ds);
                        }
                    }
                },
            );
            let (p, ds) = (View::new(p, seen), View::new(ds, seen));
            gemm(
                (seen, value_width, block.len()),
                T::ONE,
                p.transposed(),
                d_rows,
                T::ONE,
                ViewMut::new(dv, value_width),
            );
            let dq = ViewMut::new(&mut dq[block.start * width..], width);
            gemm((block.len(), width, seen), scale, ds, View::new(k, width), T::ZERO, dq);
            let q = View::new(&q[block.start * width..], width);
            gemm(
                (seen, width, block.len()),
                scale,
                ds.transposed(),
                q,
                T::ONE,
                ViewMut::new(dk, width),
            );
        }
        Ok(())
    };
    let sizes = (queries * width, keys * width, keys * value_width, queries * keys);
    let shared = d_mask.as_ref().is_some_and(|d| heads > 1 && d.len() == sizes.3);
    if shared {
        let parts = dq
            .chunks_mut(sizes.0)
            .zip(dk.chunks_mut(sizes.1))
            .zip(dv.chunks_mut(sizes.2));
        for (h, ((dq, dk), dv)) in parts.enumerate() {
            head(h, dq, dk, dv, d_mask.as_deref_mut())?;
        }
        return Ok(());
    }
    let masks: Vec<Option<&mut [T]>> = match d_mask {
        Some(d_mask) => d_mask.chunks_mut(sizes.3).map(Some).collect(),
        None => (0..heads).map(|_| None).collect(),
    };
    if shape.is_parallel() {
        let parts = dq
            .par_chunks_mut(sizes.0)
            .zip(dk.par_chunks_mut(sizes.1))
            .zip(dv.par_chunks_mut(sizes.2));
        let parts = parts.zip(masks).enumerate();
        parts.try_for_each(|(h, (((dq, dk), dv), mask))| head(h, dq, dk, dv, mask))
    } else {
        let parts = dq
            .chunks_mut(sizes.0)
            .zip(dk.chunks_mut(sizes.1))
            .zip(dv.chunks_mut(sizes.2));
        let mut parts = parts.zip(masks).enumerate();
        parts.try_for_each(|(h, (((dq, dk), dv), mask))| head(h, dq, dk, dv, mask))
    }
}

/// Scores into probabilities, and dp into ds = p (dp - along); zeros where nothing is seen.
#[inline(always)]
fn gradient_row<T: Real>(p: &mut [T], ds: &mut [T], seen: usize, lse: T, along: T) {
    let seen = if lse == T::NEG_INFINITY { 0 } else { seen };
    p[seen..].fill(T::ZERO);
    ds[seen..].fill(T::ZERO);
    for (p, ds) in p[..seen].iter_mut().zip(&mut ds[..seen]) {
        *p = (*p - lse).exp();
        *ds = *p * (*ds - along);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    fn never() -> bool {
        false
    }

    fn shape(heads: usize, queries: usize, keys: usize, causal: bool) -> Attention {
        Attention {
            heads,
            queries,
            keys,
            width: 5,
            value_width: 4,
            causal,
            scale: 0.4,
        }
    }

    fn naive(a: Attention, q: &[f64], k: &[f64], v: &[f64], mask: Option<&[f64]>) -> Vec<f64> {
        let mut out = Vec::new();
        for (h, i) in (0..a.heads).flat_map(|h| (0..a.queries).map(move |i| (h, i))) {
            let q = &q[(h * a.queries + i) * a.width..][..a.width];
            let weights: Vec<f64> = (0..a.seen(i))
                .map(|j| {
                    let mask = a.mask_of(mask, h).map_or(0.0, |mask| mask[i * a.keys + j]);
                    (a.scale * dot(q, &k[(h * a.keys + j) * a.width..][..a.width]) + mask).exp()
                })
                .collect();
            let sum: f64 = weights.iter().sum();
            for d in 0..a.value_width {
                let at = |j: usize| v[(h * a.keys + j) * a.value_width + d];
                out.push(weights.iter().enumerate().map(|(j, w)| w / sum * at(j)).sum());
            }
        }
        out
    }

    fn forward(a: Attention, q: &[f64], k: &[f64], v: &[f64], mask: Option<&[f64]>) -> (Vec<f64>, Vec<f64>) {
        let (mut out, mut lse) = (
            vec![f64::NAN; a.heads * a.queries * a.value_width],
            vec![f64::NAN; a.heads * a.queries],
        );
        attention(a, q, k, v, mask, &mut out, &mut lse, &never).unwrap();
        (out, lse)
    }

    #[test]
    fn outputs_and_gradients_agree_with_the_definition() {
        for (heads, queries, keys, causal, masks) in [
            (2, 6, 6, false, 0),
            (2, 6, 6, true, 0),
            (3, 4, 7, false, 1),
            (2, 5, 3, true, 2),
            (1, 1, 9, false, 1),
            (2, 40, 2, true, 2),
        ] {
            let a = shape(heads, queries, keys, causal);
            let q: Vec<f64> = numbers(heads * queries * 5, 1);
            let (k, v): (Vec<f64>, Vec<f64>) = (numbers(heads * keys * 5, 2), numbers(heads * keys * 4, 3));
            let g: Vec<f64> = numbers(heads * queries * 4, 4);
            let mask: Vec<f64> = numbers(if masks == 2 { heads } else { 1 } * queries * keys, 5);
            let given = (masks > 0).then_some(&mask[..]);
            let (out, lse) = forward(a, &q, &k, &v, given);
            assert_close(&out, &naive(a, &q, &k, &v, given), 1e-12);
            let (mut dq, mut dk, mut dv) = (vec![9.0; q.len()], vec![9.0; k.len()], vec![9.0; v.len()]);
            let mut d_mask = vec![9.0; mask.len()];
            let d_given = (masks > 0).then_some(&mut d_mask[..]);
            let gradients = Gradients {
                q: &mut dq,
                k: &mut dk,
                v: &mut dv,
                mask: d_given,
            };
            attention_backward(a, &q, &k, &v, given, &out, &lse, &g, gradients, &never).unwrap();
            check_gradient(&q, &dq, |q| dot(&forward(a, q, &k, &v, given).0, &g));
            check_gradient(&k, &dk, |k| dot(&forward(a, &q, k, &v, given).0, &g));
            check_gradient(&v, &dv, |v| dot(&forward(a, &q, &k, v, given).0, &g));
            if masks > 0 {
                check_gradient(&mask, &d_mask, |mask| dot(&forward(a, &q, &k, &v, Some(mask)).0, &g));
            }
        }
    }

    #[test]
    fn long_sequences_go_through_several_blocks() {
        let a = shape(2, 300, 900, false);
        assert!(a.blocks().count() > 3);
        let q: Vec<f64> = numbers(2 * 300 * 5, 1);
        let (k, v): (Vec<f64>, Vec<f64>) = (numbers(2 * 900 * 5, 2), numbers(2 * 900 * 4, 3));
        assert_close(&forward(a, &q, &k, &v, None).0, &naive(a, &q, &k, &v, None), 1e-12);
        let a = Attention { causal: true, ..a };
        assert_close(&forward(a, &q, &k, &v, None).0, &naive(a, &q, &k, &v, None), 1e-12);
    }

    #[test]
    fn a_row_that_sees_nothing_gives_zeros_and_no_gradients() {
        let a = shape(1, 2, 3, false);
        let (q, k, v): (Vec<f64>, Vec<f64>, Vec<f64>) = (numbers(10, 1), numbers(15, 2), numbers(12, 3));
        let mask = [
            0.0,
            f64::NEG_INFINITY,
            0.0,
            f64::NEG_INFINITY,
            f64::NEG_INFINITY,
            f64::NEG_INFINITY,
        ];
        let (out, lse) = forward(a, &q, &k, &v, Some(&mask));
        assert_eq!(out[4..], [0.0; 4]);
        assert!(out[..4].iter().all(|x| x.is_finite()));
        let (mut dq, mut dk, mut dv) = (vec![9.0; 10], vec![9.0; 15], vec![9.0; 12]);
        let gradients = Gradients {
            q: &mut dq,
            k: &mut dk,
            v: &mut dv,
            mask: None,
        };
        attention_backward(a, &q, &k, &v, Some(&mask), &out, &lse, &[1.0; 8], gradients, &never).unwrap();
        assert_eq!(dq[5..], [0.0; 5]);
        assert_eq!(dk[5..10], [0.0; 5]);
        assert!(dk.iter().chain(&dv).all(|x| x.is_finite()));
        let (out, _) = forward(a, &q, &k, &v, Some(&[f64::NAN; 6]));
        assert!(out.iter().all(|x| x.is_nan()));
    }

    #[test]
    fn it_stops_when_asked_and_threads_change_no_bit() {
        let a = Attention {
            heads: 6,
            queries: 150,
            keys: 150,
            width: 16,
            value_width: 16,
            causal: true,
            scale: 0.25,
        };
        let x: Vec<f32> = numbers(6 * 150 * 16, 1);
        let mask: Vec<f32> = numbers(150 * 150, 2);
        let run = |stop: Stop<'_>, learn_mask: bool| {
            let (mut out, mut lse) = (vec![0.0; x.len()], vec![0.0; 6 * 150]);
            attention(a, &x, &x, &x, Some(&mask), &mut out, &mut lse, stop)?;
            let (mut dq, mut dk, mut dv) = (out.clone(), out.clone(), out.clone());
            let mut d_mask = mask.clone();
            let d_given = learn_mask.then_some(&mut d_mask[..]);
            let gradients = Gradients {
                q: &mut dq,
                k: &mut dk,
                v: &mut dv,
                mask: d_given,
            };
            attention_backward(a, &x, &x, &x, Some(&mask), &out, &lse, &x, gradients, stop)?;
            Ok((out, dq, dk, dv, d_mask))
        };
        let one = same_with_one_and_two_threads(|| run(&never, false)).unwrap();
        let other = same_with_one_and_two_threads(|| run(&never, true)).unwrap();
        assert_eq!((one.1, one.2, one.3), (other.1, other.2, other.3));
        assert_eq!(run(&|| true, false), Err(Cancelled));
    }
}

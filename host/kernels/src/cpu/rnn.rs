//! LSTM and GRU over whole sequences, forward and backward through time; formulas and layouts are PyTorch's.
//!
//! The input's part of all gates is one matrix product over the whole sequence; each step adds the hidden state's part and
//! applies the gates in place. What a forward pass keeps is named; a backward pass takes its working space as `scratch`,
//! so that the caller can account for it; a forward pass copies the hidden weights. Both look at `cancelled` before each
//! step.

use rayon::prelude::*;

use super::gemm::{View, ViewMut, gemm};
use super::index::Dims;
use super::par::{parallel, wide};
use super::{Cancelled, Real, Stop, reduce};

/// Sizes of a layer: x [batch, time, input], states [batch, hidden], outputs [batch, time, hidden].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Sequences.
    pub batch: usize,
    /// Steps, at least 1.
    pub time: usize,
    /// Features of x.
    pub input: usize,
    /// Features of the state.
    pub hidden: usize,
}

impl Sizes {
    /// Elements that a forward pass keeps in `gates`, for LSTM and GRU alike: [batch, time, 4 hidden].
    pub fn gates(&self) -> usize {
        self.outputs() * 4
    }

    /// Elements of all outputs [batch, time, hidden], and of the cells that LSTM keeps.
    pub fn outputs(&self) -> usize {
        self.batch * self.time * self.hidden
    }

    /// Elements of a state [batch, hidden].
    pub fn state(&self) -> usize {
        self.batch * self.hidden
    }

    /// Elements of working space that a backward pass needs.
    pub fn scratch(&self) -> usize {
        self.gates() + 2 * self.state()
    }

    /// Row r of [batch, time, ..] seen as [batch time, ..].
    fn rows(&self) -> usize {
        self.batch * self.time
    }
}

/// Weights of a layer of g gates (LSTM 4, GRU 3).
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a, T> {
    /// [g hidden, input]
    pub input: &'a [T],
    /// [g hidden, hidden]
    pub hidden: &'a [T],
    /// [g hidden]
    pub input_bias: Option<&'a [T]>,
    /// [g hidden]
    pub hidden_bias: Option<&'a [T]>,
}

impl<T> Weights<'_, T> {
    fn check(&self, sizes: Sizes, gates: usize) {
        let rows = gates * sizes.hidden;
        assert!(self.input.len() == rows * sizes.input && self.hidden.len() == rows * sizes.hidden);
        assert!(self.input_bias.is_none_or(|b| b.len() == rows) && self.hidden_bias.is_none_or(|b| b.len() == rows));
    }
}

/// Gradients of a layer, each overwritten if present.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// [batch, time, input]
    pub x: Option<&'a mut [T]>,
    /// [batch, hidden]
    pub h0: Option<&'a mut [T]>,
    /// [batch, hidden]; of LSTM only.
    pub c0: Option<&'a mut [T]>,
    /// [g hidden, input]
    pub input: Option<&'a mut [T]>,
    /// [g hidden, hidden]
    pub hidden: Option<&'a mut [T]>,
    /// [g hidden]
    pub input_bias: Option<&'a mut [T]>,
    /// [g hidden]
    pub hidden_bias: Option<&'a mut [T]>,
}

/// What a backward pass starts from; absent gradients count as zeros.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a, T> {
    /// Of all outputs [batch, time, hidden].
    pub out: Option<&'a [T]>,
    /// Of the last h [batch, hidden].
    pub h_n: Option<&'a [T]>,
    /// Of the last c [batch, hidden]; of LSTM only.
    pub c_n: Option<&'a [T]>,
}

/// Applies f to each element.
#[inline(always)]
fn apply<T: Real>(x: &mut [T], f: impl Fn(T) -> T) {
    for x in x {
        *x = f(*x);
    }
}

/// The state before step t: a row of the outputs (or cells), the initial state, or nothing where that is zero.
fn before<'a, T>(sizes: Sizes, t: usize, sequence: &'a [T], initial: Option<&'a [T]>) -> Option<View<'a, T>> {
    match t.checked_sub(1) {
        Some(t) => {
            let view = View::new(sequence.get(t * sizes.hidden..).unwrap_or_default(), sizes.hidden);
            Some(View {
                row: sizes.time * sizes.hidden,
                ..view
            })
        }
        None => initial.map(|initial| View::new(initial, sizes.hidden)),
    }
}

/// Calls `f(sample, part of a, part of b, part of c)`, each split into `batch` equal parts.
fn samples<T: Real>(
    batch: usize,
    work: usize,
    a: &mut [T],
    b: &mut [T],
    c: &mut [T],
    f: impl Fn(usize, &mut [T], &mut [T], &mut [T]) + Sync,
) {
    let (na, nb, nc) = (a.len() / batch, b.len() / batch, c.len() / batch);
    if parallel(work) {
        let parts = a.par_chunks_mut(na).zip(b.par_chunks_mut(nb)).zip(c.par_chunks_mut(nc));
        parts
            .enumerate()
            .with_min_len(8)
            .for_each(|(i, ((a, b), c))| f(i, a, b, c));
    } else {
        let parts = a.chunks_mut(na).zip(b.chunks_mut(nb)).zip(c.chunks_mut(nc));
        parts.enumerate().for_each(|(i, ((a, b), c))| f(i, a, b, c));
    }
}

/// The hidden weights [g hidden, hidden] transposed: each step then reads them as they lie, instead of arranging them
/// anew.
fn transposed<T: Real>(hidden: usize, weight: &[T]) -> Vec<T> {
    const TILE: usize = 16;
    let rows = weight.len() / hidden;
    let mut out = vec![T::ZERO; weight.len()];
    for (r, c) in (0..rows)
        .step_by(TILE)
        .flat_map(|r| (0..hidden).step_by(TILE).map(move |c| (r, c)))
    {
        for i in c..hidden.min(c + TILE) {
            for j in r..rows.min(r + TILE) {
                out[i * rows + j] = weight[j * hidden + i];
            }
        }
    }
    out
}

/// Work of the gates of one step, in elements of simpler loops.
fn step_work(sizes: Sizes) -> usize {
    8 * sizes.state()
}

/// One layer of LSTM. With gates i, f, g, o as in PyTorch:
/// (i, f, o) = sigmoid(W x + b + U h + b'), g = tanh(..), c' = f c + i g, h' = o tanh(c').
///
/// Absent initial states are zeros. Writes all outputs `out` and keeps `cells` [batch, time, hidden] (the last c is its
/// last step) and `gates` [batch, time, 4 hidden] after their functions.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn lstm<T: Real>(
    sizes: Sizes,
    x: &[T],
    h0: Option<&[T]>,
    c0: Option<&[T]>,
    weights: Weights<'_, T>,
    out: &mut [T],
    cells: &mut [T],
    gates: &mut [T],
    cancelled: Stop<'_>,
) -> Result<(), Cancelled> {
    let Sizes {
        batch,
        time,
        input,
        hidden,
    } = sizes;
    let width = 4 * hidden;
    weights.check(sizes, 4);
    assert!(x.len() == sizes.rows() * input && out.len() == sizes.outputs());
    assert!(cells.len() == sizes.outputs() && gates.len() == sizes.gates());
    if out.is_empty() {
        return Ok(());
    }
    for row in gates.chunks_exact_mut(width) {
        fill_bias(row, weights.input_bias, weights.hidden_bias);
    }
    let to_gates = View::new(weights.input, input).transposed();
    gemm(
        (sizes.rows(), width, input),
        T::ONE,
        View::new(x, input),
        to_gates,
        T::ONE,
        ViewMut::new(gates, width),
    );
    let hidden_weight = transposed(hidden, weights.hidden);
    for t in 0..time {
        if cancelled() {
            return Err(Cancelled);
        }
        if let Some(h) = before(sizes, t, out, h0) {
            let step = ViewMut {
                row: time * width,
                ..ViewMut::new(&mut gates[t * width..], width)
            };
            gemm(
                (batch, width, hidden),
                T::ONE,
                h,
                View::new(&hidden_weight, width),
                T::ONE,
                step,
            );
        }
        samples(batch, step_work(sizes), gates, cells, out, |b, gates, cells, out| {
            let (past, cell) = cells.split_at_mut(t * hidden);
            let past = match t {
                0 => c0.map(|c0| &c0[b * hidden..][..hidden]),
                _ => Some(&past[(t - 1) * hidden..]),
            };
            let gates = &mut gates[t * width..][..width];
            let (cell, out) = (&mut cell[..hidden], &mut out[t * hidden..][..hidden]);
            wide(
                #[inline(always)]
                move || {
                    apply(
                        &mut gates[..2 * hidden],
                        #[inline(always)]
                        |x| x.sigmoid(),
                    );
                    apply(
                        &mut gates[2 * hidden..3 * hidden],
                        #[inline(always)]
                        |x| x.tanh(),
                    );
                    apply(
                        &mut gates[3 * hidden..],
                        #[inline(always)]
                        |x| x.sigmoid(),
                    );
                    let (i, f) = (&gates[..hidden], &gates[hidden..2 * hidden]);
                    let (g, o) = (&gates[2 * hidden..3 * hidden], &gates[3 * hidden..4 * hidden]);
                    for j in 0..hidden {
                        cell[j] = i[j] * g[j];
                    }
                    if let Some(past) = past {
                        for j in 0..hidden {
                            cell[j] += f[j] * past[j];
                        }
                    }
                    for j in 0..hidden {
                        out[j] = o[j] * cell[j].tanh();
                    }
                },
            );
        });
    }
    Ok(())
}

fn fill_bias<T: Real>(row: &mut [T], a: Option<&[T]>, b: Option<&[T]>) {
    match (a, b) {
        (Some(a), Some(b)) => row.iter_mut().zip(a).zip(b).for_each(|((row, &a), &b)| *row = a + b),
        (Some(bias), None) | (None, Some(bias)) => row.copy_from_slice(bias),
        (None, None) => row.fill(T::ZERO),
    }
}

/// The derivative of [`lstm`] from what it was given, gave and kept. `scratch` has [`Sizes::scratch`] elements.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn lstm_backward<T: Real>(
    sizes: Sizes,
    x: &[T],
    h0: Option<&[T]>,
    c0: Option<&[T]>,
    weights: Weights<'_, T>,
    out: &[T],
    cells: &[T],
    gates: &[T],
    upstream: Upstream<'_, T>,
    gradients: Gradients<'_, T>,
    scratch: &mut [T],
    cancelled: Stop<'_>,
) -> Result<(), Cancelled> {
    let Sizes {
        batch,
        time,
        input,
        hidden,
    } = sizes;
    let width = 4 * hidden;
    weights.check(sizes, 4);
    assert!(x.len() == sizes.rows() * input && out.len() == sizes.outputs());
    assert!(cells.len() == sizes.outputs() && gates.len() == sizes.gates() && scratch.len() == sizes.scratch());
    let (d_gates, states) = scratch.split_at_mut(sizes.gates());
    let (dh, dc) = states.split_at_mut(sizes.state());
    start(dh, upstream.h_n);
    start(dc, upstream.c_n);
    for t in (0..if out.is_empty() { 0 } else { time }).rev() {
        if cancelled() {
            return Err(Cancelled);
        }
        samples(batch, step_work(sizes), d_gates, dh, dc, |b, d_gates, dh, dc| {
            let at = b * time + t;
            let past = match t {
                0 => c0.map(|c0| &c0[b * hidden..][..hidden]),
                _ => Some(&cells[(at - 1) * hidden..][..hidden]),
            };
            if let Some(d_out) = upstream.out {
                dh.iter_mut().zip(&d_out[at * hidden..]).for_each(|(dh, &d)| *dh += d);
            }
            let (gates, cell) = (&gates[at * width..][..width], &cells[at * hidden..][..hidden]);
            wide(
                #[inline(always)]
                move || lstm_step_backward(gates, cell, past, dh, dc, &mut d_gates[t * width..][..width]),
            );
        });
        if t > 0 || gradients.h0.is_some() {
            let step = View {
                row: time * width,
                ..View::new(&d_gates[t * width..], width)
            };
            let to_hidden = View::new(weights.hidden, hidden);
            gemm(
                (batch, hidden, width),
                T::ONE,
                step,
                to_hidden,
                T::ZERO,
                ViewMut::new(dh, hidden),
            );
        }
    }
    if cancelled() {
        return Err(Cancelled);
    }
    if let Some(h0) = gradients.h0 {
        h0.copy_from_slice(dh);
    }
    if let Some(c0) = gradients.c0 {
        c0.copy_from_slice(dc);
    }
    let rows = sizes.rows();
    let all = View::new(d_gates, width);
    if let Some(dx) = gradients.x {
        let to_input = View::new(weights.input, input);
        gemm(
            (rows, input, width),
            T::ONE,
            all,
            to_input,
            T::ZERO,
            ViewMut::new(dx, input),
        );
    }
    if let Some(d_input) = gradients.input {
        let size = (width, input, rows);
        gemm(
            size,
            T::ONE,
            all.transposed(),
            View::new(x, input),
            T::ZERO,
            ViewMut::new(d_input, input),
        );
    }
    let dims = Dims {
        outer: 1,
        n: rows,
        inner: width,
    };
    match (gradients.input_bias, gradients.hidden_bias) {
        (Some(bias), Some(other)) => {
            reduce::sum(dims, d_gates, bias);
            other.copy_from_slice(bias);
        }
        (Some(bias), None) | (None, Some(bias)) => reduce::sum(dims, d_gates, bias),
        (None, None) => {}
    }
    if let Some(d_hidden) = gradients.hidden {
        hidden_gradient(sizes, h0, out, d_gates, width, 0, width, d_hidden);
    }
    Ok(())
}

fn start<T: Real>(state: &mut [T], upstream: Option<&[T]>) {
    match upstream {
        Some(upstream) => state.copy_from_slice(upstream),
        None => state.fill(T::ZERO),
    }
}

/// From dh and dc after a step to dc before it and the gradients of the gates' arguments.
#[inline(always)]
fn lstm_step_backward<T: Real>(
    gates: &[T],
    cell: &[T],
    past: Option<&[T]>,
    dh: &mut [T],
    dc: &mut [T],
    d_gates: &mut [T],
) {
    let n = cell.len();
    let (i, f, g, o) = (
        &gates[..n],
        &gates[n..2 * n],
        &gates[2 * n..3 * n],
        &gates[3 * n..4 * n],
    );
    let (di, rest) = d_gates.split_at_mut(n);
    let (df, rest) = rest.split_at_mut(n);
    let (dg, d_o) = rest.split_at_mut(n);
    let (dh, dc, d_o) = (&mut dh[..n], &mut dc[..n], &mut d_o[..n]);
    for j in 0..n {
        d_o[j] = cell[j].tanh();
    }
    for j in 0..n {
        let tanh = d_o[j];
        dc[j] += dh[j] * o[j] * (T::ONE - tanh * tanh);
        d_o[j] = dh[j] * tanh * o[j] * (T::ONE - o[j]);
    }
    for j in 0..n {
        di[j] = dc[j] * g[j] * i[j] * (T::ONE - i[j]);
        dg[j] = dc[j] * i[j] * (T::ONE - g[j] * g[j]);
    }
    match past {
        None => df.fill(T::ZERO),
        Some(past) => {
            for j in 0..n {
                df[j] = dc[j] * past[j] * f[j] * (T::ONE - f[j]);
            }
        }
    }
    for j in 0..n {
        dc[j] *= f[j];
    }
}

/// The gradient of hidden weights: the sum over all steps of d_gates (columns `first .. first + columns` of rows of
/// `width`) transposed times the state before the step. Overwrites those columns of each sample's first step.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
fn hidden_gradient<T: Real>(
    sizes: Sizes,
    h0: Option<&[T]>,
    out: &[T],
    d_gates: &mut [T],
    width: usize,
    first: usize,
    columns: usize,
    d_hidden: &mut [T],
) {
    let Sizes { time, hidden, .. } = sizes;
    let rows = sizes.rows();
    let beta = match h0 {
        None => T::ZERO,
        Some(h0) => {
            let step = View {
                row: time * width,
                ..View::new(d_gates.get(first..).unwrap_or_default(), width)
            };
            let size = (columns, hidden, sizes.batch);
            let d_hidden = ViewMut::new(d_hidden, hidden);
            gemm(
                size,
                T::ONE,
                step.transposed(),
                View::new(h0, hidden),
                T::ZERO,
                d_hidden,
            );
            T::ONE
        }
    };
    // In [batch time, ..] the state before row r is row r - 1 of the outputs, except at each sample's first step: with
    // those rows zero, one product over all rows but the first does.
    for row in d_gates.chunks_exact_mut(time * width) {
        row[first..first + columns].fill(T::ZERO);
    }
    let later = View::new(d_gates.get(width + first..).unwrap_or_default(), width).transposed();
    let size = (columns, hidden, rows.saturating_sub(1));
    gemm(
        size,
        T::ONE,
        later,
        View::new(out, hidden),
        beta,
        ViewMut::new(d_hidden, hidden),
    );
}

/// One layer of GRU. With gates r, z, n as in PyTorch: (r, z) = sigmoid(W x + b + U h + b'),
/// n = tanh(W x + b + r (U h + b')), h' = (1 - z) n + z h.
///
/// An absent initial state is zeros. Writes all outputs `out` [batch, time, hidden] and keeps `gates`
/// [batch, time, 4 hidden]: n, r, z, and U h + b' of n.
pub fn gru<T: Real>(
    sizes: Sizes,
    x: &[T],
    h0: Option<&[T]>,
    weights: Weights<'_, T>,
    out: &mut [T],
    gates: &mut [T],
    cancelled: Stop<'_>,
) -> Result<(), Cancelled> {
    let Sizes {
        batch,
        time,
        input,
        hidden,
    } = sizes;
    let width = 4 * hidden;
    weights.check(sizes, 3);
    assert!(x.len() == sizes.rows() * input && out.len() == sizes.outputs() && gates.len() == sizes.gates());
    if out.is_empty() {
        return Ok(());
    }
    for row in gates.chunks_exact_mut(width) {
        fill_bias(&mut row[..hidden], weights.input_bias.map(|b| &b[2 * hidden..]), None);
        fill_bias(
            &mut row[hidden..3 * hidden],
            weights.input_bias.map(|b| &b[..2 * hidden]),
            weights.hidden_bias.map(|b| &b[..2 * hidden]),
        );
        fill_bias(
            &mut row[3 * hidden..],
            weights.hidden_bias.map(|b| &b[2 * hidden..]),
            None,
        );
    }
    // The columns n, r, z of the gates take the rows r, z, n of the weight.
    let (to_rz, to_n) = weights.input.split_at(2 * hidden * input);
    for (rows, first, columns) in [(to_rz, hidden, 2 * hidden), (to_n, 0, hidden)] {
        let columns_of_gates = ViewMut {
            row: width,
            ..ViewMut::new(&mut gates[first..], width)
        };
        let rows = View::new(rows, input).transposed();
        gemm(
            (sizes.rows(), columns, input),
            T::ONE,
            View::new(x, input),
            rows,
            T::ONE,
            columns_of_gates,
        );
    }
    let hidden_weight = transposed(hidden, weights.hidden);
    // Nothing else is written, but `samples` splits three slices.
    let mut none = vec![T::ZERO; batch];
    for t in 0..time {
        if cancelled() {
            return Err(Cancelled);
        }
        if let Some(h) = before(sizes, t, out, h0) {
            let step = ViewMut {
                row: time * width,
                ..ViewMut::new(&mut gates[t * width + hidden..], width)
            };
            let to_gates = View::new(&hidden_weight, 3 * hidden);
            gemm((batch, 3 * hidden, hidden), T::ONE, h, to_gates, T::ONE, step);
        }
        samples(batch, step_work(sizes), gates, out, &mut none, |b, gates, out, _| {
            let (past, out) = out.split_at_mut(t * hidden);
            let past = match t {
                0 => h0.map(|h0| &h0[b * hidden..][..hidden]),
                _ => Some(&past[(t - 1) * hidden..]),
            };
            let (n, rest) = gates[t * width..][..width].split_at_mut(hidden);
            let (rz, from_hidden) = rest.split_at_mut(2 * hidden);
            let (out, n, from_hidden) = (&mut out[..hidden], &mut n[..hidden], &from_hidden[..hidden]);
            wide(
                #[inline(always)]
                move || {
                    apply(
                        rz,
                        #[inline(always)]
                        |x| x.sigmoid(),
                    );
                    let (r, z) = (&rz[..hidden], &rz[hidden..2 * hidden]);
                    for j in 0..hidden {
                        n[j] = (n[j] + r[j] * from_hidden[j]).tanh();
                    }
                    match past {
                        None => {
                            for j in 0..hidden {
                                out[j] = n[j] - z[j] * n[j];
                            }
                        }
                        Some(past) => {
                            for j in 0..hidden {
                                out[j] = n[j] + z[j] * (past[j] - n[j]);
                            }
                        }
                    }
                },
            );
        });
    }
    Ok(())
}

/// The derivative of [`gru`] from what it was given, gave and kept. `scratch` has [`Sizes::scratch`] elements.
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn gru_backward<T: Real>(
    sizes: Sizes,
    x: &[T],
    h0: Option<&[T]>,
    weights: Weights<'_, T>,
    out: &[T],
    gates: &[T],
    upstream: Upstream<'_, T>,
    gradients: Gradients<'_, T>,
    scratch: &mut [T],
    cancelled: Stop<'_>,
) -> Result<(), Cancelled> {
    let Sizes {
        batch,
        time,
        input,
        hidden,
    } = sizes;
    let width = 4 * hidden;
    weights.check(sizes, 3);
    assert!(x.len() == sizes.rows() * input && out.len() == sizes.outputs());
    assert!(gates.len() == sizes.gates() && scratch.len() == sizes.scratch());
    let (d_gates, states) = scratch.split_at_mut(sizes.gates());
    let (dh, direct) = states.split_at_mut(sizes.state());
    start(dh, upstream.h_n);
    for t in (0..if out.is_empty() { 0 } else { time }).rev() {
        if cancelled() {
            return Err(Cancelled);
        }
        samples(
            batch,
            step_work(sizes),
            d_gates,
            dh,
            direct,
            |b, d_gates, dh, direct| {
                let at = b * time + t;
                let past = match t {
                    0 => h0.map(|h0| &h0[b * hidden..][..hidden]),
                    _ => Some(&out[(at - 1) * hidden..][..hidden]),
                };
                if let Some(d_out) = upstream.out {
                    dh.iter_mut().zip(&d_out[at * hidden..]).for_each(|(dh, &d)| *dh += d);
                }
                let gates = &gates[at * width..][..width];
                wide(
                    #[inline(always)]
                    move || gru_step_backward(gates, past, dh, direct, &mut d_gates[t * width..][..width]),
                );
            },
        );
        // What goes through z h directly, plus what goes through the gates.
        dh.copy_from_slice(direct);
        if t > 0 || gradients.h0.is_some() {
            let step = View {
                row: time * width,
                ..View::new(&d_gates[t * width + hidden..], width)
            };
            let to_hidden = View::new(weights.hidden, hidden);
            gemm(
                (batch, hidden, 3 * hidden),
                T::ONE,
                step,
                to_hidden,
                T::ONE,
                ViewMut::new(dh, hidden),
            );
        }
    }
    if cancelled() {
        return Err(Cancelled);
    }
    if let Some(h0) = gradients.h0 {
        h0.copy_from_slice(dh);
    }
    let rows = sizes.rows();
    // The input's gradients lie in the columns n, r, z, the hidden state's in r, z, n'.
    let column = |first: usize| View::new(d_gates.get(first..).unwrap_or_default(), width);
    if let Some(dx) = gradients.x {
        let (rz, n) = weights.input.split_at(2 * hidden * input);
        let size = (rows, input, 2 * hidden);
        gemm(
            size,
            T::ONE,
            column(hidden),
            View::new(rz, input),
            T::ZERO,
            ViewMut::new(dx, input),
        );
        gemm(
            (rows, input, hidden),
            T::ONE,
            column(0),
            View::new(n, input),
            T::ONE,
            ViewMut::new(dx, input),
        );
    }
    if let Some(d_input) = gradients.input {
        let (rz, n) = d_input.split_at_mut(2 * hidden * input);
        let x = View::new(x, input);
        gemm(
            (2 * hidden, input, rows),
            T::ONE,
            column(hidden).transposed(),
            x,
            T::ZERO,
            ViewMut::new(rz, input),
        );
        gemm(
            (hidden, input, rows),
            T::ONE,
            column(0).transposed(),
            x,
            T::ZERO,
            ViewMut::new(n, input),
        );
    }
    if gradients.input_bias.is_some() || gradients.hidden_bias.is_some() {
        let mut sums = vec![T::ZERO; width];
        reduce::sum(
            Dims {
                outer: 1,
                n: rows,
                inner: width,
            },
            d_gates,
            &mut sums,
        );
        if let Some(bias) = gradients.input_bias {
            let (rz, n) = bias.split_at_mut(2 * hidden);
            rz.copy_from_slice(&sums[hidden..3 * hidden]);
            n.copy_from_slice(&sums[..hidden]);
        }
        if let Some(bias) = gradients.hidden_bias {
            bias.copy_from_slice(&sums[hidden..]);
        }
    }
    if let Some(d_hidden) = gradients.hidden {
        hidden_gradient(sizes, h0, out, d_gates, width, hidden, 3 * hidden, d_hidden);
    }
    Ok(())
}

/// From dh after a step to the part of dh before it that comes through z h alone, and the gradients of the gates'
/// arguments n, r, z and of U h + b' in n.
#[inline(always)]
fn gru_step_backward<T: Real>(gates: &[T], past: Option<&[T]>, dh: &[T], direct: &mut [T], d_gates: &mut [T]) {
    let h = dh.len();
    let (n, r, z, from_hidden) = (
        &gates[..h],
        &gates[h..2 * h],
        &gates[2 * h..3 * h],
        &gates[3 * h..4 * h],
    );
    let (dn, rest) = d_gates.split_at_mut(h);
    let (dr, rest) = rest.split_at_mut(h);
    let (dz, d_from_hidden) = rest.split_at_mut(h);
    let (direct, d_from_hidden) = (&mut direct[..h], &mut d_from_hidden[..h]);
    match past {
        None => {
            for j in 0..h {
                dz[j] = -n[j];
            }
        }
        Some(past) => {
            for j in 0..h {
                dz[j] = past[j] - n[j];
            }
        }
    }
    for j in 0..h {
        dz[j] *= dh[j] * z[j] * (T::ONE - z[j]);
        direct[j] = dh[j] * z[j];
    }
    for j in 0..h {
        dn[j] = dh[j] * (T::ONE - z[j]) * (T::ONE - n[j] * n[j]);
    }
    for j in 0..h {
        d_from_hidden[j] = dn[j] * r[j];
        dr[j] = dn[j] * from_hidden[j] * r[j] * (T::ONE - r[j]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    const SIZES: Sizes = Sizes {
        batch: 3,
        time: 4,
        input: 2,
        hidden: 5,
    };

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// Row `row` of a matrix of `n` columns times v.
    fn product(matrix: &[f64], n: usize, row: usize, v: &[f64]) -> f64 {
        dot(&matrix[row * n..][..n], v)
    }

    /// PyTorch's documented formulas, one number at a time; gives all outputs and the last c.
    fn naive(sizes: Sizes, x: &[f64], h0: &[f64], c0: Option<&[f64]>, w: Weights<'_, f64>) -> (Vec<f64>, Vec<f64>) {
        let Sizes {
            batch,
            time,
            input,
            hidden,
        } = sizes;
        let (mut out, mut last) = (Vec::new(), Vec::new());
        for b in 0..batch {
            let mut h = h0[b * hidden..][..hidden].to_vec();
            let mut c = c0.map_or(Vec::new(), |c0| c0[b * hidden..][..hidden].to_vec());
            for t in 0..time {
                let x = &x[(b * time + t) * input..][..input];
                let from_x = |row: usize| product(w.input, input, row, x) + w.input_bias.map_or(0.0, |b| b[row]);
                let from_h = |row: usize| product(w.hidden, hidden, row, &h) + w.hidden_bias.map_or(0.0, |b| b[row]);
                let next: Vec<f64> = (0..hidden)
                    .map(|j| {
                        let gate = |g: usize| from_x(g * hidden + j) + from_h(g * hidden + j);
                        if c0.is_some() {
                            c[j] = sigmoid(gate(1)) * c[j] + sigmoid(gate(0)) * gate(2).tanh();
                            sigmoid(gate(3)) * c[j].tanh()
                        } else {
                            let (r, z) = (sigmoid(gate(0)), sigmoid(gate(1)));
                            let n = (from_x(2 * hidden + j) + r * from_h(2 * hidden + j)).tanh();
                            (1.0 - z) * n + z * h[j]
                        }
                    })
                    .collect();
                h = next;
                out.extend_from_slice(&h);
            }
            last.extend(c);
        }
        (out, last)
    }

    struct Case<T> {
        x: Vec<T>,
        h0: Vec<T>,
        c0: Vec<T>,
        parameters: [Vec<T>; 4],
    }

    impl<T: Real> Case<T> {
        fn new(sizes: Sizes, gates: usize) -> Self {
            let rows = gates * sizes.hidden;
            Self {
                x: numbers(sizes.rows() * sizes.input, 1),
                h0: numbers(sizes.state(), 2),
                c0: numbers(sizes.state(), 3),
                parameters: [
                    numbers(rows * sizes.input, 4),
                    numbers(rows * sizes.hidden, 5),
                    numbers(rows, 6),
                    numbers(rows, 7),
                ],
            }
        }

        fn weights(&self) -> Weights<'_, T> {
            let [input, hidden, input_bias, hidden_bias] = &self.parameters;
            Weights {
                input,
                hidden,
                input_bias: Some(input_bias),
                hidden_bias: Some(hidden_bias),
            }
        }
    }

    fn never() -> bool {
        false
    }

    #[test]
    fn lstm_agrees_with_the_formulas_and_finite_differences() {
        let case = Case::<f64>::new(SIZES, 4);
        let (g, g_h, g_c): (Vec<f64>, Vec<f64>, Vec<f64>) = (
            numbers(SIZES.outputs(), 8),
            numbers(SIZES.state(), 9),
            numbers(SIZES.state(), 10),
        );
        let h = SIZES.hidden;
        let last = |out: &[f64]| -> Vec<f64> {
            out.chunks(SIZES.time * h)
                .flat_map(|rows| rows[rows.len() - h..].to_vec())
                .collect()
        };
        let run = |x: &[f64], h0: Option<&[f64]>, c0: Option<&[f64]>, weights: Weights<'_, f64>| {
            let (mut out, mut cells) = (vec![0.0; SIZES.outputs()], vec![0.0; SIZES.outputs()]);
            let mut gates = vec![0.0; SIZES.gates()];
            lstm(SIZES, x, h0, c0, weights, &mut out, &mut cells, &mut gates, &never).unwrap();
            let loss = dot(&out, &g) + dot(&last(&out), &g_h) + dot(&last(&cells), &g_c);
            (loss, out, cells, gates)
        };
        let w = case.weights();
        for given in [true, false] {
            let (h0, c0) = (given.then_some(&case.h0[..]), given.then_some(&case.c0[..]));
            let zeros = vec![0.0; SIZES.state()];
            let (_, out, cells, gates) = run(&case.x, h0, c0, w);
            let want = naive(SIZES, &case.x, h0.unwrap_or(&zeros), Some(c0.unwrap_or(&zeros)), w);
            assert_close(&out, &want.0, 1e-12);
            assert_close(&last(&cells), &want.1, 1e-12);

            let mut d = Case::<f64>::new(SIZES, 4);
            let mut scratch = vec![7.0; SIZES.scratch()];
            let [d_input, d_hidden, d_input_bias, d_hidden_bias] = &mut d.parameters;
            let gradients = Gradients {
                x: Some(&mut d.x),
                h0: Some(&mut d.h0),
                c0: Some(&mut d.c0),
                input: Some(d_input),
                hidden: Some(d_hidden),
                input_bias: Some(d_input_bias),
                hidden_bias: Some(d_hidden_bias),
            };
            let upstream = Upstream {
                out: Some(&g),
                h_n: Some(&g_h),
                c_n: Some(&g_c),
            };
            let (x, stop) = (&case.x, &never);
            lstm_backward(
                SIZES,
                x,
                h0,
                c0,
                w,
                &out,
                &cells,
                &gates,
                upstream,
                gradients,
                &mut scratch,
                stop,
            )
            .unwrap();
            let (start_h, start_c) = (h0.unwrap_or(&zeros), c0.unwrap_or(&zeros));
            check_gradient(&case.x, &d.x, |x| run(x, h0, c0, w).0);
            check_gradient(start_h, &d.h0, |h0| run(&case.x, Some(h0), c0, w).0);
            check_gradient(start_c, &d.c0, |c0| run(&case.x, h0, Some(c0), w).0);
            let x = &case.x;
            check_gradient(w.input, &d.parameters[0], |p| {
                run(x, h0, c0, Weights { input: p, ..w }).0
            });
            check_gradient(w.hidden, &d.parameters[1], |p| {
                run(x, h0, c0, Weights { hidden: p, ..w }).0
            });
            let bias = &case.parameters[2];
            check_gradient(bias, &d.parameters[2], |p| {
                run(
                    x,
                    h0,
                    c0,
                    Weights {
                        input_bias: Some(p),
                        ..w
                    },
                )
                .0
            });
            let bias = &case.parameters[3];
            check_gradient(bias, &d.parameters[3], |p| {
                run(
                    x,
                    h0,
                    c0,
                    Weights {
                        hidden_bias: Some(p),
                        ..w
                    },
                )
                .0
            });
        }
    }

    #[test]
    fn gru_agrees_with_the_formulas_and_finite_differences() {
        let case = Case::<f64>::new(SIZES, 3);
        let (g, g_h): (Vec<f64>, Vec<f64>) = (numbers(SIZES.outputs(), 8), numbers(SIZES.state(), 9));
        let h = SIZES.hidden;
        let run = |x: &[f64], h0: Option<&[f64]>, weights: Weights<'_, f64>| {
            let (mut out, mut gates) = (vec![0.0; SIZES.outputs()], vec![0.0; SIZES.gates()]);
            gru(SIZES, x, h0, weights, &mut out, &mut gates, &never).unwrap();
            let last: Vec<f64> = out
                .chunks(SIZES.time * h)
                .flat_map(|rows| rows[rows.len() - h..].to_vec())
                .collect();
            (dot(&out, &g) + dot(&last, &g_h), out, gates)
        };
        let w = case.weights();
        for given in [true, false] {
            let h0 = given.then_some(&case.h0[..]);
            let zeros = vec![0.0; SIZES.state()];
            let (_, out, gates) = run(&case.x, h0, w);
            assert_close(&out, &naive(SIZES, &case.x, h0.unwrap_or(&zeros), None, w).0, 1e-12);
            let mut d = Case::<f64>::new(SIZES, 3);
            let mut scratch = vec![7.0; SIZES.scratch()];
            let [d_input, d_hidden, d_input_bias, d_hidden_bias] = &mut d.parameters;
            let gradients = Gradients {
                x: Some(&mut d.x),
                h0: Some(&mut d.h0),
                c0: None,
                input: Some(d_input),
                hidden: Some(d_hidden),
                input_bias: Some(d_input_bias),
                hidden_bias: Some(d_hidden_bias),
            };
            let upstream = Upstream {
                out: Some(&g),
                h_n: Some(&g_h),
                c_n: None,
            };
            gru_backward(
                SIZES,
                &case.x,
                h0,
                w,
                &out,
                &gates,
                upstream,
                gradients,
                &mut scratch,
                &never,
            )
            .unwrap();
            let x = &case.x;
            check_gradient(x, &d.x, |x| run(x, h0, w).0);
            check_gradient(h0.unwrap_or(&zeros), &d.h0, |h0| run(x, Some(h0), w).0);
            check_gradient(w.input, &d.parameters[0], |p| run(x, h0, Weights { input: p, ..w }).0);
            check_gradient(w.hidden, &d.parameters[1], |p| run(x, h0, Weights { hidden: p, ..w }).0);
            let [_, _, input_bias, hidden_bias] = &case.parameters;
            check_gradient(input_bias, &d.parameters[2], |p| {
                run(
                    x,
                    h0,
                    Weights {
                        input_bias: Some(p),
                        ..w
                    },
                )
                .0
            });
            check_gradient(hidden_bias, &d.parameters[3], |p| {
                run(
                    x,
                    h0,
                    Weights {
                        hidden_bias: Some(p),
                        ..w
                    },
                )
                .0
            });
        }
    }

    #[test]
    fn a_layer_stops_when_asked() {
        let case = Case::<f32>::new(SIZES, 4);
        let (mut out, mut cells) = (vec![0.0; SIZES.outputs()], vec![0.0; SIZES.outputs()]);
        let mut gates = vec![0.0; SIZES.gates()];
        let steps = std::sync::atomic::AtomicUsize::new(0);
        let stop = || steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2;
        let w = case.weights();
        let result = lstm(SIZES, &case.x, None, None, w, &mut out, &mut cells, &mut gates, &stop);
        assert_eq!((result, steps.into_inner()), (Err(Cancelled), 3));
    }

    #[test]
    fn threads_change_no_bit() {
        let sizes = Sizes {
            batch: 160,
            time: 5,
            input: 8,
            hidden: 64,
        };
        let case = Case::<f32>::new(sizes, 4);
        let w = case.weights();
        same_with_one_and_two_threads(|| {
            let (mut out, mut cells) = (vec![0.0; sizes.outputs()], vec![0.0; sizes.outputs()]);
            let mut gates = vec![0.0; sizes.gates()];
            lstm(sizes, &case.x, None, None, w, &mut out, &mut cells, &mut gates, &never).unwrap();
            let mut d = Case::<f32>::new(sizes, 4);
            let [d_input, d_hidden, d_bias, _] = &mut d.parameters;
            let gradients = Gradients {
                x: Some(&mut d.x),
                h0: None,
                c0: None,
                input: Some(d_input),
                hidden: Some(d_hidden),
                input_bias: Some(d_bias),
                hidden_bias: None,
            };
            let upstream = Upstream {
                out: Some(&out),
                h_n: None,
                c_n: None,
            };
            let mut scratch = vec![0.0; sizes.scratch()];
            let (x, stop) = (&case.x, &never);
            lstm_backward(
                sizes,
                x,
                None,
                None,
                w,
                &out,
                &cells,
                &gates,
                upstream,
                gradients,
                &mut scratch,
                stop,
            )
            .unwrap();
            (out, d.x, d.parameters)
        });
    }
}

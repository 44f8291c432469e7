//! LSTM and GRU over whole sequences, forward and backward through time; formulas and layouts are PyTorch's.
//!
//! The input's part of all gates is one matrix product over the whole sequence; each step adds the hidden state's part
//! and applies the gates in place. What a forward pass keeps is named; a backward pass takes its working space as
//! `scratch`, so that the caller can account for it; a forward pass copies the hidden weights. Both look at `cancelled`
//! before each step.

use rayon::prelude::*;

use super::Real;
use super::gemm::{View, ViewMut, gemm};
use super::par::parallel;

mod gru;
mod lstm;

pub use gru::{gru, gru_backward};
pub use lstm::{lstm, lstm_backward};

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
fn fill_bias<T: Real>(row: &mut [T], a: Option<&[T]>, b: Option<&[T]>) {
    match (a, b) {
        (Some(a), Some(b)) => row.iter_mut().zip(a).zip(b).for_each(|((row, &a), &b)| *row = a + b),
        (Some(bias), None) | (None, Some(bias)) => row.copy_from_slice(bias),
        (None, None) => row.fill(T::ZERO),
    }
}

fn start<T: Real>(state: &mut [T], upstream: Option<&[T]>) {
    match upstream {
        Some(upstream) => state.copy_from_slice(upstream),
        None => state.fill(T::ZERO),
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

#[cfg(test)]
mod tests;

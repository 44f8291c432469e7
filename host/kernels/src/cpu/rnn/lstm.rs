//! Long short-term memory (Hochreiter and Schmidhuber 1997; with a forget gate, Gers, Schmidhuber and Cummins 2000).

use super::super::gemm::{View, ViewMut, gemm};
use super::super::index::Dims;
use super::super::par::wide;
use super::super::{Cancelled, Real, Stop, reduce};
use super::transposed;
use super::{
    Gradients, Sizes, Upstream, Weights, apply, before, fill_bias, hidden_gradient, samples, start, step_work,
};

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

//! Gated recurrent unit (Cho et al. 2014), in PyTorch's form: the reset gate acts after the matrix product.

use super::super::gemm::{View, ViewMut, gemm};
use super::super::index::Dims;
use super::super::par::wide;
use super::super::{Cancelled, Real, Stop, reduce};
use super::transposed;
use super::{
    Gradients, Sizes, Upstream, Weights, apply, before, fill_bias, hidden_gradient, samples, start, step_work,
};

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

//! Recurrent layers over whole sequences: one operation each, with the pass backward through time written out.

use super::{expect_shape, widen, widen_option};
use crate::autograd::Gradients;
use crate::cpu::Cancelled;
use crate::cpu::rnn::{self, Sizes, Upstream, Weights};
use crate::error::{Error, Result};
use crate::gpu::recurrent as gpu;
use crate::raw::{Draft, Raw, Saved, op_error, with_float};
use crate::tensor::Tensor;
use candle_core::WithDType;

/// The weights of one layer, as PyTorch lays them out, with `gates` 4 for LSTM and 3 for GRU.
#[derive(Clone, Copy)]
pub struct RnnWeights<'a> {
    /// [gates hidden, in]
    pub input: &'a Tensor,
    /// [gates hidden, hidden]
    pub hidden: &'a Tensor,
    /// [gates hidden]
    pub input_bias: Option<&'a Tensor>,
    /// [gates hidden]
    pub hidden_bias: Option<&'a Tensor>,
}

/// What can be absent, and stands in a fixed place among the inputs.
const H0: usize = 1;
const C0: usize = 2;
const INPUT_BIAS: usize = 5;
const HIDDEN_BIAS: usize = 6;

/// x, h0, c0, input, hidden, input bias, hidden bias: checked and widened.
struct Layer {
    op: &'static str,
    sizes: Sizes,
    gates: usize,
    inputs: [Option<Tensor>; 7],
}

impl Layer {
    fn new(
        op: &'static str,
        gates: usize,
        x: &Tensor,
        state: [Option<&Tensor>; 2],
        w: &RnnWeights<'_>,
    ) -> Result<Self> {
        let operands = [x.raw(), w.input.raw(), w.hidden.raw()];
        let &[batch, time, input] = x.shape() else {
            return Err(Error::Shape(op_error(op, "needs x [batch, time, in]", &operands)));
        };
        let &[rows, hidden] = w.hidden.shape() else {
            return Err(Error::Shape(op_error(
                op,
                format!("the hidden weight must be [{gates} hidden, hidden]"),
                &operands,
            )));
        };
        if rows != gates * hidden || hidden == 0 || time == 0 || batch == 0 {
            return Err(Error::Shape(op_error(
                op,
                format!(
                    "the hidden weight must be [{gates} hidden, hidden], and there must be at least one step and sequence"
                ),
                &operands,
            )));
        }
        expect_shape(op, "the input weight", w.input.raw(), &[rows, input], &operands)?;
        for bias in [w.input_bias, w.hidden_bias].into_iter().flatten() {
            expect_shape(op, "a bias", bias.raw(), &[rows], &[x.raw(), bias.raw()])?;
        }
        for state in state.into_iter().flatten() {
            expect_shape(op, "the state", state.raw(), &[batch, hidden], &[x.raw(), state.raw()])?;
        }
        let [x_wide, w_input, w_hidden] = widen(op, [x, w.input, w.hidden])?;
        let option = |t: Option<&Tensor>| widen_option(op, x, t);
        Ok(Layer {
            op,
            sizes: Sizes {
                batch,
                time,
                input,
                hidden,
            },
            gates,
            inputs: [
                Some(x_wide),
                option(state[0])?,
                option(state[1])?,
                Some(w_input),
                Some(w_hidden),
                option(w.input_bias)?,
                option(w.hidden_bias)?,
            ],
        })
    }

    fn present(&self) -> Vec<&Tensor> {
        self.inputs.iter().flatten().collect()
    }

    fn save(&self) -> SavedLayer {
        SavedLayer {
            op: self.op,
            sizes: self.sizes,
            gates: self.gates,
            inputs: self.inputs.each_ref().map(|t| t.as_ref().map(|t| t.raw().save())),
        }
    }
}

struct SavedLayer {
    op: &'static str,
    sizes: Sizes,
    gates: usize,
    inputs: [Option<Saved>; 7],
}

/// The elements of the inputs that are there.
struct Slices<T>([Option<crate::raw::Elements<T>>; 7]);

impl<T: WithDType> Slices<T> {
    fn of(op: &'static str, inputs: [Option<&Raw>; 7]) -> Result<Self> {
        let mut slices = [const { None }; 7];
        for (slice, raw) in slices.iter_mut().zip(inputs) {
            *slice = raw.map(|r| r.elements::<T>(op)).transpose()?;
        }
        Ok(Slices(slices))
    }

    fn at(&self, i: usize) -> &[T] {
        self.0[i].as_deref().unwrap_or_default()
    }

    fn option(&self, i: usize) -> Option<&[T]> {
        self.0[i].as_deref()
    }

    fn weights(&self) -> Weights<'_, T> {
        Weights {
            input: self.at(3),
            hidden: self.at(4),
            input_bias: self.option(INPUT_BIAS),
            hidden_bias: self.option(HIDDEN_BIAS),
        }
    }
}

/// The inputs for the card's kernels, which read what is contiguous.
struct Contiguous {
    sizes: Sizes,
    inputs: [Option<Raw>; 7],
}

impl Contiguous {
    fn of(op: &'static str, sizes: Sizes, inputs: [Option<&Raw>; 7]) -> Result<Self> {
        let mut contiguous = [const { None }; 7];
        for (place, raw) in contiguous.iter_mut().zip(inputs) {
            *place = raw.map(|raw| raw.contiguous(op)).transpose()?;
        }
        Ok(Contiguous {
            sizes,
            inputs: contiguous,
        })
    }

    fn layer(&self) -> Result<gpu::Layer<'_>> {
        let [x, h0, c0, input, hidden, input_bias, hidden_bias] = self.inputs.each_ref().map(Option::as_ref);
        let (Some(x), Some(input), Some(hidden)) = (x, input, hidden) else {
            return Err(Error::InvalidArgument(op_error(
                "nn.lstm",
                "needs x and two weights",
                &[],
            )));
        };
        Ok(gpu::Layer {
            sizes: self.sizes,
            x,
            h0,
            c0,
            input,
            hidden,
            input_bias,
            hidden_bias,
        })
    }
}

fn cancelled(_: Cancelled) -> Error {
    Error::Cancelled
}

/// The last step of a sequence [batch, time, hidden], as a tensor of its own.
fn last(op: &'static str, sequence: &Raw, sizes: Sizes) -> Result<Raw> {
    sequence
        .view(op, |t| t.narrow(1, sizes.time - 1, 1)?.squeeze(1))?
        .copy(op)
}

/// One layer of long short-term memory (Hochreiter and Schmidhuber 1997) over x [batch, time, in], gates in the order input, forget,
/// cell, output. Gives all outputs [batch, time, hidden] and the last h and c [batch, hidden]; absent states are zeros.
pub fn lstm(
    x: &Tensor,
    state: Option<(&Tensor, &Tensor)>,
    weights: &RnnWeights<'_>,
) -> Result<(Tensor, Tensor, Tensor)> {
    const OP: &str = "nn.lstm";
    let layer = Layer::new(OP, 4, x, [state.map(|s| s.0), state.map(|s| s.1)], weights)?;
    let (sizes, session) = (layer.sizes, x.session().clone());
    let Sizes {
        batch, time, hidden, ..
    } = sizes;
    let raws = layer.inputs.each_ref().map(|t| t.as_ref().map(Tensor::raw));
    let first = raws[0].unwrap_or(x.raw());
    let (out, cells, gates) = match session.gpu() {
        Some(gpu) => gpu.lstm(OP, &Contiguous::of(OP, sizes, raws)?.layer()?)?,
        None => with_float!(OP, first, T => {
            let s = Slices::<T>::of(OP, raws)?;
            let mut out = Draft::<T>::new(OP, &session, &[batch, time, hidden])?;
            let mut cells = Draft::<T>::new(OP, &session, &[batch, time, hidden])?;
            let mut gates = Draft::<T>::new(OP, &session, &[batch, time, 4 * hidden])?;
            let stop = || session.cancel().is_cancelled();
            rnn::lstm(sizes, s.at(0), s.option(H0), s.option(C0), s.weights(), &mut out, &mut cells, &mut gates, &stop).map_err(cancelled)?;
            Ok((out.finish()?, cells.finish()?, gates.finish()?))
        })?,
    };
    let (h, c) = (last(OP, &out, sizes)?, last(OP, &cells, sizes)?);
    let saved = layer.save();
    let kept = out.save();
    let [y, h, c] = Tensor::record_many([out, h, c], &layer.present(), move |g, _| {
        saved.backward(
            &kept,
            Some(&cells),
            &gates,
            [g[0].as_ref(), g[1].as_ref(), g[2].as_ref()],
        )
    });
    Ok((y.cast(x.dtype())?, h.cast(x.dtype())?, c.cast(x.dtype())?))
}

/// One layer of gated recurrent units (Cho et al. 2014) over x [batch, time, in], gates in the order reset, update, new. Gives all
/// outputs [batch, time, hidden] and the last state [batch, hidden]; an absent state is zeros.
pub fn gru(x: &Tensor, state: Option<&Tensor>, weights: &RnnWeights<'_>) -> Result<(Tensor, Tensor)> {
    const OP: &str = "nn.gru";
    let layer = Layer::new(OP, 3, x, [state, None], weights)?;
    let (sizes, session) = (layer.sizes, x.session().clone());
    let Sizes {
        batch, time, hidden, ..
    } = sizes;
    let raws = layer.inputs.each_ref().map(|t| t.as_ref().map(Tensor::raw));
    let first = raws[0].unwrap_or(x.raw());
    let (out, gates) = match session.gpu() {
        Some(gpu) => gpu.gru(OP, &Contiguous::of(OP, sizes, raws)?.layer()?)?,
        None => with_float!(OP, first, T => {
            let s = Slices::<T>::of(OP, raws)?;
            let mut out = Draft::<T>::new(OP, &session, &[batch, time, hidden])?;
            let mut gates = Draft::<T>::new(OP, &session, &[batch, time, 4 * hidden])?;
            let stop = || session.cancel().is_cancelled();
            rnn::gru(sizes, s.at(0), s.option(H0), s.weights(), &mut out, &mut gates, &stop).map_err(cancelled)?;
            Ok((out.finish()?, gates.finish()?))
        })?,
    };
    let h = last(OP, &out, sizes)?;
    let saved = layer.save();
    let kept = out.save();
    let [y, h] = Tensor::record_many([out, h], &layer.present(), move |g, _| {
        saved.backward(&kept, None, &gates, [g[0].as_ref(), g[1].as_ref(), None])
    });
    Ok((y.cast(x.dtype())?, h.cast(x.dtype())?))
}

impl SavedLayer {
    fn backward(
        &self,
        out: &Saved,
        cells: Option<&Raw>,
        gates: &Raw,
        upstream: [Option<&Raw>; 3],
    ) -> Result<Gradients> {
        let op = self.op;
        let mut inputs = [None; 7];
        for (input, saved) in inputs.iter_mut().zip(&self.inputs) {
            *input = saved.as_ref().map(Saved::get).transpose()?;
        }
        let out = out.get()?;
        let session = out.session().clone();
        if let Some(gpu) = session.gpu() {
            let inputs = Contiguous::of(op, self.sizes, inputs)?;
            let layer = inputs.layer()?;
            let [out_gradient, h_n, c_n] = upstream;
            let out_gradient = out_gradient.map(|g| g.contiguous(op)).transpose()?;
            let upstream = gpu::Upstream {
                out: out_gradient.as_ref(),
                h_n,
                c_n,
            };
            let gradients = match cells {
                Some(cells) => gpu.lstm_backward(op, &layer, [out, cells, gates], upstream)?,
                None => gpu.gru_backward(op, &layer, [out, gates], upstream)?,
            };
            return Ok(gradients.into_iter().flatten().map(Some).collect());
        }
        with_float!(op, out, T => {
            let s = Slices::<T>::of(op, inputs)?;
            let mut drafts: [Option<Draft<T>>; 7] = [const { None }; 7];
            for (draft, input) in drafts.iter_mut().zip(inputs) {
                *draft = input.map(|raw| Draft::<T>::new(op, &session, raw.shape())).transpose()?;
            }
            let mut scratch = Draft::<T>::new(op, &session, &[self.sizes.scratch()])?;
            let (outs, gates) = (out.elements::<T>(op)?, gates.elements::<T>(op)?);
            let read = |raw: Option<&Raw>| raw.map(|r| r.elements::<T>(op)).transpose();
            let (g_out, g_h, g_c) = (read(upstream[0])?, read(upstream[1])?, read(upstream[2])?);
            let upstream = Upstream { out: g_out.as_deref(), h_n: g_h.as_deref(), c_n: g_c.as_deref() };
            let [x, h0, c0, input, hidden, input_bias, hidden_bias] = drafts.each_mut().map(|d| d.as_deref_mut());
            let gradients = rnn::Gradients { x, h0, c0, input, hidden, input_bias, hidden_bias };
            let stop = || session.cancel().is_cancelled();
            if self.gates == 4 {
                let cells = read(cells)?;
                let cells = cells.as_deref().unwrap_or_default();
                rnn::lstm_backward(
                    self.sizes, s.at(0), s.option(H0), s.option(C0), s.weights(), &outs, cells, &gates, upstream, gradients,
                    &mut scratch, &stop,
                )
            } else {
                rnn::gru_backward(self.sizes, s.at(0), s.option(H0), s.weights(), &outs, &gates, upstream, gradients, &mut scratch, &stop)
            }
            .map_err(cancelled)?;
            drafts.into_iter().flatten().map(|draft| draft.finish().map(Some)).collect()
        })
    }
}

//! Recurrent layers: the input's part of all gates is one product over the sequence, each step adds the hidden state's by another in place,
//! and one kernel does the rest of the step.

use super::{Arg, Gpu, Launch, Matrix, Product, empty, f32_or_f64};
use crate::cpu::index::Dims;
use crate::cpu::rnn::Sizes;
use crate::error::Result;
use crate::raw::Raw;

/// A layer's inputs: x [batch, time, input], the states [batch, hidden] before the first step, and weights and biases as PyTorch lays them out.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub(crate) sizes: Sizes,
    pub(crate) x: &'a Raw,
    pub(crate) h0: Option<&'a Raw>,
    pub(crate) c0: Option<&'a Raw>,
    pub(crate) input: &'a Raw,
    pub(crate) hidden: &'a Raw,
    pub(crate) input_bias: Option<&'a Raw>,
    pub(crate) hidden_bias: Option<&'a Raw>,
}

/// What a backward pass starts from: gradients of all outputs, of the last h and of the last c.
#[derive(Clone, Copy)]
pub(crate) struct Upstream<'a> {
    pub(crate) out: Option<&'a Raw>,
    pub(crate) h_n: Option<&'a Raw>,
    pub(crate) c_n: Option<&'a Raw>,
}

/// Gradients of x, h0, c0, the weights and the biases, for those that are there.
pub(crate) type LayerGradients = [Option<Raw>; 7];

impl Gpu {
    /// Outputs, cells and gates, as [`crate::cpu::rnn::lstm`] keeps them.
    pub(crate) fn lstm(&self, op: &'static str, layer: &Layer<'_>) -> Result<(Raw, Raw, Raw)> {
        let of = f32_or_f64(op, layer.x)?;
        let Sizes {
            batch,
            time,
            input,
            hidden,
        } = layer.sizes;
        let (session, dtype, width) = (layer.x.session(), layer.x.dtype(), 4 * hidden);
        let out = empty(op, session, &[batch, time, hidden], dtype)?;
        let cells = empty(op, session, &[batch, time, hidden], dtype)?;
        let gates = empty(op, session, &[batch, time, width], dtype)?;
        let (a, b) = (Arg::Maybe(layer.input_bias), Arg::Maybe(layer.hidden_bias));
        self.fill_gates(op, of, layer, &gates, (0, width), a, b)?;
        let to_gates = Matrix::of(layer.input, input).transposed();
        self.multiply(
            op,
            (batch * time, width, input),
            Matrix::of(layer.x, input),
            to_gates,
            1.0,
            Matrix::of(&gates, width),
        )?;
        let state = batch * hidden;
        for t in 0..time {
            session.check_cancelled()?;
            if let Some(h) = before(layer.sizes, t, &out, layer.h0) {
                let to_gates = Matrix::of(layer.hidden, hidden).transposed();
                let step = Matrix::of(&gates, time * width).from(t * width);
                self.multiply(op, (batch, width, hidden), h, to_gates, 1.0, step)?;
            }
            let args = [
                Arg::Size(state),
                Arg::Size(hidden),
                Arg::Size(time),
                Arg::Size(t),
                Arg::Maybe(layer.c0),
                Arg::Of(&gates),
                Arg::Of(&cells),
                Arg::Of(&out),
            ];
            self.launch(op, session, ("recurrent", "lstm_step", of), Launch::each(state), &args)?;
        }
        Ok((out, cells, gates))
    }

    pub(crate) fn lstm_backward(
        &self,
        op: &'static str,
        layer: &Layer<'_>,
        [out, cells, gates]: [&Raw; 3],
        upstream: Upstream<'_>,
    ) -> Result<LayerGradients> {
        let of = f32_or_f64(op, layer.x)?;
        let Sizes {
            batch,
            time,
            input,
            hidden,
        } = layer.sizes;
        let (session, dtype, width) = (layer.x.session(), layer.x.dtype(), 4 * hidden);
        let d_gates = empty(op, session, &[batch, time, width], dtype)?;
        let (dh, dc) = (
            self.start(op, layer, upstream.h_n)?,
            self.start(op, layer, upstream.c_n)?,
        );
        let state = batch * hidden;
        for t in (0..time).rev() {
            session.check_cancelled()?;
            let args = [
                Arg::Size(state),
                Arg::Size(hidden),
                Arg::Size(time),
                Arg::Size(t),
                Arg::Maybe(layer.c0),
                Arg::Of(gates),
                Arg::Of(cells),
                Arg::Maybe(upstream.out),
                Arg::Of(&dh),
                Arg::Of(&dc),
                Arg::Of(&d_gates),
            ];
            self.launch(
                op,
                session,
                ("recurrent", "lstm_step_backward", of),
                Launch::each(state),
                &args,
            )?;
            if t > 0 || layer.h0.is_some() {
                let step = Matrix::of(&d_gates, time * width).from(t * width);
                let to_hidden = Matrix::of(layer.hidden, hidden);
                self.multiply(
                    op,
                    (batch, hidden, width),
                    step,
                    to_hidden,
                    0.0,
                    Matrix::of(&dh, hidden),
                )?;
            }
        }
        let rows = batch * time;
        let all = Matrix::of(&d_gates, width);
        let dx = empty(op, session, layer.x.shape(), dtype)?;
        self.multiply(
            op,
            (rows, input, width),
            all,
            Matrix::of(layer.input, input),
            0.0,
            Matrix::of(&dx, input),
        )?;
        let d_input = empty(op, session, layer.input.shape(), dtype)?;
        let x = Matrix::of(layer.x, input);
        self.multiply(
            op,
            (width, input, rows),
            all.transposed(),
            x,
            0.0,
            Matrix::of(&d_input, input),
        )?;
        let bias = match layer.input_bias.or(layer.hidden_bias) {
            Some(_) => Some(self.sum(
                op,
                &d_gates,
                Dims {
                    outer: 1,
                    n: rows,
                    inner: width,
                },
                &[width],
                1.0,
            )?),
            None => None,
        };
        let d_hidden = empty(op, session, layer.hidden.shape(), dtype)?;
        self.hidden_gradient(op, of, layer, out, &d_gates, (0, width), &d_hidden)?;
        Ok([
            Some(dx),
            layer.h0.map(|_| dh),
            layer.c0.map(|_| dc),
            Some(d_input),
            Some(d_hidden),
            layer.input_bias.and(bias.clone()),
            layer.hidden_bias.and(bias),
        ])
    }

    /// Outputs and gates, as [`crate::cpu::rnn::gru`] keeps them.
    pub(crate) fn gru(&self, op: &'static str, layer: &Layer<'_>) -> Result<(Raw, Raw)> {
        let of = f32_or_f64(op, layer.x)?;
        let Sizes {
            batch,
            time,
            input,
            hidden,
        } = layer.sizes;
        let (session, dtype, width) = (layer.x.session(), layer.x.dtype(), 4 * hidden);
        let out = empty(op, session, &[batch, time, hidden], dtype)?;
        let gates = empty(op, session, &[batch, time, width], dtype)?;
        let (of_input, of_hidden, none) = (layer.input_bias, layer.hidden_bias, Arg::Maybe(None));
        self.fill_gates(op, of, layer, &gates, (0, hidden), at(of_input, 2 * hidden), none)?;
        self.fill_gates(
            op,
            of,
            layer,
            &gates,
            (hidden, 2 * hidden),
            at(of_input, 0),
            at(of_hidden, 0),
        )?;
        self.fill_gates(
            op,
            of,
            layer,
            &gates,
            (3 * hidden, hidden),
            at(of_hidden, 2 * hidden),
            none,
        )?;
        // The columns n, r, z of the gates take the rows r, z, n of the weight.
        for (row, first, columns) in [(0, hidden, 2 * hidden), (2 * hidden, 0, hidden)] {
            let rows = Matrix::of(layer.input, input).from(row * input).transposed();
            let into = Matrix::of(&gates, width).from(first);
            self.multiply(
                op,
                (batch * time, columns, input),
                Matrix::of(layer.x, input),
                rows,
                1.0,
                into,
            )?;
        }
        let state = batch * hidden;
        for t in 0..time {
            session.check_cancelled()?;
            if let Some(h) = before(layer.sizes, t, &out, layer.h0) {
                let to_gates = Matrix::of(layer.hidden, hidden).transposed();
                let step = Matrix::of(&gates, time * width).from(t * width + hidden);
                self.multiply(op, (batch, 3 * hidden, hidden), h, to_gates, 1.0, step)?;
            }
            let args = [
                Arg::Size(state),
                Arg::Size(hidden),
                Arg::Size(time),
                Arg::Size(t),
                Arg::Maybe(layer.h0),
                Arg::Of(&gates),
                Arg::Of(&out),
            ];
            self.launch(op, session, ("recurrent", "gru_step", of), Launch::each(state), &args)?;
        }
        Ok((out, gates))
    }

    pub(crate) fn gru_backward(
        &self,
        op: &'static str,
        layer: &Layer<'_>,
        [out, gates]: [&Raw; 2],
        upstream: Upstream<'_>,
    ) -> Result<LayerGradients> {
        let of = f32_or_f64(op, layer.x)?;
        let Sizes {
            batch,
            time,
            input,
            hidden,
        } = layer.sizes;
        let (session, dtype, width) = (layer.x.session(), layer.x.dtype(), 4 * hidden);
        let d_gates = empty(op, session, &[batch, time, width], dtype)?;
        let dh = self.start(op, layer, upstream.h_n)?;
        let state = batch * hidden;
        for t in (0..time).rev() {
            session.check_cancelled()?;
            let args = [
                Arg::Size(state),
                Arg::Size(hidden),
                Arg::Size(time),
                Arg::Size(t),
                Arg::Maybe(layer.h0),
                Arg::Of(gates),
                Arg::Of(out),
                Arg::Maybe(upstream.out),
                Arg::Of(&dh),
                Arg::Of(&d_gates),
            ];
            self.launch(
                op,
                session,
                ("recurrent", "gru_step_backward", of),
                Launch::each(state),
                &args,
            )?;
            if t > 0 || layer.h0.is_some() {
                let step = Matrix::of(&d_gates, time * width).from(t * width + hidden);
                let to_hidden = Matrix::of(layer.hidden, hidden);
                self.multiply(
                    op,
                    (batch, hidden, 3 * hidden),
                    step,
                    to_hidden,
                    1.0,
                    Matrix::of(&dh, hidden),
                )?;
            }
        }
        let rows = batch * time;
        let column = |first: usize| Matrix::of(&d_gates, width).from(first);
        let weight = |row: usize| Matrix::of(layer.input, input).from(row * input);
        let dx = empty(op, session, layer.x.shape(), dtype)?;
        let into = Matrix::of(&dx, input);
        self.multiply(op, (rows, input, 2 * hidden), column(hidden), weight(0), 0.0, into)?;
        self.multiply(op, (rows, input, hidden), column(0), weight(2 * hidden), 1.0, into)?;
        let d_input = empty(op, session, layer.input.shape(), dtype)?;
        let x = Matrix::of(layer.x, input);
        let into = |row: usize| Matrix::of(&d_input, input).from(row * input);
        self.multiply(
            op,
            (2 * hidden, input, rows),
            column(hidden).transposed(),
            x,
            0.0,
            into(0),
        )?;
        self.multiply(
            op,
            (hidden, input, rows),
            column(0).transposed(),
            x,
            0.0,
            into(2 * hidden),
        )?;
        let (mut input_bias, mut hidden_bias) = (None, None);
        if layer.input_bias.is_some() || layer.hidden_bias.is_some() {
            let sums = self.sum(
                op,
                &d_gates,
                Dims {
                    outer: 1,
                    n: rows,
                    inner: width,
                },
                &[width],
                1.0,
            )?;
            let part = |first: usize, count: usize| sums.view(op, |t| t.narrow(0, first, count));
            if layer.input_bias.is_some() {
                input_bias = Some(Raw::concat(op, &[&part(hidden, 2 * hidden)?, &part(0, hidden)?], 0)?);
            }
            if layer.hidden_bias.is_some() {
                hidden_bias = Some(part(hidden, 3 * hidden)?);
            }
        }
        let d_hidden = empty(op, session, layer.hidden.shape(), dtype)?;
        self.hidden_gradient(op, of, layer, out, &d_gates, (hidden, 3 * hidden), &d_hidden)?;
        let h0 = layer.h0.map(|_| dh);
        Ok([
            Some(dx),
            h0,
            None,
            Some(d_input),
            Some(d_hidden),
            input_bias,
            hidden_bias,
        ])
    }

    /// Columns of the gates (from one on, so many) become the sum of two biases.
    #[expect(clippy::too_many_arguments, reason = "what a launch consists of")]
    fn fill_gates(
        &self,
        op: &'static str,
        of: &'static str,
        layer: &Layer<'_>,
        gates: &Raw,
        (first, columns): (usize, usize),
        a: Arg<'_>,
        b: Arg<'_>,
    ) -> Result<()> {
        let total = layer.sizes.batch * layer.sizes.time * columns;
        let args = [
            Arg::Size(total),
            Arg::Size(columns),
            Arg::Size(4 * layer.sizes.hidden),
            Arg::Size(first),
            a,
            b,
            Arg::Of(gates),
        ];
        self.launch(
            op,
            gates.session(),
            ("recurrent", "fill_gates", of),
            Launch::each(total),
            &args,
        )
    }

    /// The gradient of a last state as one of its own, zeros where there is none.
    fn start(&self, op: &'static str, layer: &Layer<'_>, upstream: Option<&Raw>) -> Result<Raw> {
        let shape = [layer.sizes.batch, layer.sizes.hidden];
        match upstream {
            Some(upstream) => upstream.copy(op),
            None => Raw::full(op, layer.x.session(), &shape, 0.0, layer.x.dtype()),
        }
    }

    /// The gradient of the hidden weights: over all steps, d_gates (columns from one on, so many) transposed times the state before the step.
    /// Overwrites those of each sample's first step.
    #[expect(clippy::too_many_arguments, reason = "one tensor for each of the formula")]
    fn hidden_gradient(
        &self,
        op: &'static str,
        of: &'static str,
        layer: &Layer<'_>,
        out: &Raw,
        d_gates: &Raw,
        (first, columns): (usize, usize),
        d_hidden: &Raw,
    ) -> Result<()> {
        let Sizes {
            batch, time, hidden, ..
        } = layer.sizes;
        let (width, rows) = (4 * hidden, batch * time);
        let into = Matrix::of(d_hidden, hidden);
        let mut beta = 0.0;
        if let Some(h0) = layer.h0 {
            let step = Matrix::of(d_gates, time * width).from(first).transposed();
            self.multiply(op, (columns, hidden, batch), step, Matrix::of(h0, hidden), 0.0, into)?;
            beta = 1.0;
        }
        // The state before row r of [batch time, ..] is row r - 1 of the outputs, but at each sample's first step.
        let args = [
            Arg::Size(batch * width),
            Arg::Size(time * width),
            Arg::Size(width),
            Arg::Of(d_gates),
        ];
        self.launch(
            op,
            d_gates.session(),
            ("recurrent", "clear_first", of),
            Launch::each(batch * width),
            &args,
        )?;
        if rows > 1 {
            let later = Matrix::of(d_gates, width).from(width + first).transposed();
            return self.multiply(
                op,
                (columns, hidden, rows - 1),
                later,
                Matrix::of(out, hidden),
                beta,
                into,
            );
        }
        if beta == 0.0 {
            let zero = Raw::full(op, d_hidden.session(), d_hidden.shape(), 0.0, d_hidden.dtype())?;
            return d_hidden.overwrite(op, &zero);
        }
        Ok(())
    }

    /// c = a b + beta c
    fn multiply(
        &self,
        op: &'static str,
        size: (usize, usize, usize),
        a: Matrix<'_>,
        b: Matrix<'_>,
        beta: f64,
        c: Matrix<'_>,
    ) -> Result<()> {
        let (batch, alpha) = (1, 1.0);
        self.product(
            op,
            c.raw.session(),
            &Product {
                size,
                batch,
                alpha,
                a,
                b,
                beta,
                c,
            },
        )
    }
}

/// A bias from an element on, or null.
fn at(bias: Option<&Raw>, start: usize) -> Arg<'_> {
    bias.map_or(Arg::Maybe(None), |bias| Arg::At(bias, start))
}

/// The state before step t, where it is not zero.
fn before<'a>(sizes: Sizes, t: usize, out: &'a Raw, h0: Option<&'a Raw>) -> Option<Matrix<'a>> {
    match t.checked_sub(1) {
        Some(t) => Some(Matrix::of(out, sizes.time * sizes.hidden).from(t * sizes.hidden)),
        None => h0.map(|h0| Matrix::of(h0, sizes.hidden)),
    }
}

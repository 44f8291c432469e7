//! Convolutions: windows of some samples unrolled, and one matrix product a group.

use super::{Arg, ConvShape, Gpu, Launch, Matrix, Product, empty, f32_or_f64};
use crate::cpu::conv::Conv;
use crate::cpu::index::Dims;
use crate::error::Result;
use crate::raw::Raw;

/// Elements that are unrolled at once, unless a single sample takes more.
const UNROLLED: usize = 1 << 25;

/// A block of samples at work.
struct Block {
    first: usize,
    samples: usize,
}

/// Sizes that follow from a convolution's.
struct Sizes {
    positions: usize,
    /// Elements of a window in one group.
    window: usize,
    /// Channels of y in one group.
    outputs: usize,
}

impl Sizes {
    fn of(conv: &Conv) -> Self {
        Sizes {
            positions: conv.output.0 * conv.output.1,
            window: conv.inputs / conv.groups * conv.kernel.0 * conv.kernel.1,
            outputs: conv.outputs / conv.groups,
        }
    }

    fn blocks(&self, conv: &Conv) -> impl Iterator<Item = Block> + use<> {
        let of_sample = conv.groups * self.window.max(self.outputs) * self.positions;
        let (batch, samples) = (conv.batch, (UNROLLED / of_sample.max(1)).clamp(1, conv.batch.max(1)));
        (0..batch).step_by(samples).map(move |first| Block {
            first,
            samples: samples.min(batch - first),
        })
    }
}

impl Gpu {
    /// y, of the shape given: x convolved with the weight, plus the bias.
    pub(crate) fn conv(
        &self,
        op: &'static str,
        conv: &Conv,
        x: &Raw,
        weight: &Raw,
        bias: Option<&Raw>,
        shape: &[usize],
    ) -> Result<Raw> {
        let (x, weight, of) = (x.contiguous(op)?, weight.contiguous(op)?, f32_or_f64(op, x)?);
        let bias = bias.map(|bias| bias.contiguous(op)).transpose()?;
        let session = x.session();
        let y = empty(op, session, shape, x.dtype())?;
        let (sizes, shapes) = (Sizes::of(conv), ConvShape::from(conv));
        for block in sizes.blocks(conv) {
            session.check_cancelled()?;
            let columns = self.unroll(op, conv, &shapes, &sizes, &block, &x)?;
            let width = block.samples * sizes.positions;
            let turned = empty(op, session, &[conv.outputs, width], x.dtype())?;
            self.product(
                op,
                session,
                &Product {
                    size: (sizes.outputs, width, sizes.window),
                    batch: conv.groups,
                    alpha: 1.0,
                    a: Matrix::of(&weight, sizes.window).every(sizes.outputs * sizes.window),
                    b: Matrix::of(&columns, width).every(sizes.window * width),
                    beta: 0.0,
                    c: Matrix::of(&turned, width).every(sizes.outputs * width),
                },
            )?;
            let n = turned.count();
            let args = [
                Arg::Size(n),
                Arg::Shape(&shapes),
                Arg::Size(block.first),
                Arg::Size(block.samples),
                Arg::Of(&turned),
                Arg::Maybe(bias.as_ref()),
                Arg::Of(&y),
            ];
            self.launch(op, session, ("index", "to_batch", of), Launch::each(n), &args)?;
        }
        Ok(y)
    }

    /// The gradient of x, of the shape given, from that of y.
    pub(crate) fn conv_backward_input(
        &self,
        op: &'static str,
        conv: &Conv,
        weight: &Raw,
        gradient: &Raw,
        shape: &[usize],
    ) -> Result<Raw> {
        let (weight, gradient, of) = (
            weight.contiguous(op)?,
            gradient.contiguous(op)?,
            f32_or_f64(op, gradient)?,
        );
        let session = gradient.session();
        let dx = empty(op, session, shape, gradient.dtype())?;
        let (sizes, shapes) = (Sizes::of(conv), ConvShape::from(conv));
        for block in sizes.blocks(conv) {
            session.check_cancelled()?;
            let turned = self.to_channels(op, conv, &shapes, &sizes, &block, &gradient)?;
            let width = block.samples * sizes.positions;
            let columns = empty(op, session, &[conv.groups * sizes.window, width], gradient.dtype())?;
            self.product(
                op,
                session,
                &Product {
                    size: (sizes.window, width, sizes.outputs),
                    batch: conv.groups,
                    alpha: 1.0,
                    a: Matrix::of(&weight, sizes.window)
                        .transposed()
                        .every(sizes.outputs * sizes.window),
                    b: Matrix::of(&turned, width).every(sizes.outputs * width),
                    beta: 0.0,
                    c: Matrix::of(&columns, width).every(sizes.window * width),
                },
            )?;
            let n = block.samples * conv.inputs * conv.size.0 * conv.size.1;
            let args = [
                Arg::Size(n),
                Arg::Shape(&shapes),
                Arg::Size(block.first),
                Arg::Size(block.samples),
                Arg::Of(&columns),
                Arg::Of(&dx),
            ];
            self.launch(op, session, ("index", "roll", of), Launch::each(n), &args)?;
        }
        Ok(dx)
    }

    /// The gradient of the weight, of the shape given, from that of y.
    pub(crate) fn conv_backward_weight(
        &self,
        op: &'static str,
        conv: &Conv,
        x: &Raw,
        gradient: &Raw,
        shape: &[usize],
    ) -> Result<Raw> {
        let (x, gradient) = (x.contiguous(op)?, gradient.contiguous(op)?);
        let session = x.session();
        let dw = match conv.batch * conv.output.0 * conv.output.1 {
            0 => Raw::full(op, session, shape, 0.0, x.dtype())?,
            _ => empty(op, session, shape, x.dtype())?,
        };
        let (sizes, shapes) = (Sizes::of(conv), ConvShape::from(conv));
        for block in sizes.blocks(conv) {
            session.check_cancelled()?;
            let columns = self.unroll(op, conv, &shapes, &sizes, &block, &x)?;
            let turned = self.to_channels(op, conv, &shapes, &sizes, &block, &gradient)?;
            let width = block.samples * sizes.positions;
            self.product(
                op,
                session,
                &Product {
                    size: (sizes.outputs, sizes.window, width),
                    batch: conv.groups,
                    alpha: 1.0,
                    a: Matrix::of(&turned, width).every(sizes.outputs * width),
                    b: Matrix::of(&columns, width).transposed().every(sizes.window * width),
                    beta: if block.first == 0 { 0.0 } else { 1.0 },
                    c: Matrix::of(&dw, sizes.window).every(sizes.outputs * sizes.window),
                },
            )?;
        }
        Ok(dw)
    }

    /// The gradient of a bias [channels] from that of y [batch, channels, positions].
    pub(crate) fn conv_backward_bias(
        &self,
        op: &'static str,
        [batch, channels, positions]: [usize; 3],
        gradient: &Raw,
    ) -> Result<Raw> {
        let gradient = gradient.contiguous(op)?;
        let of_samples = Dims {
            outer: batch * channels,
            n: positions,
            inner: 1,
        };
        let sums = self.sum(op, &gradient, of_samples, &[batch, channels], 1.0)?;
        self.sum(
            op,
            &sums,
            Dims {
                outer: 1,
                n: batch,
                inner: channels,
            },
            &[channels],
            1.0,
        )
    }

    /// The windows of a block of samples: [groups, window, samples, positions].
    fn unroll(
        &self,
        op: &'static str,
        conv: &Conv,
        shapes: &ConvShape,
        sizes: &Sizes,
        block: &Block,
        x: &Raw,
    ) -> Result<Raw> {
        let width = block.samples * sizes.positions;
        let columns = empty(op, x.session(), &[conv.groups * sizes.window, width], x.dtype())?;
        let n = columns.count();
        let args = [
            Arg::Size(n),
            Arg::Shape(shapes),
            Arg::Size(block.first),
            Arg::Size(block.samples),
            Arg::Of(x),
            Arg::Of(&columns),
        ];
        self.launch(
            op,
            x.session(),
            ("index", "unroll", f32_or_f64(op, x)?),
            Launch::each(n),
            &args,
        )?;
        Ok(columns)
    }

    /// A block of samples of y as [outputs, samples, positions].
    fn to_channels(
        &self,
        op: &'static str,
        conv: &Conv,
        shapes: &ConvShape,
        sizes: &Sizes,
        block: &Block,
        y: &Raw,
    ) -> Result<Raw> {
        let turned = empty(
            op,
            y.session(),
            &[conv.outputs, block.samples * sizes.positions],
            y.dtype(),
        )?;
        let n = turned.count();
        let args = [
            Arg::Size(n),
            Arg::Shape(shapes),
            Arg::Size(block.first),
            Arg::Size(block.samples),
            Arg::Of(y),
            Arg::Of(&turned),
        ];
        self.launch(
            op,
            y.session(),
            ("index", "to_channels", f32_or_f64(op, y)?),
            Launch::each(n),
            &args,
        )?;
        Ok(turned)
    }
}

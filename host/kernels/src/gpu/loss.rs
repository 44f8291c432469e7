//! Losses: a mean forward, which stays on the card, and the gradient backward, which takes its factor from there.

use super::{Arg, Gpu, Launch, THREADS, empty, f32_or_f64};
use crate::dtype::DType;
use crate::error::Result;
use crate::raw::Raw;

/// A loss between two tensors; the numbers are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Loss {
    Mse,
    L1,
    Huber(f64),
    Quantile(f64),
    /// Of logits.
    Bce,
}

impl Loss {
    fn code(self) -> (u32, f64) {
        match self {
            Loss::Mse => (0, 0.0),
            Loss::L1 => (1, 0.0),
            Loss::Huber(delta) => (2, delta),
            Loss::Quantile(quantile) => (3, quantile),
            Loss::Bce => (4, 0.0),
        }
    }
}

impl Gpu {
    /// The mean over all elements, a scalar.
    pub(crate) fn loss(&self, op: &'static str, loss: Loss, prediction: &Raw, target: &Raw) -> Result<Raw> {
        let (p, t, of) = (
            prediction.contiguous(op)?,
            target.contiguous(op)?,
            f32_or_f64(op, prediction)?,
        );
        let n = p.count();
        let blocks = n.div_ceil(THREADS as usize * 8).clamp(1, 1024);
        let parts = empty(op, p.session(), &[blocks], DType::F64)?;
        let (number, own) = loss.code();
        let args = [
            Arg::Size(n),
            Arg::U32(number),
            Arg::F64(own),
            Arg::Of(&p),
            Arg::Of(&t),
            Arg::Of(&parts),
        ];
        self.launch(op, p.session(), ("reduce", "loss", of), Launch::blocks(blocks), &args)?;
        self.join(op, &parts, p.dtype(), 1.0 / n as f64)
    }

    /// By the prediction.
    pub(crate) fn loss_backward(
        &self,
        op: &'static str,
        loss: Loss,
        prediction: &Raw,
        target: &Raw,
        gradient: &Raw,
    ) -> Result<Raw> {
        let (p, t, of) = (
            prediction.contiguous(op)?,
            target.contiguous(op)?,
            f32_or_f64(op, prediction)?,
        );
        let gradient = gradient.contiguous(op)?;
        let n = p.count();
        let out = empty(op, p.session(), p.shape(), p.dtype())?;
        let (number, own) = loss.code();
        let args = [
            Arg::Size(n),
            Arg::U32(number),
            Arg::F64(own),
            Arg::F64(1.0 / n as f64),
            Arg::Of(&gradient),
            Arg::Of(&p),
            Arg::Of(&t),
            Arg::Of(&out),
        ];
        self.launch(op, p.session(), ("reduce", "loss_backward", of), Launch::each(n), &args)?;
        Ok(out)
    }

    /// x times a factor and a scalar on the card.
    pub(crate) fn scaled(&self, op: &'static str, x: &Raw, factor: f64, scalar: &Raw) -> Result<Raw> {
        let (x, scalar, of) = (x.contiguous(op)?, scalar.contiguous(op)?, f32_or_f64(op, x)?);
        let out = empty(op, x.session(), x.shape(), x.dtype())?;
        let args = [
            Arg::Size(x.count()),
            Arg::F64(factor),
            Arg::Of(&scalar),
            Arg::Of(&x),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            x.session(),
            ("reduce", "scaled", of),
            Launch::each(x.count()),
            &args,
        )?;
        Ok(out)
    }

    /// The mean cross-entropy of logits [rows, n] to checked class indices [rows], and the logarithms of the rows' sums.
    pub(crate) fn cross_entropy(&self, op: &'static str, x: &Raw, target: &Raw, smoothing: f64) -> Result<(Raw, Raw)> {
        let (x, target, of) = (x.contiguous(op)?, target.contiguous(op)?, f32_or_f64(op, x)?);
        let (rows, n) = (x.shape()[0], x.shape()[1]);
        let lse = empty(op, x.session(), &[rows], x.dtype())?;
        let losses = empty(op, x.session(), &[rows], DType::F64)?;
        let args = [
            Arg::Size(rows),
            Arg::Size(n),
            Arg::F64(smoothing),
            Arg::Of(&x),
            Arg::Of(&target),
            Arg::Of(&lse),
            Arg::Of(&losses),
        ];
        self.launch(
            op,
            x.session(),
            ("rows", "cross_entropy", of),
            Launch::rows(rows, n),
            &args,
        )?;
        Ok((self.join(op, &losses, x.dtype(), 1.0 / rows as f64)?, lse))
    }

    pub(crate) fn cross_entropy_backward(
        &self,
        op: &'static str,
        x: &Raw,
        lse: &Raw,
        target: &Raw,
        smoothing: f64,
        gradient: &Raw,
    ) -> Result<Raw> {
        let (x, target, of) = (x.contiguous(op)?, target.contiguous(op)?, f32_or_f64(op, x)?);
        let gradient = gradient.contiguous(op)?;
        let (rows, n) = (x.shape()[0], x.shape()[1]);
        let dx = empty(op, x.session(), x.shape(), x.dtype())?;
        let args = [
            Arg::Size(rows),
            Arg::Size(n),
            Arg::F64(smoothing),
            Arg::F64(1.0 / rows as f64),
            Arg::Of(&gradient),
            Arg::Of(&x),
            Arg::Of(lse),
            Arg::Of(&target),
            Arg::Of(&dx),
        ];
        self.launch(
            op,
            x.session(),
            ("rows", "cross_entropy_backward", of),
            Launch::each(rows * n),
            &args,
        )?;
        Ok(dx)
    }
}

//! What works on whole rows: softmax and normalisation.

use super::{Arg, BUSY, Gpu, Launch, THREADS, empty, f32_or_f64};
use crate::cpu::index::Dims;
use crate::cpu::norm::Channels;
use crate::dtype::DType;
use crate::error::Result;
use crate::raw::Raw;
use smallvec::SmallVec;

/// Gradients of a normalisation: of x, weight and bias.
pub(crate) type NormGradients = (Raw, Option<Raw>, Option<Raw>);

/// Blocks that the rows of a normalisation are cut into for the gradients of its weights.
const CHUNKS: usize = 64;

impl Gpu {
    /// Over the last dimension; its logarithm if `logarithm`.
    pub(crate) fn softmax(&self, op: &'static str, x: &Raw, logarithm: bool) -> Result<Raw> {
        let (x, of) = (x.contiguous(op)?, f32_or_f64(op, x)?);
        let y = empty(op, x.session(), x.shape(), x.dtype())?;
        let (rows, n) = rows(&x);
        let args = [
            Arg::Size(rows),
            Arg::Size(n),
            Arg::I32(logarithm.into()),
            Arg::Of(&x),
            Arg::Of(&y),
        ];
        self.launch(op, x.session(), ("rows", "softmax", of), Launch::rows(rows, n), &args)?;
        Ok(y)
    }

    pub(crate) fn softmax_backward(&self, op: &'static str, y: &Raw, gradient: &Raw, logarithm: bool) -> Result<Raw> {
        let (y, gradient, of) = (y.contiguous(op)?, gradient.contiguous(op)?, f32_or_f64(op, y)?);
        let dx = empty(op, y.session(), y.shape(), y.dtype())?;
        let (rows, n) = rows(&y);
        let args = [
            Arg::Size(rows),
            Arg::Size(n),
            Arg::I32(logarithm.into()),
            Arg::Of(&y),
            Arg::Of(&gradient),
            Arg::Of(&dx),
        ];
        self.launch(
            op,
            y.session(),
            ("rows", "softmax_backward", of),
            Launch::rows(rows, n),
            &args,
        )?;
        Ok(dx)
    }

    /// Over the last dimension, of n elements; by the mean too if `centred`. Gives the result, the means and 1 / deviations of the rows.
    pub(crate) fn norm(
        &self,
        op: &'static str,
        x: &Raw,
        weight: Option<&Raw>,
        bias: Option<&Raw>,
        epsilon: f64,
        centred: bool,
    ) -> Result<(Raw, Option<Raw>, Raw)> {
        let (x, of) = (x.contiguous(op)?, f32_or_f64(op, x)?);
        let (weight, bias) = (contiguous(op, weight)?, contiguous(op, bias)?);
        let (rows, n) = rows(&x);
        let session = x.session();
        let y = empty(op, session, x.shape(), x.dtype())?;
        let mean = centred.then(|| empty(op, session, &[rows], x.dtype())).transpose()?;
        let rstd = empty(op, session, &[rows], x.dtype())?;
        let args = [
            Arg::Size(rows),
            Arg::Size(n),
            Arg::F64(epsilon),
            Arg::Of(&x),
            Arg::Maybe(weight.as_ref()),
            Arg::Maybe(bias.as_ref()),
            Arg::Of(&y),
            Arg::Maybe(mean.as_ref()),
            Arg::Of(&rstd),
        ];
        self.launch(op, session, ("rows", "norm", of), Launch::rows(rows, n), &args)?;
        Ok((y, mean, rstd))
    }

    /// The derivative of [`Gpu::norm`].
    #[expect(clippy::too_many_arguments, reason = "one tensor for each of the formula")]
    pub(crate) fn norm_backward(
        &self,
        op: &'static str,
        x: &Raw,
        weight: Option<&Raw>,
        mean: Option<&Raw>,
        rstd: &Raw,
        gradient: &Raw,
        has_bias: bool,
    ) -> Result<NormGradients> {
        let (x, gradient, of) = (x.contiguous(op)?, gradient.contiguous(op)?, f32_or_f64(op, x)?);
        let weight = contiguous(op, weight)?;
        let (rows, n) = rows(&x);
        let session = x.session();
        let dx = empty(op, session, x.shape(), x.dtype())?;
        let args = [
            Arg::Size(rows),
            Arg::Size(n),
            Arg::Of(&x),
            Arg::Maybe(weight.as_ref()),
            Arg::Maybe(mean),
            Arg::Of(rstd),
            Arg::Of(&gradient),
            Arg::Of(&dx),
        ];
        self.launch(op, session, ("rows", "norm_backward", of), Launch::rows(rows, n), &args)?;
        if weight.is_none() && !has_bias {
            return Ok((dx, None, None));
        }
        let chunks = rows.div_ceil(32).clamp(1, CHUNKS);
        let parts = |wanted: bool| wanted.then(|| empty(op, session, &[chunks, n], DType::F64)).transpose();
        let (dw, db) = (parts(weight.is_some())?, parts(has_bias)?);
        let args = [
            Arg::Size(rows),
            Arg::Size(n),
            Arg::Of(&x),
            Arg::Maybe(mean),
            Arg::Of(rstd),
            Arg::Of(&gradient),
            Arg::Maybe(dw.as_ref()),
            Arg::Maybe(db.as_ref()),
        ];
        self.launch(
            op,
            session,
            ("rows", "norm_weights", of),
            Launch::columns(n.div_ceil(32), chunks),
            &args,
        )?;
        let join = |parts: Option<Raw>| -> Result<Option<Raw>> {
            let Some(parts) = parts else { return Ok(None) };
            let dims = Dims {
                outer: 1,
                n: chunks,
                inner: n,
            };
            Ok(Some(self.sum(op, &parts, dims, &[n], 1.0)?.cast(op, x.dtype())?))
        };
        Ok((dx, join(dw)?, join(db)?))
    }

    /// Over all but the channels of x [batch, channels, inner]. In training the running statistics move. Gives the result, and the means and
    /// 1 / deviations that were used.
    #[expect(clippy::too_many_arguments, reason = "one tensor for each of the formula")]
    pub(crate) fn batch_norm(
        &self,
        op: &'static str,
        x: &Raw,
        dims: Channels,
        weight: Option<&Raw>,
        bias: Option<&Raw>,
        running: [&Raw; 2],
        training: Option<f64>,
        epsilon: f64,
    ) -> Result<(Raw, Raw, Raw)> {
        let (x, of) = (x.contiguous(op)?, f32_or_f64(op, x)?);
        let (weight, bias) = (contiguous(op, weight)?, contiguous(op, bias)?);
        let session = x.session();
        // Statistics that are views of something are moved in a copy, and written back.
        let [running_mean, running_variance] = [running[0].contiguous(op)?, running[1].contiguous(op)?];
        let y = empty(op, session, x.shape(), x.dtype())?;
        let mean = empty(op, session, &[dims.c], x.dtype())?;
        let rstd = empty(op, session, &[dims.c], x.dtype())?;
        let chunks = parts_of(dims);
        let parts = match training {
            Some(_) => {
                let parts = empty(op, session, &[chunks, 2, dims.c], DType::F64)?;
                let kernels = ["batch_norm_part", "batch_norm_part_columns"];
                self.over_channels(op, kernels, dims, chunks, &[Arg::Of(&x), Arg::Of(&parts)], &x)?;
                Some(parts)
            }
            None => None,
        };
        let args = [
            Arg::Size(dims.c),
            Arg::Size(chunks),
            Arg::Size(dims.count()),
            Arg::F64(training.unwrap_or_default()),
            Arg::F64(epsilon),
            Arg::Fault,
            Arg::Maybe(parts.as_ref()),
            Arg::Of(&running_mean),
            Arg::Of(&running_variance),
            Arg::Of(&mean),
            Arg::Of(&rstd),
        ];
        self.launch(
            op,
            session,
            ("rows", "batch_norm_join", of),
            Launch::each(dims.c),
            &args,
        )?;
        if training.is_some() {
            for (statistic, moved) in running.into_iter().zip([&running_mean, &running_variance]) {
                match statistic.is_contiguous() {
                    true => statistic.changed(),
                    false => statistic.overwrite(op, moved)?,
                }
            }
        }
        let n = x.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.c),
            Arg::Size(dims.inner.max(1)),
            Arg::Of(&x),
            Arg::Maybe(weight.as_ref()),
            Arg::Maybe(bias.as_ref()),
            Arg::Of(&mean),
            Arg::Of(&rstd),
            Arg::Of(&y),
        ];
        self.launch(op, session, ("rows", "batch_norm_apply", of), Launch::each(n), &args)?;
        Ok((y, mean, rstd))
    }

    /// The derivative of [`Gpu::batch_norm`]: of x, weight and bias.
    #[expect(clippy::too_many_arguments, reason = "one tensor for each of the formula")]
    pub(crate) fn batch_norm_backward(
        &self,
        op: &'static str,
        x: &Raw,
        dims: Channels,
        weight: Option<&Raw>,
        mean: &Raw,
        rstd: &Raw,
        training: bool,
        gradient: &Raw,
    ) -> Result<[Raw; 3]> {
        let (x, gradient, of) = (x.contiguous(op)?, gradient.contiguous(op)?, f32_or_f64(op, x)?);
        let weight = contiguous(op, weight)?;
        let session = x.session();
        let chunks = parts_of(dims);
        let parts = empty(op, session, &[chunks, 2, dims.c], DType::F64)?;
        let kernels = ["batch_norm_sums", "batch_norm_sums_columns"];
        let args = [
            Arg::Of(&x),
            Arg::Of(mean),
            Arg::Of(rstd),
            Arg::Of(&gradient),
            Arg::Of(&parts),
        ];
        self.over_channels(op, kernels, dims, chunks, &args, &x)?;
        let all = Dims {
            outer: 1,
            n: chunks,
            inner: 2 * dims.c,
        };
        let sums = self.sum(op, &parts, all, &[2, dims.c], 1.0)?.cast(op, x.dtype())?;
        let [dw, db] = [0, 1].map(|part| sums.view(op, |t| t.narrow(0, part, 1)?.reshape(dims.c)));
        let (dw, db) = (dw?, db?);
        let dx = empty(op, session, x.shape(), x.dtype())?;
        let n = x.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.c),
            Arg::Size(dims.inner.max(1)),
            Arg::I32(training.into()),
            Arg::F64(dims.count() as f64),
            Arg::Of(&x),
            Arg::Maybe(weight.as_ref()),
            Arg::Of(mean),
            Arg::Of(rstd),
            Arg::Of(&dw),
            Arg::Of(&db),
            Arg::Of(&gradient),
            Arg::Of(&dx),
        ];
        self.launch(op, session, ("rows", "batch_norm_backward", of), Launch::each(n), &args)?;
        Ok([dx, dw, db])
    }
}

impl Gpu {
    /// Launches one of two kernels over parts of the channels of [batch, channels, inner]: the second where inner is 1.
    fn over_channels(
        &self,
        op: &'static str,
        [blocks, columns]: [&'static str; 2],
        dims: Channels,
        chunks: usize,
        args: &[Arg<'_>],
        x: &Raw,
    ) -> Result<()> {
        let mut all: SmallVec<[Arg<'_>; 8]> = [Arg::Size(dims.n), Arg::Size(dims.c)].into_iter().collect();
        let (kernel, launch) = match dims.inner {
            1 => (columns, Launch::columns(dims.c.div_ceil(32), chunks)),
            inner => {
                all.push(Arg::Size(inner));
                let launch = Launch {
                    grid: (dims.c, chunks),
                    block: (THREADS, 1),
                };
                (blocks, launch)
            }
        };
        all.extend_from_slice(args);
        self.launch(op, x.session(), ("rows", kernel, f32_or_f64(op, x)?), launch, &all)
    }
}

/// Into how many parts the elements of a channel are cut, by the sizes alone.
fn parts_of(dims: Channels) -> usize {
    let (blocks, least) = match dims.inner {
        1 => (dims.c.div_ceil(32), 128),
        _ => (dims.c, 4096),
    };
    (BUSY / blocks.max(1)).min(dims.count() / least).max(1)
}

/// Rows, and elements of a row.
fn rows(x: &Raw) -> (usize, usize) {
    let n = x.shape().last().copied().unwrap_or(1);
    (x.count() / n.max(1), n)
}

fn contiguous(op: &'static str, raw: Option<&Raw>) -> Result<Option<Raw>> {
    raw.map(|raw| raw.contiguous(op)).transpose()
}

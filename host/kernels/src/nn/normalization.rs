//! Normalisation over the last dimension, and over batches.

use super::{expect_shape, widen, widen_option};
use crate::autograd::Gradients;
use crate::cpu::norm::{self, Channels, Running};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::raw::{Elements, Raw, op_error, with_float};
use crate::tensor::Tensor;

/// The inputs that are there, in order.
fn present<'a>(x: &'a Tensor, weight: &'a Option<Tensor>, bias: &'a Option<Tensor>) -> Vec<&'a Tensor> {
    [Some(x), weight.as_ref(), bias.as_ref()]
        .into_iter()
        .flatten()
        .collect()
}

/// Gradients in the order of [`present`].
fn gradients(dx: Raw, dw: Option<Raw>, db: Option<Raw>) -> Gradients {
    let mut gradients = Gradients::new();
    gradients.push(Some(dx));
    gradients.extend(dw.map(Some));
    gradients.extend(db.map(Some));
    gradients
}

fn features(op: &'static str, x: &Tensor) -> Result<usize> {
    match x.shape().last() {
        Some(&n) if n > 0 => Ok(n),
        _ => Err(Error::Shape(op_error(
            op,
            "needs at least one element in a last dimension",
            &[x.raw()],
        ))),
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the last dimension (Ba et al. 2016); weight and bias [features].
pub fn layer_norm(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, epsilon: f64) -> Result<Tensor> {
    const OP: &str = "nn.layer-norm";
    let n = features(OP, x)?;
    let [wide] = widen(OP, [x])?;
    let (weight, bias) = (widen_option(OP, x, weight)?, widen_option(OP, x, bias)?);
    for (what, t) in [("the weight", &weight), ("the bias", &bias)] {
        if let Some(t) = t {
            expect_shape(OP, what, t.raw(), &[n], &[x.raw(), t.raw()])?;
        }
    }
    let raw = wide.raw().contiguous(OP)?;
    if let Some(gpu) = raw.session().gpu() {
        return on_card(OP, gpu, &wide, &weight, &bias, epsilon, true)?.cast(x.dtype());
    }
    let rows = raw.count() / n;
    let (y, mean, rstd) = with_float!(OP, &raw, T => {
        let values = raw.elements::<T>(OP)?;
        let (w, b) = (optional::<T>(OP, &weight)?, optional::<T>(OP, &bias)?);
        let (mut mean, mut rstd) = (vec![T::default(); rows], vec![T::default(); rows]);
        let y = Raw::build::<T>(OP, raw.session(), raw.shape(), |out| {
            norm::layer_norm(n, &values, w.as_deref(), b.as_deref(), epsilon, out, &mut mean, &mut rstd);
            Ok(())
        })?;
        Ok((y, Raw::from_vec(OP, raw.session(), mean, &[rows])?, Raw::from_vec(OP, raw.session(), rstd, &[rows])?))
    })?;
    let (saved, saved_weight) = (raw.save(), weight.as_ref().map(|w| w.raw().save()));
    let has_bias = bias.is_some();
    Tensor::record(y, &present(&wide, &weight, &bias), move |g, _| {
        let x = saved.get()?;
        let weight = saved_weight.as_ref().map(|w| w.get()).transpose()?;
        with_float!(OP, x, T => {
            let (xs, gs) = (x.elements::<T>(OP)?, g.elements::<T>(OP)?);
            let w = weight.map(|w| w.elements::<T>(OP)).transpose()?;
            let (mean, rstd) = (mean.elements::<T>(OP)?, rstd.elements::<T>(OP)?);
            let mut dw = w.as_ref().map(|_| vec![T::default(); n]);
            let mut db = has_bias.then(|| vec![T::default(); n]);
            let dx = Raw::build::<T>(OP, x.session(), x.shape(), |out| {
                norm::layer_norm_backward(n, &xs, w.as_deref(), &mean, &rstd, &gs, Some(out), dw.as_deref_mut(), db.as_deref_mut());
                Ok(())
            })?;
            let vector = |v: Option<Vec<T>>| v.map(|v| Raw::from_vec(OP, x.session(), v, &[n])).transpose();
            Ok(gradients(dx, vector(dw)?, vector(db)?))
        })
    })
    .cast(x.dtype())
}

/// On the card; `centred` for a layer norm, else by the root mean square.
fn on_card(
    op: &'static str,
    gpu: &Gpu,
    x: &Tensor,
    weight: &Option<Tensor>,
    bias: &Option<Tensor>,
    epsilon: f64,
    centred: bool,
) -> Result<Tensor> {
    let (w, b) = (weight.as_ref().map(Tensor::raw), bias.as_ref().map(Tensor::raw));
    let (y, mean, rstd) = gpu.norm(op, x.raw(), w, b, epsilon, centred)?;
    let (saved, saved_weight, has_bias) = (x.raw().save(), w.map(Raw::save), b.is_some());
    Ok(Tensor::record(y, &present(x, weight, bias), move |g, _| {
        let x = saved.get()?;
        let weight = saved_weight.as_ref().map(|w| w.get()).transpose()?;
        let Some(gpu) = x.session().gpu() else {
            return Ok(Gradients::new());
        };
        let (dx, dw, db) = gpu.norm_backward(op, x, weight, mean.as_ref(), &rstd, g, has_bias)?;
        Ok(gradients(dx, dw, db))
    }))
}

fn optional<T: candle_core::WithDType>(op: &'static str, tensor: &Option<Tensor>) -> Result<Option<Elements<T>>> {
    tensor.as_ref().map(|t| t.raw().elements::<T>(op)).transpose()
}

/// `x / sqrt(mean(x²) + epsilon) * weight` over the last dimension (Zhang and Sennrich 2019); weight [features].
pub fn rms_norm(x: &Tensor, weight: Option<&Tensor>, epsilon: f64) -> Result<Tensor> {
    const OP: &str = "nn.rms-norm";
    let n = features(OP, x)?;
    let [wide] = widen(OP, [x])?;
    let weight = widen_option(OP, x, weight)?;
    if let Some(w) = &weight {
        expect_shape(OP, "the weight", w.raw(), &[n], &[x.raw(), w.raw()])?;
    }
    let raw = wide.raw().contiguous(OP)?;
    if let Some(gpu) = raw.session().gpu() {
        return on_card(OP, gpu, &wide, &weight, &None, epsilon, false)?.cast(x.dtype());
    }
    let rows = raw.count() / n;
    let (y, rstd) = with_float!(OP, &raw, T => {
        let values = raw.elements::<T>(OP)?;
        let w = optional::<T>(OP, &weight)?;
        let mut rstd = vec![T::default(); rows];
        let y = Raw::build::<T>(OP, raw.session(), raw.shape(), |out| {
            norm::rms_norm(n, &values, w.as_deref(), epsilon, out, &mut rstd);
            Ok(())
        })?;
        Ok((y, Raw::from_vec(OP, raw.session(), rstd, &[rows])?))
    })?;
    let (saved, saved_weight) = (raw.save(), weight.as_ref().map(|w| w.raw().save()));
    Tensor::record(y, &present(&wide, &weight, &None), move |g, _| {
        let x = saved.get()?;
        let weight = saved_weight.as_ref().map(|w| w.get()).transpose()?;
        with_float!(OP, x, T => {
            let (xs, gs, rstd) = (x.elements::<T>(OP)?, g.elements::<T>(OP)?, rstd.elements::<T>(OP)?);
            let w = weight.map(|w| w.elements::<T>(OP)).transpose()?;
            let mut dw = w.as_ref().map(|_| vec![T::default(); n]);
            let dx = Raw::build::<T>(OP, x.session(), x.shape(), |out| {
                norm::rms_norm_backward(n, &xs, w.as_deref(), &rstd, &gs, Some(out), dw.as_deref_mut());
                Ok(())
            })?;
            let dw = dw.map(|v| Raw::from_vec(OP, x.session(), v, &[n])).transpose()?;
            Ok(gradients(dx, dw, None))
        })
    })
    .cast(x.dtype())
}

/// Normalisation over every dimension but the second of x [batch, channels, ..] (Ioffe and Szegedy 2015). In training the running
/// statistics, [channels], move by `momentum` towards the batch's (its variance unbiased); otherwise they are used.
#[expect(clippy::too_many_arguments, reason = "the contract's, which are PyTorch's")]
pub fn batch_norm(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    running_mean: &Tensor,
    running_variance: &Tensor,
    training: bool,
    momentum: f64,
    epsilon: f64,
) -> Result<Tensor> {
    const OP: &str = "nn.batch-norm";
    let &[batch, channels, ref rest @ ..] = x.shape() else {
        return Err(Error::Shape(op_error(OP, "needs x [batch, channels, ..]", &[x.raw()])));
    };
    let inner: usize = rest.iter().product();
    let count = batch * inner;
    if training && count < 2 {
        return Err(Error::Shape(op_error(
            OP,
            "training needs more than one value per channel; use a larger batch, or leave out a last batch of one sample",
            &[x.raw()],
        )));
    }
    let [wide] = widen(OP, [x])?;
    let (weight, bias) = (widen_option(OP, x, weight)?, widen_option(OP, x, bias)?);
    let running = [running_mean.raw(), running_variance.raw()];
    for (what, raw) in weight
        .iter()
        .map(|w| ("the weight", w.raw()))
        .chain(bias.iter().map(|b| ("the bias", b.raw())))
        .chain(running.map(|r| ("a running statistic", r)))
    {
        expect_shape(OP, what, raw, &[channels], &[x.raw(), raw])?;
    }
    for statistic in running {
        if statistic.dtype() != wide.dtype() {
            return Err(Error::DType(op_error(
                OP,
                format!("running statistics must be {}", wide.dtype()),
                &[x.raw(), statistic],
            )));
        }
    }
    let raw = wide.raw().contiguous(OP)?;
    let dims = Channels {
        n: batch,
        c: channels,
        inner,
    };
    if let Some(gpu) = raw.session().gpu() {
        let (w, b) = (weight.as_ref().map(Tensor::raw), bias.as_ref().map(Tensor::raw));
        let moving = training.then_some(momentum);
        let (y, mean, rstd) = gpu.batch_norm(OP, &raw, dims, w, b, running, moving, epsilon)?;
        let (saved, saved_weight, has_bias) = (raw.save(), w.map(Raw::save), b.is_some());
        return Tensor::record(y, &present(&wide, &weight, &bias), move |g, _| {
            let x = saved.get()?;
            let weight = saved_weight.as_ref().map(|w| w.get()).transpose()?;
            let Some(gpu) = x.session().gpu() else {
                return Ok(Gradients::new());
            };
            let [dx, dw, db] = gpu.batch_norm_backward(OP, x, dims, weight, &mean, &rstd, training, g)?;
            Ok(gradients(dx, weight.map(|_| dw), has_bias.then_some(db)))
        })
        .cast(x.dtype());
    }
    let (y, mean, rstd) = with_float!(OP, &raw, T => {
        let values = raw.elements::<T>(OP)?;
        let (w, b) = (optional::<T>(OP, &weight)?, optional::<T>(OP, &bias)?);
        let (mut mean, mut rstd) = (vec![T::default(); channels], vec![T::default(); channels]);
        let y = Raw::build::<T>(OP, raw.session(), raw.shape(), |out| {
            if training {
                // Written back only when all has gone well.
                let (mut new_mean, mut new_variance) = (running[0].to_vec::<T>(OP)?, running[1].to_vec::<T>(OP)?);
                let moving = Running { mean: &mut new_mean, variance: &mut new_variance, momentum };
                norm::batch_norm_train(dims, &values, w.as_deref(), b.as_deref(), epsilon, Some(moving), out, &mut mean, &mut rstd);
                for (statistic, new) in running.into_iter().zip([&new_mean, &new_variance]) {
                    statistic.write::<T>(OP, |values| {
                        values.copy_from_slice(new);
                        Ok(())
                    })?;
                }
            } else {
                let (m, v) = (running[0].elements::<T>(OP)?, running[1].elements::<T>(OP)?);
                mean.copy_from_slice(&m);
                norm::batch_norm_eval(dims, &values, w.as_deref(), b.as_deref(), epsilon, &m, &v, out, &mut rstd);
            }
            Ok(())
        })?;
        Ok((y, Raw::from_vec(OP, raw.session(), mean, &[channels])?, Raw::from_vec(OP, raw.session(), rstd, &[channels])?))
    })?;
    let (saved, saved_weight) = (raw.save(), weight.as_ref().map(|w| w.raw().save()));
    let has_bias = bias.is_some();
    Tensor::record(y, &present(&wide, &weight, &bias), move |g, _| {
        let x = saved.get()?;
        let weight = saved_weight.as_ref().map(|w| w.get()).transpose()?;
        with_float!(OP, x, T => {
            let (xs, gs) = (x.elements::<T>(OP)?, g.elements::<T>(OP)?);
            let w = weight.map(|w| w.elements::<T>(OP)).transpose()?;
            let (mean, rstd) = (mean.elements::<T>(OP)?, rstd.elements::<T>(OP)?);
            let (mut dw, mut db) = (vec![T::default(); channels], vec![T::default(); channels]);
            let dx = Raw::build::<T>(OP, x.session(), x.shape(), |out| {
                norm::batch_norm_backward(dims, &xs, w.as_deref(), &mean, &rstd, training, &gs, Some(out), Some(&mut dw), Some(&mut db));
                Ok(())
            })?;
            let dw = w.is_some().then(|| Raw::from_vec(OP, x.session(), dw, &[channels])).transpose()?;
            let db = has_bias.then(|| Raw::from_vec(OP, x.session(), db, &[channels])).transpose()?;
            Ok(gradients(dx, dw, db))
        })
    })
    .cast(x.dtype())
}

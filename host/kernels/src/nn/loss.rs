//! Losses: the mean over all elements, a scalar, in one pass forward and one backward.

use super::widen;
use crate::autograd::Gradients;
use crate::cpu::loss;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Loss};
use crate::raw::{Raw, op_error, with_float};
use crate::tensor::Tensor;
use smallvec::smallvec;

/// A loss between two tensors of one shape: `$forward(prediction, target, number) -> mean` and
/// `$backward(prediction, target, number, gradient, out)` for the prediction. `$mirror` is true where the target's
/// gradient is the prediction's with its sign turned.
macro_rules! between {
    ($op:expr, $prediction:expr, $target:expr, $on_card:expr, $forward:ident, $backward:ident $(, $number:expr)?) => {{
        let op: &'static str = $op;
        let [prediction, target] = pair(op, $prediction, $target)?;
        let (p, t) = (prediction.raw(), target.raw());
        if let Some(gpu) = p.session().gpu() {
            return on_card(op, gpu, $on_card, &prediction, &target)?.cast($prediction.dtype());
        }
        let raw = with_float!(op, p, T => {
            let sum = loss::$forward(&p.elements::<T>(op)?, &t.elements::<T>(op)? $(, $number)?);
            Raw::from_vec(op, p.session(), vec![(sum / p.count() as f64) as T], &[])
        })?;
        let (p, t) = (p.save(), t.save());
        Tensor::record(raw, &[&prediction, &target], move |g, need| {
            let (p, t) = (p.get()?, t.get()?);
            let scale = g.item(op)? / p.count() as f64;
            let gradient = with_float!(op, p, T => {
                let (p_values, t_values) = (p.elements::<T>(op)?, t.elements::<T>(op)?);
                Raw::build::<T>(op, p.session(), p.shape(), |out| {
                    loss::$backward(&p_values, &t_values $(, $number)?, scale, out);
                    Ok(())
                })
            })?;
            let gradients: Gradients = smallvec![need.then(0, || Ok(gradient.clone()))?, need.then(1, || gradient.neg(op))?];
            Ok(gradients)
        })
        .cast($prediction.dtype())
    }};
}

/// On the card, where the mean and the gradient's factor stay.
fn on_card(op: &'static str, gpu: &Gpu, loss: Loss, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    let (p, t) = (prediction.raw(), target.raw());
    let raw = gpu.loss(op, loss, p, t)?;
    let (p, t) = (p.save(), t.save());
    Ok(Tensor::record(raw, &[prediction, target], move |g, need| {
        let (p, t) = (p.get()?, t.get()?);
        let Some(gpu) = p.session().gpu() else {
            return Ok(smallvec![]);
        };
        let gradients: Gradients = match loss {
            // The target of logits is no mirror of them.
            Loss::Bce => smallvec![
                need.then(0, || gpu.loss_backward(op, loss, p, t, g))?,
                need.then(1, || gpu.scaled(op, p, -1.0 / p.count() as f64, g))?,
            ],
            _ => {
                let gradient = gpu.loss_backward(op, loss, p, t, g)?;
                smallvec![
                    need.then(0, || Ok(gradient.clone()))?,
                    need.then(1, || gradient.neg(op))?
                ]
            }
        };
        Ok(gradients)
    }))
}

/// Both of one shape and type, and not empty.
fn pair(op: &'static str, prediction: &Tensor, target: &Tensor) -> Result<[Tensor; 2]> {
    if prediction.shape() != target.shape() {
        return Err(Error::Shape(op_error(
            op,
            "prediction and target must have one shape; a loss does not broadcast",
            &[prediction.raw(), target.raw()],
        )));
    }
    if prediction.count() == 0 {
        return Err(Error::Shape(op_error(
            op,
            "there is no mean of no elements",
            &[prediction.raw(), target.raw()],
        )));
    }
    widen(op, [prediction, target])
}

/// The mean of the squared differences.
pub fn mse_loss(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    between!("nn.mse-loss", prediction, target, Loss::Mse, mse, mse_backward)
}

/// The mean of the absolute differences.
pub fn l1_loss(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    between!("nn.l1-loss", prediction, target, Loss::L1, l1, l1_backward)
}

/// d²/2 up to `delta`, delta (|d| - delta/2) beyond (Huber 1964); `delta` must be positive.
pub fn huber_loss(prediction: &Tensor, target: &Tensor, delta: f64) -> Result<Tensor> {
    const OP: &str = "nn.huber-loss";
    if !(delta > 0.0 && delta.is_finite()) {
        return Err(Error::InvalidArgument(op_error(
            OP,
            format!("delta must be a positive number, not {delta}"),
            &[],
        )));
    }
    between!(OP, prediction, target, Loss::Huber(delta), huber, huber_backward, delta)
}

/// The pinball loss, max(q d, (q - 1) d) with d = target - prediction (Koenker and Bassett 1978); `quantile` in (0, 1).
pub fn quantile_loss(prediction: &Tensor, target: &Tensor, quantile: f64) -> Result<Tensor> {
    const OP: &str = "nn.quantile-loss";
    if !(quantile > 0.0 && quantile < 1.0) {
        return Err(Error::InvalidArgument(op_error(
            OP,
            format!("the quantile must lie between 0 and 1, not at {quantile}"),
            &[],
        )));
    }
    between!(
        OP,
        prediction,
        target,
        Loss::Quantile(quantile),
        quantile,
        quantile_backward,
        quantile
    )
}

/// The mean cross-entropy of sigmoid(logits) to targets from 0 to 1, without overflow.
pub fn binary_cross_entropy_with_logits(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    const OP: &str = "nn.binary-cross-entropy-with-logits";
    let [logits_wide, target] = pair(OP, logits, target)?;
    let (x, t) = (logits_wide.raw(), target.raw());
    if let Some(gpu) = x.session().gpu() {
        return on_card(OP, gpu, Loss::Bce, &logits_wide, &target)?.cast(logits.dtype());
    }
    let raw = with_float!(OP, x, T => {
        let sum = loss::bce_with_logits(&x.elements::<T>(OP)?, &t.elements::<T>(OP)?);
        Raw::from_vec(OP, x.session(), vec![(sum / x.count() as f64) as T], &[])
    })?;
    let (x, t) = (x.save(), t.save());
    Tensor::record(raw, &[&logits_wide, &target], move |g, need| {
        let (x, t) = (x.get()?, t.get()?);
        let scale = g.item(OP)? / x.count() as f64;
        let to_logits = |x: &Raw, t: &Raw| {
            with_float!(OP, x, T => {
                let (x_values, t_values) = (x.elements::<T>(OP)?, t.elements::<T>(OP)?);
                Raw::build::<T>(OP, x.session(), x.shape(), |out| {
                    loss::bce_with_logits_backward(&x_values, &t_values, scale, out);
                    Ok(())
                })
            })
        };
        let gradients: Gradients = smallvec![
            need.then(0, || to_logits(x, t))?,
            need.then(1, || x.affine(OP, -scale, 0.0))?,
        ];
        Ok(gradients)
    })
    .cast(logits.dtype())
}

/// Class indices of a batch, checked.
fn classes(op: &'static str, scores: &Tensor, target: &Tensor) -> Result<Raw> {
    let operands = [scores.raw(), target.raw()];
    let &[batch, classes] = scores.shape() else {
        return Err(Error::Shape(op_error(op, "needs scores [batch, classes]", &operands)));
    };
    if target.shape() != [batch] {
        return Err(Error::Shape(op_error(
            op,
            format!("the targets must be class indices [{batch}]"),
            &operands,
        )));
    }
    if batch == 0 || classes == 0 {
        return Err(Error::Shape(op_error(op, "there is no mean of no elements", &operands)));
    }
    target.raw().indices(op, classes)
}

/// The mean cross-entropy of softmax(logits [batch, classes]) to class indices [batch]. With `label_smoothing` e in [0, 1), each
/// target gives e evenly to all classes (Szegedy et al. 2016).
pub fn cross_entropy(logits: &Tensor, target: &Tensor, label_smoothing: f64) -> Result<Tensor> {
    const OP: &str = "nn.cross-entropy";
    if !(0.0..1.0).contains(&label_smoothing) {
        return Err(Error::InvalidArgument(op_error(
            OP,
            format!("label smoothing must lie in [0, 1), not at {label_smoothing}"),
            &[logits.raw()],
        )));
    }
    let target = classes(OP, logits, target)?;
    let [wide] = widen(OP, [logits])?;
    let x = wide.raw();
    let n = x.shape()[1];
    let rows = x.shape()[0];
    if let Some(gpu) = x.session().gpu() {
        let (raw, lse) = gpu.cross_entropy(OP, x, &target, label_smoothing)?;
        let saved = x.save();
        return Tensor::record1(raw, &wide, move |g| {
            let x = saved.get()?;
            match x.session().gpu() {
                Some(gpu) => gpu.cross_entropy_backward(OP, x, &lse, &target, label_smoothing, g),
                None => Ok(x.clone()),
            }
        })
        .cast(logits.dtype());
    }
    let mut sum = 0.0;
    let (raw, lse) = with_float!(OP, x, T => {
        let (x_values, t_values) = (x.elements::<T>(OP)?, target.elements::<u32>(OP)?);
        let lse = Raw::build::<T>(OP, x.session(), &[rows], |lse| {
            sum = loss::cross_entropy(n, &x_values, &t_values, label_smoothing, lse).map_err(|e| index_error(OP, &e, x))?;
            Ok(())
        })?;
        Ok((Raw::from_vec(OP, x.session(), vec![(sum / rows as f64) as T], &[])?, lse))
    })?;
    let saved = x.save();
    Tensor::record1(raw, &wide, move |g| {
        let x = saved.get()?;
        let scale = g.item(OP)? / rows as f64;
        with_float!(OP, x, T => {
            let (x_values, lse, t_values) = (x.elements::<T>(OP)?, lse.elements::<T>(OP)?, target.elements::<u32>(OP)?);
            Raw::build::<T>(OP, x.session(), x.shape(), |out| {
                loss::cross_entropy_backward(n, &x_values, &lse, &t_values, label_smoothing, scale, out)
                    .map_err(|e| index_error(OP, &e, x))
            })
        })
    })
    .cast(logits.dtype())
}

fn index_error(op: &'static str, error: &crate::cpu::index::IndexOutOfRange, operand: &Raw) -> Error {
    Error::InvalidArgument(op_error(op, error.to_string(), &[operand]))
}

/// The mean of minus the log-probability [batch, classes] of each target class [batch].
pub fn nll_loss(log_probabilities: &Tensor, target: &Tensor) -> Result<Tensor> {
    const OP: &str = "nn.nll-loss";
    let target = classes(OP, log_probabilities, target)?;
    let picked = log_probabilities.gather(1, &Tensor::constant(target).unsqueeze(1)?)?;
    picked.mean(&[], false)?.neg()
}

//! Convolutions.

use super::{widen, widen_option};
use crate::autograd::Gradients;
use crate::cpu::conv::{self, Conv};
use crate::error::{Error, Result};
use crate::raw::{Raw, op_error, with_float};
use crate::tensor::Tensor;

pub use crate::cpu::conv::ConvOptions;

/// x [batch, in, length], weight [out, in / groups, kernel], bias [out].
pub fn conv1d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
    const OP: &str = "nn.conv1d";
    let operands = [x.raw(), weight.raw()];
    let (&[batch, inputs, length], &[outputs, per_group, kernel]) = (x.shape(), weight.shape()) else {
        return Err(Error::Shape(op_error(
            OP,
            "needs x [batch, in, length] and a weight [out, in / groups, kernel]",
            &operands,
        )));
    };
    check_channels(OP, (inputs, outputs), per_group, inputs, options, &operands)?;
    match Conv::new_1d(batch, (inputs, outputs), length, kernel, options) {
        Some(conv) => forward(OP, x, weight, bias, conv, &[batch, outputs, conv.output.1]),
        None => Err(no_window(OP, &operands)),
    }
}

/// x [batch, in, height, width], weight [out, in / groups, kernel, kernel], bias [out].
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
    const OP: &str = "nn.conv2d";
    let operands = [x.raw(), weight.raw()];
    let (&[batch, inputs, height, width], &[outputs, per_group, rows, columns]) = (x.shape(), weight.shape()) else {
        return Err(Error::Shape(op_error(
            OP,
            "needs x [batch, in, height, width] and a weight [out, in / groups, kernel, kernel]",
            &operands,
        )));
    };
    check_channels(OP, (inputs, outputs), per_group, inputs, options, &operands)?;
    match Conv::new_2d(batch, (inputs, outputs), (height, width), (rows, columns), options) {
        Some(conv) => forward(
            OP,
            x,
            weight,
            bias,
            conv,
            &[batch, outputs, conv.output.0, conv.output.1],
        ),
        None => Err(no_window(OP, &operands)),
    }
}

/// The transpose of [`conv1d`]: x [batch, in, length], weight [in, out / groups, kernel], bias [out].
pub fn conv_transpose1d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: ConvOptions,
    output_padding: usize,
) -> Result<Tensor> {
    const OP: &str = "nn.conv-transpose1d";
    let operands = [x.raw(), weight.raw()];
    let (&[batch, inputs, length], &[expected, per_group, kernel]) = (x.shape(), weight.shape()) else {
        return Err(Error::Shape(op_error(
            OP,
            "needs x [batch, in, length] and a weight [in, out / groups, kernel]",
            &operands,
        )));
    };
    let outputs = per_group.saturating_mul(options.groups);
    if expected != inputs {
        return Err(Error::Shape(op_error(
            OP,
            format!("x has {inputs} channels, the weight takes {expected}"),
            &operands,
        )));
    }
    check_channels(OP, (inputs, outputs), per_group, outputs, options, &operands)?;
    if output_padding >= options.stride.max(options.dilation) {
        return Err(Error::InvalidArgument(op_error(
            OP,
            format!("the output padding {output_padding} must be below the stride or the dilation"),
            &operands,
        )));
    }
    // The roles of x and y are exchanged: the convolution's derivative is this one's value.
    let Some(conv) = Conv::transposed_1d(batch, (inputs, outputs), length, kernel, options, output_padding) else {
        return Err(no_window(OP, &operands));
    };
    let bias = checked_bias(OP, x, bias, outputs)?;
    let [wide, weight] = widen(OP, [x, weight])?;
    let shape = [batch, outputs, conv.size.1];
    if let Some(gpu) = x.session().gpu() {
        let raw = gpu.conv_backward_input(OP, &conv, weight.raw(), wide.raw(), &shape)?;
        if let Some(bias) = &bias {
            gpu.add_channels(OP, bias.raw(), &raw, conv.size.1)?;
        }
        return recorded_on_card(OP, raw, [&wide, &weight], bias, conv, true)?.cast(x.dtype());
    }
    let raw = with_float!(OP, wide.raw(), T => {
        let (xs, ws) = (wide.raw().elements::<T>(OP)?, weight.raw().elements::<T>(OP)?);
        let b = bias.as_ref().map(|b| b.raw().elements::<T>(OP)).transpose()?;
        Raw::build::<T>(OP, x.session(), &shape, |out| {
            conv::backward_input(&conv, &ws, &xs, out);
            if let Some(b) = &b {
                conv::add_bias(conv.size.1, b, out);
            }
            Ok(())
        })
    })?;
    let (saved_x, saved_w) = (wide.raw().save(), weight.raw().save());
    let inputs = [Some(&wide), Some(&weight), bias.as_ref()];
    let inputs: Vec<&Tensor> = inputs.into_iter().flatten().collect();
    let has_bias = bias.is_some();
    Tensor::record(raw, &inputs, move |g, need| {
        let (x, w) = (saved_x.get()?, saved_w.get()?);
        with_float!(OP, x, T => {
            let (xs, ws, gs) = (x.elements::<T>(OP)?, w.elements::<T>(OP)?, g.elements::<T>(OP)?);
            let mut gradients = Gradients::new();
            gradients.push(need.then(0, || build::<T>(x, x.shape(), |dx| conv::forward(&conv, &gs, &ws, None, dx)))?);
            gradients.push(need.then(1, || build::<T>(w, w.shape(), |dw| conv::backward_weight(&conv, &gs, &xs, dw)))?);
            if has_bias {
                gradients.push(need.then(2, || build::<T>(x, &[outputs], |db| conv::backward_bias(batch, conv.size.1, &gs, db)))?);
            }
            Ok(gradients)
        })
    })
    .cast(x.dtype())
}

fn forward(
    op: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    conv: Conv,
    shape: &[usize],
) -> Result<Tensor> {
    let outputs = conv.outputs;
    let bias = checked_bias(op, x, bias, outputs)?;
    let [wide, weight] = widen(op, [x, weight])?;
    if let Some(gpu) = x.session().gpu() {
        let raw = gpu.conv(
            op,
            &conv,
            wide.raw(),
            weight.raw(),
            bias.as_ref().map(Tensor::raw),
            shape,
        )?;
        return recorded_on_card(op, raw, [&wide, &weight], bias, conv, false)?.cast(x.dtype());
    }
    let raw = with_float!(op, wide.raw(), T => {
        let (xs, ws) = (wide.raw().elements::<T>(op)?, weight.raw().elements::<T>(op)?);
        let b = bias.as_ref().map(|b| b.raw().elements::<T>(op)).transpose()?;
        Raw::build::<T>(op, x.session(), shape, |out| {
            conv::forward(&conv, &xs, &ws, b.as_deref(), out);
            Ok(())
        })
    })?;
    let (saved_x, saved_w) = (wide.raw().save(), weight.raw().save());
    let inputs = [Some(&wide), Some(&weight), bias.as_ref()];
    let inputs: Vec<&Tensor> = inputs.into_iter().flatten().collect();
    let has_bias = bias.is_some();
    Tensor::record(raw, &inputs, move |g, need| {
        let (x, w) = (saved_x.get()?, saved_w.get()?);
        with_float!(op, x, T => {
            let (xs, ws, gs) = (x.elements::<T>(op)?, w.elements::<T>(op)?, g.elements::<T>(op)?);
            let mut gradients = Gradients::new();
            gradients.push(need.then(0, || build::<T>(x, x.shape(), |dx| conv::backward_input(&conv, &ws, &gs, dx)))?);
            gradients.push(need.then(1, || build::<T>(w, w.shape(), |dw| conv::backward_weight(&conv, &xs, &gs, dw)))?);
            if has_bias {
                let positions = conv.output.0 * conv.output.1;
                gradients.push(need.then(2, || build::<T>(x, &[outputs], |db| conv::backward_bias(conv.batch, positions, &gs, db)))?);
            }
            Ok(gradients)
        })
    })
    .cast(x.dtype())
}

/// A convolution that the card has computed, with its derivatives; in a transposed one, x and the gradient of y change places.
fn recorded_on_card(
    op: &'static str,
    raw: Raw,
    [x, weight]: [&Tensor; 2],
    bias: Option<Tensor>,
    conv: Conv,
    transposed: bool,
) -> Result<Tensor> {
    let (saved_x, saved_w, has_bias) = (x.raw().save(), weight.raw().save(), bias.is_some());
    let inputs: Vec<&Tensor> = [Some(x), Some(weight), bias.as_ref()].into_iter().flatten().collect();
    Ok(Tensor::record(raw, &inputs, move |g, need| {
        let (x, w) = (saved_x.get()?, saved_w.get()?);
        let mut gradients = Gradients::new();
        let Some(gpu) = x.session().gpu() else {
            return Ok(gradients);
        };
        gradients.push(need.then(0, || match transposed {
            true => gpu.conv(op, &conv, g, w, None, x.shape()),
            false => gpu.conv_backward_input(op, &conv, w, g, x.shape()),
        })?);
        gradients.push(need.then(1, || match transposed {
            true => gpu.conv_backward_weight(op, &conv, g, x, w.shape()),
            false => gpu.conv_backward_weight(op, &conv, x, g, w.shape()),
        })?);
        if has_bias {
            let positions = g.shape()[2..].iter().product();
            gradients.push(need.then(2, || {
                gpu.conv_backward_bias(op, [conv.batch, g.shape()[1], positions], g)
            })?);
        }
        Ok(gradients)
    }))
}

fn build<T: candle_core::WithDType>(like: &Raw, shape: &[usize], fill: impl FnOnce(&mut [T])) -> Result<Raw> {
    Raw::build::<T>("autograd.backward", like.session(), shape, |out| {
        fill(out);
        Ok(())
    })
}

fn checked_bias(op: &'static str, x: &Tensor, bias: Option<&Tensor>, outputs: usize) -> Result<Option<Tensor>> {
    let bias = widen_option(op, x, bias)?;
    if let Some(b) = &bias {
        super::expect_shape(op, "the bias", b.raw(), &[outputs], &[x.raw(), b.raw()])?;
    }
    Ok(bias)
}

fn check_channels(
    op: &'static str,
    (inputs, outputs): (usize, usize),
    per_group: usize,
    split: usize,
    options: ConvOptions,
    operands: &[&Raw],
) -> Result<()> {
    if options.stride == 0 || options.dilation == 0 || options.groups == 0 {
        return Err(Error::InvalidArgument(op_error(
            op,
            "stride, dilation and groups must be at least 1",
            operands,
        )));
    }
    let groups = options.groups;
    if inputs % groups != 0 || outputs % groups != 0 || per_group.checked_mul(groups) != Some(split) {
        return Err(Error::Shape(op_error(
            op,
            format!(
                "{inputs} channels in, {outputs} out and {groups} groups do not fit a weight with {per_group} channels in its second dimension"
            ),
            operands,
        )));
    }
    Ok(())
}

fn no_window(op: &'static str, operands: &[&Raw]) -> Error {
    Error::Shape(op_error(
        op,
        "the kernel, as dilated, is larger than x with its padding",
        operands,
    ))
}

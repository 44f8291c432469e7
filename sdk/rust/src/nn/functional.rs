//! The blocks that layers are made of, as functions: for weights of your own, or an order of your own.

use crate::bindings::nn as raw;
use crate::error::Result;
use crate::shape::count;
use crate::tensor::Tensor;

fn optional(tensor: Option<&Tensor>) -> Option<&crate::tensor::RawTensor> {
    tensor.map(Tensor::raw)
}

/// x [.., in] times the transpose of weight [out, in], plus bias `[out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    Tensor::wrap(raw::linear(x.raw(), weight.raw(), optional(bias)))
}

/// How a convolution moves over its input.
#[derive(Clone, Copy, Debug)]
pub struct ConvOptions {
    /// Steps between the places where the kernel is applied.
    pub stride: usize,
    /// Zeros on either side.
    pub padding: usize,
    /// Steps between the elements of the kernel.
    pub dilation: usize,
    /// Independent groups of channels.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: 0,
            dilation: 1,
            groups: 1,
        }
    }
}

impl ConvOptions {
    fn raw(self) -> raw::ConvOptions {
        raw::ConvOptions {
            stride: count(self.stride),
            padding: count(self.padding),
            dilation: count(self.dilation),
            groups: count(self.groups),
        }
    }
}

/// x [batch, in, length], weight [out, in / groups, kernel], bias `[out]`.
pub fn conv1d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
    Tensor::wrap(raw::conv1d(x.raw(), weight.raw(), optional(bias), options.raw()))
}

/// x [batch, in, height, width], weight [out, in / groups, kernel, kernel], bias `[out]`.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
    Tensor::wrap(raw::conv2d(x.raw(), weight.raw(), optional(bias), options.raw()))
}

/// x [batch, in, length], weight [in, out / groups, kernel], bias `[out]`.
pub fn conv_transpose1d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: ConvOptions,
    output_padding: usize,
) -> Result<Tensor> {
    let output_padding = count(output_padding);
    Tensor::wrap(raw::conv_transpose1d(
        x.raw(),
        weight.raw(),
        optional(bias),
        options.raw(),
        output_padding,
    ))
}

/// The largest element of each window, over the last dimension of x [batch, channels, length].
pub fn max_pool1d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    Tensor::wrap(raw::max_pool1d(x.raw(), count(kernel), count(stride), count(padding)))
}

/// The mean of each window, over the last dimension of x [batch, channels, length]. Padding counts as zeros.
pub fn avg_pool1d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    Tensor::wrap(raw::avg_pool1d(x.raw(), count(kernel), count(stride), count(padding)))
}

/// The largest element of each window, over the last two dimensions of x [batch, channels, height, width].
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    Tensor::wrap(raw::max_pool2d(x.raw(), count(kernel), count(stride), count(padding)))
}

/// The mean of each window, over the last two dimensions of x [batch, channels, height, width]. Padding counts as zeros.
pub fn avg_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    Tensor::wrap(raw::avg_pool2d(x.raw(), count(kernel), count(stride), count(padding)))
}

/// Rows of weight [entries, width] by `u32` or `i64` indices of any shape.
pub fn embedding(indices: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::embedding(indices.raw(), weight.raw()))
}

/// Over the last dimension: mean 0 and variance 1, then times `weight`, plus `bias`.
pub fn layer_norm(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, epsilon: f64) -> Result<Tensor> {
    Tensor::wrap(raw::layer_norm(x.raw(), optional(weight), optional(bias), epsilon))
}

/// Over the last dimension: divided by the root mean square, then times `weight`.
pub fn rms_norm(x: &Tensor, weight: Option<&Tensor>, epsilon: f64) -> Result<Tensor> {
    Tensor::wrap(raw::rms_norm(x.raw(), optional(weight), epsilon))
}

/// Over every dimension but the second of x [batch, channels, ..]. In training the running statistics are updated in place;
/// otherwise they are used.
// The contract's arguments, in its order.
#[allow(clippy::too_many_arguments)]
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
    let (mean, variance) = (running_mean.raw(), running_variance.raw());
    Tensor::wrap(raw::batch_norm(
        x.raw(),
        optional(weight),
        optional(bias),
        mean,
        variance,
        training,
        momentum,
        epsilon,
    ))
}

/// Each element becomes zero with `probability`, the others grow by 1 / (1 - probability). Seeded by the job.
pub fn dropout(x: &Tensor, probability: f64) -> Result<Tensor> {
    Tensor::wrap(raw::dropout(x.raw(), probability))
}

/// The weights of one recurrent layer; `gates` is 4 for an LSTM and 3 for a GRU.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWeights<'a> {
    /// [gates * hidden, in]
    pub input: &'a Tensor,
    /// [gates * hidden, hidden]
    pub hidden: &'a Tensor,
    /// [gates * hidden]
    pub input_bias: Option<&'a Tensor>,
    /// [gates * hidden]
    pub hidden_bias: Option<&'a Tensor>,
}

impl<'a> RecurrentWeights<'a> {
    fn raw(self) -> raw::LstmWeights<'a> {
        raw::LstmWeights {
            input: self.input.raw(),
            hidden: self.hidden.raw(),
            input_bias: optional(self.input_bias),
            hidden_bias: optional(self.hidden_bias),
        }
    }
}

/// One layer over x [batch, time, in]; gates in the order input, forget, cell, output. The state is (h, c), each
/// [batch, hidden], zeros when absent. Gives all outputs [batch, time, hidden], then the last h and c.
pub fn lstm(
    x: &Tensor,
    state: Option<(&Tensor, &Tensor)>,
    weights: RecurrentWeights<'_>,
) -> Result<(Tensor, Tensor, Tensor)> {
    let state = state.map(|(h, c)| (h.raw(), c.raw()));
    let (outputs, h, c) = raw::lstm(x.raw(), state, &weights.raw())?;
    Ok((Tensor::from_raw(outputs), Tensor::from_raw(h), Tensor::from_raw(c)))
}

/// One layer over x [batch, time, in]; gates in the order reset, update, new. The state is [batch, hidden], zeros when
/// absent. Gives all outputs [batch, time, hidden], then the last state.
pub fn gru(x: &Tensor, state: Option<&Tensor>, weights: RecurrentWeights<'_>) -> Result<(Tensor, Tensor)> {
    let (outputs, h) = raw::gru(x.raw(), optional(state), &weights.raw())?;
    Ok((Tensor::from_raw(outputs), Tensor::from_raw(h)))
}

/// softmax(query keyᵀ * scale + mask) value over [.., length, width]; `scale` is 1 / sqrt(width) when absent; the mask is
/// added (use large negative numbers) and broadcasts; `causal` hides what comes later.
pub fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    causal: bool,
    scale: Option<f64>,
) -> Result<Tensor> {
    Tensor::wrap(raw::attention(
        query.raw(),
        key.raw(),
        value.raw(),
        optional(mask),
        causal,
        scale,
    ))
}

/// Activations.
impl Tensor {
    /// max(x, 0)
    pub fn relu(&self) -> Result<Self> {
        Self::wrap(raw::relu(self.raw()))
    }

    /// x, or `slope` x where it is negative.
    pub fn leaky_relu(&self, slope: f64) -> Result<Self> {
        Self::wrap(raw::leaky_relu(self.raw(), slope))
    }

    /// x, or `alpha` (e^x - 1) where it is negative.
    pub fn elu(&self, alpha: f64) -> Result<Self> {
        Self::wrap(raw::elu(self.raw(), alpha))
    }

    /// x Φ(x), exact, by the error function.
    pub fn gelu(&self) -> Result<Self> {
        Self::wrap(raw::gelu(self.raw()))
    }

    /// [`gelu`](Self::gelu) approximated by the hyperbolic tangent.
    pub fn gelu_tanh(&self) -> Result<Self> {
        Self::wrap(raw::gelu_tanh(self.raw()))
    }

    /// x sigmoid(x)
    pub fn silu(&self) -> Result<Self> {
        Self::wrap(raw::silu(self.raw()))
    }

    /// ln(1 + e^x)
    pub fn softplus(&self) -> Result<Self> {
        Self::wrap(raw::softplus(self.raw()))
    }

    /// e^x over its sum along one dimension.
    pub fn softmax(&self, dim: i32) -> Result<Self> {
        Self::wrap(raw::softmax(self.raw(), dim))
    }

    /// The logarithm of [`softmax`](Self::softmax), without overflow.
    pub fn log_softmax(&self, dim: i32) -> Result<Self> {
        Self::wrap(raw::log_softmax(self.raw(), dim))
    }
}

//! The interface `nn`.

use crate::bindings::trainyard::plugin::nn::{ConvOptions, Host as Functions, LstmWeights};
use crate::host::convert::to_wit;
use crate::host::{Answer, Host};
use trainyard_kernels::{Tensor, nn};
use wasmtime::component::Resource;

type Handle = Resource<Tensor>;
type Maybe = Option<Resource<Tensor>>;

/// Functions of some tensors (`x`), some tensors that may be absent (`?x`), and plain values (`= x`).
macro_rules! functions {
    ($($name:ident($($x:ident),* $(; ?$($maybe:ident),*)? $(; = $($value:ident: $ty:ty => $pass:expr),*)?) $operation:literal)*) => {
        $(fn $name(&mut self, $($x: Handle,)* $($($maybe: Maybe,)*)? $($($value: $ty),*)?) -> Answer<Handle> {
            self.begin()?;
            let result = nn::$name(
                $(self.tensor(&$x)?,)*
                $($(self.optional(&$maybe)?,)*)?
                $($($pass),*)?
            );
            self.keep($operation, result)
        })*
    };
}

impl Functions for Host {
    functions! {
        linear(x, weight; ?bias) "nn.linear"
        conv1d(x, weight; ?bias; = options: ConvOptions => conv(options)) "nn.conv1d"
        conv2d(x, weight; ?bias; = options: ConvOptions => conv(options)) "nn.conv2d"
        conv_transpose1d(x, weight; ?bias; = options: ConvOptions => conv(options), output_padding: u32 => output_padding as usize) "nn.conv-transpose1d"
        max_pool1d(x; = kernel: u32 => kernel as usize, stride: u32 => stride as usize, padding: u32 => padding as usize) "nn.max-pool1d"
        avg_pool1d(x; = kernel: u32 => kernel as usize, stride: u32 => stride as usize, padding: u32 => padding as usize) "nn.avg-pool1d"
        max_pool2d(x; = kernel: u32 => kernel as usize, stride: u32 => stride as usize, padding: u32 => padding as usize) "nn.max-pool2d"
        avg_pool2d(x; = kernel: u32 => kernel as usize, stride: u32 => stride as usize, padding: u32 => padding as usize) "nn.avg-pool2d"
        embedding(indices, weight) "nn.embedding"
        layer_norm(x; ?weight, bias; = epsilon: f64 => epsilon) "nn.layer-norm"
        rms_norm(x; ?weight; = epsilon: f64 => epsilon) "nn.rms-norm"
        dropout(x; = probability: f64 => probability) "nn.dropout"
        relu(x) "nn.relu"
        leaky_relu(x; = slope: f64 => slope) "nn.leaky-relu"
        elu(x; = alpha: f64 => alpha) "nn.elu"
        gelu(x) "nn.gelu"
        gelu_tanh(x) "nn.gelu-tanh"
        silu(x) "nn.silu"
        softplus(x) "nn.softplus"
        softmax(x; = dim: i32 => dim) "nn.softmax"
        log_softmax(x; = dim: i32 => dim) "nn.log-softmax"
        mse_loss(prediction, target) "nn.mse-loss"
        l1_loss(prediction, target) "nn.l1-loss"
        huber_loss(prediction, target; = delta: f64 => delta) "nn.huber-loss"
        quantile_loss(prediction, target; = quantile: f64 => quantile) "nn.quantile-loss"
        cross_entropy(logits, target; = label_smoothing: f64 => label_smoothing) "nn.cross-entropy"
        nll_loss(log_probabilities, target) "nn.nll-loss"
        binary_cross_entropy_with_logits(logits, target) "nn.binary-cross-entropy-with-logits"
        attention(query, key, value; ?mask; = causal: bool => causal, scale: Option<f64> => scale) "nn.attention"
    }

    fn batch_norm(
        &mut self,
        x: Handle,
        weight: Maybe,
        bias: Maybe,
        running_mean: Handle,
        running_variance: Handle,
        training: bool,
        momentum: f64,
        epsilon: f64,
    ) -> Answer<Handle> {
        self.begin()?;
        let result = nn::batch_norm(
            self.tensor(&x)?,
            self.optional(&weight)?,
            self.optional(&bias)?,
            self.tensor(&running_mean)?,
            self.tensor(&running_variance)?,
            training,
            momentum,
            epsilon,
        );
        self.keep("nn.batch-norm", result)
    }

    fn lstm(
        &mut self,
        x: Handle,
        state: Option<(Handle, Handle)>,
        weights: LstmWeights,
    ) -> Answer<(Handle, Handle, Handle)> {
        self.begin()?;
        let state = match &state {
            Some((h, c)) => Some((self.tensor(h)?, self.tensor(c)?)),
            None => None,
        };
        let results = nn::lstm(self.tensor(&x)?, state, &self.rnn_weights(&weights)?).map_err(to_wit)?;
        self.keep_three("nn.lstm", results)
    }

    fn gru(&mut self, x: Handle, state: Maybe, weights: LstmWeights) -> Answer<(Handle, Handle)> {
        self.begin()?;
        let state = self.optional(&state)?;
        let (outputs, last) = nn::gru(self.tensor(&x)?, state, &self.rnn_weights(&weights)?).map_err(to_wit)?;
        self.keep_two("nn.gru", outputs, last)
    }
}

impl Host {
    fn rnn_weights(&self, weights: &LstmWeights) -> Answer<nn::RnnWeights<'_>> {
        Ok(nn::RnnWeights {
            input: self.tensor(&weights.input)?,
            hidden: self.tensor(&weights.hidden)?,
            input_bias: self.optional(&weights.input_bias)?,
            hidden_bias: self.optional(&weights.hidden_bias)?,
        })
    }
}

fn conv(options: ConvOptions) -> nn::ConvOptions {
    nn::ConvOptions {
        stride: options.stride as usize,
        padding: options.padding as usize,
        dilation: options.dilation as usize,
        groups: options.groups as usize,
    }
}

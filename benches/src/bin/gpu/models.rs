//! The models: their sizes, their parameters under the names of PyTorch's `state_dict`, their forward pass, and what a step of theirs
//! takes. `reference/gpu_torch.py` has the same in PyTorch.

use anyhow::Result;
use serde_json::{Value, json};
use trainyard_kernels::{Tensor, nn};

use crate::Precision;

/// What is measured.
pub struct Model {
    /// As it is called on the command line.
    pub name: &'static str,
    /// What stands above the table.
    pub about: String,
    pub sizes: Sizes,
    /// Samples in a step.
    pub batch: usize,
    /// Only the optimiser's step is timed, with gradients that stay as they are.
    pub only_optimizer: bool,
    /// In which precisions it is measured when nothing is said.
    pub precisions: &'static [Precision],
}

/// What it is made of.
pub enum Sizes {
    /// Linear layers from each width to the next, with ReLU between them.
    Perceptron(Vec<usize>),
    /// One layer over [batch, time, features]; its last state goes through a linear layer.
    Lstm {
        time: usize,
        features: usize,
        hidden: usize,
        outputs: usize,
    },
    /// Patches of a series through a transformer's encoder (Nie et al. 2023), normalised after each sum; all of them through one linear layer.
    PatchTst {
        length: usize,
        patch: usize,
        stride: usize,
        width: usize,
        heads: usize,
        feed_forward: usize,
        layers: usize,
        outputs: usize,
    },
}

/// How a parameter begins.
#[derive(Clone, Copy)]
pub enum Init {
    /// Between minus this and this.
    Uniform(f64),
    /// Of this standard deviation.
    Normal(f64),
    Constant(f64),
}

/// Makes the parameter of a name and a shape.
pub type Make<'a> = dyn FnMut(String, &[usize], Init) -> Result<Tensor> + 'a;

/// Every model, in the sizes that keep a card busy, or in small ones.
pub fn all(small: bool) -> Vec<Model> {
    use Precision::{Bf16, F32, Tf32};
    let pick = |full: usize, little: usize| if small { little } else { full };
    let wide = vec![pick(4096, 128); 4];
    let (hidden, series) = (pick(256, 32), pick(1792, 14));
    let perceptron = |widths: &[usize], batch: usize| {
        let widths: Vec<String> = widths.iter().map(usize::to_string).collect();
        format!("linear layers {}, ReLU, batch {batch}", widths.join(" - "))
    };
    vec![
        Model {
            name: "mlp",
            about: perceptron(&wide, pick(8192, 256)),
            sizes: Sizes::Perceptron(wide.clone()),
            batch: pick(8192, 256),
            only_optimizer: false,
            precisions: &[F32, Tf32, Bf16],
        },
        Model {
            name: "adamw",
            about: "the optimiser's step of mlp's parameters alone".into(),
            sizes: Sizes::Perceptron(wide),
            batch: 32,
            only_optimizer: true,
            precisions: &[F32, Bf16],
        },
        Model {
            name: "lstm",
            about: format!(
                "one LSTM layer of {hidden} over {} samples of 96 steps of 7 values, then linear to 24",
                pick(1024, 16)
            ),
            sizes: Sizes::Lstm {
                time: 96,
                features: 7,
                hidden,
                outputs: 24,
            },
            batch: pick(1024, 16),
            only_optimizer: false,
            precisions: &[F32],
        },
        Model {
            name: "patchtst",
            about: format!(
                "{series} series of 512, patches of 16 every 8, {} encoder layers of {}, 8 heads, feed-forward {}, then linear to 96",
                pick(3, 2),
                pick(128, 32),
                pick(256, 64)
            ),
            sizes: Sizes::PatchTst {
                length: 512,
                patch: 16,
                stride: 8,
                width: pick(128, 32),
                heads: 8,
                feed_forward: pick(256, 64),
                layers: pick(3, 2),
                outputs: 96,
            },
            batch: series,
            only_optimizer: false,
            precisions: &[F32, Tf32, Bf16],
        },
        Model {
            name: "small",
            about: perceptron(&[16, 64, 64, 1], 32) + ": what a step costs that computes next to nothing",
            sizes: Sizes::Perceptron(vec![16, 64, 64, 1]),
            batch: 32,
            only_optimizer: false,
            precisions: &[F32],
        },
    ]
}

impl Model {
    /// The shapes of the inputs and of what is to be predicted.
    pub fn data(&self) -> [Vec<usize>; 2] {
        let batch = self.batch;
        match &self.sizes {
            Sizes::Perceptron(widths) => [vec![batch, widths[0]], vec![batch, widths[widths.len() - 1]]],
            &Sizes::Lstm {
                time,
                features,
                outputs,
                ..
            } => [vec![batch, time, features], vec![batch, outputs]],
            &Sizes::PatchTst { length, outputs, .. } => [vec![batch, length], vec![batch, outputs]],
        }
    }

    /// Makes the network of parameters that `make` makes, always in the same order.
    pub fn network(&self, make: &mut Make) -> Result<Network> {
        Ok(match &self.sizes {
            Sizes::Perceptron(widths) => {
                // In PyTorch's `Sequential` the activations count.
                let layers = widths.windows(2).enumerate();
                let layers = layers.map(|(i, w)| Linear::new(make, &(2 * i).to_string(), w[0], w[1]));
                Network::Perceptron(layers.collect::<Result<_>>()?)
            }
            &Sizes::Lstm {
                features,
                hidden,
                outputs,
                ..
            } => {
                let init = Init::Uniform(1.0 / (hidden as f64).sqrt());
                Network::Lstm {
                    input: make("lstm.weight_ih_l0".into(), &[4 * hidden, features], init)?,
                    hidden: make("lstm.weight_hh_l0".into(), &[4 * hidden, hidden], init)?,
                    input_bias: make("lstm.bias_ih_l0".into(), &[4 * hidden], init)?,
                    hidden_bias: make("lstm.bias_hh_l0".into(), &[4 * hidden], init)?,
                    head: Linear::new(make, "head", hidden, outputs)?,
                }
            }
            &Sizes::PatchTst {
                patch,
                stride,
                width,
                heads,
                feed_forward,
                layers,
                outputs,
                ..
            } => {
                let patches = self.patches();
                Network::PatchTst {
                    patch,
                    stride,
                    embed: Linear::new(make, "embed", patch, width)?,
                    positions: make("positions".into(), &[patches, width], Init::Normal(0.02))?,
                    layers: (0..layers)
                        .map(|i| EncoderLayer::new(make, &format!("layers.{i}"), width, heads, feed_forward))
                        .collect::<Result<_>>()?,
                    head: Linear::new(make, "head", patches * width, outputs)?,
                }
            }
        })
    }

    fn patches(&self) -> usize {
        match self.sizes {
            Sizes::PatchTst {
                length, patch, stride, ..
            } => (length - patch) / stride + 1,
            _ => 0,
        }
    }

    /// Floating-point operations of the matrix products of one step, a multiplication and an addition for two: each product of the forward
    /// pass, and its derivative by the weights and by what went in. What goes into the first layer is data and needs none.
    pub fn operations(&self) -> f64 {
        let batch = self.batch as f64;
        let multiply_adds = match &self.sizes {
            Sizes::Perceptron(widths) => {
                let layers = widths.windows(2).enumerate();
                let products = layers.map(|(i, w)| batch * (w[0] * w[1]) as f64 * if i == 0 { 2.0 } else { 3.0 });
                products.sum()
            }
            &Sizes::Lstm {
                time,
                features,
                hidden,
                outputs,
            } => {
                let [input, recurrent] = [features, hidden].map(|n| batch * (time * n * 4 * hidden) as f64);
                2.0 * input + 3.0 * recurrent + 3.0 * batch * (hidden * outputs) as f64
            }
            &Sizes::PatchTst {
                patch,
                width,
                feed_forward,
                layers,
                outputs,
                ..
            } => {
                let patches = self.patches();
                let tokens = batch * patches as f64;
                // Four projections, the scores and their use, and two products of the feed-forward part.
                let layer = 4 * width * width + 2 * patches * width + 2 * width * feed_forward;
                let head = batch * (patches * width * outputs) as f64;
                2.0 * tokens * (patch * width) as f64 + 3.0 * (layers as f64 * tokens * layer as f64 + head)
            }
        };
        2.0 * multiply_adds
    }

    /// As the script in Python reads it.
    pub fn description(&self) -> Value {
        match &self.sizes {
            Sizes::Perceptron(widths) => json!({ "kind": "perceptron", "widths": widths }),
            &Sizes::Lstm {
                features,
                hidden,
                outputs,
                ..
            } => json!({ "kind": "lstm", "features": features, "hidden": hidden, "outputs": outputs }),
            &Sizes::PatchTst {
                patch,
                stride,
                width,
                heads,
                feed_forward,
                layers,
                outputs,
                ..
            } => json!({
                "kind": "patchtst", "patch": patch, "stride": stride, "width": width, "heads": heads,
                "feed_forward": feed_forward, "layers": layers, "outputs": outputs, "patches": self.patches(),
            }),
        }
    }
}

/// A model with its parameters.
pub enum Network {
    Perceptron(Vec<Linear>),
    Lstm {
        input: Tensor,
        hidden: Tensor,
        input_bias: Tensor,
        hidden_bias: Tensor,
        head: Linear,
    },
    PatchTst {
        patch: usize,
        stride: usize,
        embed: Linear,
        positions: Tensor,
        layers: Vec<EncoderLayer>,
        head: Linear,
    },
}

impl Network {
    /// What it predicts of a batch.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Network::Perceptron(layers) => {
                let mut x = x.clone();
                for (i, layer) in layers.iter().enumerate() {
                    if i > 0 {
                        x = nn::relu(&x)?;
                    }
                    x = layer.forward(&x)?;
                }
                Ok(x)
            }
            Network::Lstm {
                input,
                hidden,
                input_bias,
                hidden_bias,
                head,
            } => {
                let weights = nn::RnnWeights {
                    input,
                    hidden,
                    input_bias: Some(input_bias),
                    hidden_bias: Some(hidden_bias),
                };
                let (_, last, _) = nn::lstm(x, None, &weights)?;
                head.forward(&last)
            }
            Network::PatchTst {
                patch,
                stride,
                embed,
                positions,
                layers,
                head,
            } => {
                let mut x = embed.forward(&x.unfold(-1, *patch, *stride)?)?.add(positions)?;
                for layer in layers {
                    x = layer.forward(&x)?;
                }
                head.forward(&x.reshape(&[x.shape()[0] as i32, -1])?)
            }
        }
    }
}

pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Begins as PyTorch's does.
    fn new(make: &mut Make, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        let init = Init::Uniform(1.0 / (inputs as f64).sqrt());
        Ok(Linear {
            weight: make(format!("{name}.weight"), &[outputs, inputs], init)?,
            bias: make(format!("{name}.bias"), &[outputs], init)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(nn::linear(x, &self.weight, Some(&self.bias))?)
    }
}

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    fn new(make: &mut Make, name: &str, width: usize) -> Result<Self> {
        Ok(LayerNorm {
            weight: make(format!("{name}.weight"), &[width], Init::Constant(1.0))?,
            bias: make(format!("{name}.bias"), &[width], Init::Constant(0.0))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(nn::layer_norm(x, Some(&self.weight), Some(&self.bias), 1e-5)?)
    }
}

/// Attention and a feed-forward part, each added to what went in and then normalised.
pub struct EncoderLayer {
    heads: usize,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    norm1: LayerNorm,
    up: Linear,
    down: Linear,
    norm2: LayerNorm,
}

impl EncoderLayer {
    fn new(make: &mut Make, name: &str, width: usize, heads: usize, feed_forward: usize) -> Result<Self> {
        let part = |part: &str| format!("{name}.{part}");
        Ok(EncoderLayer {
            heads,
            query: Linear::new(make, &part("query"), width, width)?,
            key: Linear::new(make, &part("key"), width, width)?,
            value: Linear::new(make, &part("value"), width, width)?,
            out: Linear::new(make, &part("out"), width, width)?,
            norm1: LayerNorm::new(make, &part("norm1"), width)?,
            up: Linear::new(make, &part("up"), width, feed_forward)?,
            down: Linear::new(make, &part("down"), feed_forward, width)?,
            norm2: LayerNorm::new(make, &part("norm2"), width)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [batch, length, width] = [0, 1, 2].map(|i| x.shape()[i] as i32);
        let split = |linear: &Linear| -> Result<Tensor> {
            let y = linear.forward(x)?.reshape(&[batch, length, self.heads as i32, -1])?;
            Ok(y.transpose(1, 2)?)
        };
        let (query, key, value) = (split(&self.query)?, split(&self.key)?, split(&self.value)?);
        let heads = nn::attention(&query, &key, &value, None, false, None)?;
        let attended = self
            .out
            .forward(&heads.transpose(1, 2)?.reshape(&[batch, length, width])?)?;
        let x = self.norm1.forward(&x.add(&attended)?)?;
        let fed = self.down.forward(&nn::gelu(&self.up.forward(&x)?)?)?;
        self.norm2.forward(&x.add(&fed)?)
    }
}

//! Recurrent layers. Parameter names and layouts are PyTorch's: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`.

use super::{Init, Module, Scope, functional};
use crate::error::Result;
use crate::tensor::Tensor;

#[derive(Clone, Debug)]
struct Weights {
    input: Tensor,
    hidden: Tensor,
    input_bias: Tensor,
    hidden_bias: Tensor,
}

impl Weights {
    fn stack(scope: &Scope, inputs: usize, hidden: usize, gates: usize, layers: usize) -> Result<Vec<Self>> {
        let init = Init::Uniform((hidden as f64).sqrt().recip());
        let rows = gates * hidden;
        (0..layers)
            .map(|layer| {
                let inputs = if layer == 0 { inputs } else { hidden };
                Ok(Self {
                    input: scope.parameter(&format!("weight_ih_l{layer}"), (rows, inputs), init)?,
                    hidden: scope.parameter(&format!("weight_hh_l{layer}"), (rows, hidden), init)?,
                    input_bias: scope.parameter(&format!("bias_ih_l{layer}"), rows, init)?,
                    hidden_bias: scope.parameter(&format!("bias_hh_l{layer}"), rows, init)?,
                })
            })
            .collect()
    }

    fn borrow(&self) -> functional::RecurrentWeights<'_> {
        functional::RecurrentWeights {
            input: &self.input,
            hidden: &self.hidden,
            input_bias: Some(&self.input_bias),
            hidden_bias: Some(&self.hidden_bias),
        }
    }
}

/// Long short-term memory (Hochreiter and Schmidhuber 1997) over x [batch, time, in], one layer or several stacked.
#[derive(Clone, Debug)]
pub struct Lstm(Vec<Weights>);

impl Lstm {
    /// `layers` layers, each with `hidden` units.
    pub fn new(scope: &Scope, inputs: usize, hidden: usize, layers: usize) -> Result<Self> {
        Ok(Self(Weights::stack(scope, inputs, hidden, 4, layers)?))
    }

    /// From an earlier state, one (h, c) a layer and each [batch, hidden]; an empty slice begins with zeros. Gives the top
    /// layer's outputs [batch, time, hidden], and the last state of each layer.
    pub fn forward_from(&self, x: &Tensor, state: &[(Tensor, Tensor)]) -> Result<(Tensor, Vec<(Tensor, Tensor)>)> {
        let (mut x, mut last) = (x.clone(), Vec::new());
        for (layer, weights) in self.0.iter().enumerate() {
            let begin = state.get(layer).map(|(h, c)| (h, c));
            let (outputs, h, c) = functional::lstm(&x, begin, weights.borrow())?;
            x = outputs;
            last.push((h, c));
        }
        Ok((x, last))
    }
}

impl Module for Lstm {
    /// x [batch, time, in] gives all outputs [batch, time, hidden] of the top layer.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.forward_from(x, &[])?.0)
    }
}

/// Gated recurrent units (Cho et al. 2014) over x [batch, time, in], one layer or several stacked.
#[derive(Clone, Debug)]
pub struct Gru(Vec<Weights>);

impl Gru {
    /// `layers` layers, each with `hidden` units.
    pub fn new(scope: &Scope, inputs: usize, hidden: usize, layers: usize) -> Result<Self> {
        Ok(Self(Weights::stack(scope, inputs, hidden, 3, layers)?))
    }

    /// From an earlier state, one [batch, hidden] a layer; an empty slice begins with zeros. Gives the top layer's outputs
    /// [batch, time, hidden], and the last state of each layer.
    pub fn forward_from(&self, x: &Tensor, state: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        let (mut x, mut last) = (x.clone(), Vec::new());
        for (layer, weights) in self.0.iter().enumerate() {
            let (outputs, h) = functional::gru(&x, state.get(layer), weights.borrow())?;
            x = outputs;
            last.push(h);
        }
        Ok((x, last))
    }
}

impl Module for Gru {
    /// x [batch, time, in] gives all outputs [batch, time, hidden] of the top layer.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.forward_from(x, &[])?.0)
    }
}

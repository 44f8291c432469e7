//! Attention with several heads.

use super::{Init, Linear, LinearOptions, Module, Scope, functional};
use crate::error::Result;
use crate::tensor::{INFER, Tensor};

/// Multi-head attention (Vaswani et al. 2017). Parameters: `query`, `key`, `value` and `out`, each a [`Linear`] of
/// [width, width].
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: usize,
}

impl MultiHeadAttention {
    /// `heads` must divide `width`.
    pub fn new(scope: &Scope, width: usize, heads: usize) -> Result<Self> {
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(format!("a width of {width} does not divide into {heads} heads").into());
        }
        let options = LinearOptions {
            init: Init::XavierUniform,
            ..Default::default()
        };
        let linear = |name| Linear::with(&scope.sub(name), width, width, options);
        Ok(Self {
            query: linear("query")?,
            key: linear("key")?,
            value: linear("value")?,
            out: linear("out")?,
            heads,
        })
    }

    /// query [batch, n, width], key and value [batch, m, width] give [batch, n, width]. The mask is added to the scores
    /// [batch, heads, n, m] (use large negative numbers) and broadcasts; `causal` hides what comes later.
    pub fn attend(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: Option<&Tensor>,
        causal: bool,
    ) -> Result<Tensor> {
        let query = self.split(self.query.forward(query)?)?;
        let key = self.split(self.key.forward(key)?)?;
        let value = self.split(self.value.forward(value)?)?;
        let heads = functional::attention(&query, &key, &value, mask, causal, None)?;
        self.out.forward(&heads.transpose(1, 2)?.flatten(2)?)
    }

    /// [batch, n, width] as [batch, heads, n, width / heads].
    fn split(&self, x: Tensor) -> Result<Tensor> {
        let dims = x.dims();
        let &[batch, length, _] = dims.as_slice() else {
            return Err(format!("attention is over [batch, length, width], not over {}", x.shape()).into());
        };
        x.reshape((batch, length, self.heads, INFER))?.transpose(1, 2)
    }
}

impl Module for MultiHeadAttention {
    /// Self-attention over x [batch, length, width], without a mask.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.attend(x, x, x, None, false)
    }
}

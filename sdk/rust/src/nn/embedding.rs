//! A table of vectors, looked up by index.

use super::{Init, Module, Scope, functional};
use crate::error::Result;
use crate::tensor::Tensor;

/// One vector for each of a number of entries. Parameter: `weight` [entries, width].
#[derive(Clone, Debug)]
pub struct Embedding {
    /// [entries, width]
    pub weight: Tensor,
}

impl Embedding {
    /// Normally distributed at first, as PyTorch's.
    pub fn new(scope: &Scope, entries: usize, width: usize) -> Result<Self> {
        Ok(Self {
            weight: scope.parameter("weight", (entries, width), Init::Normal(1.0))?,
        })
    }
}

impl Module for Embedding {
    /// `u32` or `i64` indices of any shape [..] give [.., width].
    fn forward(&self, indices: &Tensor) -> Result<Tensor> {
        functional::embedding(indices, &self.weight)
    }
}

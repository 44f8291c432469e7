//! One module after the other.

use super::Module;
use crate::error::Result;
use crate::tensor::Tensor;

/// Applies modules in order. See [the module](super) for an example.
#[derive(Default)]
pub struct Sequential(Vec<Box<dyn Module>>);

impl Sequential {
    /// Without modules: gives its input.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more module at the end: a layer, an [`Activation`](super::Activation), a closure.
    // `add` is the name that everyone expects, and this is not a sum.
    #[allow(clippy::should_implement_trait)]
    pub fn add(mut self, module: impl Module + 'static) -> Self {
        self.0.push(Box::new(module));
        self
    }
}

impl Module for Sequential {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.iter().try_fold(x.clone(), |x, module| module.forward(&x))
    }
}

//! Trainable parameters and the recording of derivatives.
//!
//! Layers make their parameters through a [`Scope`](crate::nn::Scope); use this module for a parameter of your own, for
//! freezing, and for computing without derivatives.

use crate::bindings::autograd as raw;
use crate::error::Result;
use crate::tensor::Tensor;

/// A trainable copy of `value` under a name that no other living parameter has.
pub fn parameter(name: &str, value: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::parameter(name, value.raw()))
}

/// Forgets the gradient of a parameter.
pub fn clear_gradient(parameter: &Tensor) -> Result<()> {
    raw::clear_gradient(parameter.raw())
}

/// Freezes a parameter (`false`) or thaws it: whether optimisers change it and derivatives are kept for it.
pub fn set_trainable(parameter: &Tensor, trainable: bool) -> Result<()> {
    raw::set_trainable(parameter.raw(), trainable)
}

/// Computes without recording derivatives, as PyTorch's `no_grad`: faster, and intermediate results are freed at once.
pub fn no_grad<T>(compute: impl FnOnce() -> T) -> T {
    // Restored by a destructor, so that it does not matter how the closure ends.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            raw::set_recording(self.0);
        }
    }
    let _restore = Restore(raw::set_recording(false));
    compute()
}

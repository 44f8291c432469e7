//! [`Precision`]: which type a network is trained in.

use super::LossScaling;
use crate::Choice;
use crate::tensor::DType;

/// Which type a network is trained in, as a parameter of an algorithm: `"f32"`, `"bf16"` or `"f16"`.
///
/// ```no_run
/// # use trainyard_sdk::prelude::*;
/// #[derive(Parameters)]
/// struct Settings {
///     /// The type that the network computes in; bf16 and f16 are for a GPU.
///     #[param(default = "f32")]
///     precision: optim::Precision,
/// }
///
/// # fn example(settings: Settings) -> Result<()> {
/// let scope = Scope::with_dtype(settings.precision.dtype());
/// let net = Linear::new(&scope, 8, 1)?;
/// let optimizer = Adam::new(1e-3)
///     .loss_scaling(settings.precision.loss_scaling())
///     .build(&scope.parameters())?;
/// # Ok(()) }
/// ```
#[derive(Choice, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    F32,
    /// The range of `f32` with 8 binary digits instead of 24.
    Bf16,
    /// 11 binary digits, and a range that wants [loss scaling](LossScaling).
    F16,
}

impl Precision {
    /// The type of the parameters.
    pub fn dtype(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::Bf16,
            Precision::F16 => DType::F16,
        }
    }

    /// The loss scaling that goes with it: dynamic for `f16`, none for the others.
    pub fn loss_scaling(self) -> LossScaling {
        match self {
            Precision::F16 => LossScaling::Dynamic,
            _ => LossScaling::None,
        }
    }
}

//! Loss scaling.

use crate::bindings::optim as raw;
use crate::shape::count;

/// How an optimiser scales losses (Micikevicius et al. 2018).
///
/// The loss is multiplied before its derivatives are computed, so that gradients too small for `f16` do not become zero, and a
/// step takes the factor out again in `f32`. A step with a gradient that is not finite is skipped. For parameters of `bf16` and
/// `f32` it is of no use, and does no harm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LossScaling {
    /// Not at all; no step is skipped.
    #[default]
    None,
    /// By one factor for the whole training.
    Fixed(f64),
    /// By a factor that begins at 65536, doubles after 2000 good steps in a row, and is halved with each step that is skipped: the
    /// defaults of PyTorch's `GradScaler`.
    Dynamic,
    /// As [`Dynamic`](Self::Dynamic), with numbers of your own.
    Custom {
        /// The first factor.
        initial: f64,
        /// What the factor is multiplied by after `growth_interval` good steps in a row; at least 1.
        growth_factor: f64,
        /// What it is multiplied by when a step is skipped; in (0, 1].
        backoff_factor: f64,
        /// Good steps in a row before it grows.
        growth_interval: usize,
    },
}

impl LossScaling {
    pub(super) fn to_raw(self) -> Option<raw::LossScaling> {
        let (initial, growth_factor, backoff_factor, growth_interval) = match self {
            LossScaling::None => return None,
            LossScaling::Fixed(scale) => (scale, 1.0, 1.0, 1),
            LossScaling::Dynamic => (65_536.0, 2.0, 0.5, 2_000),
            LossScaling::Custom {
                initial,
                growth_factor,
                backoff_factor,
                growth_interval,
            } => (initial, growth_factor, backoff_factor, growth_interval),
        };
        Some(raw::LossScaling {
            initial,
            growth_factor,
            backoff_factor,
            growth_interval: count(growth_interval),
        })
    }
}

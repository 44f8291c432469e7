//! Loss scaling (Micikevicius et al. 2018). Gradients that are too small for `f16` are kept by multiplying the loss before its
//! derivatives are computed; the step takes the factor out again in `f32`. Gradients that become too large are noticed, and the
//! step is skipped.

use super::invalid;
use crate::dtype::DType;
use crate::error::{Error, OpError, Result};
use crate::tensor::Tensor;

/// What losses are multiplied by, and how that number follows what the gradients bear; named as in `torch.amp.GradScaler`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScale {
    /// The first scale.
    pub initial: f64,
    /// What it is multiplied by after `growth_interval` good steps in a row; at least 1.
    pub growth_factor: f64,
    /// What it is multiplied by when a step is skipped; at most 1.
    pub backoff_factor: f64,
    /// Good steps in a row before it grows.
    pub growth_interval: u32,
}

impl LossScale {
    /// One number for the whole training.
    pub fn fixed(scale: f64) -> Self {
        LossScale {
            initial: scale,
            growth_factor: 1.0,
            backoff_factor: 1.0,
            ..Self::default()
        }
    }
}

/// PyTorch's defaults.
impl Default for LossScale {
    fn default() -> Self {
        LossScale {
            initial: 65_536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2_000,
        }
    }
}

/// The largest finite number of `f16`.
const LARGEST_F16: f64 = 65_504.0;

/// So many steps skipped in a row, at a scale that is no longer large, are not the scale's fault.
const HOPELESS: u32 = 32;
const SMALL: f64 = 1.0 / 65_536.0;

/// The scale, and what it follows from.
pub(super) struct Scaler {
    pub(super) scale: f64,
    rule: LossScale,
    /// Good steps since the scale last changed.
    good: u32,
    /// Steps skipped since the last good one.
    in_a_row: u32,
    pub(super) skipped: u64,
    /// A gradient that was not finite was seen before the step, where clipping might have hidden it.
    pub(super) overflowed: bool,
}

impl Scaler {
    pub(super) fn new(rule: LossScale) -> Result<Self> {
        let refuse = |message: String| Err(invalid("optim.set-loss-scaling", message));
        if !is_scale(rule.initial) {
            return refuse(format!("a loss scale must be a positive number, not {}", rule.initial));
        }
        if !(rule.growth_factor >= 1.0 && rule.growth_factor.is_finite()) {
            return refuse(format!(
                "the growth factor must be at least 1, not {}",
                rule.growth_factor
            ));
        }
        if !(rule.backoff_factor > 0.0 && rule.backoff_factor <= 1.0) {
            return refuse(format!(
                "the backoff factor must lie in (0, 1], not at {}",
                rule.backoff_factor
            ));
        }
        if rule.growth_interval == 0 {
            return refuse("the growth interval must be at least 1".into());
        }
        Ok(Scaler {
            scale: rule.initial,
            rule,
            good: 0,
            in_a_row: 0,
            skipped: 0,
            overflowed: false,
        })
    }

    fn never_falls(&self) -> bool {
        self.rule.backoff_factor == 1.0
    }

    /// The loss times the scale; one of `f16` or `bf16` as `f32`, which the product fits into.
    pub(super) fn scaled(&self, loss: &Tensor) -> Result<Tensor> {
        if loss.dtype() == DType::F16 && self.never_falls() && self.scale > LARGEST_F16 {
            return Err(invalid(
                "optim.scale-loss",
                format!(
                    "the derivative of a loss of f16 cannot be {}, more than {LARGEST_F16}: cast the prediction to f32 before the loss, or use a smaller scale",
                    self.scale
                ),
            ));
        }
        let wide = if loss.dtype().is_half() {
            loss.cast(DType::F32)?
        } else {
            loss.clone()
        };
        wide.mul_scalar(self.scale)
    }

    /// All gradients of a step were finite.
    pub(super) fn succeed(&mut self) {
        self.in_a_row = 0;
        self.good += 1;
        if self.good >= self.rule.growth_interval {
            self.good = 0;
            let grown = self.scale * self.rule.growth_factor;
            if is_scale(grown) {
                self.scale = grown;
            }
        }
    }

    /// One was not, and the step was skipped. Refuses to go on for ever.
    pub(super) fn skip(&mut self, op: &'static str) -> Result<()> {
        let scale = self.scale;
        self.scale *= self.rule.backoff_factor;
        self.good = 0;
        self.in_a_row += 1;
        self.skipped += 1;
        if self.in_a_row < HOPELESS || (scale > SMALL && !self.never_falls()) {
            return Ok(());
        }
        let advice = if self.never_falls() {
            "use a smaller scale or one that falls; if that does not help, a smaller learning rate"
        } else {
            "the loss itself is no longer finite; try a smaller learning rate"
        };
        Err(Error::Numerical(OpError {
            operation: op.into(),
            message: format!(
                "{} steps in a row had gradients that are not finite, the last with the loss scaled by {scale}: {advice}",
                self.in_a_row
            ),
            shapes: vec![],
            dtypes: vec![],
        }))
    }

    /// Scale, good steps and skipped steps, for a checkpoint.
    pub(super) fn state(&self) -> [f64; 3] {
        [self.scale, f64::from(self.good), self.skipped as f64]
    }

    /// Goes on from a state, if it is one. A scale that never changes stays as it was set.
    pub(super) fn load(&mut self, state: &[f64]) -> bool {
        let &[scale, good, skipped] = state else { return false };
        if !is_scale(scale) {
            return false;
        }
        if !(self.never_falls() && self.rule.growth_factor == 1.0) {
            self.scale = scale;
        }
        (self.good, self.skipped, self.in_a_row) = (good as u32, skipped as u64, 0);
        true
    }
}

/// A positive number that `f32` can hold.
fn is_scale(value: f64) -> bool {
    value > 0.0 && (value as f32).is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dynamic(initial: f64) -> Scaler {
        let rule = LossScale {
            initial,
            growth_interval: 3,
            ..Default::default()
        };
        Scaler::new(rule).unwrap()
    }

    #[test]
    fn it_grows_after_good_steps_in_a_row_and_falls_at_once() {
        let mut scaler = dynamic(8.0);
        scaler.succeed();
        scaler.succeed();
        scaler.skip("step").unwrap();
        assert_eq!((scaler.scale, scaler.skipped), (4.0, 1));
        scaler.succeed();
        scaler.succeed();
        assert_eq!(scaler.scale, 4.0);
        scaler.succeed();
        assert_eq!(scaler.scale, 8.0);
    }

    #[test]
    fn it_never_grows_to_infinity() {
        let mut scaler = dynamic(2f64.powi(127));
        (0..9).for_each(|_| scaler.succeed());
        assert_eq!(scaler.scale, 2f64.powi(127));
    }

    #[test]
    fn a_training_that_only_skips_ends_with_an_error() {
        let mut scaler = dynamic(65_536.0);
        let skipped = (0..100).take_while(|_| scaler.skip("step").is_ok()).count();
        assert_eq!(skipped, 32, "from 2^16 down to 2^-16");
        let mut fixed = Scaler::new(LossScale::fixed(128.0)).unwrap();
        (1..HOPELESS).for_each(|_| fixed.skip("step").unwrap());
        let error = fixed.skip("optim.step").unwrap_err().to_string();
        assert!(
            error.starts_with("optim.step: 32 steps in a row") && error.contains("scaled by 128"),
            "{error}"
        );
    }

    #[test]
    fn numbers_that_scale_nothing_are_refused() {
        let usual = LossScale::default();
        for rule in [
            LossScale::fixed(0.0),
            LossScale::fixed(f64::NAN),
            LossScale::fixed(1e39),
            LossScale {
                growth_factor: 0.5,
                ..usual
            },
            LossScale {
                backoff_factor: 2.0,
                ..usual
            },
            LossScale {
                backoff_factor: 0.0,
                ..usual
            },
            LossScale {
                growth_interval: 0,
                ..usual
            },
        ] {
            assert!(Scaler::new(rule).is_err(), "{rule:?}");
        }
    }
}

//! How the learning rate changes from epoch to epoch.

use std::f64::consts::PI;

/// What the learning rate is multiplied by in each epoch. [`Epochs`](crate::Epochs) applies it.
///
/// ```
/// use trainyard_sdk::optim::Schedule;
///
/// let mut halving = Schedule::exponential(0.5);
/// assert_eq!([0, 1, 2].map(|epoch| halving.factor(epoch, None)), [1.0, 0.5, 0.25]);
/// ```
#[derive(Clone, Debug)]
pub struct Schedule(Rule);

#[derive(Clone, Debug)]
enum Rule {
    Step {
        every: usize,
        gamma: f64,
    },
    Cosine {
        warm_up: usize,
        epochs: usize,
        floor: f64,
    },
    Plateau {
        factor: f64,
        patience: usize,
        current: f64,
        best: f64,
        waited: usize,
    },
}

impl Schedule {
    /// Always the same.
    pub fn constant() -> Self {
        Self::exponential(1.0)
    }

    /// Times `gamma` after every epoch.
    pub fn exponential(gamma: f64) -> Self {
        Self::step(1, gamma)
    }

    /// Times `gamma` after every so many epochs, at least one.
    pub fn step(every: usize, gamma: f64) -> Self {
        Self(Rule::Step {
            every: every.max(1),
            gamma,
        })
    }

    /// Rises in a line over the first `warm_up` epochs, then falls to `floor` (of the full rate) in the last of `epochs`, along
    /// half a cosine (Loshchilov and Hutter 2017).
    pub fn cosine(warm_up: usize, epochs: usize, floor: f64) -> Self {
        Self(Rule::Cosine { warm_up, epochs, floor })
    }

    /// Times `factor` when the validation loss has not improved for more than `patience` epochs, as PyTorch's
    /// `ReduceLROnPlateau`; an improvement is one by more than a ten-thousandth.
    pub fn reduce_on_plateau(factor: f64, patience: usize) -> Self {
        Self(Rule::Plateau {
            factor,
            patience,
            current: 1.0,
            best: f64::INFINITY,
            waited: 0,
        })
    }

    /// The factor in an epoch, counted from zero; to be asked once for each epoch in order, with the validation loss of the
    /// epoch before.
    pub fn factor(&mut self, epoch: usize, last_loss: Option<f64>) -> f64 {
        match &mut self.0 {
            Rule::Step { every, gamma } => power(*gamma, epoch / *every),
            Rule::Cosine { warm_up, epochs, floor } => {
                if epoch < *warm_up {
                    return (epoch + 1) as f64 / (*warm_up + 1) as f64;
                }
                let falling = epochs.saturating_sub(*warm_up + 1).max(1);
                let part = ((epoch - *warm_up) as f64 / falling as f64).min(1.0);
                *floor + (1.0 - *floor) * 0.5 * (1.0 + cos_pi(part))
            }
            Rule::Plateau {
                factor,
                patience,
                current,
                best,
                waited,
            } => {
                if let Some(loss) = last_loss {
                    *waited = if loss < *best * (1.0 - 1e-4) { 0 } else { *waited + 1 };
                    *best = best.min(loss);
                    if *waited > *patience {
                        (*current, *waited) = (*current * *factor, 0);
                    }
                }
                *current
            }
        }
    }
}

// The library's `powf` and `cos` would make every plugin some kilobytes larger.

fn power(base: f64, exponent: usize) -> f64 {
    (0..exponent).fold(1.0, |product, _| product * base)
}

/// cos(πx) for x from 0 to 1, by its power series around the middle: cos(πx) = -sin(π(x - 1/2)).
fn cos_pi(x: f64) -> f64 {
    let angle = PI * (x - 0.5);
    // The terms of the sine up to angle^19 / 19!, which is below 1e-13 in this range.
    let (mut term, mut sine) = (angle, angle);
    for order in (3..20).step_by(2) {
        term *= -angle * angle / f64::from((order - 1) * order);
        sine += term;
    }
    -sine
}

#[cfg(test)]
mod tests {
    use super::{PI, Schedule, cos_pi};

    #[test]
    fn the_cosine_is_that_of_the_library() {
        for x in (0..=100).map(|hundredth| f64::from(hundredth) / 100.0) {
            assert!((cos_pi(x) - (PI * x).cos()).abs() < 1e-14, "{x}");
        }
    }

    fn factors(mut schedule: Schedule, losses: &[f64]) -> Vec<f64> {
        let last = |epoch: usize| epoch.checked_sub(1).map(|last| losses[last]);
        (0..=losses.len())
            .map(|epoch| schedule.factor(epoch, last(epoch)))
            .collect()
    }

    #[test]
    fn a_step_comes_after_every_so_many_epochs() {
        assert_eq!(factors(Schedule::step(2, 0.5), &[1.0; 4]), [1.0, 1.0, 0.5, 0.5, 0.25]);
        assert_eq!(factors(Schedule::constant(), &[1.0; 2]), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_cosine_warms_up_and_ends_at_its_floor() {
        let factors = factors(Schedule::cosine(2, 7, 0.1), &[1.0; 6]);
        assert_eq!(factors[..2], [1.0 / 3.0, 2.0 / 3.0]);
        assert_eq!(factors[2], 1.0);
        assert!((factors[4] - 0.55).abs() < 1e-12);
        assert!((factors[6] - 0.1).abs() < 1e-12);
    }

    #[test]
    fn a_plateau_is_more_epochs_without_improvement_than_its_patience() {
        let losses = [1.0, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8, 0.8];
        let expected = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25];
        // Patience 1: two epochs in a row without improvement.
        assert_eq!(
            factors(Schedule::reduce_on_plateau(0.5, 1), &losses)[..5],
            expected[..5]
        );
    }
}

//! The best parameters so far, and what a run needs to go on after an interruption.

use crate::autograd::no_grad;
use crate::error::Result;
use crate::nn::{Scope, StateDict};
use crate::optim::Optimizer;
use crate::run::{self, SavedCheckpoint};
use crate::tensor::Tensor;

/// Copies of a network's tensors as they were in the best epoch; empty before the first.
#[derive(Default)]
pub(super) struct Best(Vec<(String, Tensor)>);

impl Best {
    pub(super) fn keep(&mut self, scope: &Scope) -> Result<()> {
        if self.0.is_empty() {
            let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.detach()?.copy()?));
            self.0 = no_grad(|| scope.state_dict().into_iter().map(copy).collect::<Result<_>>())?;
            return Ok(());
        }
        // Into the same memory, in the same order.
        self.0
            .iter()
            .zip(scope.state_dict())
            .try_for_each(|((_, best), (_, current))| best.assign(&current))
    }

    pub(super) fn restore(&self, scope: &Scope) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            scope.load_state_dict(&self.0)
        }
    }
}

/// How far a run has come; parameters, optimiser and best parameters go with it.
#[derive(Debug, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) epochs: usize,
    pub(super) validation: Vec<f64>,
}

impl Checkpoint {
    pub(super) fn save(&self, scope: &Scope, optimizer: &Optimizer, best: &Best) -> Result<()> {
        let mut tensors = under("parameter", &scope.state_dict());
        tensors.extend(under("optimizer", &optimizer.state_dict()?));
        tensors.extend(under("best", &best.0));
        run::checkpoint(&tensors, &self.to_note())
    }

    /// That of an earlier attempt at this job, if there is one, with everything put back in its place.
    pub(super) fn resume(scope: &Scope, optimizer: &Optimizer, best: &mut Best) -> Result<Option<Self>> {
        let Some(SavedCheckpoint { tensors, note }) = run::resume()? else {
            return Ok(None);
        };
        let checkpoint =
            Self::from_note(&note).ok_or("the checkpoint of the earlier attempt is not one of `Epochs`")?;
        scope.load_state_dict(&of("parameter", &tensors))?;
        optimizer.load_state_dict(&of("optimizer", &tensors))?;
        best.0 = of("best", &tensors);
        Ok(Some(checkpoint))
    }

    /// Losses as the bits of their `f64`: exact, and short to read.
    fn to_note(&self) -> String {
        let losses: String = self
            .validation
            .iter()
            .map(|loss| format!(" {}", loss.to_bits()))
            .collect();
        format!("{}{losses}", self.epochs)
    }

    fn from_note(note: &str) -> Option<Self> {
        let mut words = note.split(' ');
        let epochs = words.next()?.parse().ok()?;
        let validation = words
            .map(|word| Some(f64::from_bits(word.parse().ok()?)))
            .collect::<Option<_>>()?;
        Some(Self { epochs, validation })
    }
}

fn under(part: &str, tensors: &StateDict) -> Vec<(String, Tensor)> {
    tensors
        .iter()
        .map(|(name, tensor)| (format!("{part}/{name}"), tensor.clone()))
        .collect()
}

fn of(part: &str, tensors: &StateDict) -> Vec<(String, Tensor)> {
    let own = |(name, tensor): &(String, Tensor)| {
        let name = name.strip_prefix(part)?.strip_prefix('/')?;
        Some((name.to_string(), tensor.clone()))
    };
    tensors.iter().filter_map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::Checkpoint;

    #[test]
    fn a_note_gives_back_the_very_same_losses() {
        let checkpoint = Checkpoint {
            epochs: 3,
            validation: vec![0.1, 1.0 / 3.0, 1e-300],
        };
        assert_eq!(Checkpoint::from_note(&checkpoint.to_note()), Some(checkpoint));
        assert_eq!(
            Checkpoint::from_note("2"),
            Some(Checkpoint {
                epochs: 2,
                validation: vec![]
            })
        );
        assert_eq!(Checkpoint::from_note("{\"epoch\":3}"), None);
    }
}

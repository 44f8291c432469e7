//! When to stop, and which epoch was the best.

#[derive(Clone, Debug)]
pub(super) struct EarlyStopping {
    patience: usize,
    epochs: usize,
    best: Option<(usize, f64)>,
}

impl EarlyStopping {
    /// Over after that many epochs in a row without a smaller loss; with 0 never.
    pub(super) fn new(patience: usize) -> Self {
        Self {
            patience,
            epochs: 0,
            best: None,
        }
    }

    /// Takes the loss of one more epoch; tells whether it is the smallest so far.
    pub(super) fn observe(&mut self, loss: f64) -> bool {
        let improved = self.best.is_none_or(|(_, best)| loss < best);
        if improved {
            self.best = Some((self.epochs, loss));
        }
        self.epochs += 1;
        improved
    }

    pub(super) fn is_over(&self) -> bool {
        self.best
            .is_some_and(|(epoch, _)| self.patience > 0 && self.epochs - epoch > self.patience)
    }

    pub(super) fn best_epoch(&self) -> Option<usize> {
        self.best.map(|(epoch, _)| epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::EarlyStopping;

    fn epochs_trained(patience: usize, losses: &[f64]) -> (usize, Option<usize>) {
        let mut early = EarlyStopping::new(patience);
        let epochs = losses.iter().take_while(|loss| {
            let goes_on = !early.is_over();
            if goes_on {
                early.observe(**loss);
            }
            goes_on
        });
        (epochs.count(), early.best_epoch())
    }

    #[test]
    fn it_stops_after_as_many_epochs_without_improvement_as_its_patience() {
        assert_eq!(epochs_trained(2, &[3.0, 2.0, 2.5, 2.0, 1.0]), (4, Some(1)));
        assert_eq!(epochs_trained(3, &[3.0, 2.0, 2.5, 2.0, 1.0]), (5, Some(4)));
    }

    #[test]
    fn without_patience_it_never_stops_and_still_knows_the_best() {
        assert_eq!(epochs_trained(0, &[1.0, 2.0, 3.0, 4.0]), (4, Some(0)));
        assert_eq!(epochs_trained(0, &[]), (0, None));
    }
}

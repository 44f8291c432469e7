//! Tables: rows that stand for themselves.
//!
//! A row without its target teaches and tests nothing, so it is left out whatever happens to missing features: a target
//! is never made up.

use crate::{
    DataError, Missing, Task, Warning,
    cut::{Cut, Prepared, TRAINABLE, any_missing, count_missing},
    labels::Labels,
    runs::Runs,
    select::Names,
};

impl Cut<'_> {
    /// Complete rows of features and targets.
    pub fn table(&self, names: &Names, task: Task, warnings: &mut Vec<Warning>) -> Result<Prepared<'_>, DataError> {
        let classification = task == Task::Classification;
        let numbers = names.targets.iter().filter(|_| !classification);
        let mut columns = self.numbers(names.features.iter().chain(numbers))?;
        let labels = if classification {
            Some(Labels::read(self.frame, &names.targets[0])?)
        } else {
            None
        };
        self.check_missing(&columns)?;
        let mut missing = count_missing(&columns);
        let (features, targets) = columns.split_at_mut(names.features.len());

        let mut left_out = any_missing(targets.iter().map(|target| &*target.values), self.used());
        if let Some(labels) = &labels {
            missing += self.leave_out_unlabelled(labels, &names.targets[0], &mut left_out)?;
        }
        if self.missing == Missing::Drop {
            let incomplete = any_missing(features.iter().map(|feature| &*feature.values), self.used());
            left_out
                .iter_mut()
                .zip(incomplete)
                .for_each(|(out, incomplete)| *out |= incomplete);
        } else {
            self.warn_of_empty_parts(features, warnings);
            for feature in features {
                self.fill(feature, self.missing);
            }
        }

        // Part by part, so that each is in one piece however many devices there are.
        let mut kept = Vec::with_capacity(self.used());
        let parts = self.parts.each_ref().map(|part| {
            let start = kept.len();
            kept.extend(part.iter().flatten().filter(|&row| !left_out[row]));
            start..kept.len()
        });
        let dropped = self.parts.iter().map(Runs::len).sum::<usize>() - kept.len();
        if dropped > 0 {
            warnings.push(Warning::RowsDropped { rows: dropped });
        }
        let unmoved = kept.len() == self.used() && kept.is_sorted();
        if !unmoved {
            columns
                .iter_mut()
                .for_each(|column| column.values = kept.iter().map(|&row| column.values[row]).collect());
        }
        for ((part, before), split) in parts.iter().zip(&self.parts).zip(TRAINABLE) {
            if part.is_empty() && !before.is_empty() && self.matters(split) {
                return Err(DataError::TooFewRows {
                    file: self.frame.source().to_owned(),
                    part: split.part(),
                    rows: before.len(),
                    total: self.frame.rows(),
                    needs: "none of them is complete".to_owned(),
                    remedy: "fill in the missing values (--missing mean), or choose fewer --features",
                });
            }
        }
        let (labels, classes) = match labels {
            Some(labels) => {
                let (indices, classes) = match self.model {
                    Some(model) => (
                        labels.indices_in(&model.classes, self.frame, &kept)?,
                        model.classes.clone(),
                    ),
                    None => labels.indices(&kept, parts[0].end, warnings),
                };
                (Some(indices), classes)
            }
            None => (None, Vec::new()),
        };
        Ok(Prepared {
            features: (0..names.features.len()).collect(),
            targets: (names.features.len()..columns.len()).collect(),
            target_names: names.targets.clone(),
            labels,
            classes,
            samples: parts.clone().map(Runs::from),
            parts: parts.map(Runs::from),
            kept: (!unmoved).then_some(kept),
            missing,
            columns,
        })
    }

    /// Marks rows without a label, and counts them.
    fn leave_out_unlabelled(&self, labels: &Labels, column: &str, left_out: &mut [bool]) -> Result<usize, DataError> {
        let unlabelled: Vec<usize> = (0..self.used()).filter(|&row| labels.is_missing(row)).collect();
        if let (Missing::Error, Some(&first)) = (self.missing, unlabelled.first()) {
            return Err(DataError::MissingValue {
                file: self.frame.source().to_owned(),
                place: self.frame.place(first),
                column: column.to_owned(),
                count: unlabelled.len(),
            });
        }
        unlabelled.iter().for_each(|&row| left_out[row] = true);
        Ok(unlabelled.len())
    }
}

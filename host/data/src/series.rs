//! Time series: every row stays where it is, because windows go by rows.

use crate::{
    DataError, Missing, SplitName, Warning, Window,
    cut::{Cut, Prepared, Raw, TRAINABLE, any_missing, count_missing, first_missing},
    missing::fill,
    select::Names,
    window::{Gaps, Starts, windows},
};

impl Cut<'_> {
    /// Columns without gaps, and the windows in each part.
    pub fn series(&self, names: &Names, window: Window, warnings: &mut Vec<Warning>) -> Result<Prepared, DataError> {
        let extra = names.targets.iter().filter(|target| !names.features.contains(target));
        let mut columns = self.numbers(names.features.iter().chain(extra))?;
        self.check_missing(&columns)?;
        let missing = count_missing(&columns);
        let mut samples = [0, 1, 2].map(|part| windows(&self.parts[part], window, part > 0));
        // Rows that no window contains still need a number.
        let mut policy = Missing::Mean;
        if self.missing == Missing::Drop {
            let before: usize = samples.iter().map(Starts::len).sum();
            samples = self.whole_windows(&columns, window, samples)?;
            let windows = before - samples.iter().map(Starts::len).sum::<usize>();
            if windows > 0 {
                warnings.push(Warning::WindowsDropped { windows });
            }
        } else {
            policy = self.missing;
            self.warn_of_empty_parts(&columns, warnings);
        }
        for column in &mut columns {
            fill(&mut column.values, &self.parts, policy, column.mean);
        }
        let position = |name: &String| columns.iter().position(|column| column.name == *name);
        Ok(Prepared {
            features: names.features.iter().filter_map(position).collect(),
            targets: names.targets.iter().filter_map(position).collect(),
            target_names: names.targets.clone(),
            labels: None,
            classes: Vec::new(),
            parts: self.parts.clone(),
            samples,
            kept: None,
            missing,
            columns,
        })
    }

    /// The windows without a missing value. A part that had some and is left with none is an error.
    fn whole_windows(&self, columns: &[Raw], window: Window, samples: [Starts; 3]) -> Result<[Starts; 3], DataError> {
        let incomplete = any_missing(columns.iter().map(|column| column.values.as_slice()), self.used());
        let Some(gaps) = Gaps::new(&incomplete) else {
            return Ok(samples);
        };
        let samples = samples.map(|starts| starts.whole(window.rows(), &gaps));
        for ((starts, part), split) in samples.iter().zip(&self.parts).zip(TRAINABLE) {
            if starts.len() > 0 || part.is_empty() || !self.matters(split) {
                continue;
            }
            let before = if split == SplitName::Train {
                0
            } else {
                window.lookback as usize
            };
            let from = part.start.saturating_sub(before);
            let seen = columns
                .iter()
                .map(|column| (column.name.as_str(), &column.values[from..part.end]));
            if let Some((row, name, _)) = first_missing(seen) {
                return Err(DataError::NoWholeWindow {
                    file: self.frame.source().to_owned(),
                    part: split.part(),
                    place: self.frame.place(from + row),
                    column: name.to_owned(),
                });
            }
        }
        Ok(samples)
    }
}

//! Time series: every row stays where it is, because windows go by rows.

use std::ops::Range;

use crate::{
    DataError, Missing, SplitName, Warning, Window,
    cut::{Cut, Prepared, Raw, TRAINABLE, any_missing, count_missing, first_missing},
    runs::Runs,
    select::Names,
    window::windows,
};

impl Cut<'_> {
    /// Columns without gaps, and the windows in each part.
    pub fn series(
        &self,
        names: &Names,
        window: Window,
        warnings: &mut Vec<Warning>,
    ) -> Result<Prepared<'_>, DataError> {
        let extra = names.targets.iter().filter(|target| !names.features.contains(target));
        let mut columns = self.numbers(names.features.iter().chain(extra))?;
        self.check_missing(&columns)?;
        let missing = count_missing(&columns);
        let mut samples = TRAINABLE.map(|split| self.windows(split, window));
        // Rows that no window contains still need a number.
        let mut policy = Missing::Mean;
        if self.missing == Missing::Drop {
            let before: usize = samples.iter().map(Runs::len).sum();
            samples = self.whole_windows(&columns, window, samples)?;
            let windows = before - samples.iter().map(Runs::len).sum::<usize>();
            if windows > 0 {
                warnings.push(Warning::WindowsDropped { windows });
            }
        } else {
            policy = self.missing;
            self.warn_of_empty_parts(&columns, warnings);
        }
        for column in &mut columns {
            self.fill(column, policy);
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

    /// The first rows that a part's windows may have: of each device, and how far back its windows may look.
    fn reach(&self, split: SplitName) -> impl Iterator<Item = (&Range<usize>, usize)> {
        let devices = self.device_parts.iter().zip(&self.devices.rows);
        devices.map(move |(parts, rows)| {
            let part = &parts[split as usize];
            let earliest = if split == SplitName::Train {
                part.start
            } else {
                rows.start
            };
            (part, earliest)
        })
    }

    /// Where the windows of a part start. A device that is too short for the part has none there.
    fn windows(&self, split: SplitName, window: Window) -> Runs {
        self.reach(split)
            .map(|(part, earliest)| windows(part, window, earliest))
            .collect()
    }

    /// The windows without a missing value. A part that had some and is left with none is an error.
    fn whole_windows(&self, columns: &[Raw<'_>], window: Window, samples: [Runs; 3]) -> Result<[Runs; 3], DataError> {
        let incomplete = any_missing(columns.iter().map(|column| &*column.values), self.used());
        if !incomplete.contains(&true) {
            return Ok(samples);
        }
        let samples = samples.map(|starts| starts.whole(window.rows(), &incomplete));
        for (starts, split) in samples.iter().zip(TRAINABLE) {
            if !starts.is_empty() || self.parts[split as usize].is_empty() || !self.matters(split) {
                continue;
            }
            for (part, earliest) in self.reach(split) {
                let from = part.start.saturating_sub(window.lookback as usize).max(earliest);
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
        }
        Ok(samples)
    }
}

//! Parts with too few rows for a single sample: a device is left out of them; where no device is left, that is an error.

use std::ops::Range;

use crate::{
    DataError, SplitName, Warning, Window,
    cut::{Cut, TRAINABLE},
    runs::Runs,
    warning::ShortDevice,
};

/// Short devices that a warning names.
const SHOWN: usize = 20;

impl Cut<'_> {
    /// The rows of each part, without those of devices that have too few for one sample. A part that does not matter, or is
    /// meant to have no rows, is as it is.
    pub fn long_enough(&self, window: Option<Window>, warnings: &mut Vec<Warning>) -> Result<[Runs; 3], DataError> {
        let mut parts: [Runs; 3] = Default::default();
        let (mut devices, mut more) = (Vec::new(), 0);
        for (split, long_enough) in TRAINABLE.into_iter().zip(&mut parts) {
            let all = || self.device_parts.iter().map(|parts| &parts[split as usize]);
            let training = split == SplitName::Train;
            if !self.matters(split) || !training && all().all(Range::is_empty) {
                *long_enough = all().cloned().collect();
                continue;
            }
            let mut longest = 0;
            for (device, part) in all().enumerate() {
                let needed = self.needed(device, split, window);
                if part.len() > self.device_parts[longest][split as usize].len() {
                    longest = device;
                }
                if part.len() >= needed {
                    long_enough.push(part.clone());
                } else if devices.len() < SHOWN {
                    devices.push(ShortDevice {
                        device: self.devices.name(device).to_owned(),
                        part: split,
                        rows: part.len(),
                        needed,
                    });
                } else {
                    more += 1;
                }
            }
            if long_enough.is_empty() {
                return Err(self.too_short(longest, split, window));
            }
        }
        if !devices.is_empty() {
            warnings.push(Warning::ShortDevices { devices, more });
        }
        Ok(parts)
    }

    /// The rows of a device that come before its part.
    fn before(&self, device: usize, split: SplitName) -> usize {
        self.device_parts[device][split as usize].start - self.devices.rows[device].start
    }

    /// How many rows a device's part needs for one sample.
    fn needed(&self, device: usize, split: SplitName, window: Option<Window>) -> usize {
        match window {
            None => 1,
            Some(window) if split == SplitName::Train => window.rows(),
            Some(window) => window.rows() - self.before(device, split).min(window.lookback as usize),
        }
    }

    /// The error of a part in which no device has enough rows. `longest` is the one with the most.
    fn too_short(&self, longest: usize, split: SplitName, window: Option<Window>) -> DataError {
        let needed = self.needed(longest, split, window);
        let (mut needs, remedy) = match window {
            Some(Window { lookback, horizon }) if split == SplitName::Train => (
                format!("one window needs {needed} (lookback {lookback} + horizon {horizon})"),
                "choose a smaller --lookback or --horizon, another --split, or give more data",
            ),
            Some(Window { lookback, horizon }) => (
                match self.before(longest, split) {
                    before if before < lookback as usize => format!(
                        "one window needs {needed} (lookback {lookback} + horizon {horizon}; only {before} rows come before)"
                    ),
                    _ => format!("one window needs {needed} (horizon {horizon}; it looks back into the rows before)"),
                },
                "choose a smaller --horizon, another --split, or give more data",
            ),
            None => (
                "it needs at least 1".to_owned(),
                "choose another --split, or give more data",
            ),
        };
        if self.devices.count() > 1 {
            needs += &format!(", and none of the {} devices has more rows", self.devices.count());
        }
        DataError::TooFewRows {
            file: self.frame.source().to_owned(),
            part: split.part(),
            rows: self.device_parts[longest][split as usize].len(),
            total: self.devices.rows[longest].len(),
            needs,
            remedy,
        }
    }
}

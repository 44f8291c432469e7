//! Several devices in one table: a column says which device a row is of.
//!
//! Devices come in the order in which they first appear. Everything that goes by neighbouring rows (order of time, parts,
//! gaps, windows) goes by the rows of one device; a table without such a column is one series.

use std::{collections::HashMap, ops::Range};

use serde::Serialize;

use crate::{DataError, Frame, TextValues, Values, error::quoted};

/// Devices that are named in full where figures are shown.
const SHOWN: usize = 50;

/// A device's figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceSummary {
    /// Its name in the device column.
    pub name: String,
    /// Its rows.
    pub rows: usize,
}

/// A frame's devices, each of whose rows are neighbours.
#[derive(Debug, Clone)]
pub(crate) struct Devices {
    /// Empty without a device column.
    names: Vec<String>,
    /// Each device's rows, which follow each other and are all the rows there are.
    pub rows: Vec<Range<usize>>,
}

impl Devices {
    /// Puts each device's rows side by side, in the order they had. Without a column, all rows are one series.
    pub fn group(frame: Frame, column: Option<&str>) -> Result<(Frame, Self), DataError> {
        let Some(column) = column else {
            #[allow(clippy::single_range_in_vec_init)]
            let rows = vec![0..frame.rows()];
            let names = Vec::new();
            return Ok((frame, Self { names, rows }));
        };
        let labels = DeviceLabels::read(&frame, column)?;
        if let Some(row) = labels.codes.iter().position(|&code| code == TextValues::MISSING) {
            return Err(DataError::Malformed {
                file: frame.source().to_owned(),
                place: frame.place(row),
                problem: format!("device column {} is missing", quoted(column)),
                remedy: "say which device the row is of, or leave such rows out",
            });
        }
        let (order, rows) = labels.grouped();
        let frame = match order {
            Some(order) => frame.take(&order),
            None => frame,
        };
        let names = labels.names;
        Ok((frame, Self { names, rows }))
    }

    /// How many there are: one where there is no device column.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// The name of a device of a device column.
    pub fn name(&self, device: usize) -> &str {
        self.names.get(device).map_or("", String::as_str)
    }

    /// How many the device column names, and the first of them.
    pub fn summary(&self) -> (usize, Vec<DeviceSummary>) {
        let lengths = self.rows.iter().map(Range::len);
        (self.names.len(), summary(&self.names, lengths))
    }
}

/// Which device each row is of.
pub(crate) struct DeviceLabels {
    /// For every row the index of its device; [`TextValues::MISSING`] where the column says nothing.
    pub codes: Vec<u32>,
    /// The devices' names, in order of appearance.
    pub names: Vec<String>,
    /// How many rows each device has.
    counts: Vec<usize>,
}

impl DeviceLabels {
    /// Reads a column of texts, or of numbers, which are told apart by their value.
    pub fn read(frame: &Frame, column: &str) -> Result<Self, DataError> {
        let mut labels = Self {
            codes: Vec::with_capacity(frame.rows()),
            names: Vec::new(),
            counts: Vec::new(),
        };
        match &frame.column(column)?.values {
            Values::Text(text) => {
                let mut known: Vec<Option<u32>> = vec![None; text.texts.len()];
                for &code in &text.codes {
                    let Some(known) = known.get_mut(code as usize) else {
                        labels.codes.push(TextValues::MISSING);
                        continue;
                    };
                    let device = *known.get_or_insert_with(|| labels.add(text.texts[code as usize].clone()));
                    labels.row_of(device);
                }
            }
            Values::Numeric(values) => {
                let mut known: HashMap<u64, u32> = HashMap::new();
                for &value in values {
                    if value.is_nan() {
                        labels.codes.push(TextValues::MISSING);
                        continue;
                    }
                    let value = value + 0.0; // -0 and 0 are one device
                    let device = *known
                        .entry(value.to_bits())
                        .or_insert_with(|| labels.add(value.to_string()));
                    labels.row_of(device);
                }
            }
        }
        Ok(labels)
    }

    fn add(&mut self, name: String) -> u32 {
        self.names.push(name);
        self.counts.push(0);
        self.names.len() as u32 - 1
    }

    fn row_of(&mut self, device: u32) {
        self.codes.push(device);
        self.counts[device as usize] += 1;
    }

    /// The rows in order of devices, unless they are in that order already; and where each device's rows then are. Rows of
    /// no device are left out.
    pub fn grouped(&self) -> (Option<Vec<usize>>, Vec<Range<usize>>) {
        let mut end = 0;
        let ranges: Vec<Range<usize>> = self
            .counts
            .iter()
            .map(|count| {
                end += count;
                end - count..end
            })
            .collect();
        // A missing code is larger than any other.
        if end == self.codes.len() && self.codes.is_sorted() {
            return (None, ranges);
        }
        let mut next: Vec<usize> = ranges.iter().map(|range| range.start).collect();
        let mut order = vec![0; end];
        for (row, &code) in self.codes.iter().enumerate() {
            if let Some(next) = next.get_mut(code as usize) {
                order[*next] = row;
                *next += 1;
            }
        }
        (Some(order), ranges)
    }

    /// What stands in the rows of the first device.
    pub fn first<'a>(&'a self, values: &'a [f64]) -> impl Iterator<Item = f64> + Clone + 'a {
        let rows = values.iter().zip(&self.codes);
        rows.filter(|(_, code)| **code == 0).map(|(value, _)| *value)
    }

    /// The first devices.
    pub fn summary(&self) -> Vec<DeviceSummary> {
        summary(&self.names, self.counts.iter().copied())
    }
}

fn summary(names: &[String], rows: impl Iterator<Item = usize>) -> Vec<DeviceSummary> {
    let device = |(name, rows): (&String, usize)| DeviceSummary {
        name: name.clone(),
        rows,
    };
    names.iter().zip(rows).take(SHOWN).map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, text::TextBuilder};

    fn frame(devices: Values) -> Frame {
        let x = (0..devices.len()).map(|row| row as f64).collect();
        let columns = [("machine", devices), ("x", Values::Numeric(x))].map(|(name, values)| Column {
            name: name.into(),
            values,
        });
        Frame::new("a.csv", columns.into(), None).unwrap()
    }

    fn texts(texts: &[&str]) -> Values {
        let mut builder = TextBuilder::default();
        texts
            .iter()
            .for_each(|&text| builder.push((!text.is_empty()).then_some(text)));
        Values::Text(builder.finish())
    }

    #[test]
    fn rows_of_a_device_come_together_in_the_order_of_its_first_row() {
        let (frame, devices) = Devices::group(frame(texts(&["b", "a", "b", "c", "a"])), Some("machine")).unwrap();
        assert_eq!(frame.numbers("x").unwrap(), [0.0, 2.0, 1.0, 4.0, 3.0]);
        assert_eq!(frame.place(1).to_string(), "row 3");
        assert_eq!(
            (&devices.names[..], &devices.rows[..]),
            (&["b", "a", "c"].map(String::from)[..], &[0..2, 2..4, 4..5][..])
        );
    }

    #[test]
    fn numbers_tell_devices_apart_by_their_value() {
        let (_, devices) =
            Devices::group(frame(Values::Numeric(vec![7.0, 0.0, -0.0, 7.0, 2.5])), Some("machine")).unwrap();
        assert_eq!(devices.names, ["7", "0", "2.5"]);
        assert_eq!(devices.rows, [0..2, 2..4, 4..5]);
    }

    #[test]
    fn a_row_of_no_device_is_refused() {
        for values in [texts(&["a", ""]), Values::Numeric(vec![1.0, f64::NAN])] {
            assert_eq!(
                Devices::group(frame(values), Some("machine")).unwrap_err().to_string(),
                "a.csv: row 2: device column \"machine\" is missing: say which device the row is of, or leave such rows out"
            );
        }
        assert_eq!(
            Devices::group(frame(texts(&["a"])), Some("site")).unwrap_err().code(),
            "data.no-such-column"
        );
    }
}

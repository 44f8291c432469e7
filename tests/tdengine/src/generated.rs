//! A table whose rows are a formula: as many as wanted, made while they are sent, held nowhere.

use std::{ops::Range, sync::LazyLock};

use crate::{
    block::{encode_bitmap, start_block},
    value::{DataType, Value},
};

/// The values repeat after this many rows.
const CYCLE: u64 = 4096;

/// One cycle of values as they are sent, so that a column of a block is at most a few copies.
static VALUES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..CYCLE)
        .flat_map(|phase| (phase as f64 / 16.0 - 100.0).to_le_bytes())
        .collect()
});

/// A table of readings at equal steps: `ts`, then double columns `c0`, `c1` and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// How many rows.
    pub rows: u64,
    /// How many columns of doubles.
    pub columns: usize,
    /// The first row's timestamp, in the database's precision.
    pub start: i64,
    /// From one row's timestamp to the next's; above zero.
    pub step: i64,
    /// Every so many rows, the values of the last are NULL.
    pub null_every: Option<u64>,
}

impl Generated {
    /// Rows one second apart from 2020-01-01 on, in milliseconds, without NULLs.
    pub fn new(rows: u64, columns: usize) -> Self {
        Self {
            rows,
            columns,
            start: 1_577_836_800_000,
            step: 1_000,
            null_every: None,
        }
    }

    /// The timestamp of a row.
    pub fn timestamp(&self, row: u64) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(row as i64))
    }

    /// The value of a row in a column: `(row + 97 column) mod 4096 / 16 - 100`, which a double holds exactly.
    pub fn value(&self, row: u64, column: usize) -> Option<f64> {
        (!self.is_null(row)).then(|| phase(row, column) as f64 / 16.0 - 100.0)
    }

    fn is_null(&self, row: u64) -> bool {
        self.null_every.is_some_and(|every| row % every == every - 1)
    }

    /// How many values of a column are not NULL in these rows.
    pub(crate) fn count_values(&self, rows: &Range<u64>) -> u64 {
        let nulls = self.null_every.map_or(0, |every| rows.end / every - rows.start / every);
        rows.end - rows.start - nulls
    }

    /// The rows whose timestamps lie in `from..=to`.
    pub(crate) fn between(&self, from: i64, to: i64) -> Range<u64> {
        let row = |timestamp: i128| (timestamp.max(0) as u64).min(self.rows);
        let (start, step) = (i128::from(self.start), i128::from(self.step));
        let first = row((i128::from(from) - start + step - 1).div_euclid(step));
        let end = row((i128::from(to) - start).div_euclid(step) + 1);
        first..end.max(first)
    }

    /// A whole row, the timestamp first.
    pub(crate) fn row(&self, row: u64) -> impl Iterator<Item = Value> {
        std::iter::once(Value::Timestamp(self.timestamp(row)))
            .chain((0..self.columns).map(move |column| self.value(row, column).into()))
    }

    /// Appends a block of some rows; column 0 is the timestamp.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, columns: &[usize], rows: Range<u64>) {
        let count = (rows.end - rows.start) as usize;
        let types: Vec<_> = columns
            .iter()
            .map(|&column| {
                if column == 0 {
                    DataType::Timestamp
                } else {
                    DataType::Double
                }
            })
            .collect();
        out.reserve(64 + columns.len() * (9 + 8 * count + count.div_ceil(8)));
        start_block(out, &types, count, &vec![8 * count as u32; columns.len()]);
        for &column in columns {
            match column {
                0 => {
                    encode_bitmap(out, count, std::iter::empty());
                    let start = out.len();
                    out.resize(start + 8 * count, 0);
                    let (slots, _) = out[start..].as_chunks_mut::<8>();
                    let mut timestamp = self.timestamp(rows.start);
                    for slot in slots {
                        *slot = timestamp.to_le_bytes();
                        timestamp = timestamp.wrapping_add(self.step);
                    }
                }
                value => {
                    self.encode_nulls(out, &rows);
                    encode_values(out, &rows, value - 1);
                }
            }
        }
        out.push(0);
    }

    fn encode_nulls(&self, out: &mut Vec<u8>, rows: &Range<u64>) {
        let start = out.len();
        out.resize(start + ((rows.end - rows.start) as usize).div_ceil(8), 0);
        let Some(every) = self.null_every else { return };
        let mut row = rows.start / every * every + every - 1;
        while row < rows.end {
            let index = (row - rows.start) as usize;
            out[start + index / 8] |= 0x80 >> (index % 8);
            row += every;
        }
    }
}

fn phase(row: u64, column: usize) -> u64 {
    (row + 97 * column as u64) % CYCLE
}

fn encode_values(out: &mut Vec<u8>, rows: &Range<u64>, column: usize) {
    let mut row = rows.start;
    while row < rows.end {
        let from = phase(row, column);
        let count = (CYCLE - from).min(rows.end - row);
        out.extend_from_slice(&VALUES[8 * from as usize..8 * (from + count) as usize]);
        row += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block::ResultColumn, decode::decode_block};

    #[test]
    fn an_encoded_block_holds_the_rows_of_the_formula() {
        let table = Generated {
            null_every: Some(7),
            ..Generated::new(10_000, 3)
        };
        let column = |data_type| ResultColumn {
            name: String::new(),
            data_type,
        };
        let columns = [
            column(DataType::Timestamp),
            column(DataType::Double),
            column(DataType::Double),
        ];
        let mut block = Vec::new();
        table.encode(&mut block, &[0, 3, 1], 4001..9000);
        let rows = decode_block(&block, &columns).unwrap();
        assert_eq!(rows.len(), 4999);
        for (index, row) in rows.into_iter().enumerate() {
            let all: Vec<_> = table.row(4001 + index as u64).collect();
            assert_eq!(row, [all[0].clone(), all[3].clone(), all[1].clone()]);
        }
    }

    #[test]
    fn a_range_of_time_is_a_range_of_rows() {
        let table = Generated {
            start: 1_000,
            step: 10,
            null_every: Some(4),
            ..Generated::new(100, 1)
        };
        assert_eq!(table.between(i64::MIN, i64::MAX), 0..100);
        assert_eq!(table.between(1_001, 1_030), 1..4);
        assert_eq!(table.between(1_991, i64::MAX), 100..100);
        assert_eq!(table.between(0, 999), 0..0);
        assert_eq!(table.count_values(&(1..4)), 2);
        assert_eq!(table.count_values(&(0..100)), 75);
    }
}

//! The raw block: how TDengine 3 lays out the rows of one fetch.
//!
//! A header of 28 bytes (version, length, rows, columns, flags, group; little-endian), five bytes per column (type,
//! block length), four bytes per column (the length of its data), then the columns: a bitmap of NULLs (first row in the
//! highest bit) and fixed values, or an `i32` offset per row (-1 for NULL) and values with two bytes of length before
//! them. One zero byte ends it. An NCHAR is UCS-4.

use crate::value::{DataType, Value};

/// Bytes before the columns' types.
pub(crate) const HEADER: usize = 28;

/// A column of a result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResultColumn {
    pub name: String,
    pub data_type: DataType,
}

/// Appends the header and the columns' types; the lengths of data follow.
pub(crate) fn start_block(out: &mut Vec<u8>, types: &[DataType], rows: usize, data_lengths: &[u32]) {
    let bitmaps = types.iter().map(|t| {
        if t.width().is_some() {
            rows.div_ceil(8)
        } else {
            4 * rows
        }
    });
    let length = HEADER + 9 * types.len() + bitmaps.sum::<usize>() + data_lengths.iter().sum::<u32>() as usize + 1;
    for field in [1, length as u32, rows as u32, types.len() as u32, 1 << 31, 0, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    for data_type in types {
        out.push(data_type.code());
        out.extend_from_slice(&data_type.block_length().to_le_bytes());
    }
    for length in data_lengths {
        out.extend_from_slice(&length.to_le_bytes());
    }
}

/// Appends a whole block of rows.
pub(crate) fn encode_block(out: &mut Vec<u8>, columns: &[ResultColumn], rows: &[Vec<Value>]) {
    let types: Vec<_> = columns.iter().map(|c| c.data_type).collect();
    let mut lengths = Vec::with_capacity(types.len());
    let mut data = Vec::new();
    for (index, data_type) in types.iter().enumerate() {
        let column = rows.iter().map(|row| &row[index]);
        let before = data.len();
        match data_type.width() {
            Some(width) => {
                encode_bitmap(&mut data, rows.len(), column.clone().map(Value::is_null));
                column.for_each(|value| encode_fixed(&mut data, value, width));
                lengths.push((width * rows.len()) as u32);
            }
            None => {
                encode_variable(&mut data, rows.len(), column);
                lengths.push((data.len() - before - 4 * rows.len()) as u32);
            }
        }
    }
    start_block(out, &types, rows.len(), &lengths);
    out.extend_from_slice(&data);
    out.push(0);
}

/// Appends the bitmap of NULLs.
pub(crate) fn encode_bitmap(out: &mut Vec<u8>, rows: usize, nulls: impl Iterator<Item = bool>) {
    let start = out.len();
    out.resize(start + rows.div_ceil(8), 0);
    for (row, _) in nulls.enumerate().filter(|(_, null)| *null) {
        out[start + row / 8] |= 0x80 >> (row % 8);
    }
}

fn encode_fixed(out: &mut Vec<u8>, value: &Value, width: usize) {
    match value {
        Value::Bool(v) => out.push((*v).into()),
        Value::TinyInt(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::SmallInt(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Int(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::BigInt(v) | Value::Timestamp(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::UTinyInt(v) => out.push(*v),
        Value::USmallInt(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::UInt(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::UBigInt(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Float(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Double(v) => out.extend_from_slice(&v.to_le_bytes()),
        // NULL; a variable value cannot stand in a column of a fixed type
        _ => out.resize(out.len() + width, 0),
    }
}

fn encode_variable<'a>(out: &mut Vec<u8>, rows: usize, column: impl Iterator<Item = &'a Value>) {
    let offsets = out.len();
    let data = offsets + 4 * rows;
    out.resize(data, 0xFF);
    for (row, value) in column.enumerate() {
        let wide: Vec<u8>;
        let bytes = match value {
            Value::NChar(text) => {
                wide = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
                &wide
            }
            other => match other.as_bytes() {
                Some(bytes) => bytes,
                None => continue,
            },
        };
        let offset = (out.len() - data) as i32;
        out[offsets + 4 * row..][..4].copy_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_laid_out_as_documented() {
        let column = |name: &str, data_type| ResultColumn {
            name: name.to_owned(),
            data_type,
        };
        let columns = [column("i", DataType::SmallInt), column("n", DataType::NChar(3))];
        let rows = [
            vec![Value::SmallInt(-2), Value::NChar("é".into())],
            vec![Value::Null, Value::Null],
        ];
        let mut block = Vec::new();
        encode_block(&mut block, &columns, &rows);
        assert_eq!(block[4..8], (block.len() as u32).to_le_bytes());
        assert_eq!(block[28..38], [3, 2, 0, 0, 0, 10, 14, 0, 0, 0]);
        assert_eq!(block[38..46], [4, 0, 0, 0, 6, 0, 0, 0]);
        assert_eq!(block[46..51], [0x40, 0xFE, 0xFF, 0, 0]);
        assert_eq!(
            block[51..],
            [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 4, 0, 0xE9, 0, 0, 0, 0]
        );
    }
}

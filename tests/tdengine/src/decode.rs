//! Reads a raw block back into rows: for captured answers, and to look at what the engine encoded.

use crate::{
    block::{HEADER, ResultColumn},
    value::{DataType, Value},
};

/// The rows of a raw block; `None` when its bytes are not a block of these columns.
pub(crate) fn decode_block(block: &[u8], columns: &[ResultColumn]) -> Option<Vec<Vec<Value>>> {
    let number = |at: usize| Some(u32::from_le_bytes(block.get(at..at + 4)?.try_into().ok()?) as usize);
    let rows = number(8)?;
    if number(12)? != columns.len() || number(4)? != block.len() {
        return None;
    }
    let mut out = vec![Vec::with_capacity(columns.len()); rows];
    let mut at = HEADER + 9 * columns.len();
    for (index, column) in columns.iter().enumerate() {
        let length = number(HEADER + 5 * columns.len() + 4 * index)?;
        let head = if column.data_type.width().is_some() {
            rows.div_ceil(8)
        } else {
            4 * rows
        };
        let (nulls, data) = (block.get(at..at + head)?, block.get(at + head..at + head + length)?);
        at += head + length;
        for (row, values) in out.iter_mut().enumerate() {
            values.push(match column.data_type.width() {
                Some(_) if nulls[row / 8] & (0x80 >> (row % 8)) != 0 => Value::Null,
                Some(width) => fixed(column.data_type, data.get(row * width..(row + 1) * width)?)?,
                None => match i32::from_le_bytes(nulls[4 * row..][..4].try_into().ok()?) {
                    -1 => Value::Null,
                    offset => variable(column.data_type, data.get(offset as usize..)?)?,
                },
            });
        }
    }
    Some(out)
}

fn fixed(data_type: DataType, bytes: &[u8]) -> Option<Value> {
    macro_rules! number {
        ($variant:ident, $number:ty) => {
            Value::$variant(<$number>::from_le_bytes(bytes.try_into().ok()?))
        };
    }
    Some(match data_type {
        DataType::Bool => Value::Bool(bytes[0] != 0),
        DataType::TinyInt => number!(TinyInt, i8),
        DataType::SmallInt => number!(SmallInt, i16),
        DataType::Int => number!(Int, i32),
        DataType::BigInt => number!(BigInt, i64),
        DataType::UTinyInt => number!(UTinyInt, u8),
        DataType::USmallInt => number!(USmallInt, u16),
        DataType::UInt => number!(UInt, u32),
        DataType::UBigInt => number!(UBigInt, u64),
        DataType::Float => number!(Float, f32),
        DataType::Double => number!(Double, f64),
        DataType::Timestamp => number!(Timestamp, i64),
        _ => return None,
    })
}

fn variable(data_type: DataType, data: &[u8]) -> Option<Value> {
    let length = u16::from_le_bytes(data.get(..2)?.try_into().ok()?) as usize;
    let bytes = data.get(2..2 + length)?;
    Some(match data_type {
        DataType::VarChar(_) => Value::VarChar(bytes.to_vec()),
        DataType::VarBinary(_) => Value::VarBinary(bytes.to_vec()),
        DataType::Geometry(_) => Value::Geometry(bytes.to_vec()),
        DataType::Json => Value::Json(String::from_utf8(bytes.to_vec()).ok()?),
        DataType::NChar(_) => {
            let (characters, _) = bytes.as_chunks::<4>();
            Value::NChar(
                characters
                    .iter()
                    .map(|c| char::from_u32(u32::from_le_bytes(*c)))
                    .collect::<Option<_>>()?,
            )
        }
        _ => return None,
    })
}

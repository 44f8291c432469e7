//! Reads the blocks that a server sends: columns of values with a bitmap of NULLs, copied once into Arrow arrays.
//!
//! The layout, little-endian: a header of 28 bytes (version, length, rows, columns, flags, group), for each column its type
//! and width (5 bytes), for each column its length in bytes (4), and the columns: a bitmap (the first row is the highest bit,
//! 1 is NULL) and the values; or, for texts, an offset of 4 bytes for each row (-1 is NULL) and, at each offset, two bytes of
//! length and the text, in UTF-8 (VARCHAR) or in four bytes for each character (NCHAR). Values under a NULL mean nothing.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringArray,
    builder::StringBuilder,
    types::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};

use super::moment::TimePrecision;

const HEADER: usize = 28;

/// The types that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Bool,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    TinyIntUnsigned,
    SmallIntUnsigned,
    IntUnsigned,
    BigIntUnsigned,
    Float,
    Double,
    Timestamp,
    VarChar,
    NChar,
    /// VARBINARY, GEOMETRY, JSON, DECIMAL and whatever comes.
    Other,
}

impl ColumnType {
    /// The type of a number in a server's answer.
    pub fn of_wire(code: u8) -> Self {
        match code {
            1 => Self::Bool,
            2 => Self::TinyInt,
            3 => Self::SmallInt,
            4 => Self::Int,
            5 => Self::BigInt,
            6 => Self::Float,
            7 => Self::Double,
            8 => Self::VarChar,
            9 => Self::Timestamp,
            10 => Self::NChar,
            11 => Self::TinyIntUnsigned,
            12 => Self::SmallIntUnsigned,
            13 => Self::IntUnsigned,
            14 => Self::BigIntUnsigned,
            _ => Self::Other,
        }
    }

    /// The type of a word in `DESCRIBE`'s answer.
    pub fn of_word(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "BOOL" => Self::Bool,
            "TINYINT" => Self::TinyInt,
            "SMALLINT" => Self::SmallInt,
            "INT" => Self::Int,
            "BIGINT" => Self::BigInt,
            "TINYINT UNSIGNED" => Self::TinyIntUnsigned,
            "SMALLINT UNSIGNED" => Self::SmallIntUnsigned,
            "INT UNSIGNED" => Self::IntUnsigned,
            "BIGINT UNSIGNED" => Self::BigIntUnsigned,
            "FLOAT" => Self::Float,
            "DOUBLE" => Self::Double,
            "TIMESTAMP" => Self::Timestamp,
            "VARCHAR" | "BINARY" => Self::VarChar,
            "NCHAR" => Self::NChar,
            _ => Self::Other,
        }
    }

    /// Whether it is a number, or true or false.
    pub fn is_number(self) -> bool {
        !matches!(self, Self::Timestamp | Self::VarChar | Self::NChar | Self::Other)
    }

    /// As which type it is kept.
    pub fn arrow(self, precision: TimePrecision) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::TinyInt => DataType::Int8,
            Self::SmallInt => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::TinyIntUnsigned => DataType::UInt8,
            Self::SmallIntUnsigned => DataType::UInt16,
            Self::IntUnsigned => DataType::UInt32,
            Self::BigIntUnsigned => DataType::UInt64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Timestamp => {
                let unit = match precision {
                    TimePrecision::Millisecond => TimeUnit::Millisecond,
                    TimePrecision::Microsecond => TimeUnit::Microsecond,
                    TimePrecision::Nanosecond => TimeUnit::Nanosecond,
                };
                DataType::Timestamp(unit, Some(ZONE.into()))
            }
            Self::VarChar | Self::NChar | Self::Other => DataType::Utf8,
        }
    }
}

/// Times are instants. Arrow without a table of time zones reads offsets alone.
const ZONE: &str = "+00:00";

/// The columns of a block, which must be of these types. The error says what is wrong with it.
pub(crate) fn decode(
    block: &[u8],
    types: impl ExactSizeIterator<Item = ColumnType>,
    precision: TimePrecision,
) -> Result<Vec<ArrayRef>, String> {
    let mut bytes = Bytes(block);
    let header = bytes.take(HEADER)?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let (rows, columns) = (number(8), number(12));
    if columns != types.len() {
        return Err(format!("a block has {columns} columns instead of {}", types.len()));
    }
    let schema = bytes.take(columns.saturating_mul(5))?;
    let lengths = bytes.take(columns.saturating_mul(4))?;
    let lengths = lengths
        .chunks_exact(4)
        .map(|length| u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize);
    types
        .zip(schema.chunks_exact(5))
        .zip(lengths)
        .map(|((expected, schema), length)| {
            let found = ColumnType::of_wire(schema[0]);
            if found != expected {
                return Err(format!("a column is {found:?} instead of {expected:?}"));
            }
            column(&mut bytes, expected, rows, length, precision)
        })
        .collect()
}

fn column(
    bytes: &mut Bytes<'_>,
    r#type: ColumnType,
    rows: usize,
    length: usize,
    precision: TimePrecision,
) -> Result<ArrayRef, String> {
    match r#type {
        ColumnType::Bool => {
            let nulls = nulls(bytes, rows)?;
            let values = bytes.take(rows)?;
            let values = BooleanBuffer::collect_bool(rows, |row| values[row] != 0);
            Ok(Arc::new(BooleanArray::new(values, nulls)))
        }
        ColumnType::TinyInt => primitive::<Int8Type>(bytes, rows),
        ColumnType::SmallInt => primitive::<Int16Type>(bytes, rows),
        ColumnType::Int => primitive::<Int32Type>(bytes, rows),
        ColumnType::BigInt => primitive::<Int64Type>(bytes, rows),
        ColumnType::TinyIntUnsigned => primitive::<UInt8Type>(bytes, rows),
        ColumnType::SmallIntUnsigned => primitive::<UInt16Type>(bytes, rows),
        ColumnType::IntUnsigned => primitive::<UInt32Type>(bytes, rows),
        ColumnType::BigIntUnsigned => primitive::<UInt64Type>(bytes, rows),
        ColumnType::Float => primitive::<Float32Type>(bytes, rows),
        ColumnType::Double => primitive::<Float64Type>(bytes, rows),
        ColumnType::Timestamp => Ok(match precision {
            TimePrecision::Millisecond => Arc::new(array::<TimestampMillisecondType>(bytes, rows)?.with_timezone(ZONE)),
            TimePrecision::Microsecond => Arc::new(array::<TimestampMicrosecondType>(bytes, rows)?.with_timezone(ZONE)),
            TimePrecision::Nanosecond => Arc::new(array::<TimestampNanosecondType>(bytes, rows)?.with_timezone(ZONE)),
        }),
        ColumnType::VarChar => texts(bytes, rows, length, |text, out| {
            out.push_str(&String::from_utf8_lossy(text))
        }),
        ColumnType::NChar => texts(bytes, rows, length, |text, out| {
            let code = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            out.extend(
                text.chunks_exact(4)
                    .map(|four| char::from_u32(code(four)).unwrap_or(char::REPLACEMENT_CHARACTER)),
            );
        }),
        ColumnType::Other => Err("a column has a type that cannot be read".to_owned()),
    }
}

fn primitive<T: ArrowPrimitiveType>(bytes: &mut Bytes<'_>, rows: usize) -> Result<ArrayRef, String> {
    Ok(Arc::new(array::<T>(bytes, rows)?))
}

fn array<T: ArrowPrimitiveType>(bytes: &mut Bytes<'_>, rows: usize) -> Result<PrimitiveArray<T>, String> {
    let nulls = nulls(bytes, rows)?;
    let values = bytes.take(rows.saturating_mul(size_of::<T::Native>()))?;
    // The one copy; it is aligned, what came is not.
    let values = ScalarBuffer::<T::Native>::new(Buffer::from(values), 0, rows);
    Ok(PrimitiveArray::new(values, nulls))
}

/// Which rows have a value; `None` if all do.
fn nulls(bytes: &mut Bytes<'_>, rows: usize) -> Result<Option<NullBuffer>, String> {
    let bitmap = bytes.take(rows.div_ceil(8))?;
    if bitmap.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let valid: Vec<u8> = bitmap.iter().map(|byte| (!byte).reverse_bits()).collect();
    Ok(Some(NullBuffer::new(BooleanBuffer::new(
        Buffer::from_vec(valid),
        0,
        rows,
    ))))
}

fn texts(
    bytes: &mut Bytes<'_>,
    rows: usize,
    length: usize,
    read: impl Fn(&[u8], &mut String),
) -> Result<ArrayRef, String> {
    let offsets = bytes.take(rows.saturating_mul(4))?;
    let data = bytes.take(length)?;
    let mut builder = StringBuilder::with_capacity(rows, length);
    let mut text = String::new();
    for offset in offsets.chunks_exact(4) {
        let offset = i32::from_le_bytes([offset[0], offset[1], offset[2], offset[3]]);
        if offset == -1 {
            builder.append_null();
            continue;
        }
        let mut cell = Bytes(
            usize::try_from(offset)
                .ok()
                .and_then(|at| data.get(at..))
                .unwrap_or_default(),
        );
        let size = cell.take(2)?;
        let size = usize::from(u16::from_le_bytes([size[0], size[1]]));
        text.clear();
        read(cell.take(size)?, &mut text);
        builder.append_value(&text);
    }
    Ok(Arc::new(StringArray::from(builder.finish())))
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| format!("a block ends {} bytes early", count - self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Array, cast::AsArray};
    use proptest::prelude::*;
    use std::path::Path;

    /// The columns of a captured query's first block; `None` where the captures are absent.
    fn captured(name: &str) -> Option<Vec<ArrayRef>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/tdengine-wire");
        let Ok(transcript) = std::fs::read(folder.join("transcript.json")) else {
            println!("skipped: the captured blocks are absent");
            return None;
        };
        let transcript: serde_json::Value = serde_json::from_slice(&transcript).unwrap();
        let query = transcript["queries"]
            .as_array()
            .unwrap()
            .iter()
            .find(|query| query["name"] == name)
            .unwrap();
        let reply = &query["query_reply"];
        let codes = reply["fields_types"].as_array().unwrap();
        let types: Vec<_> = codes
            .iter()
            .map(|code| ColumnType::of_wire(code.as_u64().unwrap() as u8))
            .collect();
        let precision = match reply["precision"].as_u64().unwrap() {
            0 => TimePrecision::Millisecond,
            1 => TimePrecision::Microsecond,
            _ => TimePrecision::Nanosecond,
        };
        let bytes = std::fs::read(folder.join(format!("{name}.blocks.bin"))).unwrap();
        let length = query["fetches"][0]["block"]["length"].as_u64().unwrap() as usize;
        // Before the block are 8 bytes of timing and 8 of the result's number.
        Some(decode(&bytes[16..length], types.into_iter(), precision).unwrap())
    }

    fn shown(column: &ArrayRef) -> Vec<String> {
        let text = arrow_cast::cast(column, &DataType::Utf8).unwrap();
        let text = text.as_string::<i32>();
        (0..text.len())
            .map(|row| {
                if text.is_null(row) {
                    "NULL".into()
                } else {
                    text.value(row).to_owned()
                }
            })
            .collect()
    }

    #[test]
    fn every_type_is_read_with_its_nulls_and_extremes() {
        let Some(columns) = captured("alltypes_us") else { return };
        let expected = [
            [
                "2024-01-01T00:00:00.000001Z",
                "2024-01-01T00:00:00.000002Z",
                "2024-01-01T00:00:00.000003Z",
            ],
            ["true", "NULL", "false"],
            ["-8", "NULL", "-127"],
            ["-16", "NULL", "-32767"],
            ["-32", "NULL", "-2147483647"],
            ["-64", "NULL", "-9223372036854775807"],
            ["8", "NULL", "254"],
            ["16", "NULL", "65534"],
            ["32", "NULL", "4294967294"],
            ["64", "NULL", "18446744073709551614"],
            ["1.5", "NULL", "-0.5"],
            ["2.25", "NULL", "1e300"],
            ["abc", "NULL", ""],
            ["温度", "NULL", ""],
        ];
        assert_eq!(columns.iter().map(shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nulls_are_where_they_were_put() {
        let Some(columns) = captured("machine7_all") else {
            return;
        };
        assert_eq!(columns[0].len(), 500);
        for row in 0..500 {
            assert_eq!(columns[1].is_null(row), row % 97 == 5, "value, row {row}");
            assert_eq!(columns[2].is_null(row), row % 11 == 3, "quality, row {row}");
            assert_eq!(columns[3].is_null(row), row % 5 != 0, "note, row {row}");
        }
    }

    proptest! {
        #[test]
        fn no_block_makes_it_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400), rows in 0u32..20, columns in 0u32..4, plausible: bool,
        ) {
            if plausible && bytes.len() >= 50 {
                bytes[8..12].copy_from_slice(&rows.to_le_bytes());
                bytes[12..16].copy_from_slice(&columns.to_le_bytes());
                for (at, code) in [8u8, 7, 10].into_iter().enumerate() {
                    bytes[28 + at * 5] = code;
                }
            }
            let types = [ColumnType::VarChar, ColumnType::Double, ColumnType::NChar];
            let _ = decode(&bytes, types.into_iter().take(columns as usize % 4).collect::<Vec<_>>().into_iter(), TimePrecision::Nanosecond);
        }
    }
}

//! The column types of TDengine and one value of any of them.

/// The type of a column or tag. The number of a variable type is its declared length: bytes of a `VarChar`,
/// `VarBinary` and `Geometry`, characters of an `NChar`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// `BOOL`
    Bool,
    /// `TINYINT`
    TinyInt,
    /// `SMALLINT`
    SmallInt,
    /// `INT`
    Int,
    /// `BIGINT`
    BigInt,
    /// `TINYINT UNSIGNED`
    UTinyInt,
    /// `SMALLINT UNSIGNED`
    USmallInt,
    /// `INT UNSIGNED`
    UInt,
    /// `BIGINT UNSIGNED`
    UBigInt,
    /// `FLOAT`
    Float,
    /// `DOUBLE`
    Double,
    /// `VARCHAR(n)`, also called `BINARY(n)`
    VarChar(u32),
    /// `NCHAR(n)`
    NChar(u32),
    /// `TIMESTAMP`, in the database's precision
    Timestamp,
    /// `JSON`; only a tag can be one
    Json,
    /// `VARBINARY(n)`
    VarBinary(u32),
    /// `GEOMETRY(n)`
    Geometry(u32),
}

/// The characters that a JSON tag is declared with.
const JSON_LENGTH: u32 = 4095;

impl DataType {
    /// The type's number on the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::Bool => 1,
            Self::TinyInt => 2,
            Self::SmallInt => 3,
            Self::Int => 4,
            Self::BigInt => 5,
            Self::Float => 6,
            Self::Double => 7,
            Self::VarChar(_) => 8,
            Self::Timestamp => 9,
            Self::NChar(_) => 10,
            Self::UTinyInt => 11,
            Self::USmallInt => 12,
            Self::UInt => 13,
            Self::UBigInt => 14,
            Self::Json => 15,
            Self::VarBinary(_) => 16,
            Self::Geometry(_) => 20,
        }
    }

    /// The type of a wire number and the length beside it, as [`length`](Self::length) gives it.
    pub(crate) fn from_code(code: u8, length: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Bool,
            2 => Self::TinyInt,
            3 => Self::SmallInt,
            4 => Self::Int,
            5 => Self::BigInt,
            6 => Self::Float,
            7 => Self::Double,
            8 => Self::VarChar(length),
            9 => Self::Timestamp,
            10 => Self::NChar(length),
            11 => Self::UTinyInt,
            12 => Self::USmallInt,
            13 => Self::UInt,
            14 => Self::UBigInt,
            15 => Self::Json,
            16 => Self::VarBinary(length),
            20 => Self::Geometry(length),
            _ => return None,
        })
    }

    /// The name that `DESCRIBE` shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::TinyInt => "TINYINT",
            Self::SmallInt => "SMALLINT",
            Self::Int => "INT",
            Self::BigInt => "BIGINT",
            Self::UTinyInt => "TINYINT UNSIGNED",
            Self::USmallInt => "SMALLINT UNSIGNED",
            Self::UInt => "INT UNSIGNED",
            Self::UBigInt => "BIGINT UNSIGNED",
            Self::Float => "FLOAT",
            Self::Double => "DOUBLE",
            Self::VarChar(_) => "VARCHAR",
            Self::NChar(_) => "NCHAR",
            Self::Timestamp => "TIMESTAMP",
            Self::Json => "JSON",
            Self::VarBinary(_) => "VARBINARY",
            Self::Geometry(_) => "GEOMETRY",
        }
    }

    /// Bytes of one value of a fixed type, the declared length of a variable one: what `fields_lengths` and
    /// `DESCRIBE` say.
    pub fn length(self) -> u32 {
        match self {
            Self::VarChar(n) | Self::NChar(n) | Self::VarBinary(n) | Self::Geometry(n) => n,
            Self::Json => JSON_LENGTH,
            fixed => fixed.width().unwrap_or_default() as u32,
        }
    }

    /// The most bytes that one value takes in a block, with its two bytes of length.
    pub(crate) fn block_length(self) -> u32 {
        match self {
            Self::VarChar(n) | Self::VarBinary(n) | Self::Geometry(n) => n + 2,
            Self::NChar(n) => 4 * n + 2,
            Self::Json => 4 * JSON_LENGTH + 2,
            fixed => fixed.length(),
        }
    }

    /// Bytes of one value; `None` for a variable type.
    pub(crate) fn width(self) -> Option<usize> {
        Some(match self {
            Self::Bool | Self::TinyInt | Self::UTinyInt => 1,
            Self::SmallInt | Self::USmallInt => 2,
            Self::Int | Self::UInt | Self::Float => 4,
            Self::BigInt | Self::UBigInt | Self::Double | Self::Timestamp => 8,
            Self::VarChar(_) | Self::NChar(_) | Self::Json | Self::VarBinary(_) | Self::Geometry(_) => return None,
        })
    }

    /// Whether a value can be summed.
    pub(crate) fn is_number(self) -> bool {
        self.width().is_some() && !matches!(self, Self::Bool | Self::Timestamp)
    }
}

/// One value of a table.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each is the value of the DataType of the same name")]
pub enum Value {
    Null,
    Bool(bool),
    TinyInt(i8),
    SmallInt(i16),
    Int(i32),
    BigInt(i64),
    UTinyInt(u8),
    USmallInt(u16),
    UInt(u32),
    UBigInt(u64),
    Float(f32),
    Double(f64),
    VarChar(Vec<u8>),
    NChar(String),
    Timestamp(i64),
    Json(String),
    VarBinary(Vec<u8>),
    Geometry(Vec<u8>),
}

impl Value {
    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A whole number or a timestamp.
    pub(crate) fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Self::Bool(v) => v.into(),
            Self::TinyInt(v) => v.into(),
            Self::SmallInt(v) => v.into(),
            Self::Int(v) => v.into(),
            Self::BigInt(v) | Self::Timestamp(v) => v.into(),
            Self::UTinyInt(v) => v.into(),
            Self::USmallInt(v) => v.into(),
            Self::UInt(v) => v.into(),
            Self::UBigInt(v) => v.into(),
            _ => return None,
        })
    }

    /// Any number, as a float.
    pub(crate) fn as_float(&self) -> Option<f64> {
        match *self {
            Self::Float(v) => Some(v.into()),
            Self::Double(v) => Some(v),
            _ => self.as_integer().map(|v| v as f64),
        }
    }

    /// The bytes of a text or binary value.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::VarChar(v) | Self::VarBinary(v) | Self::Geometry(v) => Some(v),
            Self::NChar(v) | Self::Json(v) => Some(v.as_bytes()),
            _ => None,
        }
    }

    /// This value as one of a column's type; `None` when it does not fit.
    pub(crate) fn cast(&self, to: DataType) -> Option<Self> {
        if self.is_null() {
            return Some(Self::Null);
        }
        if let Some(bytes) = self.as_bytes() {
            return cast_text(bytes, to);
        }
        to.width()?;
        let integer = || {
            self.as_integer()
                .or_else(|| self.as_float().filter(|v| v.abs() < 1.8e19).map(|v| v.trunc() as i128))
        };
        Some(match to {
            DataType::Bool => Self::Bool(self.as_float()? != 0.0),
            DataType::TinyInt => Self::TinyInt(integer()?.try_into().ok()?),
            DataType::SmallInt => Self::SmallInt(integer()?.try_into().ok()?),
            DataType::Int => Self::Int(integer()?.try_into().ok()?),
            DataType::BigInt => Self::BigInt(integer()?.try_into().ok()?),
            DataType::Timestamp => Self::Timestamp(integer()?.try_into().ok()?),
            DataType::UTinyInt => Self::UTinyInt(integer()?.try_into().ok()?),
            DataType::USmallInt => Self::USmallInt(integer()?.try_into().ok()?),
            DataType::UInt => Self::UInt(integer()?.try_into().ok()?),
            DataType::UBigInt => Self::UBigInt(integer()?.try_into().ok()?),
            DataType::Float => Self::Float(self.as_float()? as f32),
            DataType::Double => Self::Double(self.as_float()?),
            _ => return None,
        })
    }
}

fn cast_text(bytes: &[u8], to: DataType) -> Option<Value> {
    let text = || std::str::from_utf8(bytes).ok();
    Some(match to {
        DataType::VarChar(n) if bytes.len() <= n as usize => Value::VarChar(bytes.to_vec()),
        DataType::NChar(n) if text()?.chars().count() <= n as usize => Value::NChar(text()?.to_owned()),
        DataType::Json => Value::Json(text()?.to_owned()),
        DataType::VarBinary(n) if bytes.len() <= n as usize => Value::VarBinary(bytes.to_vec()),
        DataType::Geometry(n) if bytes.len() <= n as usize => Value::Geometry(bytes.to_vec()),
        DataType::Bool => Value::Bool(match text()?.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            other => other.parse::<f64>().ok()? != 0.0,
        }),
        DataType::Timestamp => Value::Timestamp(text()?.trim().parse().ok()?),
        number if number.is_number() => match text()?.trim().parse::<i128>() {
            Ok(whole) if matches!(number, DataType::Float | DataType::Double) => {
                Value::Double(whole as f64).cast(to)?
            }
            Ok(whole) => match i64::try_from(whole) {
                Ok(v) => Value::BigInt(v).cast(to)?,
                Err(_) => Value::UBigInt(whole.try_into().ok()?).cast(to)?,
            },
            Err(_) => Value::Double(text()?.trim().parse().ok()?).cast(to)?,
        },
        _ => return None,
    })
}

macro_rules! from {
    ($($source:ty => $variant:ident),+ $(,)?) => {$(
        impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}
from! {
    bool => Bool, i8 => TinyInt, i16 => SmallInt, i32 => Int, i64 => BigInt, u8 => UTinyInt, u16 => USmallInt,
    u32 => UInt, u64 => UBigInt, f32 => Float, f64 => Double, &str => NChar, String => NChar, Vec<u8> => VarBinary,
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

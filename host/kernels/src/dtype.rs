//! Element types.

use std::fmt;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 half precision.
    F16,
    /// Half precision with the exponent of single precision.
    BF16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Unsigned bytes; also truth values, 0 and 1.
    U8,
    /// Unsigned 32-bit integers; also indices.
    U32,
    /// Signed 64-bit integers; also indices.
    I64,
}

impl DType {
    /// Every element type.
    pub const ALL: [DType; 7] = [
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
        DType::U8,
        DType::U32,
        DType::I64,
    ];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::U8 => 1,
            DType::F16 | DType::BF16 => 2,
            DType::F32 | DType::U32 => 4,
            DType::F64 | DType::I64 => 8,
        }
    }

    /// Whether it is a floating-point type: only those have derivatives.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// Whether it is `f16` or `bf16`: fused operations compute those in `f32`.
    pub fn is_half(self) -> bool {
        matches!(self, DType::F16 | DType::BF16)
    }

    /// Whether it can be an index.
    pub fn is_index(self) -> bool {
        matches!(self, DType::U32 | DType::I64)
    }

    pub(crate) fn candle(self) -> candle_core::DType {
        match self {
            DType::F16 => candle_core::DType::F16,
            DType::BF16 => candle_core::DType::BF16,
            DType::F32 => candle_core::DType::F32,
            DType::F64 => candle_core::DType::F64,
            DType::U8 => candle_core::DType::U8,
            DType::U32 => candle_core::DType::U32,
            DType::I64 => candle_core::DType::I64,
        }
    }

    /// The types that candle has beyond these are never created here.
    pub(crate) fn from_candle(dtype: candle_core::DType) -> DType {
        match dtype {
            candle_core::DType::F16 => DType::F16,
            candle_core::DType::BF16 => DType::BF16,
            candle_core::DType::F64 => DType::F64,
            candle_core::DType::U8 => DType::U8,
            candle_core::DType::U32 => DType::U32,
            candle_core::DType::I64 => DType::I64,
            _ => DType::F32,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::U8 => "u8",
            DType::U32 => "u32",
            DType::I64 => "i64",
        })
    }
}

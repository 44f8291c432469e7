//! Values of the contract from those of the kernels, and back.

use crate::bindings::trainyard::plugin::types::{Dtype, Error, Host as Types, LimitError, OpError};
use crate::error::PluginError;
use crate::host::Host;
use trainyard_kernels as kernels;
use trainyard_kernels::DType;

impl Types for Host {}

pub(crate) fn dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::U8 => DType::U8,
        Dtype::U32 => DType::U32,
        Dtype::I64 => DType::I64,
    }
}

pub(crate) fn dtype_to_wit(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::Bf16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::U8 => Dtype::U8,
        DType::U32 => Dtype::U32,
        DType::I64 => Dtype::I64,
    }
}

/// Sizes of the contract as sizes of this machine.
pub(crate) fn sizes(shape: &[u32]) -> Vec<usize> {
    shape.iter().map(|&size| size as usize).collect()
}

/// Sizes of a tensor. None of those is larger than the contract's numbers, as a plugin gave them.
pub(crate) fn sizes_to_wit(shape: &[usize]) -> Vec<u32> {
    shape
        .iter()
        .map(|&size| u32::try_from(size).unwrap_or(u32::MAX))
        .collect()
}

pub(crate) fn to_wit(error: kernels::Error) -> Error {
    use kernels::Error as E;
    let op = |error: kernels::OpError| OpError {
        operation: error.operation,
        message: error.message,
        shapes: error.shapes.iter().map(|shape| sizes_to_wit(shape)).collect(),
        dtypes: error.dtypes.into_iter().map(dtype_to_wit).collect(),
    };
    let limit = |error: kernels::LimitError| LimitError {
        limit: error.limit,
        allowed: error.allowed as f64,
        used: error.used as f64,
        requested: error.requested as f64,
        operation: error.operation,
    };
    match error {
        E::Shape(error) => Error::Shape(op(error)),
        E::DType(error) => Error::Dtype(op(error)),
        E::InvalidArgument(error) => Error::InvalidArgument(op(error)),
        E::Numerical(error) => Error::Numerical(op(error)),
        E::OutOfMemory(error) => Error::OutOfMemory(limit(error)),
        E::Limit(error) => Error::Limit(limit(error)),
        E::MissingGradient(name) => Error::MissingGradient(name),
        // The contract has no word for a card that failed. The plugin is to end; the host says why.
        E::Cancelled | E::Device(_) => Error::Cancelled,
    }
}

/// An error that a plugin gave back, in the host's own types.
pub(crate) fn from_wit(error: Error) -> PluginError {
    use kernels::Error as E;
    let op = |error: OpError| kernels::OpError {
        operation: error.operation,
        message: error.message,
        shapes: error.shapes.iter().map(|shape| sizes(shape)).collect(),
        dtypes: error.dtypes.into_iter().map(dtype).collect(),
    };
    let limit = |error: LimitError| kernels::LimitError {
        limit: error.limit,
        allowed: error.allowed as u64,
        used: error.used as u64,
        requested: error.requested as u64,
        operation: error.operation,
    };
    PluginError::Host(match error {
        Error::Shape(error) => E::Shape(op(error)),
        Error::Dtype(error) => E::DType(op(error)),
        Error::InvalidArgument(error) => E::InvalidArgument(op(error)),
        Error::Numerical(error) => E::Numerical(op(error)),
        Error::OutOfMemory(error) => E::OutOfMemory(limit(error)),
        Error::Limit(error) => E::Limit(limit(error)),
        Error::MissingGradient(name) => E::MissingGradient(name),
        Error::Cancelled => E::Cancelled,
        Error::Data(message) => return PluginError::Data(message),
        Error::Algorithm(message) => return PluginError::Algorithm(message),
    })
}

/// An argument that is out of its range.
pub(crate) fn invalid_argument(operation: &str, message: impl Into<String>) -> Error {
    Error::InvalidArgument(OpError {
        operation: operation.into(),
        message: message.into(),
        shapes: vec![],
        dtypes: vec![],
    })
}

/// A limit that would be exceeded.
pub(crate) fn limit_error(limit: &str, allowed: u64, used: u64, requested: u64, operation: &str) -> Error {
    Error::Limit(LimitError {
        limit: limit.into(),
        allowed: allowed as f64,
        used: used as f64,
        requested: requested as f64,
        operation: operation.into(),
    })
}

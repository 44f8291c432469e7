//! The tensor that everyone uses: elements on the session's device, and a place in the graph of derivatives.

use crate::autograd::Link;
use crate::dtype::DType;
use crate::error::{Error, OpError, Result};
use crate::raw::{Raw, op_error, with_any};
use crate::session::Session;
use candle_core::WithDType;
use std::fmt;

/// An array of numbers. A clone is the same tensor: the elements are shared.
#[derive(Clone)]
pub struct Tensor {
    raw: Raw,
    link: Option<Link>,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}{:?})", self.dtype(), self.shape())
    }
}

impl Tensor {
    pub(crate) fn constant(raw: Raw) -> Tensor {
        Tensor { raw, link: None }
    }

    pub(crate) fn linked(raw: Raw, link: Option<Link>) -> Tensor {
        Tensor { raw, link }
    }

    pub(crate) fn raw(&self) -> &Raw {
        &self.raw
    }

    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// The session that it belongs to.
    pub fn session(&self) -> &Session {
        self.raw.session()
    }

    /// The size of each dimension; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        self.raw.shape()
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.raw.rank()
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        self.raw.count()
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.raw.dtype()
    }

    // Reading back

    /// The single element of a tensor that has just one.
    pub fn item(&self) -> Result<f64> {
        const OP: &str = "tensor.item";
        if self.count() != 1 {
            return Err(Error::Shape(op_error(
                OP,
                "needs a tensor of exactly one element; reduce it first, or read it with to-f32",
                &[&self.raw],
            )));
        }
        self.raw.item(OP)
    }

    /// All elements in row-major order, cast where needed.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        self.raw.to_vec("tensor.to-f32")
    }

    /// All elements in row-major order, cast where needed.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        self.raw.to_vec("tensor.to-f64")
    }

    /// All elements in row-major order, cast where needed.
    pub fn to_u32(&self) -> Result<Vec<u32>> {
        self.raw.to_vec("tensor.to-u32")
    }

    /// All elements in row-major order, as little-endian bytes of their own type.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        const OP: &str = "tensor.to-bytes";
        with_any!(self.raw, T => {
            let elements = self.raw.elements::<T>(OP)?;
            let mut bytes = Vec::with_capacity(elements.len() * size_of::<T>());
            for element in elements.iter() {
                bytes.extend_from_slice(&element.to_le_bytes());
            }
            Ok(bytes)
        })
    }

    // Making

    /// From values in row-major order. An empty shape is a scalar.
    pub fn from_f32(session: &Session, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        from_values("tensor.from-f32", session, values, shape)
    }

    /// From values in row-major order.
    pub fn from_f64(session: &Session, values: Vec<f64>, shape: &[usize]) -> Result<Tensor> {
        from_values("tensor.from-f64", session, values, shape)
    }

    /// From values in row-major order.
    pub fn from_u32(session: &Session, values: Vec<u32>, shape: &[usize]) -> Result<Tensor> {
        from_values("tensor.from-u32", session, values, shape)
    }

    /// From little-endian bytes in row-major order; the reverse of [`Tensor::to_bytes`].
    pub fn from_bytes(session: &Session, bytes: &[u8], shape: &[usize], dtype: DType) -> Result<Tensor> {
        const OP: &str = "tensor.from-bytes";
        fn decode<const N: usize, T>(bytes: &[u8], one: fn([u8; N]) -> T) -> Vec<T> {
            // `as_chunks` leaves out a remainder, which `from_values` then finds missing.
            bytes.as_chunks::<N>().0.iter().map(|&chunk| one(chunk)).collect()
        }
        match dtype {
            DType::F16 => from_values(OP, session, decode(bytes, half::f16::from_le_bytes), shape),
            DType::BF16 => from_values(OP, session, decode(bytes, half::bf16::from_le_bytes), shape),
            DType::F32 => from_values(OP, session, decode(bytes, f32::from_le_bytes), shape),
            DType::F64 => from_values(OP, session, decode(bytes, f64::from_le_bytes), shape),
            DType::U8 => from_values(OP, session, bytes.to_vec(), shape),
            DType::U32 => from_values(OP, session, decode(bytes, u32::from_le_bytes), shape),
            DType::I64 => from_values(OP, session, decode(bytes, i64::from_le_bytes), shape),
        }
    }

    /// Every element `value`, which must be one of `dtype`'s.
    pub fn full(session: &Session, shape: &[usize], value: f64, dtype: DType) -> Result<Tensor> {
        const OP: &str = "tensor.full";
        let fits = match dtype {
            DType::U8 => value.fract() == 0.0 && (0.0..=255.0).contains(&value),
            DType::U32 => value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value),
            DType::I64 => value.fract() == 0.0 && value.abs() < 2f64.powi(63),
            _ => true,
        };
        if !fits {
            return Err(invalid(OP, format!("{value} is not a value of type {dtype}")));
        }
        Raw::full(OP, session, shape, value, dtype).map(Tensor::constant)
    }

    /// `start`, `start + step`, ... up to but without `end`.
    pub fn arange(session: &Session, start: f64, end: f64, step: f64, dtype: DType) -> Result<Tensor> {
        const OP: &str = "tensor.arange";
        let count = ((end - start) / step).ceil();
        if !count.is_finite() {
            return Err(invalid(
                OP,
                format!("from {start} to {end} by {step} is no finite range; the step must not be 0"),
            ));
        }
        let count = count.max(0.0) as usize;
        let values = Raw::build::<f64>(OP, session, &[count], |out| {
            for (i, v) in out.iter_mut().enumerate() {
                *v = start + i as f64 * step;
            }
            Ok(())
        })?;
        values.cast(OP, dtype).map(Tensor::constant)
    }

    /// The identity matrix, `size` x `size`.
    pub fn eye(session: &Session, size: usize, dtype: DType) -> Result<Tensor> {
        const OP: &str = "tensor.eye";
        let ones = Raw::build::<f32>(OP, session, &[size, size], |out| {
            out.iter_mut().step_by(size + 1).for_each(|v| *v = 1.0);
            Ok(())
        })?;
        ones.cast(OP, dtype).map(Tensor::constant)
    }

    // Life

    /// The same elements, cut off from the graph of derivatives.
    pub fn detach(&self) -> Result<Tensor> {
        Ok(Tensor::constant(self.raw.clone()))
    }

    /// A new tensor with the same elements; differentiable.
    pub fn copy(&self) -> Result<Tensor> {
        let raw = self.raw.copy("tensor.copy")?;
        Ok(Tensor::record1(raw, self, |gradient| Ok(gradient.clone())))
    }

    /// The elements as another type. Between floating-point types it is differentiable.
    pub fn cast(&self, dtype: DType) -> Result<Tensor> {
        const OP: &str = "tensor.cast";
        let from = self.dtype();
        if from == dtype {
            return Ok(self.clone());
        }
        let raw = self.raw.cast(OP, dtype)?;
        if !dtype.is_float() {
            return Ok(Tensor::constant(raw));
        }
        Ok(Tensor::record1(raw, self, move |gradient| gradient.cast(OP, from)))
    }

    /// Overwrites the elements with those of `source`, of the same shape and type. Not recorded.
    pub fn assign(&self, source: &Tensor) -> Result<()> {
        const OP: &str = "tensor.assign";
        if self.dtype() != source.dtype() {
            return Err(Error::DType(op_error(
                OP,
                "both tensors must have one element type; cast the source",
                &[&self.raw, &source.raw],
            )));
        }
        if self.shape() != source.shape() {
            return Err(Error::Shape(op_error(
                OP,
                "both tensors must have one shape",
                &[&self.raw, &source.raw],
            )));
        }
        if !self.raw.is_contiguous() {
            return Err(invalid(
                OP,
                "a transposed, sliced or broadcast view cannot be assigned to; copy it first".into(),
            ));
        }
        self.raw.overwrite(OP, &source.raw.copy(OP)?)
    }
}

fn invalid(op: &'static str, message: String) -> Error {
    Error::InvalidArgument(OpError {
        operation: op.into(),
        message,
        shapes: vec![],
        dtypes: vec![],
    })
}

fn from_values<T: WithDType>(op: &'static str, session: &Session, values: Vec<T>, shape: &[usize]) -> Result<Tensor> {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if count != Some(values.len()) {
        return Err(Error::Shape(OpError {
            operation: op.into(),
            message: match count {
                Some(count) => format!("the shape has {count} elements, but {} values were given", values.len()),
                None => format!(
                    "the shape has more elements than any machine holds, but {} values were given",
                    values.len()
                ),
            },
            shapes: vec![shape.to_vec()],
            dtypes: vec![DType::from_candle(T::DTYPE)],
        }));
    }
    Raw::from_vec(op, session, values, shape).map(Tensor::constant)
}

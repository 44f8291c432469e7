//! Tensors without derivatives: candle's, with their bytes booked. The derivatives of every operation are written in these
//! too, so that nothing that a backward pass makes escapes the budget.

use crate::dtype::DType;
use crate::error::{Error, OpError, Result};
use crate::gpu::MOST_DIMENSIONS;
use crate::session::{Block, Session};
use candle_core::{CpuStorage, InplaceOp1, Layout, Storage, StorageRef, Tensor as Candle, WithDType};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A candle tensor and the booking of its storage.
#[derive(Clone)]
pub(crate) struct Raw {
    t: Candle,
    block: Arc<Block>,
}

/// The shape of an intermediate result: rarely more than four dimensions.
pub(crate) type Shape = SmallVec<[usize; 6]>;

/// Elements of a tensor on a card.
const MOST_ON_CARD: usize = u32::MAX as usize - 1023;

impl Raw {
    // Making

    /// Books the bytes of a result, then computes it. `compute` must give a tensor with a storage of its own.
    pub(crate) fn make(
        op: &'static str,
        session: &Session,
        shape: &[usize],
        dtype: DType,
        compute: impl FnOnce() -> candle_core::Result<Candle>,
    ) -> Result<Raw> {
        let block = session.reserve(op, shape, dtype)?;
        // candle's kernels count in 32 bits, and step beyond the end before they stop.
        if !session.is_cpu() && shape.iter().product::<usize>() > MOST_ON_CARD {
            let message = format!("a tensor on a card has at most {MOST_ON_CARD} elements; use several");
            return Err(Error::InvalidArgument(OpError {
                operation: op.into(),
                message,
                shapes: vec![shape.to_vec()],
                dtypes: vec![dtype],
            }));
        }
        #[cfg(feature = "cuda")]
        if let (Some(gpu), true) = (session.gpu(), shape.contains(&0)) {
            // A card has neither memory nor kernels for no elements.
            let t = gpu.nothing(shape, dtype).map_err(|e| refused(session, op, &e, &[]))?;
            let block = Arc::new(block);
            return Ok(Raw { t, block });
        }
        let t = compute().map_err(|e| refused(session, op, &e, &[]))?;
        debug_assert_eq!(t.dims(), shape, "{op} booked another shape than it made");
        debug_assert_eq!(t.dtype(), dtype.candle(), "{op} booked another type than it made");
        Ok(Raw {
            t,
            block: Arc::new(block),
        })
    }

    /// From values in row-major order; `values.len()` must be the product of `shape`.
    pub(crate) fn from_vec<T: WithDType>(
        op: &'static str,
        session: &Session,
        values: Vec<T>,
        shape: &[usize],
    ) -> Result<Raw> {
        Raw::make(op, session, shape, DType::from_candle(T::DTYPE), || {
            upload(session, values, shape)
        })
    }

    /// Books the bytes of a result of `shape`, then lets `fill` write it, starting from zeros.
    pub(crate) fn build<T: WithDType>(
        op: &'static str,
        session: &Session,
        shape: &[usize],
        fill: impl FnOnce(&mut [T]) -> Result<()>,
    ) -> Result<Raw> {
        let mut draft = Draft::new(op, session, shape)?;
        fill(&mut draft)?;
        draft.finish()
    }

    pub(crate) fn full(op: &'static str, session: &Session, shape: &[usize], value: f64, dtype: DType) -> Result<Raw> {
        Raw::make(op, session, shape, dtype, || {
            if value == 0.0 {
                return Candle::zeros(shape, dtype.candle(), session.candle());
            }
            let device = session.candle();
            match dtype {
                DType::F16 => Candle::full(half::f16::from_f64(value), shape, device),
                DType::BF16 => Candle::full(half::bf16::from_f64(value), shape, device),
                DType::F32 => Candle::full(value as f32, shape, device),
                DType::F64 => Candle::full(value, shape, device),
                DType::I64 => Candle::full(value as i64, shape, device),
                DType::U8 => Candle::full(value as u8, shape, device),
                DType::U32 => Candle::full(value as u32, shape, device),
            }
        })
    }

    // What it is

    pub(crate) fn session(&self) -> &Session {
        &self.block.session
    }

    pub(crate) fn shape(&self) -> &[usize] {
        self.t.dims()
    }

    pub(crate) fn dtype(&self) -> DType {
        DType::from_candle(self.t.dtype())
    }

    pub(crate) fn rank(&self) -> usize {
        self.t.rank()
    }

    pub(crate) fn count(&self) -> usize {
        self.t.elem_count()
    }

    pub(crate) fn candle(&self) -> &Candle {
        &self.t
    }

    pub(crate) fn is_contiguous(&self) -> bool {
        self.t.is_contiguous()
    }

    /// Whether nothing else looks into its storage: then it may be changed in place.
    pub(crate) fn is_unique(&self) -> bool {
        Arc::strong_count(&self.block) == 1
    }

    pub(crate) fn version(&self) -> u32 {
        self.block.version.load(Relaxed)
    }

    /// Whether this is an operand of `f16` or `bf16` that a fused operation computes in `f32`.
    pub(crate) fn is_widened(&self) -> bool {
        self.block.widened.load(Relaxed)
    }

    pub(crate) fn set_widened(&self) {
        self.block.widened.store(true, Relaxed);
    }

    // Views: no new storage

    /// Another look into the same storage. `look` must not copy.
    pub(crate) fn view(
        &self,
        op: &'static str,
        look: impl FnOnce(&Candle) -> candle_core::Result<Candle>,
    ) -> Result<Raw> {
        self.session().check_booked(op)?;
        let t = look(&self.t).map_err(|e| refused(self.session(), op, &e, &[self]))?;
        Ok(Raw {
            t,
            block: self.block.clone(),
        })
    }

    pub(crate) fn broadcast_to(&self, op: &'static str, shape: &[usize]) -> Result<Raw> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        self.view(op, |t| t.broadcast_as(shape))
    }

    pub(crate) fn transpose(&self, op: &'static str, first: usize, second: usize) -> Result<Raw> {
        self.view(op, |t| t.transpose(first, second))
    }

    // Copies where needed

    pub(crate) fn contiguous(&self, op: &'static str) -> Result<Raw> {
        if self.t.is_contiguous() {
            return Ok(self.clone());
        }
        self.copy(op)
    }

    /// A contiguous copy with a storage of its own.
    pub(crate) fn copy(&self, op: &'static str) -> Result<Raw> {
        let copy = match self.session().gpu() {
            Some(gpu) if !self.is_contiguous() && self.rank() <= MOST_DIMENSIONS => gpu.gather_strided(op, self)?,
            _ => Raw::make(op, self.session(), self.shape(), self.dtype(), || {
                self.t.force_contiguous()
            })?,
        };
        if self.is_widened() {
            copy.set_widened();
        }
        Ok(copy)
    }

    /// A view where possible. The number of elements must agree.
    pub(crate) fn reshape(&self, op: &'static str, shape: &[usize]) -> Result<Raw> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let contiguous = self.contiguous(op)?;
        contiguous.view(op, |t| t.reshape(shape))
    }

    pub(crate) fn cast(&self, op: &'static str, dtype: DType) -> Result<Raw> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        Raw::make(op, self.session(), self.shape(), dtype, || {
            self.t.to_dtype(dtype.candle())
        })
    }

    // Elements

    /// The elements of a contiguous tensor, on the processor, in row-major order.
    ///
    /// On another device this copies them over first: correct everywhere, and slow until that device has a kernel of its own.
    pub(crate) fn elements<T: WithDType>(&self, op: &'static str) -> Result<Elements<T>> {
        let raw = self.contiguous(op)?;
        if raw.session().is_cpu() {
            return Elements::new(op, raw.t, self.count());
        }
        self.session().settle()?;
        let raw = raw.alone(op)?;
        let t = raw
            .t
            .to_device(&candle_core::Device::Cpu)
            .map_err(|e| refused(self.session(), op, &e, &[self]))?;
        Elements::new(op, t, self.count())
    }

    /// The elements from the first on, to be read with the tensor's own strides; on the processor alone.
    pub(crate) fn strided<T: WithDType>(&self, op: &'static str) -> Result<Elements<T>> {
        let (sizes, strides) = (self.t.dims(), self.t.stride());
        let last: usize = sizes.iter().zip(strides).map(|(&n, &s)| n.saturating_sub(1) * s).sum();
        Elements::new(op, self.t.clone(), if self.count() == 0 { 0 } else { last + 1 })
    }

    /// The single element, as `f64`.
    pub(crate) fn item(&self, op: &'static str) -> Result<f64> {
        Ok(self.to_vec::<f64>(op)?[0])
    }

    /// All elements in row-major order, cast to `T`.
    pub(crate) fn to_vec<T: WithDType>(&self, op: &'static str) -> Result<Vec<T>> {
        self.session().settle()?;
        if self.count() == 0 {
            return Ok(Vec::new());
        }
        let read = |t: &Candle| t.flatten_all()?.to_dtype(T::DTYPE)?.to_vec1::<T>();
        if self.session().is_cpu() {
            return read(&self.t).map_err(|e| refused(self.session(), op, &e, &[self]));
        }
        // What is cast is cast here: on the card it would take memory, which may be full.
        let there = self.alone(op)?;
        there
            .t
            .to_device(&candle_core::Device::Cpu)
            .and_then(|here| read(&here))
            .map_err(|e| refused(self.session(), op, &e, &[self]))
    }

    /// On a card, a tensor that is all of its storage: candle reads a storage as a whole, whatever a view shows of it.
    fn alone(&self, op: &'static str) -> Result<Raw> {
        let all = self.block.bytes() == (self.count() * self.dtype().size()) as u64;
        if all && self.is_contiguous() {
            return Ok(self.clone());
        }
        self.copy(op)
    }

    // Changes in place

    /// Lets `change` write the elements of a contiguous tensor, and counts the change.
    pub(crate) fn write<T: WithDType>(
        &self,
        op: &'static str,
        change: impl FnOnce(&mut [T]) -> Result<()>,
    ) -> Result<()> {
        if self.session().is_cpu() {
            let task = InPlace {
                op,
                change: RefCell::new(Some(change)),
                outcome: RefCell::new(Ok(())),
                element: std::marker::PhantomData,
            };
            self.t
                .inplace_op1(&task)
                .map_err(|e| refused(self.session(), op, &e, &[self]))?;
            self.block.version.fetch_add(1, Relaxed);
            return task.outcome.into_inner();
        }
        let mut values = self.to_vec::<T>(op)?;
        change(&mut values)?;
        self.overwrite(op, &Raw::from_vec(op, self.session(), values, self.shape())?)
    }

    /// Overwrites all elements with those of `source`, of the same shape and type, and counts the change.
    pub(crate) fn overwrite(&self, op: &'static str, source: &Raw) -> Result<()> {
        let source = source.contiguous(op)?;
        if self.rank() == 0 {
            let (target, source) = (self.view(op, |t| t.reshape(1))?, source.reshape(op, &[1])?);
            target
                .t
                .slice_set(&source.t, 0, 0)
                .map_err(|e| refused(self.session(), op, &e, &[self]))?;
        } else if self.count() > 0 {
            self.t
                .slice_set(&source.t, 0, 0)
                .map_err(|e| refused(self.session(), op, &e, &[self]))?;
        }
        self.block.version.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Counts a change that a kernel makes in place.
    pub(crate) fn changed(&self) {
        self.block.version.fetch_add(1, Relaxed);
    }

    /// Keeps the tensor for a backward pass, which must find it unchanged.
    pub(crate) fn save(&self) -> Saved {
        Saved {
            raw: self.clone(),
            version: self.version(),
        }
    }
}

/// A result in the making: its bytes are booked, its elements are zeros until someone writes them.
pub(crate) struct Draft<T> {
    op: &'static str,
    block: Block,
    shape: Shape,
    values: Vec<T>,
}

impl<T: WithDType> Draft<T> {
    pub(crate) fn new(op: &'static str, session: &Session, shape: &[usize]) -> Result<Self> {
        let block = session.reserve(op, shape, DType::from_candle(T::DTYPE))?;
        Ok(Draft {
            op,
            block,
            shape: shape.into(),
            values: vec![T::zero(); shape.iter().product()],
        })
    }

    pub(crate) fn finish(self) -> Result<Raw> {
        let session = &self.block.session;
        #[cfg(feature = "cuda")]
        if let (Some(gpu), true) = (session.gpu(), self.values.is_empty()) {
            let t = gpu.nothing(&self.shape, DType::from_candle(T::DTYPE));
            let t = t.map_err(|e| refused(session, self.op, &e, &[]))?;
            let block = Arc::new(self.block);
            return Ok(Raw { t, block });
        }
        let t = upload(session, self.values, &self.shape).map_err(|e| refused(session, self.op, &e, &[]))?;
        Ok(Raw {
            t,
            block: Arc::new(self.block),
        })
    }
}

impl<T> Deref for Draft<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T> DerefMut for Draft<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

/// The elements of a tensor, readable as a slice.
pub(crate) struct Elements<T> {
    _guard: StorageRef<'static>,
    slice: *const [T],
    _keep: Candle,
}

impl<T: WithDType> Elements<T> {
    /// `count` elements of `t`'s storage from its first on.
    fn new(op: &'static str, t: Candle, count: usize) -> Result<Self> {
        let start = t.layout().start_offset();
        // SAFETY: the guard borrows the lock, which lies on the heap behind `t`'s reference counts and so outlives any move of
        // `t`; both go into `Elements`, whose fields drop in order: the guard first.
        let guard: StorageRef<'static> = unsafe { std::mem::transmute(t.storage_and_layout().0) };
        let slice: *const [T] = match &*guard {
            Storage::Cpu(storage) => {
                let all = T::cpu_storage_as_slice(storage).map_err(|e| refused_by_processor(op, &e, &[]))?;
                &all[start..start + count]
            }
            _ => {
                let error = op_error(
                    op,
                    "this operation reads its operands on the processor; they are on another device",
                    &[],
                );
                return Err(Error::InvalidArgument(error));
            }
        };
        Ok(Elements {
            _guard: guard,
            slice,
            _keep: t,
        })
    }
}

impl<T> Deref for Elements<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: it points into the storage that `_guard` holds locked for reading and `_keep` keeps alive.
        unsafe { &*self.slice }
    }
}

struct InPlace<F, T> {
    op: &'static str,
    change: RefCell<Option<F>>,
    outcome: RefCell<Result<()>>,
    element: std::marker::PhantomData<T>,
}

impl<T: WithDType, F: FnOnce(&mut [T]) -> Result<()>> InplaceOp1 for InPlace<F, T> {
    fn name(&self) -> &'static str {
        self.op
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("only a contiguous tensor can be changed in place")
        };
        let slice = elements_mut::<T>(storage)?;
        if let Some(change) = self.change.borrow_mut().take() {
            *self.outcome.borrow_mut() = change(&mut slice[start..end]);
        }
        Ok(())
    }
}

fn elements_mut<T: WithDType>(storage: &mut CpuStorage) -> candle_core::Result<&mut [T]> {
    use std::any::Any;
    let any: &mut dyn Any = match storage {
        CpuStorage::U8(v) => v,
        CpuStorage::U32(v) => v,
        CpuStorage::I64(v) => v,
        CpuStorage::BF16(v) => v,
        CpuStorage::F16(v) => v,
        CpuStorage::F32(v) => v,
        CpuStorage::F64(v) => v,
        _ => candle_core::bail!("an element type that no tensor here has"),
    };
    match any.downcast_mut::<Vec<T>>() {
        Some(v) => Ok(v),
        None => candle_core::bail!("the elements are not {:?}", T::DTYPE),
    }
}

/// A tensor kept for a backward pass.
pub(crate) struct Saved {
    raw: Raw,
    version: u32,
}

impl Saved {
    /// The tensor, if nobody changed it since.
    pub(crate) fn get(&self) -> Result<&Raw> {
        if self.raw.version() == self.version {
            return Ok(&self.raw);
        }
        Err(Error::InvalidArgument(OpError {
            operation: "autograd.backward".into(),
            message: "a tensor that the loss was computed from was changed in place since (by an optimiser's step or `assign`); compute the loss anew".into(),
            shapes: vec![self.raw.shape().to_vec()],
            dtypes: vec![self.raw.dtype()],
        }))
    }
}

/// What an operation says about operands that do not fit.
pub(crate) fn op_error(op: &'static str, message: impl Into<String>, operands: &[&Raw]) -> OpError {
    OpError {
        operation: op.into(),
        message: message.into(),
        shapes: operands.iter().map(|r| r.shape().to_vec()).collect(),
        dtypes: operands.iter().map(|r| r.dtype()).collect(),
    }
}

/// Values as a tensor on the session's device.
fn upload<T: WithDType>(session: &Session, values: Vec<T>, shape: &[usize]) -> candle_core::Result<Candle> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = session.gpu() {
        return gpu.upload(&values, shape);
    }
    Candle::from_vec(values, shape, session.candle())
}

/// candle's own refusal, for what the checks of an operation let through; or the driver's.
pub(crate) fn refused(session: &Session, op: &'static str, error: &candle_core::Error, operands: &[&Raw]) -> Error {
    if !session.is_cpu() {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        if ["CUDA_ERROR", "CUBLAS_STATUS", "DriverError"]
            .iter()
            .any(|word| line.contains(word))
        {
            return session.device_failed(op, line.to_owned());
        }
    }
    refused_by_processor(op, error, operands)
}

/// As [`refused`], where no driver can be the reason. The first line is the message.
fn refused_by_processor(op: &'static str, error: &candle_core::Error, operands: &[&Raw]) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().to_string();
    let error = op_error(op, line, operands);
    match error.dtypes.first() {
        Some(_) if text.contains("dtype") || text.contains("DType") => Error::DType(error),
        _ => Error::InvalidArgument(error),
    }
}

/// Runs an expression with `$T` standing for the element type of a fused operation, `f32` or `f64`.
macro_rules! with_float {
    ($op:expr, $raw:expr, $T:ident => $body:expr) => {
        match $raw.dtype() {
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            _ => Err($crate::Error::DType($crate::raw::op_error(
                $op,
                "needs f32 or f64; cast first",
                &[$raw],
            ))),
        }
    };
}
pub(crate) use with_float;

/// Runs an expression with `$T` standing for the element type, whatever it is.
macro_rules! with_any {
    ($raw:expr, $T:ident => $body:expr) => {
        match $raw.dtype() {
            $crate::DType::F16 => {
                type $T = half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::DType::U32 => {
                type $T = u32;
                $body
            }
            $crate::DType::I64 => {
                type $T = i64;
                $body
            }
        }
    };
}
pub(crate) use with_any;

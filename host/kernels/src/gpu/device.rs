//! A card that is open: its stream, its kernels, and what it has found wrong.

use super::{Arg, Launch, Matrix, Product};
use crate::dtype::DType;
use crate::error::{Error, OpError, Result};
use crate::raw::{Raw, op_error};
use crate::session::Session;
use candle_core::cuda_backend::cudarc::cublas::{result as cublas, sys as cublas_sys};
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, LaunchConfig, PushKernelArg,
    result as driver, sys,
};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, CudaStorageSlice};
use candle_core::{Storage, Tensor as Candle, WithDType};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Our kernels' PTX; the names are those of the build script.
const MODULES: [(&str, &str); 6] = [
    (
        "elementwise",
        include_str!(concat!(env!("OUT_DIR"), "/elementwise.ptx")),
    ),
    ("index", include_str!(concat!(env!("OUT_DIR"), "/index.ptx"))),
    ("optim", include_str!(concat!(env!("OUT_DIR"), "/optim.ptx"))),
    ("recurrent", include_str!(concat!(env!("OUT_DIR"), "/recurrent.ptx"))),
    ("reduce", include_str!(concat!(env!("OUT_DIR"), "/reduce.ptx"))),
    ("rows", include_str!(concat!(env!("OUT_DIR"), "/rows.ptx"))),
];

/// Smaller uploads are not worth a buffer of their own: the driver takes them at once.
const STAGED: usize = 64 << 10;
/// Bytes that one of the two buffers takes at most: page-locked memory is the whole machine's, and is in no job's budget.
const PIECE: usize = 16 << 20;

/// Words of what a kernel notes: the operation plus 1, the index, and the size.
const FAULT: usize = 8;

/// An open card.
pub(crate) struct Gpu {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    /// Copies to the card go beside the computation.
    copies: Arc<CudaStream>,
    functions: RwLock<HashMap<(&'static str, &'static str), CudaFunction>>,
    /// The operations that check something, by their numbers.
    operations: Mutex<Vec<&'static str>>,
    staging: Mutex<Staging>,
    tf32: AtomicBool,
}

/// What kernels find wrong with a session's operands.
pub(crate) struct Faults {
    cell: CudaSlice<u32>,
    /// Whether a kernel may have noted something since that was last looked at.
    checks: AtomicBool,
}

// SAFETY: what it holds are handles of the driver, which may be used from any thread; the buffers of host memory behind pointers
// are used under a lock.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

/// Page-locked memory that the card reads while the processor goes on: two buffers in turn.
#[derive(Default)]
struct Staging {
    buffers: [Option<Pinned>; 2],
    next: usize,
}

struct Pinned {
    memory: *mut c_void,
    bytes: usize,
    /// When the copy out of it is done.
    read: sys::CUevent,
}

impl Gpu {
    /// Opens the card with this number, once for the process.
    pub(crate) fn open(number: usize) -> Result<Arc<Gpu>, String> {
        static CARDS: Mutex<Vec<(usize, Arc<Gpu>)>> = Mutex::new(Vec::new());
        let mut cards = CARDS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, card)) = cards.iter().find(|(n, _)| *n == number) {
            return Ok(card.clone());
        }
        let device = super::driver::open(number)?;
        let card = Gpu::new(device).map_err(|error| format!("{error}; see `nvidia-smi`, or use cpu"))?;
        let card = Arc::new(card);
        cards.push((number, card.clone()));
        Ok(card)
    }

    fn new(device: CudaDevice) -> Result<Gpu, DriverError> {
        let stream = device.cuda_stream();
        let copies = stream.context().new_stream()?;
        // SAFETY: all work is on one stream; the copies on the other are joined by events in `upload`.
        unsafe { device.disable_event_tracking() };
        if let Some(pool) = pool(&stream)? {
            // What is freed stays with the process until its session ends: memory from the operating system takes milliseconds.
            let mut keep = u64::MAX;
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            // SAFETY: the attribute is a 64-bit number.
            unsafe { sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut keep).cast()) }.result()?;
        }
        Ok(Gpu {
            device,
            stream,
            copies,
            functions: RwLock::default(),
            operations: Mutex::default(),
            staging: Mutex::default(),
            tf32: AtomicBool::new(false),
        })
    }

    pub(crate) fn candle(&self) -> candle_core::Device {
        candle_core::Device::Cuda(self.device.clone())
    }

    pub(crate) fn set_tf32(&self, on: bool) {
        self.tf32.store(on, Relaxed);
        candle_core::cuda::set_gemm_reduced_precision_f32(on);
    }

    /// Its name, and its memory in bytes: what is free, and all of it.
    pub(crate) fn about(&self) -> Result<(String, usize, usize), String> {
        let context = self.stream.context();
        let name = context.name().map_err(|error| error.to_string())?;
        let (free, total) = context.mem_get_info().map_err(|error| error.to_string())?;
        Ok((name, free, total))
    }

    /// Gives back to other processes what is not in use.
    pub(crate) fn release(&self) {
        // After a failure there is nothing to give back; the next user hears of it.
        let _ = self.stream.synchronize().and_then(|()| match pool(&self.stream)? {
            // SAFETY: a pool of this device.
            Some(pool) => unsafe { sys::cuMemPoolTrimTo(pool, 0) }.result(),
            None => Ok(()),
        });
    }

    fn function(&self, module: &'static str, name: &'static str, of: &'static str) -> Result<CudaFunction, String> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(&(name, of)) {
            return Ok(function.clone());
        }
        drop(functions);
        let ptx = MODULES
            .iter()
            .find(|(known, _)| *known == module)
            .map_or("", |(_, ptx)| ptx);
        let function = self
            .device
            .get_or_load_custom_func(&format!("{name}_{of}"), module, ptx)
            .map_err(|error| first_line(&error))?
            .into_cuda_function();
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        functions.insert((name, of), function.clone());
        Ok(function)
    }

    /// Puts a kernel (its module, name, and element type) into the stream. Without blocks there is nothing to do.
    pub(crate) fn launch(
        &self,
        op: &'static str,
        session: &Session,
        (module, name, of): (&'static str, &'static str, &'static str),
        launch: Launch,
        args: &[Arg<'_>],
    ) -> Result<()> {
        if launch.grid.0 == 0 || launch.grid.1 == 0 {
            return Ok(());
        }
        let failed = |text: String| session.device_failed(op, text);
        let (Ok(width), Ok(height)) = (i32::try_from(launch.grid.0), u16::try_from(launch.grid.1)) else {
            return Err(Error::InvalidArgument(op_error(
                op,
                "more elements than a card counts",
                &[],
            )));
        };
        let function = self.function(module, name, of).map_err(failed)?;
        let pointers: smallvec::SmallVec<[u64; 16]> = args.iter().map(|arg| self.pointer(session, arg)).collect();
        let mut builder = self.stream.launch_builder(&function);
        for (arg, pointer) in args.iter().zip(&pointers) {
            match arg {
                Arg::Of(_) | Arg::At(..) | Arg::Maybe(_) | Arg::Fault => builder.arg(pointer),
                Arg::Size(value) => builder.arg(value),
                Arg::U32(value) => builder.arg(value),
                Arg::I32(value) => builder.arg(value),
                Arg::I64(value) => builder.arg(value),
                Arg::U64(value) => builder.arg(value),
                Arg::F64(value) => builder.arg(value),
                Arg::Shape(value) => builder.arg(*value),
                Arg::Strides(value) => builder.arg(*value),
                Arg::Table(value) => builder.arg(*value),
            };
        }
        let config = LaunchConfig {
            grid_dim: (width as u32, u32::from(height), 1),
            block_dim: (launch.block.0, launch.block.1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the callers in this module pass what the kernel of that name takes, with tensors as long as it expects.
        unsafe { builder.launch(config) }.map_err(|error| failed(error.to_string()))?;
        Ok(())
    }

    /// Where an argument's elements are; zero for what has none.
    fn pointer(&self, session: &Session, arg: &Arg<'_>) -> u64 {
        match *arg {
            Arg::Of(raw) => self.address(raw, 0),
            Arg::At(raw, start) => self.address(raw, start),
            Arg::Maybe(raw) => raw.map_or(0, |raw| self.address(raw, 0)),
            Arg::Fault => session
                .faults()
                .map_or(0, |faults| faults.cell.device_ptr(&self.stream).0),
            _ => 0,
        }
    }

    /// The address of an element of a tensor, counted from its first. It stays valid on the stream: memory is freed in its order.
    pub(crate) fn address(&self, raw: &Raw, element: usize) -> u64 {
        let (storage, layout) = raw.candle().storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { return 0 };
        let base = match &storage.slice {
            CudaStorageSlice::U8(slice) => slice.device_ptr(&self.stream).0,
            CudaStorageSlice::U32(slice) => slice.device_ptr(&self.stream).0,
            CudaStorageSlice::I64(slice) => slice.device_ptr(&self.stream).0,
            CudaStorageSlice::BF16(slice) => slice.device_ptr(&self.stream).0,
            CudaStorageSlice::F16(slice) => slice.device_ptr(&self.stream).0,
            CudaStorageSlice::F32(slice) => slice.device_ptr(&self.stream).0,
            CudaStorageSlice::F64(slice) => slice.device_ptr(&self.stream).0,
            _ => return 0,
        };
        base + ((layout.start_offset() + element) * raw.dtype().size()) as u64
    }

    /// A matrix product by cuBLAS.
    pub(crate) fn product(&self, op: &'static str, session: &Session, p: &Product<'_>) -> Result<()> {
        let (m, n, k) = p.size;
        if m == 0 || n == 0 || p.batch == 0 {
            return Ok(());
        }
        let too_large = || {
            Error::InvalidArgument(op_error(
                op,
                "a matrix is larger than cuBLAS counts",
                &[p.a.raw, p.b.raw],
            ))
        };
        let int = |value: usize| i32::try_from(value).map_err(|_| too_large());
        let (Some(a), Some(b)) = (stored(&p.a, m, k), stored(&p.b, k, n)) else {
            let message = "neither rows nor columns of a matrix lie side by side";
            return Err(Error::InvalidArgument(op_error(op, message, &[p.a.raw, p.b.raw])));
        };
        let (kind, compute) = match p.c.raw.dtype() {
            DType::F64 => (
                cublas_sys::cudaDataType::CUDA_R_64F,
                cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_64F,
            ),
            DType::F16 => (
                cublas_sys::cudaDataType::CUDA_R_16F,
                cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            ),
            DType::BF16 => (
                cublas_sys::cudaDataType::CUDA_R_16BF,
                cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            ),
            // What was short before it was widened has no digits that TF32 lacks.
            _ if p.a.raw.is_widened() || p.b.raw.is_widened() || self.tf32.load(Relaxed) => {
                let fast = cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32;
                (cublas_sys::cudaDataType::CUDA_R_32F, fast)
            }
            _ => (
                cublas_sys::cudaDataType::CUDA_R_32F,
                cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            ),
        };
        let wide = p.c.raw.dtype() == DType::F64;
        let (long, short) = ([p.alpha, p.beta], [p.alpha as f32, p.beta as f32]);
        let number = |i: usize| -> *const c_void {
            if wide {
                (&raw const long[i]).cast()
            } else {
                (&raw const short[i]).cast()
            }
        };
        let at = |matrix: &Matrix<'_>| self.address(matrix.raw, matrix.start) as *mut c_void;
        let blas = self.device.cublas_handle();
        // cuBLAS counts by columns: what it takes for the transposed product is the product by rows.
        // SAFETY: the matrices lie within their tensors, which the callers see to; the handle is this device's.
        let outcome = unsafe {
            cublas::gemm_strided_batched_ex(
                *blas.handle(),
                b.0,
                a.0,
                int(n)?,
                int(m)?,
                int(k)?,
                number(0),
                at(&p.b),
                kind,
                int(b.1)?,
                p.b.batch as i64,
                at(&p.a),
                kind,
                int(a.1)?,
                p.a.batch as i64,
                number(1),
                at(&p.c),
                kind,
                int(p.c.row.max(n))?,
                p.c.batch as i64,
                int(p.batch)?,
                compute,
                cublas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        outcome.map_err(|error| session.device_failed(op, error.to_string()))
    }

    /// A tensor of values from the processor. A large one is copied beside what the card computes meanwhile.
    pub(crate) fn upload<T: WithDType>(&self, values: &[T], shape: &[usize]) -> candle_core::Result<Candle> {
        macro_rules! of {
            ($element:ty) => {{
                // SAFETY: the element type is the one that `T::DTYPE` names.
                let values = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<$element>(), values.len()) };
                let slice = if size_of_val(values) < STAGED {
                    self.device.clone_htod(values)?
                } else {
                    self.staged(values).map_err(candle_core::Error::wrap)?
                };
                CudaStorage::wrap_cuda_slice(slice, self.device.clone())
            }};
        }
        let storage = match DType::from_candle(T::DTYPE) {
            DType::F16 => of!(half::f16),
            DType::BF16 => of!(half::bf16),
            DType::F32 => of!(f32),
            DType::F64 => of!(f64),
            DType::U8 => of!(u8),
            DType::U32 => of!(u32),
            DType::I64 => of!(i64),
        };
        Ok(Candle::from_storage(
            Storage::Cuda(storage),
            shape,
            candle_core::op::BackpropOp::none(),
            false,
        ))
    }

    /// A tensor without elements: its storage has one, which nothing looks at.
    pub(crate) fn nothing(&self, shape: &[usize], dtype: DType) -> candle_core::Result<Candle> {
        let one = Candle::zeros(1, dtype.candle(), &self.candle())?;
        let (storage, _) = one.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            candle_core::bail!("not a tensor on the card")
        };
        let whole = candle_core::Layout::contiguous(1);
        let storage = candle_core::backend::BackendStorage::try_clone(storage, &whole)?;
        Ok(Candle::from_storage(
            Storage::Cuda(storage),
            shape,
            candle_core::op::BackpropOp::none(),
            false,
        ))
    }

    /// A copy on the card, made piece by piece through the two buffers in turn.
    fn staged<T: DeviceRepr>(&self, values: &[T]) -> Result<CudaSlice<T>, DriverError> {
        self.stream.context().bind_to_thread()?;
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: every element is written by the copies below, on the stream that it was made on, before an event for which the
        // computing stream waits. From there on it is that stream's.
        let target = unsafe { self.copies.alloc::<T>(values.len()) }?.leak();
        // SAFETY: a slice of plain numbers is bytes.
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        let outcome = self.copy_through(&mut staging, bytes, target);
        if outcome.is_err() {
            // What was begun must not be written to memory that is someone else's by then.
            let _ = self.copies.synchronize();
        }
        // SAFETY: it was leaked above, with so many elements.
        let slice = unsafe { self.stream.upgrade_device_ptr::<T>(target, values.len()) };
        outcome.map(|()| slice)
    }

    /// Copies bytes to an address beside the computation, which goes on with what follows once they are there.
    fn copy_through(&self, staging: &mut Staging, bytes: &[u8], target: sys::CUdeviceptr) -> Result<(), DriverError> {
        for (piece, at) in bytes.chunks(PIECE).zip((0..).step_by(PIECE)) {
            let turn = staging.next;
            staging.next = 1 - turn;
            let last = at + piece.len() == bytes.len();
            let buffer = Pinned::of(&mut staging.buffers[turn], piece.len())?;
            // SAFETY: the buffer holds so many bytes, and the copy that last read it is done; the target has room for all of them.
            unsafe {
                std::ptr::copy_nonoverlapping(piece.as_ptr(), buffer.memory.cast::<u8>(), piece.len());
                let source = std::slice::from_raw_parts(buffer.memory.cast::<u8>(), piece.len());
                driver::memcpy_htod_async(target + at as u64, source, self.copies.cu_stream())?;
                driver::event::record(buffer.read, self.copies.cu_stream())?;
                if last {
                    let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
                    driver::stream::wait_event(self.stream.cu_stream(), buffer.read, flags)?;
                }
            }
        }
        Ok(())
    }

    /// A place for what kernels find wrong with a session's operands.
    pub(crate) fn faults(&self) -> Result<Faults, String> {
        let cell = self.stream.alloc_zeros::<u32>(FAULT);
        Ok(Faults {
            cell: cell.map_err(|error| error.to_string())?,
            checks: AtomicBool::new(false),
        })
    }

    /// The number under which a kernel notes what is wrong with an operation's operands.
    pub(crate) fn checking(&self, session: &Session, op: &'static str) -> u32 {
        if let Some(faults) = session.faults() {
            faults.checks.store(true, Relaxed);
        }
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let place = operations.iter().position(|known| *known == op).unwrap_or_else(|| {
            operations.push(op);
            operations.len() - 1
        });
        place as u32
    }

    /// What kernels have noted since it was last asked. Waits for them.
    pub(crate) fn settle(&self, session: &Session) -> Result<()> {
        let Some(Faults { cell, checks }) = session.faults() else {
            return Ok(());
        };
        if !checks.swap(false, Relaxed) {
            return Ok(());
        }
        let failed = |error: DriverError| session.device_failed("device", error.to_string());
        let noted = self.stream.clone_dtoh(cell).map_err(failed)?;
        let Some(number) = noted[0].checked_sub(1) else {
            return Ok(());
        };
        let target = cell.device_ptr(&self.stream).0;
        // SAFETY: the cell has so many words, and what kernels note comes before and after it on their stream.
        unsafe { driver::memset_d8_async(target, 0, FAULT * size_of::<u32>(), self.stream.cu_stream()) }
            .map_err(failed)?;
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let long = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32) as i64;
        let (index, size) = (long(noted[1], noted[2]), long(noted[3], noted[4]));
        Err(Error::InvalidArgument(OpError {
            operation: (*operations.get(number as usize).unwrap_or(&"tensor.index-select")).into(),
            message: format!("index {index} is out of range: there are {size} entries, counted from 0"),
            shapes: vec![],
            dtypes: vec![],
        }))
    }

    /// Compiles and loads all kernels that a training may need: later, a process may have shut itself off from the compiler.
    pub(crate) fn load_kernels(&self, session: &Session) -> Result<()> {
        use candle_core::cuda_backend::kernels;
        let failed = |text: String| session.device_failed("device", text);
        let ours = [
            ("elementwise", "accumulate"),
            ("index", "select_backward"),
            ("optim", "adam"),
            ("recurrent", "lstm_step"),
            ("reduce", "sum_rows"),
            ("rows", "softmax"),
        ];
        for (module, name) in ours {
            self.function(module, name, "f32").map_err(failed)?;
        }
        let candles = [
            (&kernels::AFFINE, "affine_f32"),
            (&kernels::BINARY, "badd_f32"),
            (&kernels::CAST, "cast_f32_f64"),
            (&kernels::FILL, "fill_f32"),
            (&kernels::INDEXING, "gather_u32_f32"),
            (&kernels::REDUCE, "fast_sum_f32"),
            (&kernels::TERNARY, "where_u8_f32"),
            (&kernels::UNARY, "uexp_f32"),
        ];
        for (module, name) in candles {
            self.device
                .get_or_load_func(name, module)
                .map_err(|error| failed(first_line(&error)))?;
        }
        Ok(())
    }

    /// Waits until everything is done.
    pub(crate) fn synchronize(&self, session: &Session) -> Result<()> {
        let outcome = self.stream.synchronize();
        outcome.map_err(|error| session.device_failed("device", error.to_string()))
    }
}

impl Pinned {
    /// A buffer of at least so many bytes that nobody reads.
    fn of(place: &mut Option<Pinned>, bytes: usize) -> Result<&mut Pinned, DriverError> {
        if let Some(buffer) = place {
            // SAFETY: an event of this context.
            unsafe { driver::event::synchronize(buffer.read) }?;
        }
        if place.as_ref().is_none_or(|buffer| buffer.bytes < bytes) {
            *place = None;
            let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
            let bytes = bytes.next_power_of_two();
            // SAFETY: plain page-locked memory.
            let memory = unsafe { driver::malloc_host(bytes, 0) }?;
            let read = driver::event::create(flags)?;
            *place = Some(Pinned { memory, bytes, read });
        }
        place
            .as_mut()
            .ok_or(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: both were made in `of`, and the copy out of the buffer is done. There is nobody to hear of a failure.
        unsafe {
            let _ = driver::event::destroy(self.read);
            let _ = driver::free_host(self.memory);
        }
    }
}

/// The pool that the stream's memory comes from, where the card has one.
fn pool(stream: &CudaStream) -> Result<Option<sys::CUmemoryPool>, DriverError> {
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(None);
    }
    context.bind_to_thread()?;
    let mut pool = std::ptr::null_mut();
    // SAFETY: writes the handle.
    unsafe { sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device()) }.result()?;
    Ok(Some(pool))
}

/// How a matrix of so many rows and columns lies, in cuBLAS's words, and the distance between its rows (or columns).
fn stored(matrix: &Matrix<'_>, rows: usize, columns: usize) -> Option<(cublas_sys::cublasOperation_t, usize)> {
    use cublas_sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
    if matrix.column == 1 || columns == 1 {
        return Some((
            CUBLAS_OP_N,
            if rows == 1 { columns } else { matrix.row }.max(columns).max(1),
        ));
    }
    if matrix.row == 1 || rows == 1 {
        return Some((CUBLAS_OP_T, matrix.column.max(rows).max(1)));
    }
    None
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

// SAFETY: plain numbers and device addresses, laid out as the kernels' struct.
unsafe impl DeviceRepr for super::ConvShape {}
// SAFETY: as above.
unsafe impl DeviceRepr for super::Strides {}
// SAFETY: as above.
unsafe impl DeviceRepr for super::Table {}

//! A session is what the tensors of one job share: the device, the memory budget, the random generator, the names of
//! its parameters, and the wish to stop.

use crate::autograd::Node;
use crate::dtype::DType;
use crate::error::{DeviceError, Error, LimitError, OpError, Result};
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Where tensors live and operations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A CUDA device by its number.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Device::Cpu),
            "auto" => Ok(Device::best()),
            "cuda" => Ok(Device::Cuda(0)),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(n)) => Ok(Device::Cuda(n)),
                _ => Err(format!("`{text}` is not a device; use auto, cpu, cuda or cuda:N")),
            },
        }
    }
}

impl Device {
    /// The first card, where there is one that can be used and this program was built for it; else the processor.
    pub fn best() -> Self {
        let card = Device::Cuda(0);
        match card.open() {
            Ok(_) => card,
            Err(_) => Device::Cpu,
        }
    }

    /// Whether this build has CUDA at all.
    pub const fn has_cuda() -> bool {
        cfg!(feature = "cuda")
    }

    /// Opens the card, and lets it compute something; fails with what is in its way. The processor is always fine.
    ///
    /// A card's driver can hang: what must not do so calls this in a process of its own.
    pub fn check(self) -> Result<CardReport> {
        let session = Session::new(SessionOptions {
            device: self,
            memory: 64 << 20,
            ..SessionOptions::default()
        })?;
        let ones = Tensor::full(&session, &[64, 64], 1.0, DType::F32)?;
        let sum = ones.matmul(&ones)?.sum(&[], false)?.item()?;
        if sum != 262_144.0 {
            return Err(Error::Device(DeviceError {
                device: self.to_string(),
                message: format!("a product of ones gave {sum} in place of 262144"),
                operation: "check".into(),
            }));
        }
        session.card()
    }

    /// The card, unless it is the processor.
    fn open(self) -> Result<Option<Arc<Gpu>>> {
        let refuse = |message: String| {
            Error::InvalidArgument(OpError {
                operation: "device".into(),
                message,
                shapes: vec![],
                dtypes: vec![],
            })
        };
        match self {
            Device::Cpu => Ok(None),
            #[cfg(feature = "cuda")]
            Device::Cuda(n) => match Gpu::open(n) {
                Ok(gpu) => Ok(Some(gpu)),
                Err(problem) => Err(refuse(format!("{self} is not available: {problem}"))),
            },
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => Err(refuse(format!(
                "{self} is not available: this build of Trainyard has no CUDA; use cpu, or build one with `cargo xtask build --cuda`"
            ))),
        }
    }
}

/// What a card says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardReport {
    /// As `cuda:0`, or `cpu`.
    pub device: String,
    /// Its name, such as `NVIDIA H200`; of the processor `processor`.
    pub name: String,
    /// Bytes of its memory that nobody uses; of the processor 0.
    pub free_bytes: u64,
    /// Bytes of its memory in all; of the processor 0.
    pub total_bytes: u64,
}

/// A wish to stop, shared by whoever may utter it and the work that heeds it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether someone asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// How a session is to be.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Where its tensors live.
    pub device: Device,
    /// The most bytes that all its living tensors may hold together; 4 GiB unless said otherwise.
    pub memory: u64,
    /// The seed of its random generator.
    pub seed: u64,
    /// Checked between steps and inside long operations.
    pub cancel: Cancel,
    /// Lets a card multiply matrices of `f32` with the shorter mantissa of TF32 (10 bits for 23): faster, and less exact. For the whole
    /// process.
    pub tf32: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            device: Device::Cpu,
            memory: 4 << 30,
            seed: 0,
            cancel: Cancel::new(),
            tf32: false,
        }
    }
}

/// What the tensors of one job share. A clone is the same session.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    device: Device,
    candle: candle_core::Device,
    gpu: Option<Arc<Gpu>>,
    budget: u64,
    used: AtomicU64,
    peak: AtomicU64,
    cancel: Cancel,
    recording: AtomicBool,
    seed: u64,
    /// Counters of the random generator that were used so far.
    random: AtomicU64,
    /// Numbers nodes in the order of their making, so that a backward pass can take them in the reverse.
    nodes: AtomicU64,
    names: Mutex<HashMap<String, Weak<Node>>>,
    /// Why its card is of no use any more.
    failure: OnceLock<DeviceError>,
    #[cfg(feature = "cuda")]
    faults: Option<crate::gpu::Faults>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {} bytes)", self.0.device, self.used_bytes())
    }
}

impl Session {
    /// A session without tensors. Fails when its device does not exist.
    pub fn new(options: SessionOptions) -> Result<Self> {
        let gpu = options.device.open()?;
        #[cfg(feature = "cuda")]
        let (candle, faults) = match &gpu {
            Some(gpu) => {
                gpu.set_tf32(options.tf32);
                let faults = gpu.faults().map_err(|message| {
                    Error::Device(DeviceError {
                        device: options.device.to_string(),
                        message,
                        operation: "device".into(),
                    })
                })?;
                (gpu.candle(), Some(faults))
            }
            None => (candle_core::Device::Cpu, None),
        };
        #[cfg(not(feature = "cuda"))]
        let candle = candle_core::Device::Cpu;
        Ok(Session(Arc::new(Inner {
            device: options.device,
            candle,
            gpu,
            budget: options.memory,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            cancel: options.cancel,
            recording: AtomicBool::new(true),
            seed: options.seed,
            random: AtomicU64::new(0),
            nodes: AtomicU64::new(0),
            names: Mutex::new(HashMap::new()),
            failure: OnceLock::new(),
            #[cfg(feature = "cuda")]
            faults,
        })))
    }

    /// Where its tensors live.
    pub fn device(&self) -> Device {
        self.0.device
    }

    /// Bytes that its living tensors hold now.
    pub fn used_bytes(&self) -> u64 {
        self.0.used.load(Relaxed)
    }

    /// The most bytes that they held at any time.
    pub fn peak_bytes(&self) -> u64 {
        self.0.peak.load(Relaxed)
    }

    /// The seed that it was made with.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Why its card is of no use any more, if that is so: then nothing else that came of the session counts.
    pub fn failure(&self) -> Option<&DeviceError> {
        self.0.failure.get()
    }

    /// `Cancelled` once someone asked to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        if let Some(failure) = self.failure() {
            return Err(Error::Device(failure.clone()));
        }
        if self.0.cancel.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Switches the recording of derivatives; gives what it was before.
    pub fn set_recording(&self, recording: bool) -> bool {
        self.0.recording.swap(recording, Relaxed)
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.0.recording.load(Relaxed)
    }

    pub(crate) fn cancel(&self) -> &Cancel {
        &self.0.cancel
    }

    pub(crate) fn candle(&self) -> &candle_core::Device {
        &self.0.candle
    }

    pub(crate) fn is_cpu(&self) -> bool {
        self.0.gpu.is_none()
    }

    /// The card that its tensors are on.
    pub(crate) fn gpu(&self) -> Option<&Gpu> {
        self.0.gpu.as_deref()
    }

    /// What kernels find wrong with its operands; none on the processor.
    #[cfg(feature = "cuda")]
    pub(crate) fn faults(&self) -> Option<&crate::gpu::Faults> {
        self.0.faults.as_ref()
    }

    /// Compiles and loads all kernels that a training may need, which else is done when the first of them is used. On the processor
    /// there is nothing to do.
    ///
    /// For a process that shuts itself in once the card is open: the driver may need its compiler, and the files in which it keeps
    /// what it has compiled.
    pub fn load_kernels(&self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = self.gpu() {
            gpu.load_kernels(self)?;
        }
        Ok(())
    }

    /// Waits until all that was begun is done, and says what went wrong in it.
    pub fn synchronize(&self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = self.gpu() {
            gpu.synchronize(self)?;
        }
        self.settle()
    }

    /// An error that a kernel has noted since it was last asked, such as an index out of range.
    pub(crate) fn settle(&self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = self.gpu() {
            gpu.settle(self)?;
        }
        Ok(())
    }

    /// What its device says about itself.
    pub fn card(&self) -> Result<CardReport> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = self.gpu() {
            let (name, free, total) = gpu.about().map_err(|error| self.device_failed("device", error))?;
            return Ok(CardReport {
                device: self.device().to_string(),
                name,
                free_bytes: free as u64,
                total_bytes: total as u64,
            });
        }
        Ok(CardReport {
            device: self.device().to_string(),
            name: "processor".into(),
            free_bytes: 0,
            total_bytes: 0,
        })
    }

    /// Bytes of the card's memory that are free, and all of them; zeros where it does not say.
    fn card_memory(&self) -> (u64, u64) {
        #[cfg(feature = "cuda")]
        if let Some(Ok((_, free, total))) = self.gpu().map(Gpu::about) {
            return (free as u64, total as u64);
        }
        (0, 0)
    }

    /// What the driver's refusal means: out of memory, which a job may live with, or a card that is of no use any more.
    pub(crate) fn device_failed(&self, operation: &'static str, message: String) -> Error {
        if ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"]
            .iter()
            .any(|code| message.contains(code))
        {
            let (free, total) = self.card_memory();
            return Error::OutOfMemory(LimitError {
                limit: "card memory".into(),
                allowed: total,
                used: total.saturating_sub(free),
                requested: 0,
                operation: operation.into(),
            });
        }
        let failure = DeviceError {
            device: self.device().to_string(),
            message,
            operation: operation.into(),
        };
        Error::Device(self.0.failure.get_or_init(|| failure).clone())
    }

    pub(crate) fn next_node(&self) -> u64 {
        self.0.nodes.fetch_add(1, Relaxed)
    }

    /// Takes the next `count` counters of the random generator; gives the first.
    pub(crate) fn take_random(&self, count: u64) -> u64 {
        self.0.random.fetch_add(count, Relaxed)
    }

    pub(crate) fn names(&self) -> MutexGuard<'_, HashMap<String, Weak<Node>>> {
        // Nothing that holds this lock can panic half-way through a change.
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books bytes that are there already. Whether they are too many, the next [`Session::check_booked`] or
    /// [`Session::reserve`] says.
    pub(crate) fn book(&self, bytes: u64) -> Booking {
        let used = self.0.used.fetch_add(bytes, Relaxed) + bytes;
        self.0.peak.fetch_max(used, Relaxed);
        Booking {
            session: self.clone(),
            bytes,
        }
    }

    /// Refuses to go on when more is booked than the budget allows.
    pub(crate) fn check_booked(&self, operation: &'static str) -> Result<()> {
        let used = self.used_bytes();
        if used <= self.0.budget {
            return Ok(());
        }
        Err(Error::OutOfMemory(LimitError {
            limit: "tensor memory".into(),
            allowed: self.0.budget,
            used,
            requested: 0,
            operation: operation.into(),
        }))
    }

    /// Books the bytes of a new storage of `shape`, before it is allocated.
    pub(crate) fn reserve(&self, operation: &'static str, shape: &[usize], dtype: DType) -> Result<Block> {
        let bytes = shape
            .iter()
            .try_fold(dtype.size() as u64, |n, &d| n.checked_mul(d as u64));
        // A size beyond what the machine can address is over any budget.
        let bytes = bytes.filter(|&b| b <= isize::MAX as u64).unwrap_or(u64::MAX / 2);
        let used = self.0.used.fetch_add(bytes, Relaxed) + bytes;
        if used > self.0.budget || bytes >= u64::MAX / 2 {
            self.0.used.fetch_sub(bytes, Relaxed);
            return Err(Error::OutOfMemory(LimitError {
                limit: "tensor memory".into(),
                allowed: self.0.budget,
                used: used - bytes,
                requested: bytes,
                operation: operation.into(),
            }));
        }
        self.0.peak.fetch_max(used, Relaxed);
        Ok(Block {
            session: self.clone(),
            bytes: Booking {
                session: self.clone(),
                bytes,
            },
            version: AtomicU32::new(0),
            widened: AtomicBool::new(false),
        })
    }
}

#[cfg(feature = "cuda")]
impl Drop for Inner {
    /// What the session held is other processes' again.
    fn drop(&mut self) {
        self.faults = None;
        if let Some(gpu) = &self.gpu {
            gpu.release();
        }
    }
}

/// Bytes that live as long as it does.
pub(crate) struct Booking {
    session: Session,
    bytes: u64,
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.session.0.used.fetch_sub(self.bytes, Relaxed);
    }
}

impl Block {
    /// Bytes of the storage.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.bytes
    }
}

/// The booking of one storage. Every tensor that looks into the storage shares it; the last one gives the bytes back.
pub(crate) struct Block {
    pub(crate) session: Session,
    bytes: Booking,
    /// Counts changes in place, so that a backward pass can tell that what it kept is no longer what it was.
    pub(crate) version: AtomicU32,
    /// A fused operation's operand of `f16` or `bf16`, as `f32`.
    pub(crate) widened: AtomicBool,
}

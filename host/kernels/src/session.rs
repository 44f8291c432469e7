//! A session is what the tensors of one job share: the device, the memory budget, the random generator, the names of
//! its parameters, and the wish to stop.

use crate::autograd::Node;
use crate::dtype::DType;
use crate::error::{DeviceError, Error, LimitError, OpError, Result};
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

    fn open(self) -> Result<candle_core::Device> {
        let refuse = |message: String| {
            Error::InvalidArgument(OpError {
                operation: "device".into(),
                message,
                shapes: vec![],
                dtypes: vec![],
            })
        };
        match self {
            Device::Cpu => Ok(candle_core::Device::Cpu),
            #[cfg(feature = "cuda")]
            Device::Cuda(n) => {
                crate::cuda::open(n).map_err(|problem| refuse(format!("{self} is not available: {problem}")))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => Err(refuse(format!(
                "{self} is not available: this build of Trainyard has no CUDA; use cpu, or build one with `cargo xtask build --cuda`"
            ))),
        }
    }
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
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {} bytes)", self.0.device, self.used_bytes())
    }
}

impl Session {
    /// A session without tensors. Fails when its device does not exist.
    pub fn new(options: SessionOptions) -> Result<Self> {
        let candle = options.device.open()?;
        #[cfg(feature = "cuda")]
        candle_core::cuda::set_gemm_reduced_precision_f32(options.tf32);
        Ok(Session(Arc::new(Inner {
            device: options.device,
            candle,
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
        self.0.device == Device::Cpu
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
            _bytes: Booking {
                session: self.clone(),
                bytes,
            },
            version: AtomicU32::new(0),
        })
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

/// The booking of one storage. Every tensor that looks into the storage shares it; the last one gives the bytes back.
pub(crate) struct Block {
    pub(crate) session: Session,
    _bytes: Booking,
    /// Counts changes in place, so that a backward pass can tell that what it kept is no longer what it was.
    pub(crate) version: AtomicU32,
}

//! What the driver's management library (NVML) tells of cards. It is asked on a thread of its own: where the driver hangs, the
//! readings grow old and nothing else happens.

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often it is asked while jobs are on cards, and while none are.
const BUSY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(5);
/// A reading that is older says nothing any more.
const OLD: Duration = Duration::from_secs(15);
/// The library, by the name that the driver installs it under.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// What a card does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reading {
    /// Percent of the time that it computes.
    pub utilization: Option<f64>,
    /// Bytes of its memory.
    pub memory_total: Option<u64>,
    /// Bytes that are in use.
    pub memory_used: Option<u64>,
    /// Bytes that can still be had.
    pub memory_free: Option<u64>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    /// Watts.
    pub power: Option<f64>,
    /// What processes do on it, by their numbers, as far as it is told.
    pub processes: HashMap<u32, Share>,
    /// Whether it is told at all how much a process computes: then one of which nothing is told does nothing.
    pub tells_utilization: bool,
}

/// What a process does on a card.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Share {
    /// Bytes that it holds.
    pub memory: Option<u64>,
    /// Percent of the time that it computes.
    pub utilization: Option<f64>,
}

/// A card as it is listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Listed {
    /// What stays the same when another card is put in, or one is gone: a number does not.
    pub identity: Option<String>,
    pub name: Option<String>,
    pub memory: Option<u64>,
}

/// Readings of some cards, newer and newer as long as this lives.
pub(super) struct Watch(Arc<Inner>);

struct Inner {
    /// The cards, as the environment or their order names them.
    cards: Vec<String>,
    readings: Mutex<Vec<Option<(Instant, Reading)>>>,
    busy: AtomicBool,
}

/// Opens the library; why not, in one line.
pub(super) fn open() -> Result<Nvml, String> {
    Nvml::builder()
        .lib_path(OsStr::new(LIBRARY))
        .init()
        .map_err(|error| format!("{LIBRARY}: {error}"))
}

/// How many cards there are.
pub(super) fn count(nvml: &Nvml) -> Option<u32> {
    nvml.device_count().ok()
}

/// A card, by its number among all of the machine or by the vendor's identity.
pub(super) fn listed(nvml: &Nvml, card: &str) -> Listed {
    let Ok(device) = device(nvml, card) else {
        return Listed::default();
    };
    Listed {
        identity: device.uuid().ok(),
        name: device.name().ok(),
        memory: device.memory_info().ok().map(|memory| memory.total),
    }
}

fn device<'a>(nvml: &'a Nvml, card: &str) -> Result<nvml_wrapper::Device<'a>, NvmlError> {
    if let Ok(number) = card.parse() {
        return nvml.device_by_index(number);
    }
    // The environment may name a card by the beginning of its identity.
    nvml.device_by_uuid(card).or_else(|error| {
        let begins = |device: &nvml_wrapper::Device| device.uuid().is_ok_and(|identity| identity.starts_with(card));
        let mut all = (0..nvml.device_count()?).filter_map(|number| nvml.device_by_index(number).ok());
        all.find(begins).ok_or(error)
    })
}

impl Watch {
    /// Reads from now on.
    pub fn begin(nvml: Nvml, cards: Vec<String>) -> std::io::Result<Self> {
        let inner = Arc::new(Inner {
            readings: Mutex::new(vec![None; cards.len()]),
            cards,
            busy: AtomicBool::new(false),
        });
        let theirs = Arc::downgrade(&inner);
        std::thread::Builder::new()
            .name("nvml".into())
            .stack_size(1 << 20)
            .spawn(move || read(&nvml, &theirs))?;
        Ok(Watch(inner))
    }

    /// Whether to look more often.
    pub fn set_busy(&self, busy: bool) {
        self.0.busy.store(busy, Relaxed);
    }

    /// The last reading of the card at this place of the list, and when it was taken; none where nothing is known.
    pub fn last(&self, place: usize) -> Option<(Instant, Reading)> {
        let readings = self.0.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, reading) = readings.get(place)?.as_ref()?;
        (at.elapsed() < OLD).then(|| (*at, reading.clone()))
    }
}

/// Reads until nobody holds the readings any more.
fn read(nvml: &Nvml, watch: &Weak<Inner>) {
    let mut seen: Vec<u64> = Vec::new();
    let mut warned = false;
    while let Some(inner) = watch.upgrade() {
        seen.resize(inner.cards.len(), 0);
        for (place, card) in inner.cards.iter().enumerate() {
            let reading = reading(nvml, card, &mut seen[place]);
            if let Err(error) = &reading
                && !std::mem::replace(&mut warned, true)
            {
                tracing::warn!(card, %error, "the driver does not say what a card does");
            }
            let read = reading.ok().map(|reading| (Instant::now(), reading));
            let mut readings = inner.readings.lock().unwrap_or_else(PoisonError::into_inner);
            readings[place] = read;
        }
        let busy = inner.busy.load(Relaxed);
        drop(inner);
        let until = Instant::now() + if busy { BUSY } else { IDLE };
        // A job that begins meanwhile is not to wait for its first figure.
        while Instant::now() < until && watch.upgrade().is_some_and(|inner| inner.busy.load(Relaxed) == busy) {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn reading(nvml: &Nvml, card: &str, seen: &mut u64) -> Result<Reading, NvmlError> {
    let device = device(nvml, card)?;
    let memory = device.memory_info();
    // Whatever else a card cannot tell is absent; one that tells nothing of its memory tells nothing.
    let memory = match memory {
        Err(error @ (NvmlError::GpuLost | NvmlError::Unknown)) => return Err(error),
        memory => memory.ok(),
    };
    let mut processes: HashMap<u32, Share> = HashMap::new();
    for process in device.running_compute_processes().unwrap_or_default() {
        processes.entry(process.pid).or_default().memory = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        };
    }
    let mut sums: HashMap<u32, (f64, f64)> = HashMap::new();
    let since = *seen;
    let samples = device.process_utilization_stats(since);
    // It answers so where nothing has been computed since.
    let tells_utilization = matches!(samples, Ok(_) | Err(NvmlError::NotFound));
    for sample in samples.unwrap_or_default() {
        // Old samples may come along.
        if sample.timestamp > since {
            let (sum, count) = sums.entry(sample.pid).or_default();
            *sum += f64::from(sample.sm_util);
            *count += 1.0;
        }
        *seen = (*seen).max(sample.timestamp);
    }
    for (pid, (sum, count)) in sums {
        processes.entry(pid).or_default().utilization = Some(sum / count);
    }
    Ok(Reading {
        utilization: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu)),
        memory_total: memory.as_ref().map(|memory| memory.total),
        memory_used: memory.as_ref().map(|memory| memory.used),
        memory_free: memory.as_ref().map(|memory| memory.free),
        temperature: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        // Milliwatts.
        power: device.power_usage().ok().map(|power| f64::from(power) / 1000.0),
        processes,
        tells_utilization,
    })
}

//! NVIDIA cards: whether there are any, and what is in the way.
//!
//! The driver and its libraries are loaded when a card is asked for. Where one is missing, the crate that loads them panics, so they are looked
//! for first.

use libloading::Library;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What has to be there, and where it comes from.
const LIBRARIES: [(&str, &str); 4] = [
    ("libcuda.so.1", "NVIDIA's driver, 580 or newer"),
    ("libcublas.so.13", "CUDA's runtime libraries, version 13"),
    ("libcublasLt.so.13", "CUDA's runtime libraries, version 13"),
    ("libcurand.so.10", "CUDA's runtime libraries, version 13"),
];

/// Opens the card with this number, or says in one line why it cannot be used.
pub(crate) fn open(number: usize) -> Result<candle_core::CudaDevice, String> {
    for (library, source) in LIBRARIES {
        // SAFETY: these are the vendor's own libraries by their system names; loading them runs what any program that uses a card runs.
        if let Err(error) = unsafe { Library::new(library) } {
            // The system's own words are behind it.
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            return Err(format!(
                "{library} cannot be loaded ({cause}); it comes with {source}. Install that, or use cpu"
            ));
        }
    }
    match catch_unwind(AssertUnwindSafe(|| candle_core::CudaDevice::new_with_stream(number))) {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => Err(format!("{error}; see `nvidia-smi`, or use cpu")),
        Err(_) => {
            Err("the driver does not have what is needed; install NVIDIA's driver 580 or newer, or use cpu".into())
        }
    }
}

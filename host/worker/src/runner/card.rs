//! A card: opened before the runner shuts itself in, and checked in a process of its own.
//!
//! Either process sees one card alone, as its number 0; see [`crate::cards`].

use std::process::ExitCode;
use trainyard_kernels::{Device, Session, SessionOptions, Tensor};
use trainyard_parameters::one_line;

/// The card, in a process that sees one.
pub(super) const CARD: Device = Device::Cuda(0);

/// Seconds after which a check ends itself, should nobody be left to end it.
const PATIENCE: u32 = 60;
/// Bytes for the sums of a check.
const ROOM: u64 = 1 << 20;

/// Keeps the card open as long as this lives.
pub(super) struct OpenCard(#[expect(dead_code, reason = "it is only held")] Session);

/// Opens the card and computes something on it, so that all that it takes is loaded.
pub(super) fn open() -> Result<OpenCard, String> {
    let try_it = || {
        let session = Session::new(SessionOptions {
            device: CARD,
            memory: ROOM,
            ..SessionOptions::default()
        })?;
        let (side, count) = (8_usize, 64_u8);
        let values: Vec<f32> = (0..count).map(f32::from).collect();
        let ones = Tensor::from_f32(&session, vec![1.0; side * side], &[side, side])?;
        let product = Tensor::from_f32(&session, values, &[side, side])?.matmul(&ones)?;
        let total = product.sum(&[0, 1], false)?.to_f64()?;
        Ok::<_, trainyard_kernels::Error>((session, total))
    };
    let (session, total) = try_it().map_err(|error| {
        let said = one_line(&error.to_string());
        // Whoever asked knows which card it is, and calls it by another number.
        let why = said
            .strip_prefix("device: cuda:0 is not available: ")
            .map(str::to_owned);
        why.unwrap_or(said)
    })?;
    // 8 times the sum of 0 to 63.
    if total == [16_128.0] {
        Ok(OpenCard(session))
    } else {
        Err(format!("the card computes wrongly: {total:?} for 16128; do not use it"))
    }
}

/// Checks the card: nothing is said when it works.
pub(super) fn check() -> ExitCode {
    // SAFETY: the signal that it sends ends this process, which is what it is for.
    unsafe { libc::alarm(PATIENCE) };
    match open() {
        Ok(_) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

//! A card: opened before the runner shuts itself in; and checked in a process of its own, which does the same.
//!
//! Either process sees one card alone, as its number 0; see [`crate::cards`].

use super::isolation;
use crate::protocol::CheckedCard;
use rustix::process::Pid;
use std::path::Path;
use trainyard_kernels::{Device, Session, SessionOptions, Tensor};
use trainyard_parameters::one_line;

/// The card, in a process that sees one.
pub(super) const CARD: Device = Device::Cuda(0);

/// Bytes for the sums of a check.
const ROOM: u64 = 1 << 20;

/// Keeps the card open as long as this lives.
pub(super) struct OpenCard(Session);

/// Opens the card, loads all kernels and computes something, so that all that it takes is there before the process shuts itself in.
pub(super) fn open() -> Result<OpenCard, String> {
    let session = Session::new(SessionOptions {
        device: CARD,
        memory: ROOM,
        ..SessionOptions::default()
    })
    .map_err(said)?;
    session.load_kernels().map_err(said)?;
    compute(&session, 8)?;
    Ok(OpenCard(session))
}

/// Tries the card as a runner would use it, shut in as one, and prints what it says of itself.
pub(super) fn check(scratch: &Path, parent: Pid) -> Result<(), String> {
    let open: fn() -> _ = open;
    let (_, card) = isolation::shut_in(scratch, Some(parent), Some(open))?;
    let OpenCard(session) = card.ok_or("the card was not opened")?;
    // What the driver loads only now must be within its reach, too: another size takes other kernels.
    compute(&session, 40)?;
    let card = session.card().map_err(said)?;
    let checked = CheckedCard {
        name: card.name,
        total_bytes: card.total_bytes,
        free_bytes: card.free_bytes,
    };
    let text = serde_json::to_string(&checked).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(())
}

/// Multiplies and adds matrices with so many rows and columns, and looks whether the sum is right.
fn compute(session: &Session, side: u16) -> Result<(), String> {
    let (rows, side) = (u32::from(side), usize::from(side));
    // Row by row its number, times a matrix of ones: each sum is exact in f32.
    let values: Vec<f32> = (0..side * side).map(|at| (at / side) as f32).collect();
    let total = Tensor::from_f32(session, vec![1.0; side * side], &[side, side])
        .and_then(|ones| Tensor::from_f32(session, values, &[side, side])?.matmul(&ones))
        .and_then(|product| product.sum(&[0, 1], false)?.to_f64())
        .map_err(said)?;
    // Each of the product's rows holds `side` times its number, `side` times.
    let right = f64::from(rows * rows * (rows * (rows - 1) / 2));
    match total == [right] {
        true => Ok(()),
        false => Err(format!(
            "the card computes wrongly: {total:?} for {right}; do not use it"
        )),
    }
}

fn said(error: trainyard_kernels::Error) -> String {
    let said = one_line(&error.to_string());
    // Whoever asked knows which card it is, and calls it by another number.
    let why = said
        .strip_prefix("device: cuda:0 is not available: ")
        .map(str::to_owned);
    why.unwrap_or(said)
}

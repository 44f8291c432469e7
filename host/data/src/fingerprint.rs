//! A short name for the data itself, to tell whether two runs learned from the same.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::{Frame, Values};

/// SHA-256 of named columns and the times, as they were read and put in order. Every way of being missing counts the same.
pub(crate) fn fingerprint<'a>(frame: &Frame, names: impl Iterator<Item = &'a String>) -> String {
    let mut hash = Sha256::new();
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    let mut seen = HashSet::new();
    for name in names.filter(|name| seen.insert(name.as_str())) {
        text(&mut hash, name);
        match frame.column(name).map(|column| &column.values) {
            Ok(Values::Numeric(values)) => {
                for value in values {
                    let value = if value.is_nan() { f64::NAN } else { *value };
                    hash.update(value.to_bits().to_le_bytes());
                }
            }
            Ok(Values::Text(texts)) => {
                (0..frame.rows()).for_each(|row| text(&mut hash, texts.get(row).unwrap_or_default()));
            }
            Err(_) => {}
        }
    }
    for time in frame.time().iter().flat_map(|time| &time.micros) {
        hash.update(time.to_le_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

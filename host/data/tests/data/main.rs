//! What a person sees of this crate: files in, batches or one-line errors out.
#![allow(clippy::unwrap_used)]

mod arrow;
mod bad_data;
mod batches;
mod device_windows;
mod devices;
mod files;
mod forecasting;
mod formats;
mod predicting;
mod reading;
mod scaling;
mod tabular;

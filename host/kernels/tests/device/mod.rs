//! The device that tests run on: the processor, or the one that `TRAINYARD_TEST_DEVICE` names.

use trainyard_kernels::{Device, SessionOptions};

/// Of a session on that device.
pub fn options() -> SessionOptions {
    SessionOptions {
        device: device(),
        ..Default::default()
    }
}

/// Where tests run.
pub fn device() -> Device {
    match std::env::var("TRAINYARD_TEST_DEVICE") {
        Ok(name) => name
            .parse()
            .unwrap_or_else(|problem| panic!("TRAINYARD_TEST_DEVICE: {problem}")),
        Err(_) => Device::Cpu,
    }
}

//! The contract in `wit/`, as generated code (see `build.rs`). The other modules wrap everything in it; it is visible only
//! because the exported functions of a plugin refer to it.

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

pub use trainyard::plugin::*;

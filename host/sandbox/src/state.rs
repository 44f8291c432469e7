//! What belongs to one instance of a plugin.

use crate::host::Host;
use crate::limits::MemoryLimiter;
use crate::wasi::Wasi;

/// The data of a store.
pub(crate) struct State {
    pub host: Host,
    pub memory: MemoryLimiter,
    /// Only for plugins that import WASI.
    pub wasi: Option<Wasi>,
}

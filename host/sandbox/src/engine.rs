//! The WebAssembly engine, set up for code that nobody vouches for.
//!
//! One engine serves a whole process: it holds the compiler's settings, the functions that plugins may import, and the
//! clock by which running plugins are interrupted.

use crate::cache::Cache;
use crate::error::SandboxError;
use crate::host;
use crate::load::{self, Origin};
use crate::state::State;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, OptLevel};

/// How often a running plugin looks up whether it has to stop.
pub(crate) const TICK: Duration = Duration::from_millis(10);

const NO_PYTHON: &str = "a plugin of Python source needs the Python engine, python-engine.wasm beside the program trainyard; \
    in a checkout `cargo xtask engine` builds it";

/// How an engine is to be.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The most bytes of call stack that a plugin may use; more is a stack overflow, an error of the plugin.
    pub stack: usize,
    /// Where compiled plugins are kept. Without one, every load compiles.
    pub cache: Option<Cache>,
    /// Compiles quickly instead of well: for checks that run little code.
    pub quick: bool,
    /// The file of the Python engine; without one, Python source is refused.
    pub python: Option<PathBuf>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            stack: 1 << 20,
            cache: None,
            quick: false,
            python: None,
        }
    }
}

/// The compiler, the contract's functions, and the clock. A clone is the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    wasmtime: wasmtime::Engine,
    contract: Linker<State>,
    with_wasi: OnceLock<Linker<State>>,
    python: Mutex<Option<(Component, String, Origin)>>,
    options: EngineOptions,
}

impl Engine {
    /// An engine, and the thread that drives its clock for as long as it lives.
    pub fn new(options: EngineOptions) -> Result<Self, SandboxError> {
        let wasmtime = wasmtime::Engine::new(&config(&options)).map_err(SandboxError::engine)?;
        let mut contract = Linker::new(&wasmtime);
        host::add_to_linker(&mut contract).map_err(SandboxError::engine)?;
        start_clock(&wasmtime)?;
        Ok(Engine(Arc::new(Inner {
            wasmtime,
            contract,
            with_wasi: OnceLock::new(),
            python: Mutex::default(),
            options,
        })))
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.0.options.cache.as_ref()
    }

    pub(crate) fn stack(&self) -> usize {
        self.0.options.stack
    }

    /// The Python engine, its digest, and where its machine code came from. Loaded when it is first needed.
    pub(crate) fn python(&self) -> Result<(Component, String, Origin), SandboxError> {
        let mut python = self.0.python.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*python {
            return Ok(loaded.clone());
        }
        let Some(file) = &self.0.options.python else {
            return Err(SandboxError::NoPythonEngine(NO_PYTHON.to_owned()));
        };
        let loaded = load::component_of_file(self, file)?;
        Ok(python.insert(loaded).clone())
    }

    /// The functions that a plugin may import: those of the contract, and an empty WASI only for plugins that ask.
    pub(crate) fn linker(&self, wasi: bool) -> Result<&Linker<State>, SandboxError> {
        if !wasi {
            return Ok(&self.0.contract);
        }
        if let Some(linker) = self.0.with_wasi.get() {
            return Ok(linker);
        }
        let mut linker = self.0.contract.clone();
        crate::wasi::add_to_linker(&mut linker).map_err(SandboxError::engine)?;
        Ok(self.0.with_wasi.get_or_init(|| linker))
    }
}

pub(crate) fn config(options: &EngineOptions) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Synchronous host functions on a thread of the plugin's own: a call costs a third of what it does otherwise.
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(options.stack)
        .async_stack_size(options.stack.max(2 << 20))
        // The same plugin gives the same bytes on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // Memory images are mapped, not copied, when a plugin is instantiated.
        .memory_init_cow(true)
        .cranelift_opt_level(if options.quick { OptLevel::None } else { OptLevel::Speed });
    #[cfg(all(unix, target_arch = "x86_64"))]
    crate::code::allow_mapped(&mut config);
    config
}

/// Moves the epoch on every tick, until the engine is gone.
fn start_clock(engine: &wasmtime::Engine) -> Result<(), SandboxError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("plugin-clock".into())
        .stack_size(64 << 10)
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map(drop)
        .map_err(|source| SandboxError::Io {
            what: "start the plugins' clock".into(),
            source,
        })
}

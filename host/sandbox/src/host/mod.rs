//! The host's side of the contract: one module for each interface, which only translates handles and errors.
//!
//! No function here traps or panics for a plugin's mistake: it gives the contract's `error` back.

mod autograd;
pub(crate) mod convert;
pub(crate) mod dataset;
mod linalg;
mod nn;
mod optim;
pub(crate) mod run;
mod tensor;

use crate::bindings;
use crate::bindings::trainyard::plugin::types::Error;
use crate::control::Control;
use crate::handles::Handles;
use crate::limits::Limits;
use crate::profile::Profiler;
use crate::report::{Checkpoint, Reporter};
use crate::state::State;
use convert::{invalid_argument, limit_error, to_wit};
use std::sync::Arc;
use trainyard_data::Dataset;
use trainyard_kernels::optim::Optimizer;
use trainyard_kernels::{Session, Tensor};
use wasmtime::component::{HasSelf, Linker, Resource};

/// What a function of the contract gives back.
type Answer<T> = Result<T, Error>;

/// Optimisers and passes over a split that may be alive at a time.
const OPTIMIZERS: usize = 1_000;
const BATCHES: usize = 64;

/// Dimensions of a tensor.
const RANK: usize = 64;

/// Which of the plugin's functions is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Describe,
    Train,
    Evaluate,
    Predict,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Describe => "describe",
            Phase::Train => "train",
            Phase::Evaluate => "evaluate",
            Phase::Predict => "predict",
        }
    }
}

/// What a plugin's calls of the host work on.
pub(crate) struct Host {
    pub phase: Phase,
    pub session: Session,
    pub seed: u32,
    pub device: String,
    pub dataset: Option<Dataset>,
    pub resume: Option<Checkpoint>,
    pub limits: Arc<Limits>,
    pub control: Control,
    pub reporter: Reporter,
    /// Measures the calls, where someone wants to know.
    pub profiler: Option<Profiler>,
    pub tensors: Handles<Tensor>,
    pub optimizers: Handles<Optimizer>,
    pub batches: Handles<dataset::Batches>,
}

impl Host {
    pub(crate) fn new(
        phase: Phase,
        session: Session,
        limits: Arc<Limits>,
        control: Control,
        reporter: Reporter,
    ) -> Self {
        Host {
            phase,
            seed: session.seed() as u32,
            device: session.device().to_string(),
            session,
            dataset: None,
            resume: None,
            control,
            reporter,
            profiler: None,
            tensors: Handles::new(limits.handles as usize),
            optimizers: Handles::new(OPTIMIZERS),
            batches: Handles::new(BATCHES),
            limits,
        }
    }

    /// The start of every call that does work.
    fn begin(&self) -> Answer<()> {
        if self.control.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// As `begin`, with a name for what is measured.
    fn begin_as(&self, operation: &'static str) -> Answer<()> {
        self.name(operation);
        self.begin()
    }

    fn name(&self, operation: &'static str) {
        if let Some(profiler) = &self.profiler {
            profiler.name(operation);
        }
    }

    /// The tensor behind a handle. wasmtime has checked the handle, so it is there.
    fn tensor(&self, handle: &Resource<Tensor>) -> Answer<&Tensor> {
        self.tensors
            .get(handle)
            .ok_or_else(|| Error::Algorithm("a handle without a tensor".into()))
    }

    fn optional(&self, handle: &Option<Resource<Tensor>>) -> Answer<Option<&Tensor>> {
        handle.as_ref().map(|handle| self.tensor(handle)).transpose()
    }

    fn all(&self, handles: &[Resource<Tensor>]) -> Answer<Vec<&Tensor>> {
        handles.iter().map(|handle| self.tensor(handle)).collect()
    }

    /// Gives the plugin a handle of a result.
    pub(crate) fn keep(
        &mut self,
        operation: &'static str,
        result: trainyard_kernels::Result<Tensor>,
    ) -> Answer<Resource<Tensor>> {
        self.name(operation);
        let tensor = result.map_err(to_wit)?;
        if tensor.rank() > RANK {
            return Err(invalid_argument(
                operation,
                format!("{} dimensions, more than {RANK}", tensor.rank()),
            ));
        }
        self.tensors.insert(tensor).map_err(|_| {
            let capacity = self.tensors.capacity() as u64;
            limit_error("handles", capacity, self.tensors.len() as u64, 1, operation)
        })
    }

    /// Refuses to pass more bytes to the plugin than one message may have.
    fn check_message(&self, operation: &'static str, count: usize, size: usize) -> Answer<()> {
        let bytes = (count as u64).saturating_mul(size as u64);
        let allowed = self.limits.message_bytes as u64;
        if bytes > allowed {
            return Err(limit_error("message size", allowed, 0, bytes, operation));
        }
        Ok(())
    }
}

/// Links every interface of the contract.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    bindings::Plugin::add_to_linker::<State, HasSelf<Host>>(linker, |state| &mut state.host)
}

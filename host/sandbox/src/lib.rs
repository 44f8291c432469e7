//! Runs plugins: WebAssembly that trains models on tensors and data which stay in the host.
//!
//! ```no_run
//! use trainyard_sandbox::{Engine, EngineOptions, Event, Job, Plugin, Runner};
//!
//! # fn main() -> Result<(), trainyard_sandbox::SandboxError> {
//! let engine = Engine::new(EngineOptions::default())?;
//! let plugin = Plugin::open(&engine, "dlinear.wasm")?;
//! let job = Job {
//!     parameters: serde_json::json!({ "epochs": 10 }),
//!     seed: 1,
//!     ..Job::default()
//! };
//! let mut runner = Runner::new(&plugin, job, |event| {
//!     if let Event::Progress { fraction, .. } = event {
//!         println!("{:.0} %", 100.0 * fraction);
//!     }
//! })?;
//! let model = runner.train()?;
//! for metric in runner.evaluate(&model)? {
//!     println!("{} {}", metric.name, metric.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - A plugin is a guest that nobody vouches for. Whatever it does, the host gets an [`SandboxError`] of one line and goes
//!   on. A mistake in how it uses the contract is an error value that it can handle itself.
//! - The modules of `host`, one for each interface of the contract, only translate handles and errors. The work is done by
//!   `trainyard-kernels` and `trainyard-data`.

mod bindings;
mod cache;
mod code;
mod control;
mod description;
mod engine;
mod error;
mod explain;
mod handles;
mod host;
mod inspect;
mod limits;
mod load;
mod profile;
mod python;
mod report;
mod results;
mod run;
mod sniff;
mod state;
mod surface;
mod wasi;

pub use cache::Cache;
pub use code::{code_name, digest, is_whole};
pub use control::Control;
pub use description::{Description, MetricDescription};
pub use engine::{Engine, EngineOptions};
pub use error::{LimitExceeded, PluginError, SandboxError, Trap};
pub use inspect::{Inspection, Problem, Used, contract_version};
pub use limits::Limits;
pub use load::{Origin, Plugin};
pub use profile::{Calls, Profile};
pub use python::{Finding, Raised};
pub use report::{Checkpoint, Event, Level};
pub use run::{Job, Metric, Runner, TrainedModel};
pub use sniff::Kind;
pub use trainyard_parameters::{ParameterProblem, Schema};

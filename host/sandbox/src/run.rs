//! Runs a plugin's functions, each in an instance of its own, on a thread of its own, within the job's limits.

use crate::bindings;
use crate::bindings::exports::trainyard::plugin::algorithm::Model;
use crate::control::Control;
use crate::description::Description;
use crate::error::{PluginError, SandboxError};
use crate::explain::{Interrupted, explain, stopped};
use crate::host::convert::from_wit;
use crate::host::{Host, Phase};
use crate::limits::{Limits, MemoryLimiter};
use crate::load::Plugin;
use crate::profile::{Profile, Profiler};
use crate::python::{self, Finding, Source};
use crate::report::{Checkpoint, Event, Level, Reporter};
use crate::results;
use crate::state::State;
use crate::wasi::{self, Wasi};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use trainyard_data::{Dataset, SplitName};
use trainyard_kernels::{Device, Session, SessionOptions, Tensor};
use trainyard_parameters::one_line;
use wasmtime::{CallHook, Store, UpdateDeadline};

/// Stack for the host's functions, above what the plugin may use of it. Only what is touched takes memory.
const HOST_STACK: usize = 32 << 20;

/// Tensors that a plugin may make while it describes itself.
const DESCRIBE_MEMORY: u64 = 64 << 20;

/// What is to be done with a plugin.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// The data; absent for a plugin that makes its own.
    pub dataset: Option<Dataset>,
    /// An object of parameters, or null. Missing ones get their defaults.
    pub parameters: Value,
    /// What every random number follows from.
    pub seed: u32,
    /// Where tensors live.
    pub device: Device,
    /// Whether a card may multiply matrices of `f32` with the shorter mantissa of TF32.
    pub tf32: bool,
    /// The budget.
    pub limits: Limits,
    /// Stops the job from outside. One for each job.
    pub control: Control,
    /// Whether to measure where the time goes; it costs some 100 ns for each call of the host.
    pub profile: bool,
}

/// A trained model.
#[derive(Debug, Clone)]
pub struct TrainedModel {
    /// Named tensors, without NaN.
    pub tensors: Vec<(String, Tensor)>,
    /// JSON of the algorithm's own, or empty.
    pub note: String,
}

/// One figure of an evaluation.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Metric {
    /// As the plugin describes it.
    pub name: String,
    /// A finite number.
    pub value: f64,
    /// Whether larger is better.
    pub maximize: bool,
}

/// A job under way.
pub struct Runner {
    plugin: Plugin,
    description: Description,
    parameters: Value,
    text: String,
    session: Session,
    dataset: Option<Dataset>,
    resume: Option<Checkpoint>,
    limits: Arc<Limits>,
    control: Control,
    reporter: Reporter,
    profiler: Option<Profiler>,
    time: Duration,
}

impl Runner {
    /// Asks the plugin about itself, and checks that the job fits it. Events are dealt with on the plugin's thread, while
    /// it waits.
    pub fn new(plugin: &Plugin, job: Job, events: impl FnMut(Event) + Send + 'static) -> Result<Self, SandboxError> {
        let description = describe(plugin, &job.limits)?;
        let parameters = description
            .parameters
            .complete(&job.parameters)
            .map_err(SandboxError::InvalidParameters)?;
        if let Some(dataset) = &job.dataset {
            let task = dataset.schema().task.to_string();
            if !description.tasks.contains(&task) {
                return Err(SandboxError::Unsuitable(format!(
                    "{} does {}, not {task}",
                    description.name,
                    description.tasks.join(" and ")
                )));
            }
        }
        let session = Session::new(SessionOptions {
            device: job.device,
            memory: job.limits.tensor_memory,
            seed: u64::from(job.seed),
            cancel: job.control.kernels(),
            tf32: job.tf32,
        })?;
        Ok(Runner {
            plugin: plugin.clone(),
            description,
            text: parameters.to_string(),
            parameters,
            session,
            dataset: job.dataset,
            resume: None,
            reporter: Reporter::new(&job.limits, events),
            profiler: job.profile.then(Profiler::default),
            time: job.limits.wall_time,
            limits: Arc::new(job.limits),
            control: job.control,
        })
    }

    /// What the plugin says about itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The parameters, with the defaults of those that were not given.
    pub fn parameters(&self) -> &Value {
        &self.parameters
    }

    /// The session that the job's tensors belong to, for a model or a checkpoint that is loaded.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Where the time has gone so far; nothing where the job does not measure it.
    pub fn profile(&self) -> Option<Profile> {
        self.profiler.as_ref().map(Profiler::profile)
    }

    /// Lets training go on from a checkpoint of an earlier attempt. Its tensors must belong to this job's session.
    pub fn resume_from(&mut self, checkpoint: Checkpoint) {
        self.resume = Some(checkpoint);
    }

    /// Trains a model.
    pub fn train(&mut self) -> Result<TrainedModel, SandboxError> {
        let limits = self.limits.clone();
        self.call(Phase::Train, None, move |store, plugin, text, _| {
            let trained = plugin.trainyard_plugin_algorithm().call_train(&mut *store, text)?;
            Ok(match trained {
                Err(error) => Err(failed(Phase::Train, from_wit(error))),
                Ok(model) => {
                    let model = taken(&mut store.data_mut().host, model);
                    results::check_model(&model, &limits)
                        .map_err(|problem| unusable(Phase::Train, problem))
                        .map(|()| model)
                }
            })
        })
    }

    /// Judges a model on the test split.
    pub fn evaluate(&mut self, model: &TrainedModel) -> Result<Vec<Metric>, SandboxError> {
        let metrics = self.call(Phase::Evaluate, Some(model), |store, plugin, text, model| {
            let metrics = plugin.trainyard_plugin_algorithm().call_evaluate(store, text, model)?;
            Ok(metrics.map_err(|error| failed(Phase::Evaluate, from_wit(error))))
        })?;
        results::check_metrics(metrics, &self.description, &self.limits)
            .map_err(|problem| unusable(Phase::Evaluate, problem))
    }

    /// Predicts the split `predict`: [size, horizon, targets], [size, targets] or [size, classes].
    pub fn predict(&mut self, model: &TrainedModel) -> Result<Tensor, SandboxError> {
        let dataset = match &self.dataset {
            Some(dataset) if !dataset.is_empty(SplitName::Predict) => dataset.clone(),
            _ => {
                return Err(SandboxError::Unsuitable(
                    "there is nothing to predict: the data set was prepared for training".into(),
                ));
            }
        };
        self.call(Phase::Predict, Some(model), move |store, plugin, text, model| {
            let predicted = plugin
                .trainyard_plugin_algorithm()
                .call_predict(&mut *store, text, model)?;
            Ok(match predicted {
                Err(error) => Err(failed(Phase::Predict, from_wit(error))),
                Ok(handle) => {
                    let tensors = &mut store.data_mut().host.tensors;
                    let prediction = tensors.remove(&handle).map(|tensor| tensor.detach());
                    match prediction {
                        Some(Ok(tensor)) => results::check_prediction(&tensor, &dataset)
                            .map_err(|problem| unusable(Phase::Predict, problem))
                            .map(|()| tensor),
                        _ => Err(unusable(Phase::Predict, "no tensor".into())),
                    }
                }
            })
        })
    }

    /// Calls one of the plugin's functions in a fresh instance, which gets copies of the model's tensors.
    fn call<T: Send>(
        &mut self,
        phase: Phase,
        model: Option<&TrainedModel>,
        work: impl FnOnce(&mut Store<State>, &bindings::Plugin, &str, &Model) -> wasmtime::Result<Result<T, SandboxError>>
        + Send,
    ) -> Result<T, SandboxError> {
        self.session.set_recording(true);
        let mut host = Host::new(
            phase,
            self.session.clone(),
            self.limits.clone(),
            self.control.clone(),
            self.reporter.clone(),
        );
        host.dataset = self.dataset.clone();
        host.resume = self.resume.clone();
        host.profiler = self.profiler.clone();
        let model = match model {
            None => Model {
                tensors: vec![],
                note: String::new(),
            },
            Some(model) => Model {
                tensors: model
                    .tensors
                    .iter()
                    .map(|(name, tensor)| Ok((name.clone(), host.keep("model", tensor.copy())?)))
                    .collect::<Result<_, _>>()
                    .map_err(|error| failed(phase, from_wit(error)))?,
                note: model.note.clone(),
            },
        };
        let started = Instant::now();
        let text = &self.text;
        let outcome = run(&self.plugin, host, self.time, |store, plugin| {
            work(store, plugin, text, &model)
        });
        let took = started.elapsed();
        self.time = self.time.saturating_sub(took);
        if let Some(profiler) = &self.profiler {
            profiler.function(phase.name(), took);
        }
        if let Some(error) = self.session.failure() {
            return Err(SandboxError::Device {
                function: phase.name(),
                error: error.clone(),
            });
        }
        outcome
    }
}

/// Asks a plugin about itself.
pub(crate) fn describe(plugin: &Plugin, limits: &Limits) -> Result<Description, SandboxError> {
    let control = Control::new();
    let session = Session::new(SessionOptions {
        memory: DESCRIBE_MEMORY.min(limits.tensor_memory),
        cancel: control.kernels(),
        ..SessionOptions::default()
    })?;
    let reporter = Reporter::new(limits, |_| {});
    let host = Host::new(Phase::Describe, session, Arc::new(limits.clone()), control, reporter);
    let said = run(plugin, host, limits.describe_time, |store, plugin| {
        let algorithm = plugin.trainyard_plugin_algorithm();
        Ok(Ok(algorithm.call_describe(store)?))
    })?;
    Description::new(said, limits)
}

/// Everything in a source that will not work.
pub(crate) fn findings(plugin: &Plugin, source: &Source, limits: &Limits) -> Result<Vec<Finding>, SandboxError> {
    let control = Control::new();
    let session = Session::new(SessionOptions {
        memory: DESCRIBE_MEMORY.min(limits.tensor_memory),
        cancel: control.kernels(),
        ..SessionOptions::default()
    })?;
    let reporter = Reporter::new(limits, |_| {});
    let host = Host::new(Phase::Describe, session, Arc::new(limits.clone()), control, reporter);
    on_thread(plugin, host, limits.describe_time, |plugin, host| {
        in_store(plugin, host, |store| {
            let instance = plugin.pre().instance_pre().instantiate(&mut *store)?;
            Ok(Ok(python::check(store, &instance, source)?))
        })
    })
}

/// The shortest of so many instantiations, each with a store of its own.
pub(crate) fn time_to_instantiate(plugin: &Plugin, times: u32) -> Result<Duration, SandboxError> {
    let limits = Arc::new(Limits::default());
    let session = Session::new(SessionOptions::default())?;
    let reporter = Reporter::new(&limits, |_| {});
    let mut shortest = Duration::MAX;
    for _ in 0..times {
        let started = Instant::now();
        let host = Host::new(
            Phase::Describe,
            session.clone(),
            limits.clone(),
            Control::new(),
            reporter.clone(),
        );
        let mut store = store(plugin, host);
        let instance = plugin.pre().instantiate(&mut store);
        shortest = shortest.min(started.elapsed());
        instance.map_err(SandboxError::engine)?;
    }
    Ok(shortest)
}

/// Runs some work in a fresh instance, on a thread of its own. When its time is over, or someone wants it to stop, kernels
/// end between their steps and the plugin within a tick of the clock.
fn run<T: Send>(
    plugin: &Plugin,
    host: Host,
    time: Duration,
    work: impl FnOnce(&mut Store<State>, &bindings::Plugin) -> wasmtime::Result<Result<T, SandboxError>> + Send,
) -> Result<T, SandboxError> {
    on_thread(plugin, host, time, |plugin, host| in_instance(plugin, host, work))
}

fn on_thread<T: Send>(
    plugin: &Plugin,
    host: Host,
    time: Duration,
    work: impl FnOnce(&Plugin, Host) -> Result<T, SandboxError> + Send,
) -> Result<T, SandboxError> {
    let function = host.phase.name();
    let control = host.control.clone();
    let (done, outcome) = mpsc::channel();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(format!("plugin-{function}"))
            .stack_size(plugin.engine().stack() + HOST_STACK)
            .spawn_scoped(scope, move || {
                let caught = catch_unwind(AssertUnwindSafe(|| work(plugin, host)));
                let outcome = caught.unwrap_or_else(|panic| {
                    Err(SandboxError::HostPanic {
                        function,
                        message: panic_message(panic.as_ref()),
                    })
                });
                // The other end waits for exactly this.
                let _ = done.send(outcome);
            });
        if let Err(source) = thread {
            return Err(SandboxError::Io {
                what: "start the plugin's thread".into(),
                source,
            });
        }
        if let Ok(outcome) = outcome.recv_timeout(time) {
            return outcome;
        }
        control.expire();
        outcome.recv().unwrap_or_else(|_| {
            Err(SandboxError::HostPanic {
                function,
                message: "the plugin's thread ended without a word".into(),
            })
        })
    })
}

fn in_instance<T>(
    plugin: &Plugin,
    host: Host,
    work: impl FnOnce(&mut Store<State>, &bindings::Plugin) -> wasmtime::Result<Result<T, SandboxError>>,
) -> Result<T, SandboxError> {
    in_store(plugin, host, |store| {
        let instance = plugin.pre().instance_pre().instantiate(&mut *store)?;
        if let Some(source) = plugin.source()
            && let Err(refused) = python::load(store, &instance, source)?
        {
            return Ok(Err(refused));
        }
        let exports = bindings::Plugin::new(&mut *store, &instance)?;
        let mut outcome = work(store, &exports)?;
        if let Err(SandboxError::Plugin { raised, .. }) = &mut outcome
            && plugin.source().is_some()
            && let Some(exception) = python::last_raised(store, &instance)?
        {
            store.data().host.reporter.log(Level::Error, &exception.traceback);
            *raised = Some(Box::new(exception));
        }
        Ok(outcome)
    })
}

fn in_store<T>(
    plugin: &Plugin,
    host: Host,
    work: impl FnOnce(&mut Store<State>) -> wasmtime::Result<Result<T, SandboxError>>,
) -> Result<T, SandboxError> {
    let function = host.phase.name();
    let limits = host.limits.clone();
    let control = host.control.clone();
    let runtime = match plugin.uses_wasi().then(wasi::runtime).transpose() {
        Ok(runtime) => runtime,
        Err(source) => {
            return Err(SandboxError::Io {
                what: "start what WASI runs on".into(),
                source,
            });
        }
    };
    let _entered = runtime.as_ref().map(tokio::runtime::Runtime::enter);
    let mut store = store(plugin, host);
    let outcome = work(&mut store);
    if let Some(wasi) = &store.data().wasi {
        wasi.finish();
    }
    let outcome = match outcome {
        Ok(done) if !control.is_cancelled() => done,
        // Whatever it says, it says because it had to stop.
        Ok(_) => Err(stopped(store.data(), function, &limits)),
        Err(error) => Err(explain(&error, store.data(), function, &limits)),
    };
    store.data().host.reporter.flush();
    outcome
}

/// A store in which every limit is set before any of the plugin's code runs.
fn store(plugin: &Plugin, host: Host) -> Store<State> {
    let limits = host.limits.clone();
    let control = host.control.clone();
    let wasi = plugin.uses_wasi().then(|| Wasi::new(host.seed, &host.reporter));
    let profiler = host.profiler.clone();
    let mut store = Store::new(
        plugin.engine().wasmtime(),
        State {
            host,
            memory: MemoryLimiter::new(limits.guest_memory),
            wasi,
        },
    );
    store.limiter(|state| &mut state.memory);
    if let Some(profiler) = profiler {
        store.call_hook(move |store, hook| {
            match hook {
                CallHook::CallingHost => profiler.enter(),
                CallHook::ReturningFromHost => {
                    let state = store.data();
                    profiler.leave(state.host.tensors.len(), state.memory.used());
                }
                CallHook::CallingWasm | CallHook::ReturningFromWasm => {}
            }
            Ok(())
        });
    }
    store.set_hostcall_fuel(limits.message_bytes);
    // Ours are counted by the host and refused with a value; this is for what a plugin makes by itself. Lending counts too.
    store.set_max_component_handles(2 * limits.handles as usize + 10_000);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        if control.is_cancelled() {
            Err(Interrupted.into())
        } else {
            Ok(UpdateDeadline::Continue(1))
        }
    });
    store
}

/// Takes a model's tensors from an instance that is about to end.
fn taken(host: &mut Host, model: Model) -> TrainedModel {
    let tensors = model
        .tensors
        .into_iter()
        // Both always succeed: the handle was the plugin's own, and detaching only forgets.
        .filter_map(|(name, handle)| {
            let tensor = host.tensors.remove(&handle)?;
            Some((name, tensor.detach().ok()?))
        })
        .collect();
    TrainedModel {
        tensors,
        note: model.note,
    }
}

fn failed(phase: Phase, error: PluginError) -> SandboxError {
    SandboxError::Plugin {
        function: phase.name(),
        error: Box::new(error),
        raised: None,
    }
}

fn unusable(phase: Phase, problem: String) -> SandboxError {
    SandboxError::InvalidResult {
        function: phase.name(),
        problem,
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    one_line(&message.unwrap_or_else(|| "a panic without a message".into()))
}

//! Trainable parameters, the graph of derivatives, and the pass backward through it.
//!
//! Every differentiable result points to a [`Node`] that knows its inputs and how to turn the gradient of the result into
//! theirs. Nodes are numbered as they are made, and an input is always older than what was made from it: a backward pass
//! takes the youngest first, so each node has all of its gradient when its turn comes. It frees the graph as it goes.

use crate::error::{Error, Result};
use crate::raw::{Raw, op_error};
use crate::session::{Booking, Session};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One gradient for each input; none where an input needs none.
pub(crate) type Gradients = SmallVec<[Option<Raw>; 3]>;

/// From the gradients of a node's outputs (none where an output was not used) to those of its inputs.
type Backward = Box<dyn FnOnce(&[Option<Raw>], Need<'_>) -> Result<Gradients> + Send>;

/// Which inputs of a node need a gradient.
#[derive(Clone, Copy)]
pub(crate) struct Need<'a>(&'a [bool]);

impl Need<'_> {
    /// Whether input `i` does.
    pub(crate) fn input(self, i: usize) -> bool {
        self.0[i]
    }

    /// Computes the gradient of input `i` if it is needed.
    pub(crate) fn then(self, i: usize, gradient: impl FnOnce() -> Result<Raw>) -> Result<Option<Raw>> {
        self.input(i).then(gradient).transpose()
    }
}

/// One output of a node.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) node: Arc<Node>,
    pub(crate) output: usize,
}

/// A step in the making of a result, or a parameter.
pub(crate) struct Node {
    id: u64,
    pub(crate) parameter: Option<Parameter>,
    state: Mutex<State>,
    _memory: Booking,
}

/// What a node takes beside the tensors that it keeps: itself, its place in the graph, and what its derivative remembers.
/// Measured on a chain of a million additions, and rounded up.
const NODE_BYTES: u64 = 320;

/// A leaf of the graph.
pub(crate) struct Parameter {
    pub(crate) name: String,
    trainable: AtomicBool,
    gradient: Mutex<Option<Raw>>,
}

#[derive(Default)]
struct State {
    /// The gradients of the outputs, as far as they have arrived in the running pass.
    gradients: SmallVec<[Option<Raw>; 1]>,
    inputs: SmallVec<[Option<Link>; 3]>,
    backward: Option<Backward>,
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it is held would have come from a kernel; what is left behind is still a valid state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_trainable(&self) -> bool {
        self.parameter.as_ref().is_none_or(|p| p.trainable.load(Relaxed))
    }
}

impl Drop for Node {
    /// Takes a long chain of nodes apart in a loop: the default would recurse once a node and overflow the stack.
    fn drop(&mut self) {
        let mut waiting: Vec<Link> = Vec::new();
        let take = |node: &mut Node, waiting: &mut Vec<Link>| {
            let state = node.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            waiting.extend(state.inputs.drain(..).flatten());
        };
        take(self, &mut waiting);
        while let Some(link) = waiting.pop() {
            if let Some(mut node) = Arc::into_inner(link.node) {
                take(&mut node, &mut waiting);
            }
        }
    }
}

impl Parameter {
    pub(crate) fn gradient(&self) -> MutexGuard<'_, Option<Raw>> {
        self.gradient.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_trainable(&self) -> bool {
        self.trainable.load(Relaxed)
    }
}

impl Tensor {
    /// A result of one input.
    pub(crate) fn record1(
        raw: Raw,
        input: &Tensor,
        backward: impl FnOnce(&Raw) -> Result<Raw> + Send + 'static,
    ) -> Tensor {
        Tensor::record(raw, &[input], move |gradient, _| {
            Ok(SmallVec::from_elem(Some(backward(gradient)?), 1))
        })
    }

    /// A result of several inputs: `backward` gives a gradient for each that needs one, in their order.
    pub(crate) fn record(
        raw: Raw,
        inputs: &[&Tensor],
        backward: impl FnOnce(&Raw, Need<'_>) -> Result<Gradients> + Send + 'static,
    ) -> Tensor {
        let [tensor] = Tensor::record_many([raw], inputs, move |gradients, need| match &gradients[0] {
            Some(gradient) => backward(gradient, need),
            None => Ok(SmallVec::new()),
        });
        tensor
    }

    /// Several results of one operation.
    pub(crate) fn record_many<const N: usize>(
        raws: [Raw; N],
        inputs: &[&Tensor],
        backward: impl FnOnce(&[Option<Raw>], Need<'_>) -> Result<Gradients> + Send + 'static,
    ) -> [Tensor; N] {
        let session = raws[0].session().clone();
        let tracked = |t: &&Tensor| t.link().is_some_and(|l| l.node.is_trainable());
        if !session.is_recording() || !inputs.iter().any(tracked) {
            return raws.map(Tensor::constant);
        }
        let inputs = inputs
            .iter()
            .map(|t| if tracked(t) { t.link().cloned() } else { None })
            .collect();
        let node = Arc::new(Node {
            id: session.next_node(),
            parameter: None,
            state: Mutex::new(State {
                gradients: SmallVec::from_elem(None, N),
                inputs,
                backward: Some(Box::new(backward)),
            }),
            _memory: session.book(NODE_BYTES),
        });
        let mut output = 0;
        raws.map(|raw| {
            let is_float = raw.dtype().is_float();
            let tensor = Tensor::linked(
                raw,
                is_float.then(|| Link {
                    node: node.clone(),
                    output,
                }),
            );
            output += 1;
            tensor
        })
    }
}

/// A trainable copy of `value` (floating-point) under a name that no other living parameter of the session has.
pub fn parameter(session: &Session, name: &str, value: &Tensor) -> Result<Tensor> {
    const OP: &str = "autograd.parameter";
    let raw = value.raw();
    if !raw.dtype().is_float() {
        return Err(Error::DType(op_error(
            OP,
            format!("`{name}` must be floating-point to be trained; cast first"),
            &[raw],
        )));
    }
    let mut names = session.names();
    if names.get(name).is_some_and(|node| node.strong_count() > 0) {
        return Err(Error::InvalidArgument(op_error(
            OP,
            format!("there is a parameter `{name}` already; choose another name"),
            &[raw],
        )));
    }
    let copy = raw.copy(OP)?;
    let node = Arc::new(Node {
        id: session.next_node(),
        parameter: Some(Parameter {
            name: name.to_string(),
            trainable: AtomicBool::new(true),
            gradient: Mutex::new(None),
        }),
        state: Mutex::new(State {
            gradients: SmallVec::from_elem(None, 1),
            ..State::default()
        }),
        _memory: session.book(NODE_BYTES),
    });
    if names.len() > 64 && names.len().is_power_of_two() {
        names.retain(|_, node| node.strong_count() > 0);
    }
    names.insert(name.to_string(), Arc::downgrade(&node));
    Ok(Tensor::linked(copy, Some(Link { node, output: 0 })))
}

fn parameter_of<'a>(op: &'static str, tensor: &'a Tensor) -> Result<&'a Parameter> {
    match tensor.link().and_then(|l| l.node.parameter.as_ref()) {
        Some(parameter) => Ok(parameter),
        None => Err(Error::InvalidArgument(op_error(
            op,
            "this tensor is not a parameter; only those have a gradient",
            &[tensor.raw()],
        ))),
    }
}

/// The gradient of a parameter, if it has one.
pub fn gradient(tensor: &Tensor) -> Result<Option<Tensor>> {
    let gradient = parameter_of("autograd.gradient", tensor)?.gradient().clone();
    Ok(gradient.map(Tensor::constant))
}

/// Forgets the gradient of a parameter.
pub fn clear_gradient(tensor: &Tensor) -> Result<()> {
    *parameter_of("autograd.clear-gradient", tensor)?.gradient() = None;
    Ok(())
}

/// Whether optimisers change a parameter, and derivatives are kept for it.
pub fn set_trainable(tensor: &Tensor, trainable: bool) -> Result<()> {
    parameter_of("autograd.set-trainable", tensor)?
        .trainable
        .store(trainable, Relaxed);
    Ok(())
}

/// Adds the derivatives of `loss`, a single floating-point number, to the gradients of the parameters that it depends on. The graph is freed.
pub fn backward(loss: &Tensor) -> Result<()> {
    const OP: &str = "autograd.backward";
    let raw = loss.raw();
    if raw.count() != 1 {
        return Err(Error::Shape(op_error(
            OP,
            "the loss must be a single number; take its mean or sum first",
            &[raw],
        )));
    }
    let Some(link) = loss.link() else {
        return Err(Error::InvalidArgument(op_error(
            OP,
            "the loss does not depend on any trainable parameter; create them with `parameter`, and do not detach what is made from them",
            &[raw],
        )));
    };
    let mut queue = BinaryHeap::new();
    let one = Raw::full(OP, raw.session(), raw.shape(), 1.0, raw.dtype())?;
    let outcome = arrive(link, one, &mut queue).and_then(|()| run(raw.session(), &mut queue));
    if outcome.is_err() {
        for Youngest(node) in queue.drain() {
            node.state().gradients.iter_mut().for_each(|g| *g = None);
        }
    }
    outcome
}

fn run(session: &Session, queue: &mut BinaryHeap<Youngest>) -> Result<()> {
    while let Some(Youngest(node)) = queue.pop() {
        session.check_cancelled()?;
        if let Some(parameter) = &node.parameter {
            let arrived = node.state().gradients[0].take();
            if let (Some(arrived), true) = (arrived, parameter.is_trainable()) {
                match &mut *parameter.gradient() {
                    Some(earlier) => add(earlier, &arrived)?,
                    none => *none = Some(arrived),
                }
            }
            continue;
        }
        let mut state = node.state();
        let Some(backward) = state.backward.take() else {
            state.gradients.iter_mut().for_each(|g| *g = None);
            return Err(Error::InvalidArgument(op_error(
                "autograd.backward",
                "an earlier backward pass has freed part of this graph; compute the loss anew, or add the losses and go backward once",
                &[],
            )));
        };
        let outputs = state.gradients.len();
        let gradients = std::mem::replace(&mut state.gradients, SmallVec::from_elem(None, outputs));
        let inputs = std::mem::take(&mut state.inputs);
        drop(state);
        let need: SmallVec<[bool; 8]> = inputs
            .iter()
            .map(|link| link.as_ref().is_some_and(|l| l.node.is_trainable()))
            .collect();
        let produced = backward(&gradients, Need(&need))?;
        drop(gradients);
        for ((link, gradient), needed) in inputs.iter().zip(produced).zip(need) {
            if let (Some(link), Some(gradient), true) = (link, gradient, needed) {
                arrive(link, gradient, queue)?;
            }
        }
        // What the node's inputs hold alive is freed before the next is computed.
        drop(inputs);
    }
    Ok(())
}

/// Adds a gradient to a node's output; the first to arrive puts the node into the queue.
fn arrive(link: &Link, gradient: Raw, queue: &mut BinaryHeap<Youngest>) -> Result<()> {
    let mut state = link.node.state();
    let first = state.gradients.iter().all(Option::is_none);
    match &mut state.gradients[link.output] {
        Some(earlier) => add(earlier, &gradient)?,
        none => *none = Some(gradient),
    }
    drop(state);
    if first {
        queue.push(Youngest(link.node.clone()));
    }
    Ok(())
}

/// Adds `more` to what has arrived earlier, in its place where nobody else looks into it. A failure changes nothing.
fn add(earlier: &mut Raw, more: &Raw) -> Result<()> {
    const OP: &str = "autograd.backward";
    if !(earlier.is_unique() && earlier.is_contiguous()) {
        *earlier = earlier.add(OP, more)?;
        return Ok(());
    }
    if let Some(gpu) = earlier.session().gpu() {
        return gpu.accumulate(OP, earlier, more);
    }
    match earlier.dtype() {
        crate::DType::F32 => add_in_place::<f32>(earlier, more),
        crate::DType::F64 => add_in_place::<f64>(earlier, more),
        _ => {
            *earlier = earlier.add(OP, more)?;
            Ok(())
        }
    }
}

fn add_in_place<T: candle_core::WithDType>(target: &Raw, more: &Raw) -> Result<()> {
    const OP: &str = "autograd.backward";
    let more = more.elements::<T>(OP)?;
    target.write::<T>(OP, |values| {
        for (v, m) in values.iter_mut().zip(more.iter()) {
            *v += *m;
        }
        Ok(())
    })
}

/// Orders nodes by age, the youngest on top of the heap.
struct Youngest(Arc<Node>);

impl PartialEq for Youngest {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Youngest {}

impl PartialOrd for Youngest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Youngest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

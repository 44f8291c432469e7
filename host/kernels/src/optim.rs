//! Optimisers: one pass over each parameter, its gradient and its moments, in place. Formulas and defaults are PyTorch's.
//!
//! Parameters of `f16` and `bf16` are trained through a master copy in `f32`; for `f16` the loss can be scaled.

mod gradients;
mod scaling;
mod slot;

use crate::autograd::{self, Parameter};
use crate::dtype::DType;
use crate::error::{Error, OpError, Result};
use crate::gpu::{Gpu, Update};
use crate::raw::{Raw, op_error};
use crate::tensor::Tensor;
use scaling::Scaler;
use slot::{Master, Slot};

pub use crate::cpu::optim::{AdamOptions, SgdOptions};
pub use scaling::LossScale;

/// PyTorch's defaults.
impl Default for SgdOptions {
    fn default() -> Self {
        SgdOptions {
            learning_rate: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
        }
    }
}

/// PyTorch's defaults for Adam; AdamW's weight decay is 0.01 there.
impl Default for AdamOptions {
    fn default() -> Self {
        AdamOptions {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
        }
    }
}

#[derive(Clone, Copy)]
enum Rule {
    Sgd(SgdOptions),
    Adam { options: AdamOptions, decoupled: bool },
}

impl Rule {
    /// The rule as a card's kernel takes it; gradients are multiplied by `unscale`.
    fn update(&self, unscale: f64) -> Update {
        match *self {
            Rule::Sgd(options) => {
                let (of_gradient, of_buffer) = if options.nesterov {
                    (1.0, options.momentum)
                } else {
                    (0.0, 1.0)
                };
                let numbers = [
                    options.learning_rate,
                    options.weight_decay,
                    of_gradient,
                    of_buffer,
                    unscale,
                ];
                Update::new("sgd", &numbers)
            }
            Rule::Adam { options, decoupled } => {
                let (added, kept) = match decoupled {
                    true => (0.0, 1.0 - options.learning_rate * options.weight_decay),
                    false => (options.weight_decay, 1.0),
                };
                Update::new(
                    "adam",
                    &[options.beta1, options.beta2, options.epsilon, added, kept, unscale],
                )
            }
        }
    }

    /// Two numbers of a parameter that has made so many steps, this one counted in.
    fn factors(&self, steps: u64) -> [f64; 2] {
        match *self {
            // What is kept of the momentum, and what the gradient adds to it.
            Rule::Sgd(_) if steps == 1 => [0.0, 1.0],
            Rule::Sgd(options) => [options.momentum, 1.0 - options.dampening],
            // The rate over the correction of the mean, and the root of the correction of the squares.
            Rule::Adam { options, .. } => {
                let correction = |beta: f64| 1.0 - libm::pow(beta, steps as f64);
                [
                    options.learning_rate / correction(options.beta1),
                    correction(options.beta2).sqrt(),
                ]
            }
        }
    }
}

/// An optimiser of some parameters.
pub struct Optimizer {
    rule: Rule,
    slots: Vec<Slot>,
    scaler: Option<Scaler>,
}

const MOMENTS: [&[&str]; 2] = [&["momentum"], &["mean", "mean-square"]];
/// What a state calls the loss scale. Every other name in it has a slash.
const LOSS_SCALE: &str = "loss-scale";

/// Runs an expression with `$T` standing for the floating-point type that a parameter or its gradient is stored in.
macro_rules! with_stored {
    ($op:expr, $raw:expr, $T:ident => $body:expr) => {
        match $raw.dtype() {
            $crate::DType::F16 => {
                type $T = half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            _ => $crate::raw::with_float!($op, $raw, $T => $body),
        }
    };
}
use with_stored;

impl Optimizer {
    /// Stochastic gradient descent.
    pub fn sgd(parameters: &[&Tensor], options: SgdOptions) -> Result<Self> {
        const OP: &str = "optim.sgd";
        check_rate(OP, options.learning_rate)?;
        check(OP, (0.0..1.0).contains(&options.momentum), || {
            format!("momentum must lie in [0, 1), not at {}", options.momentum)
        })?;
        check(OP, options.dampening.is_finite(), || {
            "dampening must be a finite number".into()
        })?;
        check(
            OP,
            options.weight_decay >= 0.0 && options.weight_decay.is_finite(),
            || format!("weight decay must not be negative: {}", options.weight_decay),
        )?;
        check(
            OP,
            !options.nesterov || (options.momentum > 0.0 && options.dampening == 0.0),
            || "Nesterov's step needs a momentum and no dampening".into(),
        )?;
        Optimizer::new(OP, parameters, Rule::Sgd(options))
    }

    /// Adam; weight decay is added to the gradient.
    pub fn adam(parameters: &[&Tensor], options: AdamOptions) -> Result<Self> {
        Optimizer::adaptive("optim.adam", parameters, options, false)
    }

    /// Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019).
    pub fn adamw(parameters: &[&Tensor], options: AdamOptions) -> Result<Self> {
        Optimizer::adaptive("optim.adamw", parameters, options, true)
    }

    fn adaptive(op: &'static str, parameters: &[&Tensor], options: AdamOptions, decoupled: bool) -> Result<Self> {
        check_rate(op, options.learning_rate)?;
        for (name, beta) in [("beta1", options.beta1), ("beta2", options.beta2)] {
            check(op, (0.0..1.0).contains(&beta), || {
                format!("{name} must lie in [0, 1), not at {beta}")
            })?;
        }
        check(op, options.epsilon >= 0.0 && options.epsilon.is_finite(), || {
            format!("epsilon must not be negative: {}", options.epsilon)
        })?;
        check(
            op,
            options.weight_decay >= 0.0 && options.weight_decay.is_finite(),
            || format!("weight decay must not be negative: {}", options.weight_decay),
        )?;
        Optimizer::new(op, parameters, Rule::Adam { options, decoupled })
    }

    fn new(op: &'static str, parameters: &[&Tensor], rule: Rule) -> Result<Self> {
        check(op, !parameters.is_empty(), || "needs at least one parameter".into())?;
        for (i, t) in parameters.iter().enumerate() {
            let parameter = parameter(op, t)?;
            if parameters[..i]
                .iter()
                .any(|u| std::ptr::eq(self::parameter(op, u).unwrap_or(parameter), parameter))
            {
                return Err(invalid(op, format!("parameter `{}` is named twice", parameter.name)));
            }
        }
        let slots = parameters.iter().map(|&t| Slot::new(t.clone())).collect();
        Ok(Optimizer {
            rule,
            slots,
            scaler: None,
        })
    }

    /// Changes every trainable parameter by its gradient. One without a gradient is an error that names it, before any is changed.
    ///
    /// With loss scaling the gradients are those of a loss from [`Optimizer::scale_loss`]. If one of them is not finite the step is
    /// skipped: parameters, moments and step counts stay as they are, and a dynamic scale falls.
    pub fn step(&mut self) -> Result<()> {
        const OP: &str = "optim.step";
        for slot in &self.slots {
            let parameter = parameter(OP, &slot.parameter)?;
            if parameter.is_trainable() && parameter.gradient().is_none() {
                return Err(Error::MissingGradient(parameter.name.clone()));
            }
        }
        let mut unscale = 1.0;
        if let Some(scaler) = &self.scaler {
            unscale = scaler.scale.recip();
            let finite = !scaler.overflowed && gradients::all_finite(OP, &self.gradients(OP)?)?;
            if let (Some(scaler), false) = (&mut self.scaler, finite) {
                scaler.overflowed = false;
                return scaler.skip(OP);
            }
        }
        let session = self.slots[0].parameter.session().clone();
        match session.gpu() {
            Some(gpu) => self.step_on_card(OP, gpu, unscale)?,
            None => {
                for slot in &mut self.slots {
                    session.check_cancelled()?;
                    if parameter(OP, &slot.parameter)?.is_trainable() {
                        slot.step(OP, self.rule, unscale)?;
                    }
                }
            }
        }
        if let Some(scaler) = &mut self.scaler {
            scaler.succeed();
        }
        Ok(())
    }

    /// All parameters in one launch, or as few as hold them.
    fn step_on_card(&mut self, op: &'static str, gpu: &Gpu, unscale: f64) -> Result<()> {
        let mut changing = Vec::new();
        for slot in &mut self.slots {
            if parameter(op, &slot.parameter)?.is_trainable() && slot.prepare(op, self.rule)? {
                changing.push(slot);
            }
        }
        let parts = changing
            .iter()
            .map(|slot| slot.part(op, self.rule))
            .collect::<Result<Vec<_>>>()?;
        gpu.step(op, &parts, &self.rule.update(unscale))?;
        drop(parts);
        changing.into_iter().for_each(Slot::stepped);
        Ok(())
    }

    /// Forgets the gradients, computes those of `loss`, scaled if that is switched on, and steps: a whole training step in one call.
    pub fn minimize(&mut self, loss: &Tensor) -> Result<()> {
        self.clear_gradients()?;
        autograd::backward(&self.scale_loss(loss)?)?;
        self.step()
    }

    /// Switches loss scaling on or off, from the beginning. At first it is off.
    pub fn set_loss_scaling(&mut self, scaling: Option<LossScale>) -> Result<()> {
        self.scaler = scaling.map(Scaler::new).transpose()?;
        Ok(())
    }

    /// The loss times the scale: what to go backward from before [`Optimizer::step`]. Without loss scaling it is the loss itself.
    ///
    /// A loss of `f16` or `bf16` comes back as `f32`. Its derivative is still of its own type, so that one of `f16` bears no scale
    /// beyond 65504: better compute the loss in `f32`.
    pub fn scale_loss(&self, loss: &Tensor) -> Result<Tensor> {
        match &self.scaler {
            Some(scaler) => scaler.scaled(loss),
            None => Ok(loss.clone()),
        }
    }

    /// What losses are multiplied by now; 1 without loss scaling.
    pub fn loss_scale(&self) -> f64 {
        self.scaler.as_ref().map_or(1.0, |scaler| scaler.scale)
    }

    /// Steps that were skipped because a gradient was not finite.
    pub fn skipped_steps(&self) -> u64 {
        self.scaler.as_ref().map_or(0, |scaler| scaler.skipped)
    }

    /// Forgets the gradients of its parameters.
    pub fn clear_gradients(&mut self) -> Result<()> {
        if let Some(scaler) = &mut self.scaler {
            scaler.overflowed = false;
        }
        self.slots
            .iter()
            .try_for_each(|slot| autograd::clear_gradient(&slot.parameter))
    }

    /// The step size.
    pub fn learning_rate(&self) -> f64 {
        match self.rule {
            Rule::Sgd(options) => options.learning_rate,
            Rule::Adam { options, .. } => options.learning_rate,
        }
    }

    /// Changes the step size.
    pub fn set_learning_rate(&mut self, value: f64) -> Result<()> {
        check("optim.set-learning-rate", value >= 0.0 && value.is_finite(), || {
            format!("a learning rate must not be negative: {value}")
        })?;
        match &mut self.rule {
            Rule::Sgd(options) => options.learning_rate = value,
            Rule::Adam { options, .. } => options.learning_rate = value,
        }
        Ok(())
    }

    /// Scales all gradients so that their joint Euclidean norm is at most `max_norm`; gives the norm before (Pascanu et al. 2013).
    /// The scale of the loss does not count.
    pub fn clip_gradient_norm(&mut self, max_norm: f64) -> Result<f64> {
        const OP: &str = "optim.clip-gradient-norm";
        check(OP, max_norm > 0.0, || {
            format!("the norm must be positive, not {max_norm}")
        })?;
        let norm = gradients::norm_squared(OP, &self.gradients(OP)?)?.sqrt() / self.loss_scale();
        if let Some(scaler) = &mut self.scaler {
            scaler.overflowed |= !norm.is_finite();
        }
        // PyTorch's: the small number keeps a gradient of zero as it is.
        let scale = max_norm / (norm + 1e-6);
        if scale < 1.0 {
            gradients::scale(OP, &self.own_gradients(OP)?, scale)?;
        }
        Ok(norm)
    }

    /// Clamps every element of the gradients to -limit .. limit. The scale of the loss does not count.
    pub fn clip_gradient_value(&mut self, limit: f64) -> Result<()> {
        const OP: &str = "optim.clip-gradient-value";
        check(OP, limit > 0.0, || format!("the limit must be positive, not {limit}"))?;
        if self.scaler.is_some() {
            // An infinity that has become the limit could not be told from it in the step.
            let finite = gradients::all_finite(OP, &self.gradients(OP)?)?;
            if let Some(scaler) = &mut self.scaler {
                scaler.overflowed |= !finite;
            }
        }
        let limit = limit * self.loss_scale();
        gradients::clamp(OP, &self.own_gradients(OP)?, limit)
    }

    fn gradients(&self, op: &'static str) -> Result<Vec<Raw>> {
        let gradients = self
            .slots
            .iter()
            .map(|slot| Ok(parameter(op, &slot.parameter)?.gradient().clone()));
        Ok(gradients.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// All gradients, each in a place of its own, to be changed there.
    fn own_gradients(&self, op: &'static str) -> Result<Vec<Raw>> {
        let mut own = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            if let Some(gradient) = &mut *parameter(op, &slot.parameter)?.gradient() {
                if !gradient.is_unique() || !gradient.is_contiguous() {
                    *gradient = gradient.copy(op)?;
                }
                own.push(gradient.clone());
            }
        }
        Ok(own)
    }

    /// Moments, step counts, master copies and the loss scale, by names of its own, for a checkpoint. They are copies.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        const OP: &str = "optim.state";
        let mut state = Vec::new();
        for slot in &self.slots {
            let name = &parameter(OP, &slot.parameter)?.name;
            if let Some(master) = &slot.master {
                state.push((format!("{name}/master"), Tensor::constant(master.weights.copy(OP)?)));
            }
            for (moment, kind) in slot.moments.iter().zip(self.moment_names()) {
                state.push((format!("{name}/{kind}"), Tensor::constant(moment.copy(OP)?)));
            }
            let steps = Raw::from_vec(OP, slot.parameter.session(), vec![slot.steps as f64], &[])?;
            state.push((format!("{name}/steps"), Tensor::constant(steps)));
        }
        if let (Some(scaler), Some(slot)) = (&self.scaler, self.slots.first()) {
            let scale = Raw::from_vec(OP, slot.parameter.session(), scaler.state().to_vec(), &[3])?;
            state.push((LOSS_SCALE.into(), Tensor::constant(scale)));
        }
        Ok(state)
    }

    /// Goes on from what [`Optimizer::state`] gave, of an optimiser of the same kind over parameters of the same names.
    pub fn load_state(&mut self, state: &[(String, &Tensor)]) -> Result<()> {
        const OP: &str = "optim.load-state";
        let kinds = self.moment_names();
        let find = |name: String| state.iter().find(|(n, _)| *n == name).map(|(_, t)| t.raw());
        let mut loaded = Vec::new();
        for slot in &self.slots {
            let name = &parameter(OP, &slot.parameter)?.name;
            let Some(steps) = find(format!("{name}/steps")) else {
                return Err(invalid(OP, format!("the state has nothing for parameter `{name}`")));
            };
            let copy = |raw: &Raw| {
                if raw.shape() != slot.parameter.shape() || raw.dtype() != slot.wide() {
                    return Err(Error::Shape(op_error(
                        OP,
                        format!("the state of parameter `{name}` has another shape or type"),
                        &[slot.parameter.raw(), raw],
                    )));
                }
                raw.copy(OP)
            };
            let kinds = kinds.iter().filter_map(|kind| find(format!("{name}/{kind}")));
            let moments = kinds.map(copy).collect::<Result<Vec<_>>>()?;
            let master = match find(format!("{name}/master")) {
                Some(weights) if slot.parameter.dtype().is_half() => Some(Master {
                    weights: copy(weights)?,
                    rounded: None,
                }),
                _ => None,
            };
            if steps.count() != 1 {
                return Err(Error::Shape(op_error(
                    OP,
                    format!("the step count of parameter `{name}` must be a scalar"),
                    &[steps],
                )));
            }
            loaded.push((master, moments, steps.item(OP)? as u64));
        }
        if let (Some(scaler), Some(scale)) = (&mut self.scaler, find(LOSS_SCALE.into()))
            && !scaler.load(&scale.to_vec::<f64>(OP)?)
        {
            return Err(invalid(
                OP,
                format!("the state's `{LOSS_SCALE}` must be a positive scale and two counts"),
            ));
        }
        for (slot, (master, moments, steps)) in self.slots.iter_mut().zip(loaded) {
            (slot.master, slot.moments, slot.steps) = (master, moments, steps);
        }
        Ok(())
    }

    fn moment_names(&self) -> &'static [&'static str] {
        match self.rule {
            Rule::Sgd(_) => MOMENTS[0],
            Rule::Adam { .. } => MOMENTS[1],
        }
    }
}

fn parameter<'a>(op: &'static str, tensor: &'a Tensor) -> Result<&'a Parameter> {
    tensor
        .link()
        .and_then(|link| link.node.parameter.as_ref())
        .ok_or_else(|| {
            Error::InvalidArgument(op_error(
                op,
                "this tensor is not a parameter; make it one with `parameter`",
                &[tensor.raw()],
            ))
        })
}

fn invalid(op: &'static str, message: String) -> Error {
    Error::InvalidArgument(OpError {
        operation: op.into(),
        message,
        shapes: vec![],
        dtypes: Vec::<DType>::new(),
    })
}

fn check(op: &'static str, fine: bool, message: impl FnOnce() -> String) -> Result<()> {
    if fine { Ok(()) } else { Err(invalid(op, message())) }
}

fn check_rate(op: &'static str, rate: f64) -> Result<()> {
    check(op, rate >= 0.0 && rate.is_finite(), || {
        format!("a learning rate must not be negative: {rate}")
    })
}

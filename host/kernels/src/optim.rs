//! Optimisers: one pass over each parameter, its gradient and its moments, in place. Formulas and defaults are PyTorch's.

use crate::autograd::{self, Parameter};
use crate::cpu::optim as step;
use crate::dtype::DType;
use crate::error::{Error, OpError, Result};
use crate::raw::{Raw, op_error, with_float};
use crate::tensor::Tensor;

pub use crate::cpu::optim::{AdamOptions, SgdOptions};

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

struct Slot {
    parameter: Tensor,
    /// Momentum, or the means of gradients and of their squares. Made at the first step.
    moments: Vec<Raw>,
    steps: u64,
}

/// An optimiser of some parameters.
pub struct Optimizer {
    rule: Rule,
    slots: Vec<Slot>,
}

const MOMENTS: [&[&str]; 2] = [&["momentum"], &["mean", "mean-square"]];

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
            if t.dtype().is_half() {
                return Err(Error::DType(op_error(
                    op,
                    format!(
                        "parameter `{}` must be f32 or f64 to be optimised; cast inside the model",
                        parameter.name
                    ),
                    &[t.raw()],
                )));
            }
        }
        let slots = parameters
            .iter()
            .map(|&t| Slot {
                parameter: t.clone(),
                moments: Vec::new(),
                steps: 0,
            })
            .collect();
        Ok(Optimizer { rule, slots })
    }

    /// Changes every trainable parameter by its gradient. One without a gradient is an error that names it, before any is changed.
    pub fn step(&mut self) -> Result<()> {
        const OP: &str = "optim.step";
        for slot in &self.slots {
            let parameter = parameter(OP, &slot.parameter)?;
            if parameter.is_trainable() && parameter.gradient().is_none() {
                return Err(Error::MissingGradient(parameter.name.clone()));
            }
        }
        for slot in &mut self.slots {
            slot.parameter.session().check_cancelled()?;
            if parameter(OP, &slot.parameter)?.is_trainable() {
                slot.step(OP, self.rule)?;
            }
        }
        Ok(())
    }

    /// Forgets the gradients, computes those of `loss`, and steps: a whole training step in one call.
    pub fn minimize(&mut self, loss: &Tensor) -> Result<()> {
        self.clear_gradients()?;
        autograd::backward(loss)?;
        self.step()
    }

    /// Forgets the gradients of its parameters.
    pub fn clear_gradients(&mut self) -> Result<()> {
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
    pub fn clip_gradient_norm(&mut self, max_norm: f64) -> Result<f64> {
        const OP: &str = "optim.clip-gradient-norm";
        check(OP, max_norm > 0.0, || {
            format!("the norm must be positive, not {max_norm}")
        })?;
        let mut sum = 0.0;
        for gradient in self.gradients(OP)? {
            sum += with_float!(OP, &gradient, T => Ok(step::norm_squared(&gradient.elements::<T>(OP)?)))?;
        }
        let norm = f64::sqrt(sum);
        // PyTorch's: the small number keeps a gradient of zero as it is.
        let scale = max_norm / (norm + 1e-6);
        if scale < 1.0 {
            self.change_gradients(OP, |gradient| {
                with_float!(OP, gradient, T => gradient.write::<T>(OP, |values| {
                    step::scale(values, scale);
                    Ok(())
                }))
            })?;
        }
        Ok(norm)
    }

    /// Clamps every element of the gradients to -limit .. limit.
    pub fn clip_gradient_value(&mut self, limit: f64) -> Result<()> {
        const OP: &str = "optim.clip-gradient-value";
        check(OP, limit > 0.0, || format!("the limit must be positive, not {limit}"))?;
        self.change_gradients(OP, |gradient| {
            with_float!(OP, gradient, T => gradient.write::<T>(OP, |values| {
                step::clamp(values, -limit, limit);
                Ok(())
            }))
        })
    }

    fn gradients(&self, op: &'static str) -> Result<Vec<Raw>> {
        let gradients = self
            .slots
            .iter()
            .map(|slot| Ok(parameter(op, &slot.parameter)?.gradient().clone()));
        Ok(gradients.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn change_gradients(&self, op: &'static str, change: impl Fn(&Raw) -> Result<()>) -> Result<()> {
        for slot in &self.slots {
            let mut held = parameter(op, &slot.parameter)?.gradient();
            if let Some(mut gradient) = held.take() {
                if !gradient.is_unique() || !gradient.is_contiguous() {
                    gradient = gradient.copy(op)?;
                }
                let outcome = change(&gradient);
                *held = Some(gradient);
                outcome?;
            }
        }
        Ok(())
    }

    /// Moments and step counts, by names of its own, for a checkpoint. They are copies.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        const OP: &str = "optim.state";
        let mut state = Vec::new();
        for slot in &self.slots {
            let name = &parameter(OP, &slot.parameter)?.name;
            for (moment, kind) in slot.moments.iter().zip(self.moment_names()) {
                state.push((format!("{name}/{kind}"), Tensor::constant(moment.copy(OP)?)));
            }
            let steps = Raw::from_vec(OP, slot.parameter.session(), vec![slot.steps as f64], &[])?;
            state.push((format!("{name}/steps"), Tensor::constant(steps)));
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
            let mut moments = Vec::new();
            for raw in kinds.iter().filter_map(|kind| find(format!("{name}/{kind}"))) {
                if raw.shape() != slot.parameter.shape() || raw.dtype() != slot.parameter.dtype() {
                    return Err(Error::Shape(op_error(
                        OP,
                        format!("the state of parameter `{name}` has another shape or type"),
                        &[slot.parameter.raw(), raw],
                    )));
                }
                moments.push(raw.copy(OP)?);
            }
            if steps.count() != 1 {
                return Err(Error::Shape(op_error(
                    OP,
                    format!("the step count of parameter `{name}` must be a scalar"),
                    &[steps],
                )));
            }
            loaded.push((moments, steps.item(OP)? as u64));
        }
        for (slot, (moments, steps)) in self.slots.iter_mut().zip(loaded) {
            (slot.moments, slot.steps) = (moments, steps);
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

impl Slot {
    fn step(&mut self, op: &'static str, rule: Rule) -> Result<()> {
        let raw = self.parameter.raw();
        let moments = match rule {
            Rule::Sgd(options) => usize::from(options.momentum != 0.0),
            Rule::Adam { .. } => 2,
        };
        while self.moments.len() < moments {
            self.moments
                .push(Raw::full(op, raw.session(), raw.shape(), 0.0, raw.dtype())?);
        }
        self.steps += 1;
        let steps = self.steps;
        let Some(gradient) = parameter(op, &self.parameter)?.gradient().clone() else {
            return Ok(());
        };
        let moments = &self.moments;
        with_float!(op, raw, T => {
            let gradient = gradient.elements::<T>(op)?;
            raw.write::<T>(op, |weights| match rule {
                Rule::Sgd(options) => {
                    match moments.first() {
                        Some(buffer) => buffer.write::<T>(op, |buffer| {
                            step::sgd_step(weights, &gradient, Some(buffer), &options, steps == 1);
                            Ok(())
                        }),
                        None => {
                            step::sgd_step(weights, &gradient, None, &options, steps == 1);
                            Ok(())
                        }
                    }
                }
                Rule::Adam { options, decoupled } => moments[0].write::<T>(op, |mean| {
                    moments[1].write::<T>(op, |square| {
                        step::adam_step(weights, &gradient, mean, square, steps, &options, decoupled);
                        Ok(())
                    })
                }),
            })
        })
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

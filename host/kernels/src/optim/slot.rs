//! One parameter of an optimiser, and what the optimiser remembers of it.

use super::{Rule, parameter, with_stored};
use crate::cpu::optim as step;
use crate::dtype::DType;
use crate::error::Result;
use crate::gpu::Part;
use crate::raw::Raw;
use crate::tensor::Tensor;

/// A parameter with its moments. One of `f16` or `bf16` has a master copy in `f32` as well: a step that is too small to change the
/// short number still adds up there. Moments are of the type of what they change.
pub(super) struct Slot {
    pub(super) parameter: Tensor,
    pub(super) master: Option<Master>,
    /// Momentum, or the means of gradients and of their squares. Made at the first step.
    pub(super) moments: Vec<Raw>,
    pub(super) steps: u64,
}

pub(super) struct Master {
    pub(super) weights: Raw,
    /// The version of the parameter that was rounded from it; none when that is not known.
    pub(super) rounded: Option<u32>,
}

impl Slot {
    pub(super) fn new(parameter: Tensor) -> Self {
        Slot {
            parameter,
            master: None,
            moments: Vec::new(),
            steps: 0,
        }
    }

    /// The type of the numbers that a step changes.
    pub(super) fn wide(&self) -> DType {
        match self.parameter.dtype() {
            DType::F16 | DType::BF16 => DType::F32,
            dtype => dtype,
        }
    }

    /// Makes moments and master copy where they are missing. False without a gradient: then there is nothing to do.
    pub(super) fn prepare(&mut self, op: &'static str, rule: Rule) -> Result<bool> {
        if parameter(op, &self.parameter)?.gradient().is_none() {
            return Ok(false);
        }
        let raw = self.parameter.raw().clone();
        let moments = match rule {
            Rule::Sgd(options) => usize::from(options.momentum != 0.0),
            Rule::Adam { .. } => 2,
        };
        while self.moments.len() < moments {
            let zeros = Raw::full(op, raw.session(), raw.shape(), 0.0, self.wide())?;
            self.moments.push(zeros);
        }
        if raw.dtype().is_half() {
            self.refresh_master(op)?;
        }
        Ok(true)
    }

    /// What a card's kernel needs to change the parameter, once [`Slot::prepare`] has been called.
    pub(super) fn part(&self, op: &'static str, rule: Rule) -> Result<Part<'_>> {
        let gradient = parameter(op, &self.parameter)?.gradient().clone();
        let raw = self.parameter.raw();
        Ok(Part {
            parameter: raw,
            gradient: gradient.as_ref().unwrap_or(raw).contiguous(op)?,
            master: self.master.as_ref().map(|master| &master.weights),
            first: self.moments.first(),
            second: self.moments.get(1),
            factors: rule.factors(self.steps + 1),
        })
    }

    /// The step has been made, and the master copy rounded into the parameter.
    pub(super) fn stepped(&mut self) {
        self.steps += 1;
        if let Some(master) = &mut self.master {
            master.rounded = Some(self.parameter.raw().version());
        }
    }

    /// Changes the parameter by its gradient times `unscale`.
    pub(super) fn step(&mut self, op: &'static str, rule: Rule, unscale: f64) -> Result<()> {
        if !self.prepare(op, rule)? {
            return Ok(());
        }
        let Some(gradient) = parameter(op, &self.parameter)?.gradient().clone() else {
            return Ok(());
        };
        let raw = self.parameter.raw().clone();
        let weights = self
            .master
            .as_ref()
            .map_or_else(|| raw.clone(), |master| master.weights.clone());
        let (steps, moments) = (self.steps + 1, &self.moments);
        with_stored!(op, &raw, T => {
            type Wide = <T as step::Stored>::Wide;
            let gradient = gradient.elements::<T>(op)?;
            weights.write::<Wide>(op, |weights| match rule {
                Rule::Sgd(options) => match moments.first() {
                    Some(buffer) => buffer.write::<Wide>(op, |buffer| {
                        step::sgd_step(weights, &gradient, Some(buffer), &options, steps == 1, unscale);
                        Ok(())
                    }),
                    None => {
                        step::sgd_step(weights, &gradient, None, &options, steps == 1, unscale);
                        Ok(())
                    }
                },
                Rule::Adam { options, decoupled } => moments[0].write::<Wide>(op, |mean| {
                    moments[1].write::<Wide>(op, |square| {
                        step::adam_step(weights, &gradient, mean, square, steps, &options, decoupled, unscale);
                        Ok(())
                    })
                }),
            })?;
            if self.master.is_some() {
                let weights = weights.elements::<Wide>(op)?;
                raw.write::<T>(op, |rounded| {
                    step::round(&weights, rounded);
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        self.stepped();
        Ok(())
    }

    /// The master copy. It is made at the first step. Where someone has changed the parameter since, by `assign` or by loading a
    /// state, it takes over each element that is no longer what its own rounds to.
    fn refresh_master(&mut self, op: &'static str) -> Result<()> {
        let raw = self.parameter.raw();
        let weights = match &self.master {
            Some(master) if master.rounded == Some(raw.version()) => return Ok(()),
            Some(master) => {
                let rounded = Tensor::constant(master.weights.cast(op, raw.dtype())?);
                let same = rounded.eq(&self.parameter)?;
                same.raw().choose(op, &master.weights, &raw.cast(op, DType::F32)?)?
            }
            None => raw.cast(op, DType::F32)?,
        };
        self.master = Some(Master {
            weights,
            rounded: Some(raw.version()),
        });
        Ok(())
    }
}

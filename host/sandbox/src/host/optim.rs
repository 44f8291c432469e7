//! The interface `optim`.

use crate::bindings::trainyard::plugin::optim::{
    AdamOptions, Host as Functions, HostOptimizer, LossScaling, SgdOptions,
};
use crate::bindings::trainyard::plugin::types::Error;
use crate::host::convert::{limit_error, to_wit};
use crate::host::{Answer, Host};
use trainyard_kernels::optim::{self, LossScale, Optimizer};
use trainyard_kernels::{Result, Tensor};
use wasmtime::component::Resource;

type Handle = Resource<Optimizer>;

impl Functions for Host {}

impl HostOptimizer for Host {
    fn sgd(&mut self, parameters: Vec<Resource<Tensor>>, options: SgdOptions) -> Answer<Handle> {
        let options = optim::SgdOptions {
            learning_rate: options.learning_rate,
            momentum: options.momentum,
            dampening: options.dampening,
            weight_decay: options.weight_decay,
            nesterov: options.nesterov,
        };
        self.optimizer("optim.sgd", &parameters, |parameters| {
            Optimizer::sgd(parameters, options)
        })
    }

    fn adam(&mut self, parameters: Vec<Resource<Tensor>>, options: AdamOptions) -> Answer<Handle> {
        self.optimizer("optim.adam", &parameters, |parameters| {
            Optimizer::adam(parameters, adam(options))
        })
    }

    fn adamw(&mut self, parameters: Vec<Resource<Tensor>>, options: AdamOptions) -> Answer<Handle> {
        self.optimizer("optim.adamw", &parameters, |parameters| {
            Optimizer::adamw(parameters, adam(options))
        })
    }

    fn step(&mut self, optimizer: Handle) -> Answer<()> {
        self.name("optim.step");
        self.with(&optimizer, Optimizer::step)
    }

    fn minimize(&mut self, optimizer: Handle, loss: Resource<Tensor>) -> Answer<()> {
        self.begin_as("optim.minimize")?;
        let loss = self.tensor(&loss)?.clone();
        self.with(&optimizer, |optimizer| optimizer.minimize(&loss))
    }

    fn clear_gradients(&mut self, optimizer: Handle) -> Answer<()> {
        self.name("optim.clear-gradients");
        self.with(&optimizer, Optimizer::clear_gradients)
    }

    fn learning_rate(&mut self, optimizer: Handle) -> f64 {
        self.optimizers
            .get(&optimizer)
            .map_or(f64::NAN, Optimizer::learning_rate)
    }

    fn set_learning_rate(&mut self, optimizer: Handle, value: f64) -> Answer<()> {
        self.with(&optimizer, |optimizer| optimizer.set_learning_rate(value))
    }

    fn clip_gradient_norm(&mut self, optimizer: Handle, max_norm: f64) -> Answer<f64> {
        self.with(&optimizer, |optimizer| optimizer.clip_gradient_norm(max_norm))
    }

    fn clip_gradient_value(&mut self, optimizer: Handle, limit: f64) -> Answer<()> {
        self.with(&optimizer, |optimizer| optimizer.clip_gradient_value(limit))
    }

    fn state(&mut self, optimizer: Handle) -> Answer<Vec<(String, Resource<Tensor>)>> {
        let state = self.with(&optimizer, |optimizer| optimizer.state())?;
        self.keep_named("optim.state", state)
    }

    fn load_state(&mut self, optimizer: Handle, state: Vec<(String, Resource<Tensor>)>) -> Answer<()> {
        self.begin_as("optim.load-state")?;
        let mut tensors = Vec::with_capacity(state.len());
        for (name, tensor) in state {
            tensors.push((name, self.tensor(&tensor)?.clone()));
        }
        let state: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        self.with(&optimizer, |optimizer| optimizer.load_state(&state))
    }

    fn set_loss_scaling(&mut self, optimizer: Handle, scaling: Option<LossScaling>) -> Answer<()> {
        let scaling = scaling.map(|scaling| LossScale {
            initial: scaling.initial,
            growth_factor: scaling.growth_factor,
            backoff_factor: scaling.backoff_factor,
            growth_interval: scaling.growth_interval,
        });
        self.with(&optimizer, |optimizer| optimizer.set_loss_scaling(scaling))
    }

    fn scale_loss(&mut self, optimizer: Handle, loss: Resource<Tensor>) -> Answer<Resource<Tensor>> {
        const OPERATION: &str = "optim.scale-loss";
        self.name(OPERATION);
        let loss = self.tensor(&loss)?.clone();
        let scaled = self.with(&optimizer, |optimizer| optimizer.scale_loss(&loss))?;
        self.keep(OPERATION, Ok(scaled))
    }

    fn loss_scale(&mut self, optimizer: Handle) -> f64 {
        self.optimizers.get(&optimizer).map_or(f64::NAN, Optimizer::loss_scale)
    }

    fn skipped_steps(&mut self, optimizer: Handle) -> u32 {
        let skipped = self.optimizers.get(&optimizer).map_or(0, Optimizer::skipped_steps);
        u32::try_from(skipped).unwrap_or(u32::MAX)
    }

    fn drop(&mut self, optimizer: Handle) -> wasmtime::Result<()> {
        self.optimizers.remove(&optimizer);
        Ok(())
    }
}

impl Host {
    fn optimizer(
        &mut self,
        operation: &'static str,
        parameters: &[Resource<Tensor>],
        make: impl FnOnce(&[&Tensor]) -> Result<Optimizer>,
    ) -> Answer<Handle> {
        self.begin()?;
        let optimizer = make(&self.all(parameters)?).map_err(to_wit)?;
        self.optimizers.insert(optimizer).map_err(|_| {
            let capacity = self.optimizers.capacity() as u64;
            limit_error("optimizers", capacity, capacity, 1, operation)
        })
    }

    fn with<T>(&mut self, optimizer: &Handle, work: impl FnOnce(&mut Optimizer) -> Result<T>) -> Answer<T> {
        self.begin()?;
        let optimizer = self
            .optimizers
            .get_mut(optimizer)
            .ok_or_else(|| Error::Algorithm("a handle without an optimizer".into()))?;
        work(optimizer).map_err(to_wit)
    }

    /// Gives the plugin handles of named tensors, or of none.
    pub(crate) fn keep_named(
        &mut self,
        operation: &'static str,
        tensors: Vec<(String, Tensor)>,
    ) -> Answer<Vec<(String, Resource<Tensor>)>> {
        let mut kept = Vec::with_capacity(tensors.len());
        for (name, tensor) in tensors {
            match self.keep(operation, Ok(tensor)) {
                Ok(handle) => kept.push((name, handle)),
                Err(error) => {
                    for (_, handle) in &kept {
                        self.tensors.remove(handle);
                    }
                    return Err(error);
                }
            }
        }
        Ok(kept)
    }
}

fn adam(options: AdamOptions) -> optim::AdamOptions {
    optim::AdamOptions {
        learning_rate: options.learning_rate,
        beta1: options.beta1,
        beta2: options.beta2,
        epsilon: options.epsilon,
        weight_decay: options.weight_decay,
    }
}

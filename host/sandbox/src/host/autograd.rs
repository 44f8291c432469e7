//! The interface `autograd`.

use crate::bindings::trainyard::plugin::autograd::Host as Functions;
use crate::host::convert::{limit_error, to_wit};
use crate::host::{Answer, Host};
use trainyard_kernels::{Tensor, autograd};
use wasmtime::component::Resource;

type Handle = Resource<Tensor>;

impl Functions for Host {
    fn parameter(&mut self, name: String, value: Handle) -> Answer<Handle> {
        const OPERATION: &str = "autograd.parameter";
        self.begin_as(OPERATION)?;
        self.check_name(OPERATION, &name)?;
        let result = autograd::parameter(&self.session, &name, self.tensor(&value)?);
        self.keep(OPERATION, result)
    }

    fn backward(&mut self, loss: Handle) -> Answer<()> {
        self.begin_as("autograd.backward")?;
        autograd::backward(self.tensor(&loss)?).map_err(to_wit)
    }

    fn gradient(&mut self, parameter: Handle) -> Answer<Option<Handle>> {
        self.begin_as("autograd.gradient")?;
        match autograd::gradient(self.tensor(&parameter)?).map_err(to_wit)? {
            Some(gradient) => self.keep("autograd.gradient", Ok(gradient)).map(Some),
            None => Ok(None),
        }
    }

    fn clear_gradient(&mut self, parameter: Handle) -> Answer<()> {
        self.begin_as("autograd.clear-gradient")?;
        autograd::clear_gradient(self.tensor(&parameter)?).map_err(to_wit)
    }

    fn set_trainable(&mut self, parameter: Handle, trainable: bool) -> Answer<()> {
        self.begin_as("autograd.set-trainable")?;
        autograd::set_trainable(self.tensor(&parameter)?, trainable).map_err(to_wit)
    }

    fn set_recording(&mut self, recording: bool) -> bool {
        self.session.set_recording(recording)
    }
}

impl Host {
    /// Names go into messages, files and tables.
    pub(crate) fn check_name(&self, operation: &str, name: &str) -> Answer<()> {
        let most = self.limits.name_bytes;
        if name.len() > most {
            return Err(limit_error("name length", most as u64, 0, name.len() as u64, operation));
        }
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(crate::host::convert::invalid_argument(
                operation,
                "a name cannot be empty or hold control characters",
            ));
        }
        Ok(())
    }
}

//! The interface `linalg`.

use crate::bindings::trainyard::plugin::linalg::Host as Functions;
use crate::host::convert::to_wit;
use crate::host::{Answer, Host};
use trainyard_kernels::{Tensor, linalg};
use wasmtime::component::Resource;

type Handle = Resource<Tensor>;

impl Functions for Host {
    fn solve(&mut self, a: Handle, b: Handle) -> Answer<Handle> {
        self.begin()?;
        let result = linalg::solve(self.tensor(&a)?, self.tensor(&b)?);
        self.keep("linalg.solve", result)
    }

    fn cholesky(&mut self, a: Handle) -> Answer<Handle> {
        self.begin()?;
        let result = linalg::cholesky(self.tensor(&a)?);
        self.keep("linalg.cholesky", result)
    }

    fn qr(&mut self, a: Handle) -> Answer<(Handle, Handle)> {
        self.begin()?;
        let (q, r) = linalg::qr(self.tensor(&a)?).map_err(to_wit)?;
        self.keep_two("linalg.qr", q, r)
    }

    fn svd(&mut self, a: Handle) -> Answer<(Handle, Handle, Handle)> {
        self.begin()?;
        let parts = linalg::svd(self.tensor(&a)?).map_err(to_wit)?;
        self.keep_three("linalg.svd", parts)
    }

    fn eigh(&mut self, a: Handle) -> Answer<(Handle, Handle)> {
        self.begin()?;
        let (values, vectors) = linalg::eigh(self.tensor(&a)?).map_err(to_wit)?;
        self.keep_two("linalg.eigh", values, vectors)
    }

    fn lstsq(&mut self, a: Handle, b: Handle) -> Answer<Handle> {
        self.begin()?;
        let result = linalg::lstsq(self.tensor(&a)?, self.tensor(&b)?);
        self.keep("linalg.lstsq", result)
    }
}

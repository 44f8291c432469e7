//! This build has no CUDA: there is no card.

use super::{Arg, Launch, Product};
use crate::error::Result;
use crate::session::Session;

/// Never there.
pub(crate) enum Gpu {}

impl Gpu {
    pub(crate) fn launch(
        &self,
        _op: &'static str,
        _session: &Session,
        _kernel: (&'static str, &'static str, &'static str),
        _launch: Launch,
        _args: &[Arg<'_>],
    ) -> Result<()> {
        match *self {}
    }

    pub(crate) fn product(&self, _op: &'static str, _session: &Session, _product: &Product<'_>) -> Result<()> {
        match *self {}
    }
}

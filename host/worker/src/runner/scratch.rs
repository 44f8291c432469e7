//! What a runner leaves behind, in the one folder that it can write to.

use super::refusal::Refusal;
use crate::artifact::replace;
use std::path::PathBuf;

/// The scratch folder.
#[derive(Clone)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub fn new(folder: PathBuf) -> Self {
        Scratch(folder)
    }

    /// Leaves a file; the worker sees all of it or nothing.
    pub fn leave(&self, name: &str, content: &[u8]) -> Result<(), Refusal> {
        let path = self.0.join(name);
        replace(&path, content).map_err(|error| Refusal::scratch(&path, &error))
    }
}

//! [`Model`]: what training gives and what evaluation and prediction start from.

use crate::bindings::exports::trainyard::plugin::algorithm as raw;
use crate::error::Result;
use crate::tensor::Tensor;

/// A trained model: named tensors and a note. The host stores it (as `safetensors`) and loads it again; shapes and element
/// types are kept.
///
/// A network makes one with [`Scope::to_model`](crate::nn::Scope::to_model). Other algorithms name their tensors themselves:
///
/// ```no_run
/// # use trainyard_sdk::{Model, Result, Tensor};
/// # fn example(coefficients: Tensor, intercept: Tensor) -> Result<()> {
/// let model = Model::new().with("coefficients", coefficients).with("intercept", intercept);
/// assert_eq!(model.tensor("intercept")?.dims(), [1]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    tensors: Vec<(String, Tensor)>,
    note: String,
}

impl Model {
    /// A model without tensors.
    pub fn new() -> Self {
        Self {
            tensors: Vec::new(),
            note: "{}".into(),
        }
    }

    /// With one more tensor.
    pub fn with(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.tensors.push((name.into(), tensor));
        self
    }

    /// With a note: JSON of the algorithm's own, for what is neither a tensor nor a parameter. `{}` by default.
    pub fn with_note(mut self, json: impl Into<String>) -> Self {
        self.note = json.into();
        self
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        match self.tensors.iter().find(|(own, _)| own == name) {
            Some((_, tensor)) => Ok(tensor),
            None => {
                let names: Vec<&str> = self.tensors.iter().map(|(name, _)| name.as_str()).collect();
                Err(format!("the model has no tensor `{name}`; it has {}", names.join(", ")).into())
            }
        }
    }

    /// All tensors by name, in the order in which they were added.
    pub fn state_dict(&self) -> &[(String, Tensor)] {
        &self.tensors
    }

    /// The note.
    pub fn note(&self) -> &str {
        &self.note
    }

    pub(crate) fn into_raw(self) -> Result<raw::Model> {
        let tensors = self
            .tensors
            .into_iter()
            .map(|(name, tensor)| Ok((name, tensor.into_raw()?)));
        Ok(raw::Model {
            tensors: tensors.collect::<Result<_>>()?,
            note: self.note,
        })
    }

    pub(crate) fn from_raw(raw: raw::Model) -> Self {
        let tensors = raw.tensors.into_iter().map(|(name, raw)| (name, Tensor::from_raw(raw)));
        Self {
            tensors: tensors.collect(),
            note: raw.note,
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<(String, Tensor)> for Model {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(tensors: I) -> Self {
        Self {
            tensors: tensors.into_iter().collect(),
            ..Self::new()
        }
    }
}

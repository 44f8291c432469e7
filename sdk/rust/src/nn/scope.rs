//! [`Scope`]: where layers get their parameters from.

use super::Init;
use crate::autograd;
use crate::error::Result;
use crate::model::Model;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Tensors by name, in a fixed order.
pub type StateDict = [(String, Tensor)];

/// The named parameters of a network, and whether it is being trained.
///
/// A scope is a place in a tree of names: a layer made in `scope.sub("head")` calls its weight `head.weight`. All scopes of a
/// tree, and the layers made in them, share one set of parameters and one mode: dropout and batch normalisation look at
/// [`is_training`](Scope::is_training). See [the module](super) for an example.
#[derive(Clone)]
pub struct Scope {
    prefix: String,
    shared: Rc<Shared>,
}

struct Shared {
    dtype: DType,
    /// The tensors of a trained model; absent where they are to be created.
    source: Option<Model>,
    entries: RefCell<Vec<Entry>>,
    training: Cell<bool>,
}

/// What a new tensor is, and its values.
#[derive(Clone, Copy)]
enum Begin {
    Parameter(Init),
    Buffer(f64),
}

struct Entry {
    name: String,
    tensor: Tensor,
    trainable: bool,
}

impl Scope {
    /// For training: parameters of type `F32` are created with their initial values, in training mode.
    pub fn new() -> Self {
        Self::with_dtype(DType::F32)
    }

    /// As [`new`](Scope::new), with parameters of another type. Inputs are to be of that type as well: see [`dtype`](Scope::dtype).
    /// Buffers of a network of `Bf16` or `F16` are `F32`, so that running statistics keep their digits.
    pub fn with_dtype(dtype: DType) -> Self {
        Self::root(dtype, None)
    }

    /// For evaluation and prediction: parameters are the tensors of `model`, not trainable, not in training mode.
    pub fn load(model: &Model) -> Self {
        let types = model.state_dict().iter().map(|(_, tensor)| tensor.dtype());
        Self::root(type_of(types), Some(model.clone()))
    }

    fn root(dtype: DType, source: Option<Model>) -> Self {
        let training = Cell::new(source.is_none());
        Self {
            prefix: String::new(),
            shared: Rc::new(Shared {
                dtype,
                source,
                entries: RefCell::default(),
                training,
            }),
        }
    }

    /// The type of the parameters, which the network's inputs are to be of: that of [`with_dtype`](Scope::with_dtype), or what the tensors
    /// of a model that was loaded tell: `Bf16` or `F16` if one is, else the first that is of floating-point numbers, else `F32`.
    pub fn dtype(&self) -> DType {
        self.shared.dtype
    }

    /// The scope of a part of the network: names made in it begin with `name` and a dot.
    pub fn sub(&self, name: impl std::fmt::Display) -> Scope {
        Self {
            prefix: format!("{}{name}.", self.prefix),
            shared: self.shared.clone(),
        }
    }

    /// A trainable parameter. A name that is taken, and in a loaded model one that is missing or has another shape, is
    /// an error.
    pub fn parameter(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        self.register(name, shape.into(), Begin::Parameter(init))
    }

    /// A tensor that belongs to the model and that no optimiser changes, such as a running mean; at first every element
    /// is `value`.
    pub fn buffer(&self, name: &str, shape: impl Into<Shape>, value: f64) -> Result<Tensor> {
        self.register(name, shape.into(), Begin::Buffer(value))
    }

    fn register(&self, name: &str, shape: Shape, begin: Begin) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        if self.shared.entries.borrow().iter().any(|entry| entry.name == name) {
            return Err(format!("two tensors are called `{name}`: give their layers different scopes").into());
        }
        let wide = match self.shared.dtype {
            DType::Bf16 | DType::F16 => DType::F32,
            dtype => dtype,
        };
        let tensor = match (&self.shared.source, begin) {
            (Some(model), _) => model.tensor(&name)?.clone(),
            // Drawn as in `F32` and then rounded: a network begins with the same weights in every type but `F64`.
            (None, Begin::Parameter(init)) => {
                let value = init.create(&shape, wide)?.cast(self.shared.dtype)?;
                autograd::parameter(&name, &value)?
            }
            (None, Begin::Buffer(value)) => Tensor::full(&shape, value, wide)?,
        };
        let found = tensor.shape();
        if found != shape {
            return Err(format!("the model's tensor `{name}` has shape {found}, and {shape} is needed").into());
        }
        let trainable = matches!(begin, Begin::Parameter(_));
        self.shared.entries.borrow_mut().push(Entry {
            name,
            tensor: tensor.clone(),
            trainable,
        });
        Ok(tensor)
    }

    /// The trainable parameters, for an optimiser.
    pub fn parameters(&self) -> Vec<Tensor> {
        let entries = self.shared.entries.borrow();
        entries
            .iter()
            .filter(|entry| entry.trainable)
            .map(|entry| entry.tensor.clone())
            .collect()
    }

    /// All tensors of the network by name, buffers included. They are not copies: training changes them.
    pub fn state_dict(&self) -> Vec<(String, Tensor)> {
        self.shared
            .entries
            .borrow()
            .iter()
            .map(|entry| (entry.name.clone(), entry.tensor.clone()))
            .collect()
    }

    /// Overwrites the network's tensors with those of the same name. Every one must be there.
    pub fn load_state_dict(&self, state: &StateDict) -> Result<()> {
        for entry in self.shared.entries.borrow().iter() {
            match state.iter().find(|(name, _)| *name == entry.name) {
                Some((_, source)) => entry.tensor.assign(source)?,
                None => return Err(format!("the state has no tensor `{}`", entry.name).into()),
            }
        }
        Ok(())
    }

    /// The trained model, to be returned from `train`.
    pub fn to_model(&self) -> Model {
        self.state_dict().into_iter().collect()
    }

    /// Whether layers behave as in training.
    pub fn is_training(&self) -> bool {
        self.shared.training.get()
    }

    /// Switches between training and evaluation, as PyTorch's `train()` and `eval()`; gives what it was before.
    pub fn set_training(&self, training: bool) -> bool {
        self.shared.training.replace(training)
    }

    /// Computes in evaluation mode and without recording derivatives, then goes back to the mode of before.
    pub fn evaluating<T>(&self, compute: impl FnOnce() -> T) -> T {
        let before = self.set_training(false);
        let result = autograd::no_grad(compute);
        self.set_training(before);
        result
    }
}

/// What the parameters of a network are of, by the types of all its tensors: in a network of a short type its buffers are `F32`, and
/// there may be indices in any.
fn type_of(types: impl Iterator<Item = DType>) -> DType {
    let mut found = None;
    for dtype in types {
        match dtype {
            DType::Bf16 | DType::F16 => return dtype,
            DType::F32 | DType::F64 => found = found.or(Some(dtype)),
            _ => {}
        }
    }
    found.unwrap_or(DType::F32)
}

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{DType, type_of};

    #[test]
    fn a_loaded_network_is_of_the_short_type_that_one_of_its_tensors_has() {
        assert_eq!(type_of([DType::F32, DType::Bf16, DType::F32].into_iter()), DType::Bf16);
        assert_eq!(type_of([DType::I64, DType::F32, DType::F16].into_iter()), DType::F16);
    }

    #[test]
    fn without_one_it_is_of_the_first_floating_point_type() {
        assert_eq!(type_of([DType::U32, DType::F64, DType::F32].into_iter()), DType::F64);
        assert_eq!(type_of([DType::U32, DType::U8].into_iter()), DType::F32);
        assert_eq!(type_of([].into_iter()), DType::F32);
    }
}

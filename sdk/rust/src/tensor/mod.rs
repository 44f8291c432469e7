//! [`Tensor`]: making one, what it is, reading it back, reductions, shape and place. Arithmetic is in `math`, `+ - * /` in
//! `operators`.

mod math;
mod operators;

use crate::bindings::tensor as raw;
use crate::error::Result;
use crate::shape::{Dims, Shape, count};
use std::fmt;
use std::rc::Rc;

pub use crate::bindings::types::Dtype as DType;
pub use math::Operand;
pub use raw::Tensor as RawTensor;

/// In [`Tensor::reshape`], the one size that follows from the others.
pub const INFER: usize = usize::MAX;

/// An array of numbers on the job's device.
///
/// The elements live in the host; this is a handle, cheap to clone, and the clones are one tensor. Shapes, broadcasting and
/// defaults are PyTorch's. Dimensions are counted from zero, negative ones from the end. Operands of one operation have one
/// element type: [`cast`](Tensor::cast) first. Every operation on floating-point tensors is differentiable unless its text
/// says otherwise.
///
/// Every operation can fail, because the host checks shapes, types and the job's memory. The operators `+ - * /` take
/// tensors, `f64` and, on either side, the result of another operation, so one `?` at the end is enough:
///
/// ```no_run
/// # use trainyard_sdk::{DType::F32, Result, Tensor};
/// # fn example() -> Result<()> {
/// let x = Tensor::randn((32, 7), 0.0, 1.0, F32)?;
/// let standard = ((&x - x.mean(0)?)? / (x.variance(0)?.sqrt()? + 1e-5))?;
/// assert_eq!(standard.dims(), [32, 7]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tensor(Rc<RawTensor>);

/// The Rust numbers that tensors are made from and read into.
pub trait Element: Copy + Sized {
    /// The element type of a tensor made from them.
    const DTYPE: DType;
    #[doc(hidden)]
    fn upload(values: &[Self], shape: &[u32]) -> Result<RawTensor>;
    #[doc(hidden)]
    fn download(tensor: &RawTensor) -> Result<Vec<Self>>;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
    fn upload(values: &[Self], shape: &[u32]) -> Result<RawTensor> {
        RawTensor::from_f32(values, shape)
    }
    fn download(tensor: &RawTensor) -> Result<Vec<Self>> {
        tensor.to_f32()
    }
}

impl Element for f64 {
    const DTYPE: DType = DType::F64;
    fn upload(values: &[Self], shape: &[u32]) -> Result<RawTensor> {
        RawTensor::from_f64(values, shape)
    }
    fn download(tensor: &RawTensor) -> Result<Vec<Self>> {
        tensor.to_f64()
    }
}

impl Element for u32 {
    const DTYPE: DType = DType::U32;
    fn upload(values: &[Self], shape: &[u32]) -> Result<RawTensor> {
        RawTensor::from_u32(values, shape)
    }
    fn download(tensor: &RawTensor) -> Result<Vec<Self>> {
        tensor.to_u32()
    }
}

/// Creation.
impl Tensor {
    /// From values in row-major order.
    ///
    /// ```no_run
    /// # use trainyard_sdk::{Result, Tensor};
    /// # fn example() -> Result<()> {
    /// let weights = Tensor::new(&[0.5_f32, 0.25, 0.25], 3)?;
    /// let table = Tensor::new(&[1.0_f64, 2.0, 3.0, 4.0], (2, 2))?;
    /// # Ok(()) }
    /// ```
    pub fn new<T: Element>(values: &[T], shape: impl Into<Shape>) -> Result<Self> {
        Self::wrap(T::upload(values, shape.into().raw()))
    }

    /// A tensor without dimensions.
    pub fn scalar(value: f64, dtype: DType) -> Result<Self> {
        Self::full((), value, dtype)
    }

    /// Every element zero.
    pub fn zeros(shape: impl Into<Shape>, dtype: DType) -> Result<Self> {
        Self::full(shape, 0.0, dtype)
    }

    /// Every element one.
    pub fn ones(shape: impl Into<Shape>, dtype: DType) -> Result<Self> {
        Self::full(shape, 1.0, dtype)
    }

    /// Every element `value`.
    pub fn full(shape: impl Into<Shape>, value: f64, dtype: DType) -> Result<Self> {
        Self::wrap(RawTensor::full(shape.into().raw(), value, dtype))
    }

    /// `start`, `start + step`, ... up to but without `end`.
    pub fn arange(start: f64, end: f64, step: f64, dtype: DType) -> Result<Self> {
        Self::wrap(RawTensor::arange(start, end, step, dtype))
    }

    /// The identity matrix [size, size].
    pub fn eye(size: usize, dtype: DType) -> Result<Self> {
        Self::wrap(RawTensor::eye(count(size), dtype))
    }

    /// Uniform in [low, high), from the job's seeded generator.
    pub fn rand(shape: impl Into<Shape>, low: f64, high: f64, dtype: DType) -> Result<Self> {
        Self::wrap(RawTensor::random_uniform(shape.into().raw(), low, high, dtype))
    }

    /// Normal with that mean and standard deviation, from the job's seeded generator.
    pub fn randn(shape: impl Into<Shape>, mean: f64, std: f64, dtype: DType) -> Result<Self> {
        Self::wrap(RawTensor::random_normal(shape.into().raw(), mean, std, dtype))
    }

    /// The numbers 0 .. size in random order, `u32`, from the job's seeded generator.
    pub fn randperm(size: usize) -> Result<Self> {
        Self::wrap(RawTensor::random_permutation(count(size)))
    }

    /// Zeros of this one's shape and type.
    pub fn zeros_like(&self) -> Result<Self> {
        Self::zeros(self.shape(), self.dtype())
    }

    /// One tensor after the other along an existing dimension.
    pub fn concat(tensors: &[Tensor], dim: i32) -> Result<Self> {
        Self::wrap(raw::concat(&borrow_all(tensors), dim))
    }

    /// Tensors of one shape along a new dimension.
    pub fn stack(tensors: &[Tensor], dim: i32) -> Result<Self> {
        Self::wrap(raw::stack(&borrow_all(tensors), dim))
    }
}

/// What it is, and reading it back.
impl Tensor {
    /// The shape.
    pub fn shape(&self) -> Shape {
        Shape::from_raw(self.0.shape())
    }

    /// The sizes of the dimensions, outermost first.
    pub fn dims(&self) -> Vec<usize> {
        self.shape().dims()
    }

    /// The size of one dimension.
    pub fn dim(&self, dim: i32) -> Result<usize> {
        let dims = self.dims();
        let index = if dim < 0 { dim + dims.len() as i32 } else { dim };
        match usize::try_from(index).ok().and_then(|index| dims.get(index)) {
            Some(size) => Ok(*size),
            None => Err(format!("dim: a tensor of shape {} has no dimension {dim}", self.shape()).into()),
        }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.0.dtype()
    }

    /// The number of elements.
    pub fn element_count(&self) -> usize {
        self.shape().element_count()
    }

    /// The single element of a tensor that has just one.
    ///
    /// Waits for the device: in a training loop, read a loss every so many steps, not at every one.
    pub fn item(&self) -> Result<f64> {
        self.0.item()
    }

    /// All elements in row-major order, cast to `T` where needed.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        T::download(&self.0)
    }
}

/// Gradients; see [`crate::autograd`] for the rest.
impl Tensor {
    /// Adds the derivatives of this scalar to the gradients of the parameters that it depends on, and frees the graph.
    /// [`Optimizer::minimize`](crate::optim::Optimizer::minimize) does it together with the step.
    pub fn backward(&self) -> Result<()> {
        crate::bindings::autograd::backward(&self.0)
    }

    /// The gradient of a parameter, if it has one.
    pub fn grad(&self) -> Result<Option<Tensor>> {
        Ok(crate::bindings::autograd::gradient(&self.0)?.map(Tensor::from_raw))
    }

    /// The same elements, cut off from the graph of derivatives.
    pub fn detach(&self) -> Result<Self> {
        Self::wrap(self.0.detach())
    }

    /// A new tensor with the same elements; differentiable. (`clone` gives another handle on the same elements.)
    pub fn copy(&self) -> Result<Self> {
        Self::wrap(self.0.copy())
    }

    /// Overwrites the elements with those of `source`, of the same shape and type. For state and parameters: not recorded.
    pub fn assign(&self, source: &Tensor) -> Result<()> {
        self.0.assign(&source.0)
    }
}

/// Reductions. An empty list of dimensions means all of them. `_keep` leaves each reduced dimension with size one.
impl Tensor {
    /// The sum over those dimensions.
    pub fn sum(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.sum(dims.into().raw(), false))
    }

    /// As [`sum`](Self::sum); reduced dimensions stay, with size one.
    pub fn sum_keep(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.sum(dims.into().raw(), true))
    }

    /// The sum of all elements, a scalar.
    pub fn sum_all(&self) -> Result<Self> {
        Self::wrap(self.0.sum(&[], false))
    }

    /// The mean over those dimensions.
    pub fn mean(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.mean(dims.into().raw(), false))
    }

    /// As [`mean`](Self::mean); reduced dimensions stay, with size one.
    pub fn mean_keep(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.mean(dims.into().raw(), true))
    }

    /// The mean of all elements, a scalar.
    pub fn mean_all(&self) -> Result<Self> {
        Self::wrap(self.0.mean(&[], false))
    }

    /// The sample variance over those dimensions (divided by n - 1), as PyTorch's `var`.
    pub fn variance(&self, dims: impl Into<Dims>) -> Result<Self> {
        self.variance_with(dims, 1.0, false)
    }

    /// The variance divided by n - `correction`: 1 for the sample's, 0 for the population's.
    pub fn variance_with(&self, dims: impl Into<Dims>, correction: f64, keep: bool) -> Result<Self> {
        Self::wrap(self.0.variance(dims.into().raw(), correction, keep))
    }

    /// The largest element over those dimensions. Equal extremes share the gradient.
    pub fn max(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.max(dims.into().raw(), false))
    }

    /// As [`max`](Self::max); reduced dimensions stay, with size one.
    pub fn max_keep(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.max(dims.into().raw(), true))
    }

    /// The smallest element over those dimensions. Equal extremes share the gradient.
    pub fn min(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.min(dims.into().raw(), false))
    }

    /// As [`min`](Self::min); reduced dimensions stay, with size one.
    pub fn min_keep(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.min(dims.into().raw(), true))
    }

    /// The place of the largest element along one dimension, `u32`; of equal ones the first. Without gradient.
    pub fn argmax(&self, dim: i32) -> Result<Self> {
        Self::wrap(self.0.argmax(dim, false))
    }

    /// The place of the smallest element along one dimension, `u32`; of equal ones the first. Without gradient.
    pub fn argmin(&self, dim: i32) -> Result<Self> {
        Self::wrap(self.0.argmin(dim, false))
    }

    /// ln(sum(exp(x))) over those dimensions, without overflow.
    pub fn logsumexp(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.logsumexp(dims.into().raw(), false))
    }

    /// The running sum along one dimension.
    pub fn cumsum(&self, dim: i32) -> Result<Self> {
        Self::wrap(self.0.cumsum(dim))
    }

    /// Along one dimension: the sorted values, and their places as `u32`. Stable; NaN last.
    pub fn sort(&self, dim: i32, descending: bool) -> Result<(Self, Self)> {
        let (values, places) = self.0.sort(dim, descending)?;
        Ok((Self::from_raw(values), Self::from_raw(places)))
    }
}

/// Shape and place.
impl Tensor {
    /// The same elements in another shape. One size may be [`INFER`]: `x.reshape((batch, INFER))`.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        // `INFER` arrives here as the largest u32, which is the contract's -1.
        let sizes: Vec<i32> = shape.into().raw().iter().map(|&size| size as i32).collect();
        Self::wrap(self.0.reshape(&sizes))
    }

    /// All dimensions from `start` on made one: [batch, time, channels] flattened from 1 is [batch, time * channels].
    pub fn flatten(&self, start: usize) -> Result<Self> {
        let mut dims = self.dims();
        let tail = dims.split_off(start.min(dims.len()));
        dims.push(tail.iter().product());
        self.reshape(dims)
    }

    /// Two dimensions exchanged.
    pub fn transpose(&self, first: i32, second: i32) -> Result<Self> {
        Self::wrap(self.0.transpose(first, second))
    }

    /// The last two dimensions exchanged: a matrix transposed, or each of a batch of matrices.
    pub fn t(&self) -> Result<Self> {
        self.transpose(-2, -1)
    }

    /// The dimensions in another order.
    pub fn permute(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.permute(dims.into().raw()))
    }

    /// Without a dimension of size one.
    pub fn squeeze(&self, dim: i32) -> Result<Self> {
        Self::wrap(self.0.squeeze(dim))
    }

    /// With a new dimension of size one at that place.
    pub fn unsqueeze(&self, dim: i32) -> Result<Self> {
        Self::wrap(self.0.unsqueeze(dim))
    }

    /// Dimensions of size one, and missing leading ones, repeated up to that shape.
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        Self::wrap(self.0.broadcast_to(shape.into().raw()))
    }

    /// `length` elements from `start` on, along one dimension.
    pub fn narrow(&self, dim: i32, start: usize, length: usize) -> Result<Self> {
        Self::wrap(self.0.narrow(dim, count(start), count(length)))
    }

    /// Every `step`-th element from `start` up to but without `end`, along one dimension.
    pub fn slice(&self, dim: i32, start: usize, end: usize, step: usize) -> Result<Self> {
        Self::wrap(self.0.slice(dim, count(start), count(end), count(step)))
    }

    /// One element along a dimension, which disappears: `x.select(0, 2)` is PyTorch's `x[2]`.
    pub fn select(&self, dim: i32, index: usize) -> Result<Self> {
        self.narrow(dim, index, 1)?.squeeze(dim)
    }

    /// In reverse order along those dimensions.
    pub fn flip(&self, dims: impl Into<Dims>) -> Result<Self> {
        Self::wrap(self.0.flip(dims.into().raw()))
    }

    /// Longer by `before` and `after` elements `value` along one dimension.
    pub fn pad(&self, dim: i32, before: usize, after: usize, value: f64) -> Result<Self> {
        Self::wrap(self.0.pad(dim, count(before), count(after), value))
    }

    /// As [`pad`](Self::pad), with copies of the first and last element.
    pub fn pad_edge(&self, dim: i32, before: usize, after: usize) -> Result<Self> {
        Self::wrap(self.0.pad_edge(dim, count(before), count(after)))
    }

    /// The tensor `times` times along one dimension.
    pub fn repeat(&self, dim: i32, times: usize) -> Result<Self> {
        Self::wrap(self.0.repeat(dim, count(times)))
    }

    /// Sliding windows of `size`, `step` apart, along one dimension; each window lies in a new last dimension.
    pub fn unfold(&self, dim: i32, size: usize, step: usize) -> Result<Self> {
        Self::wrap(self.0.unfold(dim, count(size), count(step)))
    }

    /// The lower triangle of the last two dimensions; `diagonal` 0 includes the main one, 1 the one above.
    pub fn tril(&self, diagonal: i32) -> Result<Self> {
        Self::wrap(self.0.tril(diagonal))
    }

    /// The upper triangle of the last two dimensions; `diagonal` 0 includes the main one, 1 starts above it.
    pub fn triu(&self, diagonal: i32) -> Result<Self> {
        Self::wrap(self.0.triu(diagonal))
    }

    /// Whole slices along one dimension, by a vector of `u32` or `i64` indices.
    pub fn index_select(&self, dim: i32, indices: &Tensor) -> Result<Self> {
        Self::wrap(self.0.index_select(dim, &indices.0))
    }

    /// One element per index along one dimension, as PyTorch's `gather`.
    pub fn gather(&self, dim: i32, indices: &Tensor) -> Result<Self> {
        Self::wrap(self.0.gather(dim, &indices.0))
    }

    /// A copy with `source` added at the indices along one dimension.
    pub fn scatter_add(&self, dim: i32, indices: &Tensor, source: &Tensor) -> Result<Self> {
        Self::wrap(self.0.scatter_add(dim, &indices.0, &source.0))
    }

    /// The elements as another type.
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        Self::wrap(self.0.cast(dtype))
    }
}

/// To and from the generated bindings.
impl Tensor {
    pub(crate) fn from_raw(raw: RawTensor) -> Self {
        Self(Rc::new(raw))
    }

    pub(crate) fn raw(&self) -> &RawTensor {
        &self.0
    }

    /// A handle to give away. While clones of this one live, it is a second handle on the same elements.
    pub(crate) fn into_raw(self) -> Result<RawTensor> {
        match Rc::try_unwrap(self.0) {
            Ok(raw) => Ok(raw),
            Err(shared) => shared.detach(),
        }
    }

    // Not inlined: it is the end of nearly every method, and the size of a plugin counts.
    #[inline(never)]
    pub(crate) fn wrap(result: Result<RawTensor>) -> Result<Self> {
        Ok(Self::from_raw(result?))
    }
}

pub(crate) fn borrow_all(tensors: &[Tensor]) -> Vec<&RawTensor> {
    tensors.iter().map(Tensor::raw).collect()
}

/// The shape and type, not the elements: those would have to be fetched.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}, {:?})", self.shape(), self.dtype())
    }
}

//! What may be written where a shape or a list of dimensions is expected: a number, a tuple, an array, a vector.

use std::fmt;

/// The sizes of a tensor's dimensions, outermost first; none for a scalar.
///
/// Functions that take `impl Into<Shape>` accept `5`, `(2, 3)`, `[2, 3]`, `vec![2, 3]`, `tensor.shape()` and, for a scalar, `()`.
///
/// ```
/// use trainyard_sdk::Shape;
/// assert_eq!(Shape::from((2, 3)), Shape::from([2, 3]));
/// assert_eq!(Shape::from(()).element_count(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Vec<u32>);

impl Shape {
    /// The sizes.
    pub fn dims(&self) -> Vec<usize> {
        self.0.iter().map(|&size| size as usize).collect()
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The product of the sizes.
    pub fn element_count(&self) -> usize {
        self.0.iter().map(|&size| size as usize).product()
    }

    pub(crate) fn raw(&self) -> &[u32] {
        &self.0
    }

    pub(crate) fn from_raw(sizes: Vec<u32>) -> Self {
        Self(sizes)
    }
}

/// As PyTorch prints it: `[2, 3]`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, size) in self.0.iter().enumerate() {
            write!(f, "{}{size}", if index == 0 { "[" } else { ", " })?;
        }
        f.write_str(if self.0.is_empty() { "[]" } else { "]" })
    }
}

/// Sizes beyond the contract's `u32` become its largest, which the host refuses with a message of its own.
pub(crate) fn count(size: usize) -> u32 {
    size.try_into().unwrap_or(u32::MAX)
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Self {
        Self(sizes.iter().map(|&size| count(size)).collect())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Self {
        Self::from(sizes.as_slice())
    }
}

impl From<&Vec<usize>> for Shape {
    fn from(sizes: &Vec<usize>) -> Self {
        Self::from(sizes.as_slice())
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Self::from(&sizes[..])
    }
}

impl<const N: usize> From<&[usize; N]> for Shape {
    fn from(sizes: &[usize; N]) -> Self {
        Self::from(&sizes[..])
    }
}

impl From<usize> for Shape {
    fn from(size: usize) -> Self {
        Self::from([size])
    }
}

impl From<()> for Shape {
    fn from(_: ()) -> Self {
        Self(Vec::new())
    }
}

macro_rules! shape_from_tuple {
    ($($size:ident)+) => {
        impl From<($(replace!($size usize),)+)> for Shape {
            fn from(($($size,)+): ($(replace!($size usize),)+)) -> Self {
                Self::from([$($size),+])
            }
        }
    };
}
macro_rules! replace {
    ($ignored:ident $type:ty) => {
        $type
    };
}
shape_from_tuple!(a);
shape_from_tuple!(a b);
shape_from_tuple!(a b c);
shape_from_tuple!(a b c d);
shape_from_tuple!(a b c d e);

/// Dimensions by number: counted from zero, negative ones from the end.
///
/// Functions that take `impl Into<Dims>` accept `1`, `-1`, `[0, 2]`, `(0, 2)` and vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dims(Vec<i32>);

impl Dims {
    pub(crate) fn raw(&self) -> &[i32] {
        &self.0
    }
}

impl From<i32> for Dims {
    fn from(dim: i32) -> Self {
        Self(vec![dim])
    }
}

impl From<(i32, i32)> for Dims {
    fn from((first, second): (i32, i32)) -> Self {
        Self(vec![first, second])
    }
}

impl<const N: usize> From<[i32; N]> for Dims {
    fn from(dims: [i32; N]) -> Self {
        Self(dims.to_vec())
    }
}

impl From<&[i32]> for Dims {
    fn from(dims: &[i32]) -> Self {
        Self(dims.to_vec())
    }
}

impl From<Vec<i32>> for Dims {
    fn from(dims: Vec<i32>) -> Self {
        Self(dims)
    }
}

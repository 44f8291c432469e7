//! `+ - * /` and unary `-` on tensors, numbers, and results of other operations.
//!
//! Each gives a `Result`. So that expressions chain, an operand may be a `Result` itself, as long as a tensor stands on
//! the other side: `(a - b) * &c` needs one `?` at the end. (Between two results, or a result and a number, Rust's orphan
//! rule forbids an operator: put a `?` behind the first.)

use super::Tensor;
use crate::error::Result;
use std::borrow::Borrow;
use std::ops::{Add, Div, Mul, Neg, Sub};

macro_rules! operator {
    ($trait:ident, $method:ident, |$a:ident, $s:ident| $tensor_number:expr, |$n:ident, $b:ident| $number_tensor:expr) => {
        impl<B: Borrow<Tensor>> $trait<B> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: B) -> Self::Output {
                Tensor::wrap(self.0.$method(&other.borrow().0))
            }
        }

        impl<B: Borrow<Tensor>> $trait<B> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: B) -> Self::Output {
                Tensor::wrap(self.0.$method(&other.borrow().0))
            }
        }

        impl<B: Borrow<Tensor>> $trait<Result<B>> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: Result<B>) -> Self::Output {
                Tensor::wrap(self.0.$method(&other?.borrow().0))
            }
        }

        impl<B: Borrow<Tensor>> $trait<Result<B>> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: Result<B>) -> Self::Output {
                Tensor::wrap(self.0.$method(&other?.borrow().0))
            }
        }

        impl<B: Borrow<Tensor>> $trait<Tensor> for Result<B> {
            type Output = Result<Tensor>;
            fn $method(self, other: Tensor) -> Self::Output {
                Tensor::wrap(self?.borrow().0.$method(&other.0))
            }
        }

        impl<B: Borrow<Tensor>> $trait<&Tensor> for Result<B> {
            type Output = Result<Tensor>;
            fn $method(self, other: &Tensor) -> Self::Output {
                Tensor::wrap(self?.borrow().0.$method(&other.0))
            }
        }

        impl $trait<f64> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, $s: f64) -> Self::Output {
                let $a = self;
                $tensor_number
            }
        }

        impl $trait<f64> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, number: f64) -> Self::Output {
                (&self).$method(number)
            }
        }

        impl $trait<&Tensor> for f64 {
            type Output = Result<Tensor>;
            fn $method(self, $b: &Tensor) -> Self::Output {
                let $n = self;
                $number_tensor
            }
        }

        impl $trait<Tensor> for f64 {
            type Output = Result<Tensor>;
            fn $method(self, other: Tensor) -> Self::Output {
                self.$method(&other)
            }
        }
    };
}

fn add_scalar(tensor: &Tensor, number: f64) -> Result<Tensor> {
    Tensor::wrap(tensor.0.add_scalar(number))
}

fn mul_scalar(tensor: &Tensor, number: f64) -> Result<Tensor> {
    Tensor::wrap(tensor.0.mul_scalar(number))
}

operator!(Add, add, |a, s| add_scalar(a, s), |n, b| add_scalar(b, n));
operator!(Sub, sub, |a, s| add_scalar(a, -s), |n, b| add_scalar(&(-b)?, n));
operator!(Mul, mul, |a, s| mul_scalar(a, s), |n, b| mul_scalar(b, n));
operator!(Div, div, |a, s| mul_scalar(a, 1.0 / s), |n, b| mul_scalar(
    &b.reciprocal()?,
    n
));

impl Neg for &Tensor {
    type Output = Result<Tensor>;
    fn neg(self) -> Self::Output {
        Tensor::wrap(self.0.neg())
    }
}

impl Neg for Tensor {
    type Output = Result<Tensor>;
    fn neg(self) -> Self::Output {
        -&self
    }
}

//! Initial values.

use crate::error::Result;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

/// How a parameter is initialised. Random values come from the job's seeded generator.
///
/// The fans are PyTorch's: for a weight [out, in, kernel..], fan in is in * kernel and fan out is out * kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every element this value.
    Constant(f64),
    /// Uniform in [-bound, bound).
    Uniform(f64),
    /// Normal with mean zero and this standard deviation.
    Normal(f64),
    /// Uniform with bound 1 / sqrt(fan in): the default of PyTorch's `Linear` and convolutions, which spell it
    /// `kaiming_uniform_(a=sqrt(5))`.
    FanIn,
    /// Uniform with bound sqrt(6 / fan in), for layers before a ReLU (He et al. 2015).
    KaimingUniform,
    /// Normal with standard deviation sqrt(2 / fan in), for layers before a ReLU (He et al. 2015).
    KaimingNormal,
    /// Uniform with bound sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010).
    XavierUniform,
    /// Normal with standard deviation sqrt(2 / (fan in + fan out)) (Glorot and Bengio 2010).
    XavierNormal,
}

impl Init {
    /// A tensor with such values.
    pub fn create(self, shape: &Shape, dtype: DType) -> Result<Tensor> {
        let (fan_in, fan_out) = fans(&shape.dims());
        let uniform = |bound: f64| Tensor::rand(shape, -bound, bound, dtype);
        let normal = |std: f64| Tensor::randn(shape, 0.0, std, dtype);
        match self {
            Init::Constant(value) => Tensor::full(shape, value, dtype),
            Init::Uniform(bound) => uniform(bound),
            Init::Normal(std) => normal(std),
            Init::FanIn => uniform(fan_in.sqrt().recip()),
            Init::KaimingUniform => uniform((6.0 / fan_in).sqrt()),
            Init::KaimingNormal => normal((2.0 / fan_in).sqrt()),
            Init::XavierUniform => uniform((6.0 / (fan_in + fan_out)).sqrt()),
            Init::XavierNormal => normal((2.0 / (fan_in + fan_out)).sqrt()),
        }
    }
}

/// Fan in and fan out of a weight; of a vector its length, for want of anything better.
fn fans(dims: &[usize]) -> (f64, f64) {
    match dims {
        [] => (1.0, 1.0),
        [size] => (*size as f64, *size as f64),
        [out, input, kernel @ ..] => {
            let receptive: usize = kernel.iter().product();
            ((input * receptive) as f64, (out * receptive) as f64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fans;

    #[test]
    fn fans_are_those_of_pytorch() {
        assert_eq!(fans(&[96, 336]), (336.0, 96.0));
        assert_eq!(fans(&[16, 8, 3]), (24.0, 48.0));
    }
}

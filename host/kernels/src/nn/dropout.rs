//! Dropout.

use crate::cpu::random;
use crate::error::{Error, Result};
use crate::raw::{Raw, op_error, with_float};
use crate::tensor::Tensor;

/// Each element becomes zero with `probability`, in [0, 1); the others grow by 1 / (1 - probability). The backward pass draws the
/// same random numbers again, so no mask is kept.
pub fn dropout(x: &Tensor, probability: f64) -> Result<Tensor> {
    const OP: &str = "nn.dropout";
    if !(0.0..1.0).contains(&probability) {
        return Err(Error::InvalidArgument(op_error(
            OP,
            format!("the probability must lie in [0, 1), not at {probability}"),
            &[x.raw()],
        )));
    }
    if probability == 0.0 {
        return Ok(x.clone());
    }
    let wide = x.for_elements(OP)?;
    let (seed, count) = (x.session().seed(), x.count());
    let counter = x.session().take_random(random::dropout_counters(count));
    let apply = move |raw: &Raw| {
        if let Some(gpu) = raw.session().gpu() {
            return gpu.dropout(OP, raw, seed, counter, probability);
        }
        with_float!(OP, raw, T => {
            let elements = raw.elements::<T>(OP)?;
            Raw::build::<T>(OP, raw.session(), raw.shape(), |out| {
                random::dropout(seed, counter, probability, &elements, out);
                Ok(())
            })
        })
    };
    let raw = apply(wide.raw())?;
    Tensor::record1(raw, &wide, move |g| apply(g)).cast(x.dtype())
}

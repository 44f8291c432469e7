//! The fully connected layer: one product, with the bias written first and added to in place.

use crate::autograd::Gradients;
use crate::cpu::gemm::{View, ViewMut, gemm};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Matrix, Product, empty};
use crate::ops::{floating, same_dtype};
use crate::raw::{Raw, Shape, op_error, with_float};
use crate::tensor::Tensor;
use smallvec::smallvec;

const OP: &str = "nn.linear";

/// x [.., in] times the transpose of `weight` [out, in], plus `bias` [out].
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let operands: smallvec::SmallVec<[&Raw; 3]> = [Some(x.raw()), Some(weight.raw()), bias.map(Tensor::raw)]
        .into_iter()
        .flatten()
        .collect();
    same_dtype(OP, &operands)?;
    floating(OP, &operands)?;
    let (&[.., inputs], &[outputs, expected]) = (x.shape(), weight.shape()) else {
        return Err(Error::Shape(op_error(
            OP,
            "needs x of at least one dimension and a weight of two: [out, in]",
            &operands,
        )));
    };
    if inputs != expected {
        return Err(Error::Shape(op_error(
            OP,
            format!("x has {inputs} features in its last dimension, the weight takes {expected}"),
            &operands,
        )));
    }
    if let Some(bias) = bias.filter(|b| b.shape() != [outputs]) {
        return Err(Error::Shape(op_error(
            OP,
            format!("the bias must be [{outputs}], not {:?}", bias.shape()),
            &operands,
        )));
    }
    let rows = x.shape()[..x.rank() - 1].iter().product();
    let flat = x.raw().reshape(OP, &[rows, inputs])?;
    let mut shape: Shape = x.shape().into();
    shape[x.rank() - 1] = outputs;
    let raw = forward(&flat, weight.raw(), bias.map(Tensor::raw), &shape)?;
    let has_bias = bias.is_some();
    let (flat, saved_weight, from): (_, _, Shape) = (flat.save(), weight.raw().save(), x.shape().into());
    let backward = move |g: &Raw, need: crate::autograd::Need<'_>| {
        let g = g.reshape(OP, &[rows, outputs])?;
        let mut gradients: Gradients = smallvec![
            need.then(0, || g.matmul(OP, saved_weight.get()?)?.reshape(OP, &from))?,
            need.then(1, || g.transpose(OP, 0, 1)?.matmul(OP, flat.get()?))?,
        ];
        if has_bias {
            gradients.push(need.then(2, || g.sum(OP, &[0]))?);
        }
        Ok(gradients)
    };
    Ok(match bias {
        Some(bias) => Tensor::record(raw, &[x, weight, bias], backward),
        None => Tensor::record(raw, &[x, weight], backward),
    })
}

fn forward(x: &Raw, weight: &Raw, bias: Option<&Raw>, shape: &[usize]) -> Result<Raw> {
    let (rows, inputs, outputs) = (x.shape()[0], x.shape()[1], weight.shape()[0]);
    if let Some(gpu) = x.session().gpu() {
        return on_card(gpu, x, weight, bias, shape);
    }
    if x.dtype().is_half() {
        let product = x.matmul(OP, &weight.transpose(OP, 0, 1)?)?;
        let sum = match bias {
            Some(bias) => product.add(OP, bias)?,
            None => product,
        };
        return sum.reshape(OP, shape);
    }
    with_float!(OP, x, T => {
        let (x_values, w_values) = (x.elements::<T>(OP)?, weight.strided::<T>(OP)?);
        let stride = weight.candle().stride();
        let bias = bias.map(|b| b.elements::<T>(OP)).transpose()?;
        Raw::build::<T>(OP, x.session(), shape, |out| {
            let beta = match &bias {
                Some(bias) if outputs > 0 => {
                    out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
                    1.0
                }
                _ => 0.0,
            };
            if rows * outputs > 0 {
                let left = View::new(&x_values, inputs);
                let right = View { data: &w_values, row: stride[1], column: stride[0], batch: 0 };
                gemm((rows, outputs, inputs), 1.0, left, right, beta, ViewMut::new(out, outputs));
            }
            Ok(())
        })
    })
}

/// The bias goes into every row first, and the product is added to it.
fn on_card(gpu: &Gpu, x: &Raw, weight: &Raw, bias: Option<&Raw>, shape: &[usize]) -> Result<Raw> {
    let (rows, inputs, outputs) = (x.shape()[0], x.shape()[1], weight.shape()[0]);
    let (x, weight) = (x.contiguous(OP)?, weight.contiguous(OP)?);
    let out = empty(OP, x.session(), shape, x.dtype())?;
    match bias {
        Some(bias) => gpu.fill_rows(OP, bias, &out)?,
        None if inputs == 0 => return Raw::full(OP, x.session(), shape, 0.0, x.dtype()),
        None => {}
    }
    let product = Product {
        size: (rows, outputs, inputs),
        batch: 1,
        alpha: 1.0,
        a: Matrix::of(&x, inputs),
        b: Matrix::of(&weight, inputs).transposed(),
        beta: if bias.is_some() { 1.0 } else { 0.0 },
        c: Matrix::of(&out, outputs),
    };
    if inputs > 0 {
        gpu.product(OP, x.session(), &product)?;
    }
    Ok(out)
}

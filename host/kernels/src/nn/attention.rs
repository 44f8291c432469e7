//! Scaled dot-product attention without the matrix of scores: a block of rows at a time, forward and backward.

use super::{widen, widen_option};
use crate::autograd::Gradients;
use crate::cpu::attention as cpu;
use crate::error::{Error, Result};
use crate::ops::broadcast_shape;
use crate::raw::{Draft, Raw, Shape, op_error, with_float};
use crate::tensor::Tensor;

const OP: &str = "nn.attention";

/// softmax(query key^T * scale + mask) value over [.., length, width] (Vaswani et al. 2017). The scale is 1 / sqrt(width) when absent;
/// the mask broadcasts; `causal` hides from query i what comes after key i.
pub fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    causal: bool,
    scale: Option<f64>,
) -> Result<Tensor> {
    let operands = [query.raw(), key.raw(), value.raw()];
    let refuse = |message: &str| Error::Shape(op_error(OP, message, &operands));
    let (
        &[ref heads @ .., queries, width],
        &[ref k_heads @ .., keys, k_width],
        &[ref v_heads @ .., v_keys, value_width],
    ) = (query.shape(), key.shape(), value.shape())
    else {
        return Err(refuse(
            "query, key and value need at least two dimensions: [.., length, width]",
        ));
    };
    if heads != k_heads || heads != v_heads {
        return Err(refuse(
            "query, key and value must agree in all dimensions before the last two",
        ));
    }
    if width != k_width || keys != v_keys {
        return Err(refuse("query and key must have one width, key and value one length"));
    }
    if keys == 0 || width == 0 {
        return Err(refuse("there is nothing to attend to"));
    }
    let [q, k, v] = widen(OP, [query, key, value])?;
    let heads: Shape = heads.into();
    let count = heads.iter().product();
    let mask = match widen_option(OP, query, mask)? {
        Some(mask) => Some(spread(&mask, &heads, queries, keys)?),
        None => None,
    };
    let scale = scale.unwrap_or(1.0 / (width as f64).sqrt());
    let shape = cpu::Attention {
        heads: count,
        queries,
        keys,
        width,
        value_width,
        causal,
        scale,
    };
    let mut out_shape = heads.clone();
    out_shape.extend([queries, value_width]);
    let session = query.session().clone();
    if let Some(gpu) = session.gpu() {
        let m = mask.as_ref().map(Tensor::raw);
        let (out, lse) = gpu.attention(OP, &shape, q.raw(), k.raw(), v.raw(), m, &out_shape)?;
        let saved = [q.raw().save(), k.raw().save(), v.raw().save(), out.save()];
        let saved_mask = m.map(Raw::save);
        let inputs: Vec<&Tensor> = [Some(&q), Some(&k), Some(&v), mask.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        return Tensor::record(out, &inputs, move |g, need| {
            let [q, k, v, out] = [saved[0].get()?, saved[1].get()?, saved[2].get()?, saved[3].get()?];
            let mask = saved_mask.as_ref().map(|m| m.get()).transpose()?;
            let Some(gpu) = q.session().gpu() else {
                return Ok(Gradients::new());
            };
            let needs_mask = mask.is_some() && need.input(3);
            let ([dq, dk, dv], dm) = gpu.attention_backward(OP, &shape, [q, k, v], mask, needs_mask, out, &lse, g)?;
            let mut gradients: Gradients = [dq, dk, dv].into_iter().map(Some).collect();
            gradients.extend(dm.map(Some));
            Ok(gradients)
        })
        .cast(query.dtype());
    }
    let (out, lse) = with_float!(OP, q.raw(), T => {
        let (qs, ks, vs) = (q.raw().elements::<T>(OP)?, k.raw().elements::<T>(OP)?, v.raw().elements::<T>(OP)?);
        let m = mask.as_ref().map(|m| m.raw().elements::<T>(OP)).transpose()?;
        let mut out = Draft::<T>::new(OP, &session, &out_shape)?;
        let mut lse = Draft::<T>::new(OP, &session, &[count * queries])?;
        let stop = || session.cancel().is_cancelled();
        cpu::attention(shape, &qs, &ks, &vs, m.as_deref(), &mut out, &mut lse, &stop).map_err(|_| Error::Cancelled)?;
        Ok((out.finish()?, lse.finish()?))
    })?;
    let saved = [q.raw().save(), k.raw().save(), v.raw().save(), out.save()];
    let saved_mask = mask.as_ref().map(|m| m.raw().save());
    let inputs = [Some(&q), Some(&k), Some(&v), mask.as_ref()];
    let inputs: Vec<&Tensor> = inputs.into_iter().flatten().collect();
    Tensor::record(out, &inputs, move |g, need| {
        let [q, k, v, out] = [saved[0].get()?, saved[1].get()?, saved[2].get()?, saved[3].get()?];
        let mask = saved_mask.as_ref().map(|m| m.get()).transpose()?;
        let session = q.session().clone();
        with_float!(OP, q, T => {
            let read = |raw: &Raw| raw.elements::<T>(OP);
            let (qs, ks, vs, outs, lse, gs) = (read(q)?, read(k)?, read(v)?, read(out)?, read(&lse)?, read(g)?);
            let m = mask.map(read).transpose()?;
            let draft = |raw: &Raw| Draft::<T>::new(OP, &session, raw.shape());
            let (mut dq, mut dk, mut dv) = (draft(q)?, draft(k)?, draft(v)?);
            let mut dm = mask.filter(|_| need.input(3)).map(draft).transpose()?;
            let gradients = cpu::Gradients { q: &mut dq, k: &mut dk, v: &mut dv, mask: dm.as_deref_mut() };
            let stop = || session.cancel().is_cancelled();
            cpu::attention_backward(shape, &qs, &ks, &vs, m.as_deref(), &outs, &lse, &gs, gradients, &stop)
                .map_err(|_| Error::Cancelled)?;
            let mut gradients = Gradients::new();
            for draft in [dq, dk, dv] {
                gradients.push(Some(draft.finish()?));
            }
            if let Some(dm) = dm {
                gradients.push(Some(dm.finish()?));
            }
            Ok(gradients)
        })
    })
    .cast(query.dtype())
}

/// A mask as the kernel takes it: [queries, keys] for all heads, or one for each.
fn spread(mask: &Tensor, heads: &[usize], queries: usize, keys: usize) -> Result<Tensor> {
    let mut full: Shape = heads.into();
    full.extend([queries, keys]);
    let shared = mask.shape().len() <= 2 || mask.shape()[..mask.rank() - 2].iter().all(|&d| d == 1);
    if shared {
        let mut mask = mask.clone();
        while mask.rank() > 2 {
            mask = mask.squeeze(0)?;
        }
        let wide = Raw::full(OP, mask.session(), &[], 0.0, mask.dtype())?.broadcast_to(OP, &[queries, keys])?;
        if broadcast_shape(OP, mask.raw(), &wide)?[..] == [queries, keys] {
            return mask.broadcast_to(&[queries, keys]);
        }
    }
    mask.broadcast_to(&full)
}

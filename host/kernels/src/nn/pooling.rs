//! Pooling.

use super::widen;
use crate::cpu::pool::{self, Windows};
use crate::error::{Error, Result};
use crate::raw::{Raw, Shape, op_error, with_float};
use crate::tensor::Tensor;

/// The largest of each window over the last dimension of x [batch, channels, length].
pub fn max_pool1d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    pool("nn.max-pool1d", x, 1, kernel, stride, padding, true)
}

/// The mean of each window over the last dimension of x [batch, channels, length]; padding counts as zeros.
pub fn avg_pool1d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    pool("nn.avg-pool1d", x, 1, kernel, stride, padding, false)
}

/// The largest of each square window over the last two dimensions of x [batch, channels, height, width].
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    pool("nn.max-pool2d", x, 2, kernel, stride, padding, true)
}

/// The mean of each square window over the last two dimensions of x [batch, channels, height, width]; padding counts as zeros.
pub fn avg_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    pool("nn.avg-pool2d", x, 2, kernel, stride, padding, false)
}

fn pool(
    op: &'static str,
    x: &Tensor,
    spatial: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    largest: bool,
) -> Result<Tensor> {
    if x.rank() != spatial + 2 {
        let layout = if spatial == 1 {
            "[batch, channels, length]"
        } else {
            "[batch, channels, height, width]"
        };
        return Err(Error::Shape(op_error(op, format!("needs x {layout}"), &[x.raw()])));
    }
    if kernel == 0 || stride == 0 || padding > kernel / 2 {
        return Err(Error::InvalidArgument(op_error(
            op,
            format!(
                "kernel {kernel} and stride {stride} must be at least 1, and the padding {padding} at most half the kernel"
            ),
            &[x.raw()],
        )));
    }
    let [wide] = widen(op, [x])?;
    let raw = wide.raw();
    let sizes = &raw.shape()[2..];
    if let Some(&short) = sizes.iter().find(|&&n| n.saturating_add(2 * padding) < kernel) {
        return Err(Error::Shape(op_error(
            op,
            format!("a window of {kernel} does not fit {short} elements with {padding} of padding on each side"),
            &[x.raw()],
        )));
    }
    let windows = match *sizes {
        [length] => Windows::new_1d(length, kernel, stride, padding),
        _ => Windows::new_2d((sizes[0], sizes[1]), kernel, stride, padding),
    };
    let mut shape: Shape = raw.shape().into();
    for size in &mut shape[2..] {
        *size = (*size + 2 * padding - kernel) / stride + 1;
    }
    let from: Shape = raw.shape().into();
    if let Some(gpu) = raw.session().gpu() {
        let (y, places) = match largest {
            true => gpu
                .max_pool(op, &windows, raw, &shape)
                .map(|(y, places)| (y, Some(places)))?,
            false => (gpu.avg_pool(op, &windows, raw, &shape)?, None),
        };
        return Tensor::record1(y, &wide, move |g| match g.session().gpu() {
            Some(gpu) => gpu.pool_backward(op, &windows, places.as_ref(), g, &from),
            None => Ok(g.clone()),
        })
        .cast(x.dtype());
    }
    if largest {
        let mut places = vec![0u32; shape.iter().product()];
        let y = with_float!(op, raw, T => {
            let values = raw.elements::<T>(op)?;
            Raw::build::<T>(op, raw.session(), &shape, |out| {
                pool::max_pool(windows, &values, out, &mut places);
                Ok(())
            })
        })?;
        let places = Raw::from_vec(op, raw.session(), places, &shape)?;
        return Tensor::record1(y, &wide, move |g| {
            let places = places.elements::<u32>(op)?;
            with_float!(op, g, T => {
                let gs = g.elements::<T>(op)?;
                Raw::build::<T>(op, g.session(), &from, |out| {
                    pool::max_pool_backward(windows, &places, &gs, out);
                    Ok(())
                })
            })
        })
        .cast(x.dtype());
    }
    let y = with_float!(op, raw, T => {
        let values = raw.elements::<T>(op)?;
        Raw::build::<T>(op, raw.session(), &shape, |out| {
            pool::avg_pool(windows, &values, out);
            Ok(())
        })
    })?;
    Tensor::record1(y, &wide, move |g| {
        with_float!(op, g, T => {
            let gs = g.elements::<T>(op)?;
            Raw::build::<T>(op, g.session(), &from, |out| {
                pool::avg_pool_backward(windows, &gs, out);
                Ok(())
            })
        })
    })
    .cast(x.dtype())
}

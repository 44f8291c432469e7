//! Elements by index, in windows, padded, turned round and sorted.

use super::{Arg, Gpu, Launch, Strides, bytes, empty, f32_or_f64, suffix};
use crate::cpu::index::{self, Dims};
use crate::dtype::DType;
use crate::error::Result;
use crate::raw::Raw;
use crate::session::Session;

/// The number under which a kernel notes that an operation's index is out of range.
#[cfg(feature = "cuda")]
fn checking(gpu: &Gpu, session: &Session, op: &'static str) -> u32 {
    gpu.checking(session, op)
}

#[cfg(not(feature = "cuda"))]
fn checking(gpu: &Gpu, _session: &Session, _op: &'static str) -> u32 {
    match *gpu {}
}

impl Gpu {
    /// Indices (`u32` or `i64`) as `u32`, contiguous. One that does not lie below `size` counts as 0, and is an error when something is
    /// read next.
    pub(crate) fn indices(&self, op: &'static str, x: &Raw, size: usize) -> Result<Raw> {
        let x = x.contiguous(op)?;
        let out = empty(op, x.session(), x.shape(), DType::U32)?;
        let args = [
            Arg::Size(x.count()),
            Arg::I64(size as i64),
            Arg::U32(checking(self, x.session(), op)),
            Arg::Of(&x),
            Arg::Of(&out),
            Arg::Fault,
        ];
        self.launch(
            op,
            x.session(),
            ("index", "indices", suffix(x.dtype())),
            Launch::each(x.count()),
            &args,
        )?;
        Ok(out)
    }

    /// The elements of a tensor, which may lie anyhow, in row-major order.
    pub(crate) fn gather_strided(&self, op: &'static str, x: &Raw) -> Result<Raw> {
        let out = empty(op, x.session(), x.shape(), x.dtype())?;
        let n = out.count();
        let strides = Strides::of(x.shape(), x.candle().stride());
        let args = [Arg::Size(n), Arg::Strides(&strides), Arg::Of(x), Arg::Of(&out)];
        self.launch(
            op,
            x.session(),
            ("index", "gather_strided", bytes(x.dtype())),
            Launch::each(n),
            &args,
        )?;
        Ok(out)
    }

    /// Windows, as [`index::unfold`].
    pub(crate) fn unfold(
        &self,
        op: &'static str,
        x: &Raw,
        dims: Dims,
        size: usize,
        step: usize,
        shape: &[usize],
    ) -> Result<Raw> {
        let x = x.contiguous(op)?;
        let out = empty(op, x.session(), shape, x.dtype())?;
        let n = out.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.n),
            Arg::Size(dims.inner),
            Arg::Size(index::windows(dims.n, size, step)),
            Arg::Size(size),
            Arg::Size(step),
            Arg::Of(&x),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            x.session(),
            ("index", "unfold", bytes(x.dtype())),
            Launch::each(n),
            &args,
        )?;
        Ok(out)
    }

    /// The derivative of [`Gpu::unfold`].
    pub(crate) fn fold(
        &self,
        op: &'static str,
        gradient: &Raw,
        dims: Dims,
        size: usize,
        step: usize,
        shape: &[usize],
    ) -> Result<Raw> {
        let (gradient, of) = (gradient.contiguous(op)?, f32_or_f64(op, gradient)?);
        let out = empty(op, gradient.session(), shape, gradient.dtype())?;
        let n = out.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.n),
            Arg::Size(dims.inner),
            Arg::Size(index::windows(dims.n, size, step)),
            Arg::Size(size),
            Arg::Size(step),
            Arg::Of(&gradient),
            Arg::Of(&out),
        ];
        self.launch(op, gradient.session(), ("index", "fold", of), Launch::each(n), &args)?;
        Ok(out)
    }

    /// Copies of the first and the last element along n before and after; `shape` is the result's.
    pub(crate) fn pad_edge(
        &self,
        op: &'static str,
        x: &Raw,
        dims: Dims,
        before: usize,
        shape: &[usize],
    ) -> Result<Raw> {
        let x = x.contiguous(op)?;
        let out = empty(op, x.session(), shape, x.dtype())?;
        let n = out.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.n),
            Arg::Size(dims.inner),
            Arg::Size(before),
            Arg::Size(n / (dims.outer * dims.inner).max(1)),
            Arg::Of(&x),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            x.session(),
            ("index", "pad_edge", bytes(x.dtype())),
            Launch::each(n),
            &args,
        )?;
        Ok(out)
    }

    /// The derivative of [`Gpu::pad_edge`].
    pub(crate) fn pad_edge_backward(
        &self,
        op: &'static str,
        gradient: &Raw,
        dims: Dims,
        before: usize,
        shape: &[usize],
    ) -> Result<Raw> {
        let (gradient, of) = (gradient.contiguous(op)?, f32_or_f64(op, gradient)?);
        let out = empty(op, gradient.session(), shape, gradient.dtype())?;
        let n = out.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.n),
            Arg::Size(dims.inner),
            Arg::Size(before),
            Arg::Size(gradient.count() / (dims.outer * dims.inner).max(1)),
            Arg::Of(&gradient),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            gradient.session(),
            ("index", "pad_edge_backward", of),
            Launch::each(n),
            &args,
        )?;
        Ok(out)
    }

    /// The order along n turned round.
    pub(crate) fn flip(&self, op: &'static str, x: &Raw, dims: Dims) -> Result<Raw> {
        let x = x.contiguous(op)?;
        let out = empty(op, x.session(), x.shape(), x.dtype())?;
        let n = x.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.n),
            Arg::Size(dims.inner),
            Arg::Of(&x),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            x.session(),
            ("index", "flip", bytes(x.dtype())),
            Launch::each(n),
            &args,
        )?;
        Ok(out)
    }

    /// Slices by checked indices: [outer, indices, inner].
    pub(crate) fn select(&self, op: &'static str, x: &Raw, dims: Dims, indices: &Raw, shape: &[usize]) -> Result<Raw> {
        let (x, indices) = (x.contiguous(op)?, indices.contiguous(op)?);
        let out = empty(op, x.session(), shape, x.dtype())?;
        let n = out.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.n),
            Arg::Size(indices.count()),
            Arg::Size(dims.inner),
            Arg::Of(&indices),
            Arg::Of(&x),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            x.session(),
            ("index", "select", bytes(x.dtype())),
            Launch::each(n),
            &args,
        )?;
        Ok(out)
    }

    /// The derivative of [`Gpu::select`]: where an index comes up again, the order of the sum is the card's.
    pub(crate) fn select_backward(
        &self,
        op: &'static str,
        gradient: &Raw,
        dims: Dims,
        indices: &Raw,
        shape: &[usize],
    ) -> Result<Raw> {
        let (gradient, indices, of) = (
            gradient.contiguous(op)?,
            indices.contiguous(op)?,
            f32_or_f64(op, gradient)?,
        );
        let out = Raw::full(op, gradient.session(), shape, 0.0, gradient.dtype())?;
        let n = gradient.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.n),
            Arg::Size(indices.count()),
            Arg::Size(dims.inner),
            Arg::Of(&indices),
            Arg::Of(&gradient),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            gradient.session(),
            ("index", "select_backward", of),
            Launch::each(n),
            &args,
        )?;
        Ok(out)
    }

    /// Adds `source` to `out` in place at checked indices of its shape; where one comes up again, the order of the sum is the card's.
    pub(crate) fn scatter_add(
        &self,
        op: &'static str,
        out: &Raw,
        dims: Dims,
        indices: &Raw,
        source: &Raw,
    ) -> Result<()> {
        let (source, indices, of) = (source.contiguous(op)?, indices.contiguous(op)?, f32_or_f64(op, out)?);
        let n = source.count();
        let args = [
            Arg::Size(n),
            Arg::Size(dims.n),
            Arg::Size(n / (dims.outer * dims.inner).max(1)),
            Arg::Size(dims.inner),
            Arg::Of(&indices),
            Arg::Of(&source),
            Arg::Of(out),
        ];
        self.launch(op, out.session(), ("index", "scatter_add", of), Launch::each(n), &args)
    }

    /// The places of `f64` values in their order along n, as [`index::sort`].
    pub(crate) fn sort(&self, op: &'static str, x: &Raw, dims: Dims, descending: bool) -> Result<Raw> {
        let x = x.contiguous(op)?;
        let session = x.session();
        let out = empty(op, session, x.shape(), DType::U32)?;
        if dims.is_empty() {
            return Ok(out);
        }
        let lanes = dims.outer * dims.inner;
        let width = dims.n.next_power_of_two();
        let total = lanes.saturating_mul(width);
        let keys = empty(op, session, &[lanes, width], DType::F64)?;
        let places = empty(op, session, &[lanes, width], DType::U32)?;
        let sizes = [Arg::Size(dims.n), Arg::Size(dims.inner), Arg::Size(width)];
        let args = [
            Arg::Size(total),
            sizes[0],
            sizes[1],
            sizes[2],
            Arg::Of(&x),
            Arg::Of(&keys),
            Arg::Of(&places),
        ];
        self.launch(op, session, ("index", "sort_load", "f64"), Launch::each(total), &args)?;
        let mut block = 2;
        while block <= width {
            let mut distance = block / 2;
            while distance > 0 {
                session.check_cancelled()?;
                let args = [
                    Arg::Size(total),
                    Arg::Size(width),
                    Arg::Size(block),
                    Arg::Size(distance),
                    Arg::I32(descending.into()),
                    Arg::Of(&keys),
                    Arg::Of(&places),
                ];
                self.launch(op, session, ("index", "sort_step", "f64"), Launch::each(total), &args)?;
                distance /= 2;
            }
            block *= 2;
        }
        let args = [
            Arg::Size(x.count()),
            sizes[0],
            sizes[1],
            sizes[2],
            Arg::Of(&places),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            session,
            ("index", "sort_store", "f64"),
            Launch::each(x.count()),
            &args,
        )?;
        Ok(out)
    }
}

//! Reductions over one dimension of [outer, n, inner].

use super::{Arg, BUSY, Gpu, Launch, empty, f32_or_f64};
use crate::cpu::index::Dims;
use crate::dtype::DType;
use crate::error::Result;
use crate::raw::Raw;

/// A reduction's kernels: of rows and columns.
#[derive(Clone, Copy)]
struct Kernels {
    rows: &'static str,
    columns: &'static str,
}

/// Sums of parts, in `f64`.
const PART: Kernels = Kernels {
    rows: "sum_rows_part",
    columns: "sum_columns_part",
};

impl Gpu {
    /// out [outer, inner], of the shape given: the sum over n, times `scale`. `x` is contiguous.
    pub(crate) fn sum(&self, op: &'static str, x: &Raw, dims: Dims, shape: &[usize], scale: f64) -> Result<Raw> {
        let of = f32_or_f64(op, x)?;
        let out = empty(op, x.session(), shape, x.dtype())?;
        let whole = Kernels {
            rows: "sum_rows",
            columns: "sum_columns",
        };
        let chunks = chunks(dims);
        if chunks == 1 {
            self.reduce(op, whole, of, dims, 1, scale, x, &out)?;
            return Ok(out);
        }
        let join = Kernels {
            rows: "sum_rows_join",
            columns: "sum_columns_join",
        };
        let parts = empty(op, x.session(), &[dims.outer, chunks, dims.inner], DType::F64)?;
        self.reduce(op, PART, of, dims, chunks, 1.0, x, &parts)?;
        self.reduce(op, join, of, Dims { n: chunks, ..dims }, 1, scale, &parts, &out)?;
        Ok(out)
    }

    /// The largest or smallest over n, NaN if there is one; n must not be zero. `x` is contiguous.
    pub(crate) fn extreme(&self, op: &'static str, x: &Raw, dims: Dims, shape: &[usize], largest: bool) -> Result<Raw> {
        let of = f32_or_f64(op, x)?;
        let out = empty(op, x.session(), shape, x.dtype())?;
        let kernels = match largest {
            true => Kernels {
                rows: "max_rows",
                columns: "max_columns",
            },
            false => Kernels {
                rows: "min_rows",
                columns: "min_columns",
            },
        };
        let chunks = chunks(dims);
        if chunks == 1 {
            self.reduce(op, kernels, of, dims, 1, 1.0, x, &out)?;
            return Ok(out);
        }
        let parts = empty(op, x.session(), &[dims.outer, chunks, dims.inner], x.dtype())?;
        self.reduce(op, kernels, of, dims, chunks, 1.0, x, &parts)?;
        self.reduce(op, kernels, of, Dims { n: chunks, ..dims }, 1, 1.0, &parts, &out)?;
        Ok(out)
    }

    #[expect(clippy::too_many_arguments, reason = "what a launch consists of")]
    fn reduce(
        &self,
        op: &'static str,
        kernels: Kernels,
        of: &'static str,
        dims: Dims,
        chunks: usize,
        scale: f64,
        x: &Raw,
        out: &Raw,
    ) -> Result<()> {
        if dims.inner == 1 {
            let mut launch = Launch::rows(dims.outer, dims.n / chunks);
            launch.grid.1 = chunks;
            let args = [
                Arg::Size(dims.outer),
                Arg::Size(dims.n),
                Arg::F64(scale),
                Arg::Of(x),
                Arg::Of(out),
            ];
            return self.launch(op, x.session(), ("reduce", kernels.rows, of), launch, &args);
        }
        let launch = Launch::columns(dims.outer * dims.inner.div_ceil(32), chunks);
        let args = [
            Arg::Size(dims.n),
            Arg::Size(dims.inner),
            Arg::F64(scale),
            Arg::Of(x),
            Arg::Of(out),
        ];
        self.launch(op, x.session(), ("reduce", kernels.columns, of), launch, &args)
    }

    /// Joins sums in `f64` [n] to one of `dtype`, of the shape of a scalar, times `scale`.
    pub(crate) fn join(&self, op: &'static str, parts: &Raw, dtype: DType, scale: f64) -> Result<Raw> {
        let n = parts.count();
        let all = Dims { outer: 1, n, inner: 1 };
        let chunks = chunks(all);
        if chunks > 1 {
            let fewer = empty(op, parts.session(), &[chunks], DType::F64)?;
            self.reduce(op, PART, "f64", all, chunks, 1.0, parts, &fewer)?;
            return self.join(op, &fewer, dtype, scale);
        }
        let out = empty(op, parts.session(), &[], dtype)?;
        let of = f32_or_f64(op, &out)?;
        let args = [
            Arg::Size(1),
            Arg::Size(n),
            Arg::F64(scale),
            Arg::Of(parts),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            parts.session(),
            ("reduce", "sum_rows_join", of),
            Launch::rows(1, n),
            &args,
        )?;
        Ok(out)
    }

    /// Where the extreme is along n, as `u32`. `x` is contiguous.
    pub(crate) fn place(&self, op: &'static str, x: &Raw, dims: Dims, shape: &[usize], largest: bool) -> Result<Raw> {
        let of = f32_or_f64(op, x)?;
        let out = empty(op, x.session(), shape, DType::U32)?;
        let args = [
            Arg::Size(out.count()),
            Arg::Size(dims.n),
            Arg::Size(dims.inner.max(1)),
            Arg::I32(largest.into()),
            Arg::Of(x),
            Arg::Of(&out),
        ];
        self.launch(
            op,
            x.session(),
            ("reduce", "place", of),
            Launch::warps(out.count()),
            &args,
        )?;
        Ok(out)
    }

    /// Running sums along n, from the end if `backward`.
    pub(crate) fn cumsum(&self, op: &'static str, x: &Raw, dims: Dims, backward: bool) -> Result<Raw> {
        let (x, of) = (x.contiguous(op)?, f32_or_f64(op, x)?);
        let out = empty(op, x.session(), x.shape(), x.dtype())?;
        if dims.is_empty() {
            return Ok(out);
        }
        if dims.inner == 1 {
            let args = [
                Arg::Size(dims.outer),
                Arg::Size(dims.n),
                Arg::I32(backward.into()),
                Arg::Of(&x),
                Arg::Of(&out),
            ];
            self.launch(
                op,
                x.session(),
                ("reduce", "cumsum_rows", of),
                Launch::warps(dims.outer),
                &args,
            )?;
            return Ok(out);
        }
        let lanes = dims.outer * dims.inner;
        let args = [
            Arg::Size(lanes),
            Arg::Size(dims.n),
            Arg::Size(dims.inner),
            Arg::I32(backward.into()),
            Arg::Of(&x),
            Arg::Of(&out),
        ];
        self.launch(op, x.session(), ("reduce", "cumsum", of), Launch::each(lanes), &args)?;
        Ok(out)
    }
}

/// Into how many parts n is cut, by the sizes alone: enough to keep the card busy, each worth a block.
fn chunks(dims: Dims) -> usize {
    let (blocks, least) = match dims.inner {
        1 => (dims.outer, 4096),
        inner => (dims.outer * inner.div_ceil(32), 128),
    };
    if blocks == 0 {
        return 1;
    }
    (BUSY / blocks).min(dims.n / least).max(1)
}

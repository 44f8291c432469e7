//! Attention, a block of scores at a time: products by cuBLAS, and one kernel for all between them.

use super::{Arg, Gpu, Launch, Matrix, Product, empty, f32_or_f64};
use crate::cpu::attention::Attention;
use crate::error::Result;
use crate::raw::Raw;
use crate::session::Session;

/// Scores of a block.
const SCORES: usize = 1 << 24;

/// Heads and queries of a block.
struct Block {
    head: usize,
    heads: usize,
    query: usize,
    queries: usize,
}

fn blocks(shape: &Attention) -> Vec<Block> {
    let queries = (SCORES / shape.keys.max(1)).clamp(1, shape.queries.max(1));
    let heads = match queries == shape.queries {
        true => (SCORES / (queries * shape.keys).max(1)).clamp(1, shape.heads.max(1)),
        false => 1,
    };
    let mut blocks = Vec::new();
    for head in (0..shape.heads).step_by(heads) {
        for query in (0..shape.queries).step_by(queries) {
            blocks.push(Block {
                head,
                heads: heads.min(shape.heads - head),
                query,
                queries: queries.min(shape.queries - query),
            });
        }
    }
    blocks
}

/// Elements of a mask from one head to the next; none where all share it.
fn of_head(shape: &Attention, mask: Option<&Raw>) -> usize {
    let all = shape.queries * shape.keys;
    match mask {
        Some(mask) if mask.count() != all => all,
        _ => 0,
    }
}

impl Gpu {
    /// As [`crate::cpu::attention::attention`]: the result, of the shape given, and the logarithms of the rows' sums.
    #[expect(clippy::too_many_arguments, reason = "one tensor for each of the formula")]
    pub(crate) fn attention(
        &self,
        op: &'static str,
        shape: &Attention,
        q: &Raw,
        k: &Raw,
        v: &Raw,
        mask: Option<&Raw>,
        out_shape: &[usize],
    ) -> Result<(Raw, Raw)> {
        let (q, k, v, of) = (
            q.contiguous(op)?,
            k.contiguous(op)?,
            v.contiguous(op)?,
            f32_or_f64(op, q)?,
        );
        let mask = mask.map(|mask| mask.contiguous(op)).transpose()?;
        let session = q.session();
        let out = empty(op, session, out_shape, q.dtype())?;
        let lse = empty(op, session, &[shape.heads * shape.queries], q.dtype())?;
        let of_head = of_head(shape, mask.as_ref());
        for block in blocks(shape) {
            session.check_cancelled()?;
            let scores = self.scores(op, session, shape, &block, &q, &k)?;
            let rows = block.heads * block.queries;
            let masked = mask.as_ref().map(|mask| Arg::At(mask, block.head * of_head));
            let args = [
                Arg::Size(rows),
                Arg::Size(shape.keys),
                Arg::Size(block.queries),
                Arg::Size(block.query),
                Arg::Size(shape.queries),
                Arg::F64(shape.scale),
                Arg::I32(shape.causal.into()),
                masked.unwrap_or(Arg::Maybe(None)),
                Arg::Size(of_head),
                Arg::Of(&scores),
                Arg::At(&lse, block.head * shape.queries),
            ];
            self.launch(
                op,
                session,
                ("rows", "attend", of),
                Launch::rows(rows, shape.keys),
                &args,
            )?;
            self.product(
                op,
                session,
                &Product {
                    size: (block.queries, shape.value_width, shape.keys),
                    batch: block.heads,
                    alpha: 1.0,
                    a: Matrix::of(&scores, shape.keys).every(block.queries * shape.keys),
                    b: keys(&v, shape, &block, shape.value_width),
                    beta: 0.0,
                    c: queries(&out, shape, &block, shape.value_width),
                },
            )?;
        }
        Ok((out, lse))
    }

    /// The gradients of q, k, v, and of the mask if that needs one.
    #[expect(clippy::too_many_arguments, reason = "one tensor for each of the formula")]
    pub(crate) fn attention_backward(
        &self,
        op: &'static str,
        shape: &Attention,
        [q, k, v]: [&Raw; 3],
        mask: Option<&Raw>,
        needs_mask: bool,
        out: &Raw,
        lse: &Raw,
        gradient: &Raw,
    ) -> Result<([Raw; 3], Option<Raw>)> {
        let of = f32_or_f64(op, q)?;
        let [q, k, v] = [q.contiguous(op)?, k.contiguous(op)?, v.contiguous(op)?];
        let (mask, gradient) = (
            mask.map(|mask| mask.contiguous(op)).transpose()?,
            gradient.contiguous(op)?,
        );
        let session = q.session();
        // Every element is written, unless there are no queries or no keys.
        let nothing = shape.queries == 0 || shape.keys == 0;
        let [dq, dk, dv] = [&q, &k, &v].map(|raw| match nothing {
            true => Raw::full(op, session, raw.shape(), 0.0, raw.dtype()),
            false => empty(op, session, raw.shape(), raw.dtype()),
        });
        let (dq, dk, dv) = (dq?, dk?, dv?);
        let of_head = of_head(shape, mask.as_ref());
        let dm = match &mask {
            Some(mask) if needs_mask => Some(Raw::full(op, session, mask.shape(), 0.0, mask.dtype())?),
            _ => None,
        };
        for block in blocks(shape) {
            session.check_cancelled()?;
            let scores = self.scores(op, session, shape, &block, &q, &k)?;
            let dp = empty(op, session, scores.shape(), q.dtype())?;
            let of_block = block.queries * shape.keys;
            let product = |size, a, b, alpha, beta, c| {
                let batch = block.heads;
                self.product(
                    op,
                    session,
                    &Product {
                        size,
                        batch,
                        alpha,
                        a,
                        b,
                        beta,
                        c,
                    },
                )
            };
            let d_out = queries(&gradient, shape, &block, shape.value_width);
            let values = keys(&v, shape, &block, shape.value_width);
            let (p, ds) = (
                Matrix::of(&scores, shape.keys).every(of_block),
                Matrix::of(&dp, shape.keys).every(of_block),
            );
            product(
                (block.queries, shape.keys, shape.value_width),
                d_out,
                values.transposed(),
                1.0,
                0.0,
                ds,
            )?;
            let rows = block.heads * block.queries;
            let masked = mask.as_ref().map(|mask| Arg::At(mask, block.head * of_head));
            let args = [
                Arg::Size(rows),
                Arg::Size(shape.keys),
                Arg::Size(block.queries),
                Arg::Size(block.query),
                Arg::Size(shape.queries),
                Arg::F64(shape.scale),
                Arg::I32(shape.causal.into()),
                masked.unwrap_or(Arg::Maybe(None)),
                Arg::Size(of_head),
                Arg::At(lse, block.head * shape.queries),
                Arg::Size(shape.value_width),
                Arg::At(out, block.head * shape.queries * shape.value_width),
                Arg::At(&gradient, block.head * shape.queries * shape.value_width),
                Arg::Of(&scores),
                Arg::Of(&dp),
            ];
            self.launch(
                op,
                session,
                ("rows", "attend_backward", of),
                Launch::rows(rows, shape.keys),
                &args,
            )?;
            // Keys and values see the queries of several blocks.
            let beta = if block.query == 0 { 0.0 } else { 1.0 };
            let dv = keys(&dv, shape, &block, shape.value_width);
            product(
                (shape.keys, shape.value_width, block.queries),
                p.transposed(),
                d_out,
                1.0,
                beta,
                dv,
            )?;
            let (of_q, of_k) = (
                queries(&q, shape, &block, shape.width),
                keys(&k, shape, &block, shape.width),
            );
            let (dq, dk) = (
                queries(&dq, shape, &block, shape.width),
                keys(&dk, shape, &block, shape.width),
            );
            product((block.queries, shape.width, shape.keys), ds, of_k, shape.scale, 0.0, dq)?;
            product(
                (shape.keys, shape.width, block.queries),
                ds.transposed(),
                of_q,
                shape.scale,
                beta,
                dk,
            )?;
            if let Some(dm) = &dm {
                self.add_scores(op, shape, &block, of_head, &dp, dm)?;
            }
        }
        Ok(([dq, dk, dv], dm))
    }

    /// Adds ds of a block to the gradient of the mask, over all heads where they share it.
    fn add_scores(
        &self,
        op: &'static str,
        shape: &Attention,
        block: &Block,
        of_head: usize,
        ds: &Raw,
        dm: &Raw,
    ) -> Result<()> {
        let of = f32_or_f64(op, ds)?;
        let count = block.queries * shape.keys;
        for head in 0..block.heads {
            let target = (block.head + head) * of_head + block.query * shape.keys;
            let args = [Arg::Size(count), Arg::At(dm, target), Arg::At(ds, head * count)];
            self.launch(
                op,
                ds.session(),
                ("elementwise", "accumulate", of),
                Launch::each(count),
                &args,
            )?;
        }
        Ok(())
    }

    /// q k^T of a block: [heads, queries, keys].
    fn scores(
        &self,
        op: &'static str,
        session: &Session,
        shape: &Attention,
        block: &Block,
        q: &Raw,
        k: &Raw,
    ) -> Result<Raw> {
        let scores = empty(op, session, &[block.heads, block.queries, shape.keys], q.dtype())?;
        self.product(
            op,
            session,
            &Product {
                size: (block.queries, shape.keys, shape.width),
                batch: block.heads,
                alpha: 1.0,
                a: queries(q, shape, block, shape.width),
                b: keys(k, shape, block, shape.width).transposed(),
                beta: 0.0,
                c: Matrix::of(&scores, shape.keys).every(block.queries * shape.keys),
            },
        )?;
        Ok(scores)
    }
}

/// The rows of a block's queries in [heads, queries, width].
fn queries<'a>(raw: &'a Raw, shape: &Attention, block: &Block, width: usize) -> Matrix<'a> {
    Matrix::of(raw, width)
        .from((block.head * shape.queries + block.query) * width)
        .every(shape.queries * width)
}

/// All keys of a block's heads in [heads, keys, width].
fn keys<'a>(raw: &'a Raw, shape: &Attention, block: &Block, width: usize) -> Matrix<'a> {
    Matrix::of(raw, width)
        .from(block.head * shape.keys * width)
        .every(shape.keys * width)
}

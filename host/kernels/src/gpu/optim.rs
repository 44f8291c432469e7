//! Optimisers' steps: one launch over many parameters.

use super::{Arg, Gpu, Launch, empty, suffix};
use crate::dtype::DType;
use crate::error::Result;
use crate::raw::Raw;
use smallvec::SmallVec;

/// Parameters of a launch, as the kernels have it.
const TENSORS: usize = 40;
/// Elements of a block, as the kernels have it.
const CHUNK: usize = 4096;

/// Parameters and what belongs to them, as the kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Table {
    parameter: [u64; TENSORS],
    gradient: [u64; TENSORS],
    master: [u64; TENSORS],
    first: [u64; TENSORS],
    second: [u64; TENSORS],
    count: [usize; TENSORS],
    a: [f64; TENSORS],
    b: [f64; TENSORS],
    first_block: [u32; TENSORS + 1],
}

/// A parameter in a step: all tensors contiguous and of one size.
pub(crate) struct Part<'a> {
    pub(crate) parameter: &'a Raw,
    pub(crate) gradient: Raw,
    /// The `f32` copy of an `f16` or `bf16` parameter.
    pub(crate) master: Option<&'a Raw>,
    pub(crate) first: Option<&'a Raw>,
    pub(crate) second: Option<&'a Raw>,
    /// Two factors of the rule, for this parameter alone.
    pub(crate) factors: [f64; 2],
}

/// A rule and its numbers, in the order of the kernel's arguments.
pub(crate) struct Update {
    rule: &'static str,
    numbers: SmallVec<[f64; 6]>,
}

impl Update {
    pub(crate) fn new(rule: &'static str, numbers: &[f64]) -> Self {
        Update {
            rule,
            numbers: numbers.into(),
        }
    }
}

#[cfg(feature = "cuda")]
fn address(gpu: &Gpu, raw: &Raw) -> u64 {
    gpu.address(raw, 0)
}

#[cfg(not(feature = "cuda"))]
fn address(gpu: &Gpu, _raw: &Raw) -> u64 {
    match *gpu {}
}

impl Gpu {
    fn table(&self, parts: &[&Part<'_>]) -> (Table, usize) {
        let mut table = Table {
            parameter: [0; TENSORS],
            gradient: [0; TENSORS],
            master: [0; TENSORS],
            first: [0; TENSORS],
            second: [0; TENSORS],
            count: [0; TENSORS],
            a: [0.0; TENSORS],
            b: [0.0; TENSORS],
            first_block: [0; TENSORS + 1],
        };
        let at = |raw: Option<&Raw>| raw.map_or(0, |raw| address(self, raw));
        let mut blocks = 0;
        for (i, part) in parts.iter().enumerate() {
            table.parameter[i] = at(Some(part.parameter));
            table.gradient[i] = at(Some(&part.gradient));
            table.master[i] = at(part.master);
            table.first[i] = at(part.first);
            table.second[i] = at(part.second);
            table.count[i] = part.parameter.count();
            [table.a[i], table.b[i]] = part.factors;
            blocks += part.parameter.count().div_ceil(CHUNK);
            table.first_block[i + 1] = blocks as u32;
        }
        // What is not there has no blocks.
        for i in parts.len()..TENSORS {
            table.first_block[i + 1] = blocks as u32;
        }
        (table, blocks)
    }

    /// Calls `work` for the parts of each element type, as many at a time as a table holds.
    fn tables(
        &self,
        parts: &[Part<'_>],
        mut work: impl FnMut(&Table, usize, &'static str, &[&Part<'_>]) -> Result<()>,
    ) -> Result<()> {
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let of_type: Vec<&Part<'_>> = parts.iter().filter(|part| part.parameter.dtype() == dtype).collect();
            for some in of_type.chunks(TENSORS) {
                let (table, blocks) = self.table(some);
                work(&table, blocks, suffix(dtype), some)?;
            }
        }
        Ok(())
    }

    /// Changes parameters by their gradients.
    pub(crate) fn step(&self, op: &'static str, parts: &[Part<'_>], update: &Update) -> Result<()> {
        let name = update.rule;
        self.tables(parts, |table, blocks, of, some| {
            let numbers = update.numbers.iter().map(|&number| Arg::F64(number));
            let args: SmallVec<[Arg<'_>; 8]> = [Arg::Table(table), Arg::Fault].into_iter().chain(numbers).collect();
            let session = some[0].parameter.session();
            self.launch(op, session, ("optim", name, of), Launch::blocks(blocks), &args)?;
            for part in some {
                let changed = [Some(part.parameter), part.master, part.first, part.second];
                changed.into_iter().flatten().for_each(Raw::changed);
            }
            Ok(())
        })
    }

    /// The sum of the squares of all gradients: a scalar of `f64` on the card, infinite or NaN if an element is.
    pub(crate) fn gradient_squares(&self, op: &'static str, gradients: &[Raw]) -> Result<Option<Raw>> {
        let Some(first) = gradients.first() else {
            return Ok(None);
        };
        let session = first.session();
        let mut sums = Vec::new();
        let parts = gradients
            .iter()
            .map(|raw| Ok(part(raw, raw.contiguous(op)?)))
            .collect::<Result<Vec<_>>>()?;
        self.tables(&parts, |table, blocks, of, _| {
            let squares = empty(op, session, &[blocks], DType::F64)?;
            let args = [Arg::Table(table), Arg::Of(&squares)];
            self.launch(
                op,
                session,
                ("optim", "gradient_squares", of),
                Launch::blocks(blocks),
                &args,
            )?;
            sums.push(squares);
            Ok(())
        })?;
        let all = match &sums[..] {
            [one] => one.clone(),
            several => Raw::concat(op, &several.iter().collect::<Vec<_>>(), 0)?,
        };
        self.join(op, &all, DType::F64, 1.0).map(Some)
    }

    /// Each gradient times a factor, in place. They must be contiguous.
    pub(crate) fn scale(&self, op: &'static str, gradients: &[Raw], factor: f64) -> Result<()> {
        self.in_place(op, "scale", gradients, factor)
    }

    /// Each element of the gradients into -limit .. limit, in place; NaN stays. They must be contiguous.
    pub(crate) fn limit(&self, op: &'static str, gradients: &[Raw], limit: f64) -> Result<()> {
        self.in_place(op, "limit", gradients, limit)
    }

    fn in_place(&self, op: &'static str, name: &'static str, gradients: &[Raw], number: f64) -> Result<()> {
        let parts: Vec<_> = gradients.iter().map(|raw| part(raw, raw.clone())).collect();
        self.tables(&parts, |table, blocks, of, some| {
            let args = [Arg::Table(table), Arg::F64(number)];
            let session = some[0].parameter.session();
            self.launch(op, session, ("optim", name, of), Launch::blocks(blocks), &args)?;
            some.iter().for_each(|part| part.parameter.changed());
            Ok(())
        })
    }
}

/// A gradient alone.
fn part(raw: &Raw, gradient: Raw) -> Part<'_> {
    Part {
        parameter: raw,
        gradient,
        master: None,
        first: None,
        second: None,
        factors: [0.0; 2],
    }
}

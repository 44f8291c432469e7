//! Operations on an NVIDIA card: which kernel does them, on how many threads.
//!
//! Everything is put into one stream, in the order in which it is called, and nothing here waits for it: what a kernel finds wrong
//! (an index out of range) is noted on the card, and said when something is read back next. Without the feature `cuda` there is no
//! [`Gpu`], and all of this is compiled but never called.
#![cfg_attr(
    not(feature = "cuda"),
    allow(dead_code, reason = "without a card nothing reads what a launch consists of")
)]

#[cfg_attr(not(feature = "cuda"), path = "absent.rs")]
mod device;
#[cfg(feature = "cuda")]
mod driver;

mod attention;
mod conv;
mod elementwise;
mod index;
mod loss;
mod optim;
mod pool;
pub(crate) mod recurrent;
mod reduce;
mod rows;

#[cfg(feature = "cuda")]
pub(crate) use device::Faults;
pub(crate) use device::Gpu;
pub(crate) use elementwise::{Binary, Unary};
pub(crate) use loss::Loss;
pub(crate) use optim::{Part, Table, Update};

use crate::cpu::conv::Conv;
use crate::cpu::pool::Windows;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::raw::{Raw, op_error};
use crate::session::Session;
use candle_core::Tensor as Candle;

/// Threads of a block where each does some elements by itself.
const THREADS: u32 = 256;

/// Blocks that keep a card busy.
const BUSY: usize = 512;

/// What a kernel is called with. Tensors must be contiguous.
#[derive(Clone, Copy)]
pub(crate) enum Arg<'a> {
    /// A tensor.
    Of(&'a Raw),
    /// A tensor from an element on.
    At(&'a Raw, usize),
    /// A tensor, or null.
    Maybe(Option<&'a Raw>),
    /// Where a kernel notes what is wrong.
    Fault,
    Size(usize),
    U32(u32),
    I32(i32),
    I64(i64),
    U64(u64),
    F64(f64),
    Shape(&'a ConvShape),
    Strides(&'a Strides),
    Table(&'a Table),
}

/// Blocks of a grid, and threads of a block.
#[derive(Clone, Copy)]
pub(crate) struct Launch {
    grid: (usize, usize),
    block: (u32, u32),
}

impl Launch {
    /// A thread for each of `n` elements, or for every so many of them.
    fn each(n: usize) -> Self {
        Launch {
            grid: (n.div_ceil(THREADS as usize).min(1 << 20), 1),
            block: (THREADS, 1),
        }
    }

    /// So many blocks over all elements.
    fn blocks(blocks: usize) -> Self {
        Launch {
            grid: (blocks, 1),
            block: (THREADS, 1),
        }
    }

    /// A row of threads for each row of `n` elements: a single one for the shortest, a warp for a short one, a block for a long one.
    fn rows(rows: usize, n: usize) -> Self {
        if n <= 8 {
            Launch {
                grid: (rows.div_ceil(THREADS as usize), 1),
                block: (1, THREADS),
            }
        } else if n <= 1024 {
            Launch::warps(rows)
        } else {
            Launch {
                grid: (rows, 1),
                block: (THREADS, 1),
            }
        }
    }

    /// A warp for each row.
    fn warps(rows: usize) -> Self {
        Launch {
            grid: (rows.div_ceil(8), 1),
            block: (32, 8),
        }
    }

    /// Blocks of 32 columns and 8 rows.
    fn columns(blocks: usize, chunks: usize) -> Self {
        Launch {
            grid: (blocks, chunks),
            block: (32, 8),
        }
    }
}

/// A convolution or pooling as the kernels take it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ConvShape([usize; 16]);

impl From<&Conv> for ConvShape {
    fn from(c: &Conv) -> Self {
        ConvShape([
            c.batch,
            c.inputs,
            c.outputs,
            c.groups,
            c.size.0,
            c.size.1,
            c.kernel.0,
            c.kernel.1,
            c.stride.0,
            c.stride.1,
            c.padding.0,
            c.padding.1,
            c.dilation.0,
            c.dilation.1,
            c.output.0,
            c.output.1,
        ])
    }
}

impl From<&Windows> for ConvShape {
    fn from(w: &Windows) -> Self {
        let output = w.output().unwrap_or((0, 0));
        ConvShape([
            1,
            1,
            1,
            1,
            w.size.0,
            w.size.1,
            w.kernel.0,
            w.kernel.1,
            w.stride.0,
            w.stride.1,
            w.padding.0,
            w.padding.1,
            1,
            1,
            output.0,
            output.1,
        ])
    }
}

/// Dimensions of a tensor that a kernel reads by its strides.
pub(crate) const MOST_DIMENSIONS: usize = 8;

/// Where the elements of a tensor lie, as the kernels take it: in elements, the first dimension first.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Strides {
    rank: u32,
    sizes: [u32; MOST_DIMENSIONS],
    strides: [u32; MOST_DIMENSIONS],
}

impl Strides {
    /// Of at most [`MOST_DIMENSIONS`]; those that lie as one count as one.
    fn of(sizes: &[usize], strides: &[usize]) -> Self {
        let mut all = Strides::default();
        let mut at = 0;
        for (&size, &stride) in sizes.iter().zip(strides).filter(|(size, _)| **size != 1) {
            let (size, stride) = (size as u32, stride as u32);
            if at > 0 && all.strides[at - 1] == size * stride {
                all.sizes[at - 1] *= size;
                all.strides[at - 1] = stride;
            } else {
                (all.sizes[at], all.strides[at]) = (size, stride);
                at += 1;
            }
        }
        all.rank = at as u32;
        all
    }
}

/// A matrix within a tensor, or one of a batch: from an element on, with the distances to the next row, column and matrix. Either
/// neighbouring rows or neighbouring columns must lie side by side.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) raw: &'a Raw,
    pub(crate) start: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) batch: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of a contiguous tensor, `width` apart.
    pub(crate) fn of(raw: &'a Raw, width: usize) -> Self {
        Matrix {
            raw,
            start: 0,
            row: width,
            column: 1,
            batch: 0,
        }
    }

    pub(crate) fn from(self, start: usize) -> Self {
        Matrix { start, ..self }
    }

    pub(crate) fn every(self, batch: usize) -> Self {
        Matrix { batch, ..self }
    }

    pub(crate) fn transposed(self) -> Self {
        Matrix {
            row: self.column,
            column: self.row,
            ..self
        }
    }
}

/// c [m, n] = alpha a [m, k] b [k, n] + beta c, for each matrix of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) size: (usize, usize, usize),
    pub(crate) batch: usize,
    pub(crate) alpha: f64,
    pub(crate) a: Matrix<'a>,
    pub(crate) b: Matrix<'a>,
    pub(crate) beta: f64,
    pub(crate) c: Matrix<'a>,
}

/// The name of an element type in the names of kernels.
fn suffix(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        DType::F32 => "f32",
        DType::F64 => "f64",
        DType::U8 => "u8",
        DType::U32 => "u32",
        DType::I64 => "i64",
    }
}

/// The same for kernels that only move elements.
fn bytes(dtype: DType) -> &'static str {
    match dtype.size() {
        1 => "1",
        2 => "2",
        4 => "4",
        _ => "8",
    }
}

/// Refuses what kernels of f32 and f64 do not compute.
fn f32_or_f64(op: &'static str, raw: &Raw) -> Result<&'static str> {
    match raw.dtype() {
        DType::F32 | DType::F64 => Ok(suffix(raw.dtype())),
        _ => Err(Error::DType(op_error(op, "needs f32 or f64; cast first", &[raw]))),
    }
}

/// A tensor whose elements are whatever was there before: a kernel writes all of them.
pub(crate) fn empty(op: &'static str, session: &Session, shape: &[usize], dtype: DType) -> Result<Raw> {
    Raw::make(op, session, shape, dtype, || {
        // SAFETY: the kernel that is launched next on the same stream writes every element.
        unsafe { Candle::empty(shape, dtype.candle(), session.candle()) }
    })
}

//! Pooling.

use super::{Arg, ConvShape, Gpu, Launch, empty, f32_or_f64};
use crate::cpu::pool::Windows;
use crate::dtype::DType;
use crate::error::Result;
use crate::raw::Raw;

impl Gpu {
    /// The largest of each window, and its place within its plane.
    pub(crate) fn max_pool(&self, op: &'static str, windows: &Windows, x: &Raw, shape: &[usize]) -> Result<(Raw, Raw)> {
        let (x, of) = (x.contiguous(op)?, f32_or_f64(op, x)?);
        let y = empty(op, x.session(), shape, x.dtype())?;
        let places = empty(op, x.session(), shape, DType::U32)?;
        let sizes = ConvShape::from(windows);
        let n = y.count();
        let args = [
            Arg::Size(n),
            Arg::Shape(&sizes),
            Arg::Of(&x),
            Arg::Of(&y),
            Arg::Of(&places),
        ];
        self.launch(op, x.session(), ("index", "max_pool", of), Launch::each(n), &args)?;
        Ok((y, places))
    }

    /// The mean of each window.
    pub(crate) fn avg_pool(&self, op: &'static str, windows: &Windows, x: &Raw, shape: &[usize]) -> Result<Raw> {
        let (x, of) = (x.contiguous(op)?, f32_or_f64(op, x)?);
        let y = empty(op, x.session(), shape, x.dtype())?;
        let sizes = ConvShape::from(windows);
        let n = y.count();
        let args = [Arg::Size(n), Arg::Shape(&sizes), Arg::Of(&x), Arg::Of(&y)];
        self.launch(op, x.session(), ("index", "avg_pool", of), Launch::each(n), &args)?;
        Ok(y)
    }

    /// The derivative of the largest, by its places, or of the mean. `shape` is that of x.
    pub(crate) fn pool_backward(
        &self,
        op: &'static str,
        windows: &Windows,
        places: Option<&Raw>,
        gradient: &Raw,
        shape: &[usize],
    ) -> Result<Raw> {
        let (gradient, of) = (gradient.contiguous(op)?, f32_or_f64(op, gradient)?);
        let dx = empty(op, gradient.session(), shape, gradient.dtype())?;
        let sizes = ConvShape::from(windows);
        let n = dx.count();
        let args = [
            Arg::Size(n),
            Arg::Shape(&sizes),
            Arg::Maybe(places),
            Arg::Of(&gradient),
            Arg::Of(&dx),
        ];
        self.launch(
            op,
            gradient.session(),
            ("index", "pool_backward", of),
            Launch::each(n),
            &args,
        )?;
        Ok(dx)
    }
}

//! Linear algebra on matrices of `f32` or `f64`, always computed in `f64` on the processor. Differentiable as PyTorch's.

use crate::bindings::linalg as raw;
use crate::error::Result;
use crate::tensor::Tensor;

/// x with a x = b; a [n, n], b `[n]` or [n, k]. A singular `a` is a numerical error.
pub fn solve(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::solve(a.raw(), b.raw()))
}

/// The lower triangular L with L Lᵀ = a, for a symmetric positive definite a (its lower triangle is read).
pub fn cholesky(a: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::cholesky(a.raw()))
}

/// Reduced: a [m, n] = q [m, k] r [k, n], k = min(m, n). Its derivative needs m >= n.
pub fn qr(a: &Tensor) -> Result<(Tensor, Tensor)> {
    let (q, r) = raw::qr(a.raw())?;
    Ok((Tensor::from_raw(q), Tensor::from_raw(r)))
}

/// Reduced: a [m, n] = u [m, k] diag(s) vt [k, n], k = min(m, n), singular values falling. Gives (u, s, vt).
pub fn svd(a: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let (u, s, vt) = raw::svd(a.raw())?;
    Ok((Tensor::from_raw(u), Tensor::from_raw(s), Tensor::from_raw(vt)))
}

/// Of a symmetric matrix (its lower triangle is read): eigenvalues rising, and eigenvectors in columns.
pub fn eigh(a: &Tensor) -> Result<(Tensor, Tensor)> {
    let (values, vectors) = raw::eigh(a.raw())?;
    Ok((Tensor::from_raw(values), Tensor::from_raw(vectors)))
}

/// x that minimises |a x - b|, of least norm; a [m, n], b `[m]` or [m, k]. Its derivative needs full column rank.
pub fn lstsq(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Tensor::wrap(raw::lstsq(a.raw(), b.raw()))
}

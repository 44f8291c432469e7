//! Linear algebra on matrices of `f32` or `f64`, always computed in `f64` on the processor.

use crate::autograd::Gradients;
use crate::cpu::linalg as cpu;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::{floating, same_dtype};
use crate::raw::{Elements, Raw, op_error};
use crate::tensor::Tensor;
use smallvec::smallvec;

/// A matrix in `f64`, with its sizes.
fn matrix(op: &'static str, a: &Tensor) -> Result<(Tensor, usize, usize)> {
    floating(op, &[a.raw()])?;
    let &[rows, columns] = a.shape() else {
        return Err(Error::Shape(op_error(op, "needs a matrix", &[a.raw()])));
    };
    if rows == 0 || columns == 0 {
        return Err(Error::Shape(op_error(op, "the matrix is empty", &[a.raw()])));
    }
    Ok((a.cast(DType::F64)?, rows, columns))
}

fn square(op: &'static str, a: &Tensor) -> Result<(Tensor, usize)> {
    let (wide, rows, columns) = matrix(op, a)?;
    if rows != columns {
        return Err(Error::Shape(op_error(op, "needs a square matrix", &[a.raw()])));
    }
    Ok((wide, rows))
}

fn values(op: &'static str, raw: &Raw) -> Result<Elements<f64>> {
    raw.elements::<f64>(op)
}

fn numerical(op: &'static str, error: cpu::LinalgError, operands: &[&Raw]) -> Error {
    Error::Numerical(op_error(op, error.to_string(), operands))
}

/// A right-hand side [n] or [n, k] as a matrix; the flag says whether it was a vector.
fn right_hand_side(op: &'static str, a: &Tensor, b: &Tensor) -> Result<(Tensor, usize, bool)> {
    same_dtype(op, &[a.raw(), b.raw()])?;
    let wide = b.cast(DType::F64)?;
    match *b.shape() {
        [n] if n == a.shape()[0] => Ok((wide.unsqueeze(1)?, 1, true)),
        [n, k] if n == a.shape()[0] => Ok((wide, k, false)),
        _ => Err(Error::Shape(op_error(
            op,
            format!("the right-hand side must have {} rows", a.shape()[0]),
            &[a.raw(), b.raw()],
        ))),
    }
}

fn solution(x: Tensor, was_vector: bool, dtype: DType) -> Result<Tensor> {
    if was_vector {
        x.squeeze(1)?.cast(dtype)
    } else {
        x.cast(dtype)
    }
}

/// x with a x = b; a [n, n], b [n] or [n, k].
pub fn solve(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "linalg.solve";
    let (wide, n) = square(OP, a)?;
    let (b_wide, k, was_vector) = right_hand_side(OP, a, b)?;
    let operands = [a.raw(), b.raw()];
    let x = {
        let (av, bv) = (values(OP, wide.raw())?, values(OP, b_wide.raw())?);
        Raw::build::<f64>(OP, a.session(), &[n, k], |out| {
            cpu::solve(n, k, &av, &bv, out).map_err(|e| numerical(OP, e, &operands))
        })?
    };
    let (saved_a, saved_x) = (wide.raw().save(), x.save());
    let x = Tensor::record(x, &[&wide, &b_wide], move |g, _| {
        let (a, x) = (saved_a.get()?, saved_x.get()?);
        let (mut da, mut db) = (vec![0.0; n * n], vec![0.0; n * k]);
        cpu::solve_backward(
            n,
            k,
            &values(OP, a)?,
            &values(OP, x)?,
            &values(OP, g)?,
            &mut da,
            &mut db,
        )
        .map_err(|e| numerical(OP, e, &[a]))?;
        let gradients: Gradients = smallvec![
            Some(Raw::from_vec(OP, a.session(), da, &[n, n])?),
            Some(Raw::from_vec(OP, a.session(), db, &[n, k])?),
        ];
        Ok(gradients)
    });
    solution(x, was_vector, a.dtype())
}

/// Lower L with L L^T = a, for a symmetric positive definite a, whose lower triangle is read.
pub fn cholesky(a: &Tensor) -> Result<Tensor> {
    const OP: &str = "linalg.cholesky";
    let (wide, n) = square(OP, a)?;
    let l = {
        let av = values(OP, wide.raw())?;
        Raw::build::<f64>(OP, a.session(), &[n, n], |out| {
            cpu::cholesky(n, &av, out).map_err(|e| numerical(OP, e, &[a.raw()]))
        })?
    };
    let saved = l.save();
    Tensor::record1(l, &wide, move |g| {
        let l = saved.get()?;
        let (lv, gv) = (values(OP, l)?, values(OP, g)?);
        Raw::build::<f64>(OP, l.session(), &[n, n], |out| {
            cpu::cholesky_backward(n, &lv, &gv, out).map_err(|e| numerical(OP, e, &[l]))
        })
    })
    .cast(a.dtype())
}

/// The values of a gradient, if it has arrived.
fn arrived(op: &'static str, gradient: &Option<Raw>) -> Result<Option<Elements<f64>>> {
    gradient.as_ref().map(|g| values(op, g)).transpose()
}

/// Reduced: a [m, n] = q [m, k] r [k, n], k = min(m, n). Its derivative needs m >= n.
pub fn qr(a: &Tensor) -> Result<(Tensor, Tensor)> {
    const OP: &str = "linalg.qr";
    let (wide, m, n) = matrix(OP, a)?;
    let k = m.min(n);
    let (mut q, mut r) = (vec![0.0; m * k], vec![0.0; k * n]);
    cpu::qr(m, n, &values(OP, wide.raw())?, &mut q, &mut r).map_err(|e| numerical(OP, e, &[a.raw()]))?;
    let q = Raw::from_vec(OP, a.session(), q, &[m, k])?;
    let r = Raw::from_vec(OP, a.session(), r, &[k, n])?;
    let (saved_q, saved_r) = (q.save(), r.save());
    let [q, r] = Tensor::record_many([q, r], &[&wide], move |g, _| {
        let (q, r) = (saved_q.get()?, saved_r.get()?);
        let (dq, dr) = (arrived(OP, &g[0])?, arrived(OP, &g[1])?);
        let da = Raw::build::<f64>(OP, q.session(), &[m, n], |out| {
            cpu::qr_backward(
                m,
                n,
                &values(OP, q)?,
                &values(OP, r)?,
                dq.as_deref(),
                dr.as_deref(),
                out,
            )
            .map_err(|e| numerical(OP, e, &[q, r]))
        })?;
        Ok(smallvec![Some(da)])
    });
    Ok((q.cast(a.dtype())?, r.cast(a.dtype())?))
}

/// Reduced: a = u diag(s) vt, singular values falling.
pub fn svd(a: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    const OP: &str = "linalg.svd";
    let (wide, m, n) = matrix(OP, a)?;
    let k = m.min(n);
    let (mut u, mut s, mut vt) = (vec![0.0; m * k], vec![0.0; k], vec![0.0; k * n]);
    cpu::svd(m, n, &values(OP, wide.raw())?, &mut u, &mut s, &mut vt).map_err(|e| numerical(OP, e, &[a.raw()]))?;
    let u = Raw::from_vec(OP, a.session(), u, &[m, k])?;
    let s = Raw::from_vec(OP, a.session(), s, &[k])?;
    let vt = Raw::from_vec(OP, a.session(), vt, &[k, n])?;
    let (saved_u, saved_s, saved_vt) = (u.save(), s.save(), vt.save());
    let [u, s, vt] = Tensor::record_many([u, s, vt], &[&wide], move |g, _| {
        let (u, s, vt) = (saved_u.get()?, saved_s.get()?, saved_vt.get()?);
        let (du, ds, dvt) = (arrived(OP, &g[0])?, arrived(OP, &g[1])?, arrived(OP, &g[2])?);
        let upstream = cpu::SvdUpstream {
            u: du.as_deref(),
            s: ds.as_deref(),
            vt: dvt.as_deref(),
        };
        let da = Raw::build::<f64>(OP, u.session(), &[m, n], |out| {
            cpu::svd_backward(m, n, &values(OP, u)?, &values(OP, s)?, &values(OP, vt)?, upstream, out)
                .map_err(|e| numerical(OP, e, &[u, s, vt]))
        })?;
        Ok(smallvec![Some(da)])
    });
    Ok((u.cast(a.dtype())?, s.cast(a.dtype())?, vt.cast(a.dtype())?))
}

/// Of a symmetric matrix, whose lower triangle is read: eigenvalues rising, eigenvectors in columns.
pub fn eigh(a: &Tensor) -> Result<(Tensor, Tensor)> {
    const OP: &str = "linalg.eigh";
    let (wide, n) = square(OP, a)?;
    let (mut w, mut v) = (vec![0.0; n], vec![0.0; n * n]);
    cpu::eigh(n, &values(OP, wide.raw())?, &mut w, &mut v).map_err(|e| numerical(OP, e, &[a.raw()]))?;
    let w = Raw::from_vec(OP, a.session(), w, &[n])?;
    let v = Raw::from_vec(OP, a.session(), v, &[n, n])?;
    let (saved_w, saved_v) = (w.save(), v.save());
    let [w, v] = Tensor::record_many([w, v], &[&wide], move |g, _| {
        let (w, v) = (saved_w.get()?, saved_v.get()?);
        let (dw, dv) = (arrived(OP, &g[0])?, arrived(OP, &g[1])?);
        let da = Raw::build::<f64>(OP, w.session(), &[n, n], |out| {
            cpu::eigh_backward(n, &values(OP, w)?, &values(OP, v)?, dw.as_deref(), dv.as_deref(), out)
                .map_err(|e| numerical(OP, e, &[w, v]))
        })?;
        Ok(smallvec![Some(da)])
    });
    Ok((w.cast(a.dtype())?, v.cast(a.dtype())?))
}

/// x that minimises |a x - b|, of least norm; a [m, n], b [m] or [m, k]. Its derivative needs full column rank.
pub fn lstsq(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "linalg.lstsq";
    let (wide, m, n) = matrix(OP, a)?;
    let (b_wide, k, was_vector) = right_hand_side(OP, a, b)?;
    let operands = [a.raw(), b.raw()];
    let x = {
        let (av, bv) = (values(OP, wide.raw())?, values(OP, b_wide.raw())?);
        Raw::build::<f64>(OP, a.session(), &[n, k], |out| {
            cpu::lstsq(m, n, k, &av, &bv, out).map_err(|e| numerical(OP, e, &operands))
        })?
    };
    let (saved_a, saved_b, saved_x) = (wide.raw().save(), b_wide.raw().save(), x.save());
    let x = Tensor::record(x, &[&wide, &b_wide], move |g, _| {
        let (a, b, x) = (saved_a.get()?, saved_b.get()?, saved_x.get()?);
        let (mut da, mut db) = (vec![0.0; m * n], vec![0.0; m * k]);
        cpu::lstsq_backward(
            m,
            n,
            k,
            &values(OP, a)?,
            &values(OP, b)?,
            &values(OP, x)?,
            &values(OP, g)?,
            &mut da,
            &mut db,
        )
        .map_err(|e| numerical(OP, e, &[a, b]))?;
        let gradients: Gradients = smallvec![
            Some(Raw::from_vec(OP, a.session(), da, &[m, n])?),
            Some(Raw::from_vec(OP, a.session(), db, &[m, k])?),
        ];
        Ok(gradients)
    });
    solution(x, was_vector, a.dtype())
}

//! Decompositions and equations over row-major `f64` matrices, by `faer` on one thread, and their derivatives.
//!
//! What a decomposition leaves open is fixed, so that results repeat: the diagonal of r in [`qr`] is not negative, and
//! in each column of u in [`svd`] and of the vectors in [`eigh`] the element of largest magnitude (of equal ones the
//! first) is positive. Derivatives are PyTorch's. Matrices are copied into `faer`'s own storage: working space is some
//! three times the arguments.

use faer::linalg::solvers::{Solve, SolveLstsq};
use faer::{Mat, MatRef, Par, Side};

/// What can be wrong with the matrices.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum LinalgError {
    /// An argument holds NaN or infinity.
    #[error("element ({row}, {column}) of {name} is {value}")]
    NotFinite {
        /// Which argument.
        name: &'static str,
        /// Of the first such element.
        row: usize,
        /// Of the first such element.
        column: usize,
        /// The element.
        value: f64,
    },
    /// No inverse.
    #[error("the matrix is singular: pivot {pivot} of its factorisation is zero")]
    Singular {
        /// The first zero on the diagonal, from 0.
        pivot: usize,
    },
    /// No Cholesky factor.
    #[error("the matrix is not positive definite: its leading {minor} x {minor} block is not")]
    NotPositiveDefinite {
        /// Size of the smallest leading block that is not.
        minor: usize,
    },
    /// The iteration for singular values or eigenvalues did not end.
    #[error("the iteration did not converge")]
    NoConvergence,
    /// A derivative that needs full column rank.
    #[error("the derivative needs full column rank: the rank is {rank}, of {columns} columns")]
    RankDeficient {
        /// Numerical rank.
        rank: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// The derivative of vectors that belong to equal values.
    #[error("the vectors of values {first} and {second}, which are equal, have no derivative")]
    Degenerate {
        /// Place of one value.
        first: usize,
        /// Place of the other; the same if it is a zero singular value.
        second: usize,
    },
    /// The derivative of QR of a matrix with fewer rows than columns.
    #[error("the derivative of qr needs at least as many rows as columns, not {rows} x {columns}")]
    TooFewRows {
        /// Of the matrix.
        rows: usize,
        /// Of the matrix.
        columns: usize,
    },
}

use LinalgError::{Degenerate, NoConvergence, NotFinite, NotPositiveDefinite, RankDeficient, Singular, TooFewRows};

type Result<T> = std::result::Result<T, LinalgError>;

/// A checked view of a row-major argument.
fn matrix<'a>(name: &'static str, data: &'a [f64], rows: usize, columns: usize) -> Result<MatRef<'a, f64>> {
    assert_eq!(data.len(), rows * columns, "{name} has another size");
    // faer picks its number of threads from a setting of the process; nothing here sets it to anything else.
    faer::set_global_parallelism(Par::Seq);
    match data.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(NotFinite {
            name,
            row: i / columns,
            column: i % columns,
            value: data[i],
        }),
        None => Ok(MatRef::from_row_major_slice(data, rows, columns)),
    }
}

fn write(from: MatRef<'_, f64>, to: &mut [f64]) {
    assert_eq!(to.len(), from.nrows() * from.ncols());
    let columns = from.ncols();
    for (i, to) in to.iter_mut().enumerate() {
        *to = from[(i / columns, i % columns)];
    }
}

/// First zero (or overflowed) element of a diagonal.
fn zero_on_diagonal(r: MatRef<'_, f64>) -> Result<()> {
    match (0..r.nrows().min(r.ncols())).find(|&i| r[(i, i)] == 0.0 || !r[(i, i)].is_finite()) {
        Some(pivot) => Err(Singular { pivot }),
        None => Ok(()),
    }
}

/// x [n, k] with a x = b; a [n, n], b [n, k]. By LU with partial pivoting.
///
/// # Errors
/// [`Singular`] if a pivot is zero to the last bit, as in PyTorch; [`NotFinite`].
pub fn solve(n: usize, k: usize, a: &[f64], b: &[f64], x: &mut [f64]) -> Result<()> {
    let (a, b) = (matrix("a", a, n, n)?, matrix("b", b, n, k)?);
    if n > 0 && k > 0 {
        let lu = a.partial_piv_lu();
        zero_on_diagonal(lu.U())?;
        write(lu.solve(b).as_ref(), x);
    }
    Ok(())
}

/// From a, x and dx: db = a^-T dx, da = -db x^T. Both are overwritten.
///
/// # Errors
/// As [`solve`].
pub fn solve_backward(
    n: usize,
    k: usize,
    a: &[f64],
    x: &[f64],
    dx: &[f64],
    da: &mut [f64],
    db: &mut [f64],
) -> Result<()> {
    let (a, x, dx) = (
        matrix("a", a, n, n)?,
        matrix("x", x, n, k)?,
        matrix("the gradient", dx, n, k)?,
    );
    if n == 0 || k == 0 {
        da.fill(0.0);
        return Ok(());
    }
    let lu = a.partial_piv_lu();
    zero_on_diagonal(lu.U())?;
    let z = lu.solve_transpose(dx);
    write((-(&z * x.transpose())).as_ref(), da);
    write(z.as_ref(), db);
    Ok(())
}

/// Lower triangular l [n, n] with l l^T = a, zeros above. Only the lower triangle of a is read.
///
/// # Errors
/// [`NotPositiveDefinite`], [`NotFinite`].
pub fn cholesky(n: usize, a: &[f64], l: &mut [f64]) -> Result<()> {
    let a = matrix("a", a, n, n)?;
    if n == 0 {
        return Ok(());
    }
    let llt = a.llt(Side::Lower).map_err(|error| match error {
        faer::linalg::solvers::LltError::NonPositivePivot { index } => NotPositiveDefinite { minor: index + 1 },
    })?;
    let factor = llt.L();
    for (i, l) in l.iter_mut().enumerate() {
        let (row, column) = (i / n, i % n);
        *l = if column <= row { factor[(row, column)] } else { 0.0 };
    }
    Ok(())
}

/// From l and dl: da = (s + s^T) / 2 with s = l^-T phi(l^T dl) l^-1, phi the lower triangle with half its diagonal.
///
/// The gradient is symmetric, as PyTorch's: each half of a counts as free.
///
/// # Errors
/// [`NotFinite`], [`Singular`].
pub fn cholesky_backward(n: usize, l: &[f64], dl: &[f64], da: &mut [f64]) -> Result<()> {
    let (l, dl) = (matrix("l", l, n, n)?, matrix("the gradient", dl, n, n)?);
    if n == 0 {
        return Ok(());
    }
    zero_on_diagonal(l)?;
    let lower = Mat::from_fn(n, n, |i, j| if i >= j { dl[(i, j)] } else { 0.0 });
    let product = l.transpose() * &lower;
    let mut s = Mat::from_fn(n, n, |i, j| match i.cmp(&j) {
        std::cmp::Ordering::Greater => product[(i, j)],
        std::cmp::Ordering::Equal => 0.5 * product[(i, j)],
        std::cmp::Ordering::Less => 0.0,
    });
    l.transpose().solve_upper_triangular_in_place(&mut s);
    // s l^-1 = (l^-T s^T)^T
    let mut s = s.transpose().to_owned();
    l.transpose().solve_upper_triangular_in_place(&mut s);
    write_symmetric(s.as_ref(), da);
    Ok(())
}

/// (s + s^T) / 2
fn write_symmetric(s: MatRef<'_, f64>, to: &mut [f64]) {
    let n = s.nrows();
    write(Mat::from_fn(n, n, |i, j| 0.5 * (s[(i, j)] + s[(j, i)])).as_ref(), to);
}

/// a [m, n] = q [m, k] r [k, n] with k = min(m, n), orthonormal columns of q, and r upper triangular.
///
/// # Errors
/// [`NotFinite`].
pub fn qr(m: usize, n: usize, a: &[f64], q: &mut [f64], r: &mut [f64]) -> Result<()> {
    let a = matrix("a", a, m, n)?;
    let k = m.min(n);
    if k == 0 {
        return Ok(());
    }
    let factors = a.qr();
    let (q_found, r_found) = (factors.compute_thin_Q(), factors.thin_R());
    let sign: Vec<f64> = (0..k).map(|i| if r_found[(i, i)] < 0.0 { -1.0 } else { 1.0 }).collect();
    write(Mat::from_fn(m, k, |i, j| sign[j] * q_found[(i, j)]).as_ref(), q);
    write(
        Mat::from_fn(k, n, |i, j| if i <= j { sign[i] * r_found[(i, j)] } else { 0.0 }).as_ref(),
        r,
    );
    Ok(())
}

/// From q, r and their gradients, for m >= n: with w = triu(dr r^T - q^T dq) and y = w + w^T - diag(w),
/// da = (dq + q y) r^-T. An absent gradient counts as zero.
///
/// # Errors
/// [`TooFewRows`] if m < n; [`Singular`] if the rank is not full; [`NotFinite`].
pub fn qr_backward(
    m: usize,
    n: usize,
    q: &[f64],
    r: &[f64],
    dq: Option<&[f64]>,
    dr: Option<&[f64]>,
    da: &mut [f64],
) -> Result<()> {
    if m < n {
        return Err(TooFewRows { rows: m, columns: n });
    }
    if n == 0 {
        return Ok(());
    }
    let (q, r) = (matrix("q", q, m, n)?, matrix("r", r, n, n)?);
    zero_on_diagonal(r)?;
    let dq = dq.map(|dq| matrix("the gradient of q", dq, m, n)).transpose()?;
    let dr = dr.map(|dr| matrix("the gradient of r", dr, n, n)).transpose()?;
    let mut w = Mat::zeros(n, n);
    if let Some(dr) = dr {
        w += Mat::from_fn(n, n, |i, j| if i <= j { dr[(i, j)] } else { 0.0 }) * r.transpose();
    }
    if let Some(dq) = dq {
        w -= q.transpose() * dq;
    }
    let y = Mat::from_fn(n, n, |i, j| w[(i.min(j), i.max(j))]);
    let mut b = q * &y;
    if let Some(dq) = dq {
        b += dq;
    }
    // da r^T = b, so r da^T = b^T.
    let mut transposed = b.transpose().to_owned();
    r.solve_upper_triangular_in_place(&mut transposed);
    write(transposed.transpose(), da);
    Ok(())
}

/// For each column the sign that makes its element of largest magnitude positive.
fn signs(u: MatRef<'_, f64>) -> Vec<f64> {
    (0..u.ncols())
        .map(|j| {
            let largest = (0..u.nrows())
                .map(|i| u[(i, j)])
                .fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
            if largest < 0.0 { -1.0 } else { 1.0 }
        })
        .collect()
}

/// a [m, n] = u [m, k] diag(s `[k]`) vt [k, n] with k = min(m, n) and s falling.
///
/// # Errors
/// [`NoConvergence`], [`NotFinite`].
pub fn svd(m: usize, n: usize, a: &[f64], u: &mut [f64], s: &mut [f64], vt: &mut [f64]) -> Result<()> {
    let a = matrix("a", a, m, n)?;
    let k = m.min(n);
    if k == 0 {
        return Ok(());
    }
    let found = a.thin_svd().map_err(|_| NoConvergence)?;
    let (found_u, found_v, values) = (found.U(), found.V(), found.S().column_vector());
    let sign = signs(found_u);
    write(Mat::from_fn(m, k, |i, j| sign[j] * found_u[(i, j)]).as_ref(), u);
    write(Mat::from_fn(k, n, |i, j| sign[i] * found_v[(j, i)]).as_ref(), vt);
    s.iter_mut().enumerate().for_each(|(i, s)| *s = values[i]);
    Ok(())
}

/// Gradients of the results of [`svd`]; absent ones count as zeros.
#[derive(Debug, Clone, Copy)]
pub struct SvdUpstream<'a> {
    /// [m, k]
    pub u: Option<&'a [f64]>,
    /// `[k]`
    pub s: Option<&'a [f64]>,
    /// [k, n]
    pub vt: Option<&'a [f64]>,
}

/// From u, s, vt and their gradients, with skew(x) = x - x^T and e_ij = s_j^2 - s_i^2 off the diagonal:
/// da = u (skew(u^T du) / e diag(s) + diag(s) skew(v^T dv) / e + diag(ds)) v^T
/// + (1 - u u^T) du diag(1 / s) v^T + u diag(1 / s) dv^T (1 - v v^T).
///
/// # Errors
/// [`Degenerate`] if du or dv need the difference of equal singular values, or the inverse of a zero one;
/// [`NotFinite`].
pub fn svd_backward(
    m: usize,
    n: usize,
    u: &[f64],
    s: &[f64],
    vt: &[f64],
    upstream: SvdUpstream<'_>,
    da: &mut [f64],
) -> Result<()> {
    let k = m.min(n);
    if k == 0 {
        return Ok(());
    }
    let (u, vt) = (matrix("u", u, m, k)?, matrix("vt", vt, k, n)?);
    matrix("s", s, k, 1)?;
    let v = vt.transpose();
    let du = upstream.u.map(|du| matrix("the gradient of u", du, m, k)).transpose()?;
    let dvt = upstream
        .vt
        .map(|dvt| matrix("the gradient of vt", dvt, k, n))
        .transpose()?;
    let ds = upstream.s.map(|ds| matrix("the gradient of s", ds, k, 1)).transpose()?;

    let mut inner = Mat::from_fn(k, k, |i, j| if i == j { ds.map_or(0.0, |ds| ds[(i, 0)]) } else { 0.0 });
    let left = du.map(|du| u.transpose() * du);
    let right = dvt.map(|dvt| vt * dvt.transpose());
    for (i, j) in (0..k).flat_map(|i| (0..k).map(move |j| (i, j))).filter(|(i, j)| i != j) {
        let skew = |x: &Mat<f64>| x[(i, j)] - x[(j, i)];
        let weight = left.as_ref().map_or(0.0, skew) * s[j] + right.as_ref().map_or(0.0, skew) * s[i];
        inner[(i, j)] = divided(weight, (s[j] - s[i]) * (s[j] + s[i]), i, j)?;
    }
    let mut gradient = u * &inner * vt;
    if let (Some(du), true) = (du, m > k) {
        let rest = du - u * left.unwrap_or_else(|| Mat::zeros(k, k));
        gradient += over(rest, s)? * vt;
    }
    if let (Some(dvt), true) = (dvt, n > k) {
        let rest = dvt.transpose() - v * right.unwrap_or_else(|| Mat::zeros(k, k));
        gradient += u * over(rest, s)?.transpose();
    }
    write(gradient.as_ref(), da);
    Ok(())
}

/// Columns over singular values.
fn over(mut x: Mat<f64>, s: &[f64]) -> Result<Mat<f64>> {
    for (j, &s) in s.iter().enumerate() {
        for i in 0..x.nrows() {
            x[(i, j)] = divided(x[(i, j)], s, j, j)?;
        }
    }
    Ok(x)
}

/// Nothing over nothing is nothing; something over nothing has no derivative.
fn divided(x: f64, by: f64, first: usize, second: usize) -> Result<f64> {
    match (x == 0.0, by == 0.0) {
        (true, _) => Ok(0.0),
        (false, true) => Err(Degenerate { first, second }),
        (false, false) => Ok(x / by),
    }
}

/// Eigenvalues rising, and eigenvectors in the columns of `vectors` [n, n], of a symmetric matrix. Only the lower
/// triangle of a is read.
///
/// # Errors
/// [`NoConvergence`], [`NotFinite`].
pub fn eigh(n: usize, a: &[f64], values: &mut [f64], vectors: &mut [f64]) -> Result<()> {
    let a = matrix("a", a, n, n)?;
    if n == 0 {
        return Ok(());
    }
    let found = a.self_adjoint_eigen(Side::Lower).map_err(|_| NoConvergence)?;
    let (u, s) = (found.U(), found.S().column_vector());
    let sign = signs(u);
    write(Mat::from_fn(n, n, |i, j| sign[j] * u[(i, j)]).as_ref(), vectors);
    values.iter_mut().enumerate().for_each(|(i, value)| *value = s[i]);
    Ok(())
}

/// From values l, vectors v and their gradients: da = v (diag(dl) + v^T dv / e) v^T made symmetric, with e_ij = l_j -
/// l_i off the diagonal. An absent gradient counts as zero.
///
/// # Errors
/// [`Degenerate`] if dv needs the difference of equal eigenvalues; [`NotFinite`].
pub fn eigh_backward(
    n: usize,
    values: &[f64],
    vectors: &[f64],
    d_values: Option<&[f64]>,
    d_vectors: Option<&[f64]>,
    da: &mut [f64],
) -> Result<()> {
    if n == 0 {
        return Ok(());
    }
    let v = matrix("the eigenvectors", vectors, n, n)?;
    matrix("the eigenvalues", values, n, 1)?;
    let d_values = d_values
        .map(|d| matrix("the gradient of the eigenvalues", d, n, 1))
        .transpose()?;
    let mut inner = Mat::from_fn(n, n, |i, j| {
        if i == j {
            d_values.map_or(0.0, |d| d[(i, 0)])
        } else {
            0.0
        }
    });
    if let Some(d_vectors) = d_vectors {
        let product = v.transpose() * matrix("the gradient of the eigenvectors", d_vectors, n, n)?;
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|(i, j)| i != j) {
            // The symmetric part is all that counts, and has no pole where a function does not tell the vectors apart.
            let weight = product[(i, j)] - product[(j, i)];
            inner[(i, j)] = divided(0.5 * weight, values[j] - values[i], i, j)?;
        }
    }
    write_symmetric((v * &inner * v.transpose()).as_ref(), da);
    Ok(())
}

/// Diagonal elements of R below this share of the first count as zero.
fn tolerance(m: usize, n: usize) -> f64 {
    f64::EPSILON * m.max(n) as f64
}

/// x [n, k] that minimises |a x - b|, the shortest one if several do; a [m, n], b [m, k].
///
/// By QR with column pivoting where the columns are independent, else by the singular values above
/// epsilon max(m, n) times the largest.
///
/// # Errors
/// [`NoConvergence`], [`NotFinite`].
pub fn lstsq(m: usize, n: usize, k: usize, a: &[f64], b: &[f64], x: &mut [f64]) -> Result<()> {
    let (a, b) = (matrix("a", a, m, n)?, matrix("b", b, m, k)?);
    if m == 0 || n == 0 || k == 0 {
        x.fill(0.0);
        return Ok(());
    }
    if m >= n {
        let factors = a.col_piv_qr();
        if rank(factors.thin_R(), m) == n {
            write(factors.solve_lstsq(b).as_ref(), x);
            return Ok(());
        }
    }
    let found = a.thin_svd().map_err(|_| NoConvergence)?;
    let s = found.S().column_vector();
    let limit = tolerance(m, n) * s[0];
    let mut c = found.U().transpose() * b;
    for i in 0..c.nrows() {
        for j in 0..k {
            c[(i, j)] = if s[i] > limit { c[(i, j)] / s[i] } else { 0.0 };
        }
    }
    write((found.V() * c).as_ref(), x);
    Ok(())
}

/// Numerical rank by the falling diagonal of a pivoted R of a matrix of m rows.
fn rank(r: MatRef<'_, f64>, m: usize) -> usize {
    let limit = tolerance(m, r.ncols()) * r[(0, 0)].abs();
    (0..r.nrows().min(r.ncols()))
        .take_while(|&i| r[(i, i)].abs() > limit)
        .count()
}

/// From a, b, x and dx, for full column rank: with z = (a^T a)^-1 dx, db = a z and da = (b - a x) z^T - a z x^T. Both
/// are overwritten.
///
/// # Errors
/// [`RankDeficient`], [`NotFinite`].
#[expect(clippy::too_many_arguments, reason = "one slice for each array of the formula")]
pub fn lstsq_backward(
    m: usize,
    n: usize,
    k: usize,
    a: &[f64],
    b: &[f64],
    x: &[f64],
    dx: &[f64],
    da: &mut [f64],
    db: &mut [f64],
) -> Result<()> {
    let (a, b) = (matrix("a", a, m, n)?, matrix("b", b, m, k)?);
    let (x, dx) = (matrix("x", x, n, k)?, matrix("the gradient", dx, n, k)?);
    if n == 0 || k == 0 {
        da.fill(0.0);
        db.fill(0.0);
        return Ok(());
    }
    if m == 0 {
        return Err(RankDeficient { rank: 0, columns: n });
    }
    let factors = a.col_piv_qr();
    let rank = rank(factors.thin_R(), m);
    if rank < n {
        return Err(RankDeficient { rank, columns: n });
    }
    // a = Q R P, so a^T a = P^T R^T R P.
    let r = factors.thin_R();
    let mut z = factors.P() * dx;
    r.transpose().solve_lower_triangular_in_place(&mut z);
    r.solve_upper_triangular_in_place(&mut z);
    let z = factors.P().inverse() * &z;
    let az = a * &z;
    let residual = b - a * x;
    write((residual * z.transpose() - &az * x.transpose()).as_ref(), da);
    write(az.as_ref(), db);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    /// a [m, k] times b [k, n]
    fn product(m: usize, k: usize, n: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
        let at = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        (0..m)
            .flat_map(|i| (0..n).map(move |j| (i, j)))
            .map(|(i, j)| at(i, j))
            .collect()
    }

    fn transposed(m: usize, n: usize, a: &[f64]) -> Vec<f64> {
        (0..n).flat_map(|j| (0..m).map(move |i| a[i * n + j])).collect()
    }

    /// Symmetric with eigenvalues well above zero.
    fn positive(n: usize, seed: u64) -> Vec<f64> {
        let a: Vec<f64> = numbers(n * n, seed);
        let mut s = product(n, n, n, &a, &transposed(n, n, &a));
        (0..n).for_each(|i| s[i * n + i] += 0.5);
        s
    }

    fn symmetric(n: usize, a: &[f64]) -> Vec<f64> {
        a.iter().zip(transposed(n, n, a)).map(|(a, b)| 0.5 * (a + b)).collect()
    }

    fn identity(n: usize) -> Vec<f64> {
        (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect()
    }

    #[test]
    fn solving_undoes_a_product() {
        let (n, k) = (6, 2);
        let (a, x): (Vec<f64>, Vec<f64>) = (numbers(n * n, 1), numbers(n * k, 2));
        let b = product(n, n, k, &a, &x);
        let mut found = vec![0.0; n * k];
        solve(n, k, &a, &b, &mut found).unwrap();
        assert_close(&found, &x, 1e-11);
        let g: Vec<f64> = numbers(n * k, 3);
        let (mut da, mut db) = (vec![9.0; n * n], vec![9.0; n * k]);
        solve_backward(n, k, &a, &found, &g, &mut da, &mut db).unwrap();
        let run = |a: &[f64], b: &[f64]| {
            let mut x = vec![0.0; n * k];
            solve(n, k, a, b, &mut x).unwrap();
            dot(&x, &g)
        };
        check_gradient(&a, &da, |a| run(a, &b));
        check_gradient(&b, &db, |b| run(&a, b));
    }

    #[test]
    fn what_cannot_be_solved_is_an_error_that_says_why() {
        let mut x = [0.0; 2];
        assert_eq!(
            solve(2, 1, &[1.0, 2.0, 2.0, 4.0], &[1.0, 1.0], &mut x),
            Err(Singular { pivot: 1 })
        );
        let error = solve(2, 1, &[1.0, f64::NAN, 0.0, 1.0], &[1.0, 1.0], &mut x).unwrap_err();
        assert_eq!(error.to_string(), "element (0, 1) of a is NaN");
        let mut l = [0.0; 4];
        assert_eq!(
            cholesky(2, &[1.0, 0.0, 2.0, 1.0], &mut l),
            Err(NotPositiveDefinite { minor: 2 })
        );
        let a = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0];
        let (mut da, mut db) = ([0.0; 6], [0.0; 3]);
        let result = lstsq_backward(3, 2, 1, &a, &[1.0; 3], &[0.0; 2], &[1.0; 2], &mut da, &mut db);
        assert_eq!(result, Err(RankDeficient { rank: 1, columns: 2 }));
        let result = qr_backward(1, 2, &[1.0], &[1.0, 1.0], None, None, &mut da[..2]);
        assert_eq!(result, Err(TooFewRows { rows: 1, columns: 2 }));
        let result = eigh_backward(
            2,
            &[1.0, 1.0],
            &identity(2),
            None,
            Some(&[0.0, 1.0, 0.0, 0.0]),
            &mut da[..4],
        );
        assert_eq!(result, Err(Degenerate { first: 0, second: 1 }));
    }

    #[test]
    fn cholesky_reads_the_lower_triangle() {
        let n = 5;
        let a = positive(n, 1);
        let mut above = a.clone();
        (0..n * n).filter(|i| i % n > i / n).for_each(|i| above[i] = 99.0);
        let mut l = vec![9.0; n * n];
        cholesky(n, &above, &mut l).unwrap();
        assert_close(&product(n, n, n, &l, &transposed(n, n, &l)), &a, 1e-12);
        assert!((0..n * n).all(|i| i % n <= i / n || l[i] == 0.0));
        let g: Vec<f64> = numbers(n * n, 2);
        let mut da = vec![9.0; n * n];
        cholesky_backward(n, &l, &g, &mut da).unwrap();
        check_gradient(&a, &da, |a| {
            let mut l = vec![0.0; n * n];
            cholesky(n, &symmetric(n, a), &mut l).unwrap();
            dot(&l, &g)
        });
    }

    #[test]
    fn qr_gives_orthonormal_columns_and_a_positive_diagonal() {
        for (m, n) in [(6, 4), (4, 4), (3, 5)] {
            let k = m.min(n);
            let a: Vec<f64> = numbers(m * n, 1);
            let run = |a: &[f64]| {
                let (mut q, mut r) = (vec![9.0; m * k], vec![9.0; k * n]);
                qr(m, n, a, &mut q, &mut r).unwrap();
                (q, r)
            };
            let (q, r) = run(&a);
            assert_close(&product(m, k, n, &q, &r), &a, 1e-12);
            assert_close(&product(k, m, k, &transposed(m, k, &q), &q), &identity(k), 1e-12);
            assert!((0..k).all(|i| r[i * n + i] >= 0.0 && (0..i).all(|j| r[i * n + j] == 0.0)));
            if m < n {
                continue;
            }
            let (gq, gr): (Vec<f64>, Vec<f64>) = (numbers(m * k, 2), numbers(k * n, 3));
            for (dq, dr) in [(Some(&gq), Some(&gr)), (Some(&gq), None), (None, Some(&gr))] {
                let mut da = vec![9.0; m * n];
                let upstream = (dq.map(|g| &g[..]), dr.map(|g| &g[..]));
                qr_backward(m, n, &q, &r, upstream.0, upstream.1, &mut da).unwrap();
                check_gradient(&a, &da, |a| {
                    let (q, r) = run(a);
                    dq.map_or(0.0, |g| dot(&q, g)) + dr.map_or(0.0, |g| dot(&r, g))
                });
            }
        }
    }

    #[test]
    fn svd_puts_the_largest_value_first_and_fixes_signs() {
        for (m, n) in [(6, 4), (4, 4), (3, 5)] {
            let k = m.min(n);
            let a: Vec<f64> = numbers(m * n, 1);
            let run = |a: &[f64]| {
                let (mut u, mut s, mut vt) = (vec![9.0; m * k], vec![9.0; k], vec![9.0; k * n]);
                svd(m, n, a, &mut u, &mut s, &mut vt).unwrap();
                (u, s, vt)
            };
            let (u, s, vt) = run(&a);
            assert!(s.windows(2).all(|pair| pair[0] >= pair[1]));
            let scaled: Vec<f64> = u.iter().enumerate().map(|(i, u)| u * s[i % k]).collect();
            assert_close(&product(m, k, n, &scaled, &vt), &a, 1e-12);
            for j in 0..k {
                let column: Vec<f64> = (0..m).map(|i| u[i * k + j]).collect();
                let largest = column
                    .iter()
                    .fold(0.0f64, |a, &b| if b.abs() > a.abs() { b } else { a });
                assert!(largest > 0.0);
            }
            let (gu, gs, gv): (Vec<f64>, Vec<f64>, Vec<f64>) = (numbers(m * k, 2), numbers(k, 3), numbers(k * n, 4));
            for (du, ds, dvt) in [
                (true, true, true),
                (true, false, false),
                (false, true, false),
                (false, false, true),
            ] {
                let mut da = vec![9.0; m * n];
                let upstream = SvdUpstream {
                    u: du.then_some(&gu[..]),
                    s: ds.then_some(&gs[..]),
                    vt: dvt.then_some(&gv[..]),
                };
                svd_backward(m, n, &u, &s, &vt, upstream, &mut da).unwrap();
                check_gradient(&a, &da, |a| {
                    let (u, s, vt) = run(a);
                    let part = |given: bool, x: &[f64], g: &[f64]| if given { dot(x, g) } else { 0.0 };
                    part(du, &u, &gu) + part(ds, &s, &gs) + part(dvt, &vt, &gv)
                });
            }
        }
    }

    #[test]
    fn eigenvalues_rise_and_have_derivatives() {
        let n = 5;
        let a = symmetric(n, &numbers::<f64>(n * n, 1));
        let run = |a: &[f64]| {
            let (mut values, mut vectors) = (vec![9.0; n], vec![9.0; n * n]);
            eigh(n, a, &mut values, &mut vectors).unwrap();
            (values, vectors)
        };
        let (values, vectors) = run(&a);
        assert!(values.windows(2).all(|pair| pair[0] <= pair[1]));
        let scaled: Vec<f64> = vectors.iter().enumerate().map(|(i, v)| v * values[i % n]).collect();
        assert_close(&product(n, n, n, &scaled, &transposed(n, n, &vectors)), &a, 1e-12);
        let (gl, gv): (Vec<f64>, Vec<f64>) = (numbers(n, 2), numbers(n * n, 3));
        let mut da = vec![9.0; n * n];
        eigh_backward(n, &values, &vectors, Some(&gl), Some(&gv), &mut da).unwrap();
        check_gradient(&a, &da, |a| {
            let (values, vectors) = run(&symmetric(n, a));
            dot(&values, &gl) + dot(&vectors, &gv)
        });
    }

    #[test]
    fn least_squares_are_the_shortest_solution() {
        let (m, n, k) = (7, 4, 2);
        let (a, b): (Vec<f64>, Vec<f64>) = (numbers(m * n, 1), numbers(m * k, 2));
        let run = |a: &[f64], b: &[f64]| {
            let mut x = vec![9.0; n * k];
            lstsq(m, n, k, a, b, &mut x).unwrap();
            x
        };
        let x = run(&a, &b);
        // The residual is orthogonal to the columns.
        let residual: Vec<f64> = product(m, n, k, &a, &x).iter().zip(&b).map(|(p, b)| p - b).collect();
        assert_close(
            &product(n, m, k, &transposed(m, n, &a), &residual),
            &vec![0.0; n * k],
            1e-12,
        );
        let g: Vec<f64> = numbers(n * k, 3);
        let (mut da, mut db) = (vec![9.0; m * n], vec![9.0; m * k]);
        lstsq_backward(m, n, k, &a, &b, &x, &g, &mut da, &mut db).unwrap();
        check_gradient(&a, &da, |a| dot(&run(a, &b), &g));
        check_gradient(&b, &db, |b| dot(&run(&a, b), &g));

        // Two equal columns share what one would get; of a wide system the shortest solution is a row's multiple.
        let mut x = [9.0; 2];
        lstsq(3, 2, 1, &[1.0, 1.0, 2.0, 2.0, 3.0, 3.0], &[2.0, 4.0, 6.0], &mut x).unwrap();
        assert_close(&x, &[1.0, 1.0], 1e-12);
        lstsq(1, 2, 1, &[3.0, 4.0], &[5.0], &mut x).unwrap();
        assert_close(&x, &[0.6, 0.8], 1e-12);
    }

    #[test]
    fn results_repeat_on_any_number_of_threads() {
        let n = 120;
        let a: Vec<f64> = numbers(n * n, 1);
        same_with_one_and_two_threads(|| {
            let (mut u, mut s, mut vt) = (vec![0.0; n * n], vec![0.0; n], vec![0.0; n * n]);
            svd(n, n, &a, &mut u, &mut s, &mut vt).unwrap();
            let (mut q, mut r) = (vec![0.0; n * n], vec![0.0; n * n]);
            qr(n, n, &a, &mut q, &mut r).unwrap();
            (u, s, vt, q, r)
        });
    }
}

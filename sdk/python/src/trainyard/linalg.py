"""Linear algebra on matrices, as in `torch.linalg`; computed in `float64` on the processor. Differentiable."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from . import _host
from .tensor import Dims, Tensor, eye

__all__ = ["cholesky", "eigh", "inv", "lstsq", "norm", "qr", "solve", "svd"]

_linalg = _host.linalg


class QR(NamedTuple):
    """a = Q R."""

    Q: Tensor
    R: Tensor


class SVD(NamedTuple):
    """a = U diag(S) Vh, singular values falling."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class Eigh(NamedTuple):
    """Eigenvalues rising, eigenvectors in columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def solve(A: Tensor, B: Tensor) -> Tensor:
    """x with A x = B; A [n, n], B [n] or [n, k]."""
    return _linalg.solve(A, B)


def cholesky(A: Tensor) -> Tensor:
    """Lower L with L L^T = A, for a symmetric positive definite A."""
    return _linalg.cholesky(A)


def qr(A: Tensor) -> QR:
    """Reduced: A [m, n] = Q [m, k] R [k, n]."""
    return QR(*_linalg.qr(A))


def svd(A: Tensor, full_matrices: bool = False) -> SVD:
    """Reduced: A = U diag(S) Vh."""
    if full_matrices:
        raise NotImplementedError("svd is reduced here: full_matrices=False")
    return SVD(*_linalg.svd(A))


def eigh(A: Tensor) -> Eigh:
    """Eigenvalues and eigenvectors of a symmetric matrix."""
    return Eigh(*_linalg.eigh(A))


def lstsq(A: Tensor, B: Tensor) -> Any:
    """x that minimises |A x - B|, of least norm, as `.solution`; A [m, n], B [m] or [m, k]."""
    return _Lstsq(_linalg.lstsq(A, B))


class _Lstsq(NamedTuple):
    solution: Tensor


def inv(A: Tensor) -> Tensor:
    """The inverse of a square matrix; `solve` is quicker and more exact."""
    return _linalg.solve(A, eye(A.shape[-1], dtype=A.dtype))


def norm(x: Tensor, dim: Optional[Dims] = None, keepdim: bool = False) -> Tensor:
    """The Euclidean norm."""
    return x.norm(dim, keepdim)

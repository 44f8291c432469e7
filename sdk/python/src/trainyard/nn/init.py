"""Initial values, drawn from the job's seed into a parameter. Names and formulas are PyTorch's."""

from __future__ import annotations

import math
from typing import Tuple

from .. import _host
from ..tensor import Tensor

__all__ = [
    "calculate_fans", "constant_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_", "uniform_", "xavier_normal_",
    "xavier_uniform_", "zeros_",
]  # fmt: skip


def _uniform(shape: Tuple[int, ...], bound: float) -> Tensor:
    return _host.tensor.Tensor.random_uniform([int(size) for size in shape], -bound, bound, _host.types.Dtype.F32)


def _normal(shape: Tuple[int, ...], std: float, mean: float = 0.0) -> Tensor:
    return _host.tensor.Tensor.random_normal([int(size) for size in shape], mean, std, _host.types.Dtype.F32)


def calculate_fans(tensor: Tensor) -> Tuple[int, int]:
    """Fan in and fan out of a weight [out, in, kernel..]."""
    shape = tensor.shape
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform in [a, b)."""
    drawn = _host.tensor.Tensor.random_uniform(list(tensor.shape), float(a), float(b), tensor.dtype)
    return tensor.copy_(drawn)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal."""
    return tensor.copy_(_host.tensor.Tensor.random_normal(list(tensor.shape), float(mean), float(std), tensor.dtype))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element `val`."""
    return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Every element zero."""
    return tensor.fill_(0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Every element one."""
    return tensor.fill_(1.0)


def _gain(a: float, nonlinearity: str) -> float:
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "leaky_relu": math.sqrt(2 / (1 + a * a))}
    if nonlinearity not in gains:
        raise ValueError(f"nonlinearity {nonlinearity!r}: use one of {', '.join(gains)}")
    return gains[nonlinearity]


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Uniform with bound gain sqrt(3 / fan) (He et al. 2015)."""
    fan = calculate_fans(tensor)[mode == "fan_out"]
    bound = _gain(a, nonlinearity) * math.sqrt(3 / fan)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (He et al. 2015)."""
    fan = calculate_fans(tensor)[mode == "fan_out"]
    return normal_(tensor, 0.0, _gain(a, nonlinearity) / math.sqrt(fan))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform with bound gain sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6 / sum(calculate_fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with standard deviation gain sqrt(2 / (fan in + fan out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(calculate_fans(tensor))))

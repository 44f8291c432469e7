"""What can go wrong in the host, as Python's own kinds of exceptions."""

from __future__ import annotations

from typing import Any, Callable, Optional

from . import _host

__all__ = [
    "AlgorithmError",
    "Cancelled",
    "DTypeError",
    "DataError",
    "InvalidArgumentError",
    "LimitError",
    "MissingGradientError",
    "NumericalError",
    "OutOfMemoryError",
    "ShapeError",
    "TrainyardError",
]


class TrainyardError(Exception):
    """Everything that the host refuses. `host` is the contract's own value."""

    host: Any = None


class ShapeError(TrainyardError, ValueError):
    """Shapes that do not fit together."""


class DTypeError(TrainyardError, TypeError):
    """Element types that do not fit the operation."""


class InvalidArgumentError(TrainyardError, ValueError):
    """An argument out of its range."""


class NumericalError(TrainyardError, ArithmeticError):
    """A result that does not exist: a singular matrix, a metric that is NaN."""


class OutOfMemoryError(TrainyardError, MemoryError):
    """The job's tensors would exceed their budget. Nothing was allocated."""


class LimitError(TrainyardError, RuntimeError):
    """Another budget of the job."""


class MissingGradientError(TrainyardError, RuntimeError):
    """A trainable parameter that the loss does not depend on."""


class DataError(TrainyardError, LookupError):
    """The data set cannot give what was asked."""


class AlgorithmError(TrainyardError, RuntimeError):
    """An error of the algorithm's own."""


class Cancelled(BaseException):
    """The job is being stopped: return as soon as possible. `except Exception` does not catch it."""

    host: Any = None


#: Gives a parameter's place in its module, by the name that the host has; `trainyard.nn` sets it.
_parameter_name: Optional[Callable[[str], str]] = None

_KINDS = {
    "Error_Shape": ShapeError,
    "Error_Dtype": DTypeError,
    "Error_InvalidArgument": InvalidArgumentError,
    "Error_Numerical": NumericalError,
    "Error_OutOfMemory": OutOfMemoryError,
    "Error_Limit": LimitError,
    "Error_MissingGradient": MissingGradientError,
    "Error_Data": DataError,
    "Error_Algorithm": AlgorithmError,
}


def from_host(value: Any) -> BaseException:
    """The exception for an error of the host."""
    name = type(value).__name__
    kind = _KINDS.get(name)
    if kind is None:
        cancelled = Cancelled("the job is being stopped")
        cancelled.host = value
        return cancelled
    error = kind(_message(name, value.value))
    error.host = value
    return error


def _message(name: str, value: Any) -> str:
    if name == "Error_MissingGradient":
        place = _parameter_name(value) if _parameter_name else value
        return f"the loss does not depend on the parameter {place}: use it, or freeze it with requires_grad_(False)"
    if isinstance(value, str):
        return value
    if name in ("Error_OutOfMemory", "Error_Limit"):
        shown = _bytes if "memory" in value.limit or "size" in value.limit else _count
        return (
            f"{value.operation}: over the limit of {value.limit}: {shown(value.requested)} asked for "
            f"with {shown(value.used)} of {shown(value.allowed)} in use"
        )
    text = f"{value.operation}: {value.message}"
    if value.shapes:
        got = (f"{dtype.name.lower()}{list(shape)}" for shape, dtype in zip(value.shapes, value.dtypes))
        text += f" (got {', '.join(got)})"
    return text


def _count(number: float) -> str:
    return f"{number:.0f}"


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} TiB"


def to_host(error: BaseException) -> Any:
    """What the host is told of an exception: its own error, or one of the algorithm's."""
    host = getattr(error, "host", None)
    if host is not None:
        return host
    try:
        text = str(error)
    except Exception:
        text = "(it cannot be shown)"
    return _host.types.Error_Algorithm(f"{type(error).__name__}: {text}"[:2000])

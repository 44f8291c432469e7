"""The job's life: progress, log, seed, stop, checkpoints."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

from . import _host
from .tensor import Tensor

__all__ = ["checkpoint", "debug", "error", "info", "log", "resume", "seed", "should_stop", "update_progress", "warning"]


def update_progress(current: int, total: int, **metrics: float) -> None:
    """`current` of `total` steps are done. Metrics are finite numbers, such as `loss=0.3`."""
    if total <= 0:
        return
    named = [_host.run.Metric(name, float(value)) for name, value in metrics.items()]
    _host.run.progress(int(current), int(total), named)


def _log(level: str, message: Any) -> None:
    _host.run.log(getattr(_host.run.Level, level), str(message))


def debug(message: Any) -> None:
    """A line for whoever looks for a fault."""
    _log("DEBUG", message)


def info(message: Any) -> None:
    """A line for the job's log, as `print` writes."""
    _log("INFO", message)


log = info


def warning(message: Any) -> None:
    """Something that may be wrong."""
    _log("WARN", message)


def error(message: Any) -> None:
    """Something that is wrong."""
    _log("ERROR", message)


def seed() -> int:
    """The job's seed. Random tensors, shuffling and Python's `random` follow from it already."""
    return _host.run.seed()


def should_stop() -> bool:
    """Whether someone asked the job to stop: return what is trained so far."""
    return _host.run.should_stop()


def checkpoint(tensors: Mapping[str, Tensor], note: str = "") -> None:
    """Stores what is needed to go on after an interruption; replaces an earlier one."""
    _host.run.checkpoint([(str(name), tensor) for name, tensor in tensors.items()], str(note))


def resume() -> Optional[Tuple[Dict[str, Tensor], str]]:
    """Tensors and note of the checkpoint of an earlier, interrupted attempt."""
    saved = _host.run.resume()
    return None if saved is None else (dict(saved.tensors), saved.note)

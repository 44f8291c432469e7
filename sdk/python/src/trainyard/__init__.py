"""Trainyard for Python: write training algorithms that run as plugins, and use a server.

    import trainyard as torch            # tensors, as in PyTorch
    from trainyard import nn, optim      # networks and optimisers, as in PyTorch
    from trainyard import Algorithm      # what a plugin is
    from trainyard import Client         # a server, from your own machine
"""

from typing import Any

from . import data, errors, linalg, metrics, nn, optim, run
from .algorithm import Algorithm
from .data import Batch, Data, DataLoader, Split
from .errors import *  # noqa: F403
from .errors import __all__ as _errors
from .estimator import Estimator
from .metrics import Metric
from .nn.parameter import Parameter
from .parameters import Range, param
from .run import should_stop, update_progress
from .tensor import *  # noqa: F403
from .tensor import __all__ as _tensors
from .trainer import History, Trainer

bool = bool_  # noqa: F405, A001
float = float32  # noqa: F405, A001

__version__ = "0.1.0"

__all__ = [
    "Algorithm", "Batch", "Data", "DataLoader", "Estimator", "History", "Metric", "Parameter", "Range",
    "Split", "Trainer", "data", "errors", "linalg", "metrics", "nn", "optim", "param", "run", "should_stop", "update_progress",
    *_errors, *_tensors,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # The client needs httpx, which a plugin has no use for.
    if name in ("Client", "AsyncClient"):
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Networks, as in `torch.nn`."""

from . import functional, init
from .containers import *  # noqa: F403
from .containers import __all__ as _containers
from .layers import *  # noqa: F403
from .layers import __all__ as _layers
from .module import Module
from .parameter import Parameter

__all__ = ["Module", "Parameter", "functional", "init", "utils", *_containers, *_layers]


def __getattr__(name: str):
    # It needs the optimisers, which need the parameters.
    if name == "utils":
        import importlib

        return importlib.import_module(f"{__name__}.utils")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

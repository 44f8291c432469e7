"""Networks, as in `torch.nn`."""

from . import functional, init
from .containers import *  # noqa: F403
from .containers import __all__ as _containers
from .layers import *  # noqa: F403
from .layers import __all__ as _layers
from .module import Module
from .parameter import Parameter

__all__ = ["Module", "Parameter", "functional", "init", "utils", *_containers, *_layers]

from . import utils  # noqa: E402  (it needs the optimisers, which need the parameters)

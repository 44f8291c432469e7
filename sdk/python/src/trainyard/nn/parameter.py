"""Parameters: what a training changes."""

from __future__ import annotations

import itertools
import weakref
from typing import Any, Optional

from .. import _host, errors
from ..tensor import Tensor

__all__ = ["Parameter"]

_numbers = itertools.count()
#: Living parameters by the names that the host has for them.
_living: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


class Parameter(Tensor):
    """A trainable copy of a tensor. As an attribute of a `Module` it is one of its `parameters()`."""

    requires_grad = True

    def __new__(cls, data: Tensor, requires_grad: bool = True) -> Parameter:
        name = f"parameter {next(_numbers)}"
        made = _host.autograd.parameter(name, data)
        # The host's tensor becomes one of this class: the same object, and nothing around it.
        made.__class__ = cls
        _living[name] = made
        if not requires_grad:
            made.requires_grad_(False)
        return made

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        """`data` gives the initial values; they are copied."""

    def requires_grad_(self, requires_grad: bool = True) -> Parameter:
        """Whether optimisers change it and derivatives are kept for it."""
        _host.autograd.set_trainable(self, requires_grad)
        self.requires_grad = requires_grad
        return self

    @property
    def data(self) -> Tensor:
        """Its elements, outside the graph of derivatives."""
        return self.detach()

    def _place(self) -> str:
        """Its name in the module that holds it, such as `net.2.bias`."""
        names, holder = [], self.__dict__.get("_holder")
        while holder is not None:
            module, name = holder
            names.append(name)
            module = module()
            holder = module.__dict__.get("_holder") if module is not None else None
        return ".".join(reversed(names)) or "that is in no module"


def _place(name: str) -> str:
    found: Optional[Parameter] = _living.get(name)
    return found._place() if found is not None else name


errors._parameter_name = _place

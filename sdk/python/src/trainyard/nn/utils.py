"""Helpers around the gradients of a network."""

from __future__ import annotations

from typing import Iterable, Union

from .. import optim
from .parameter import Parameter

__all__ = ["clip_grad_norm_"]


def clip_grad_norm_(parameters: Union[Parameter, Iterable[Parameter]], max_norm: float) -> float:
    """Scales gradients so that their joint norm is at most `max_norm`; gives the norm before.

    The host clips the gradients of an optimiser: the parameters must be all of one.
    """
    wanted = [parameters] if isinstance(parameters, Parameter) else list(parameters)
    found = optim.Optimizer._of(wanted)
    if found is None:
        raise ValueError("clip_grad_norm_ needs all parameters of one optimiser: make the optimiser first")
    return found.clip_grad_norm(max_norm)

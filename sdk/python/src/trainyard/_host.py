"""The host's functions: the bindings of the contract where there is a host, and elsewhere stand-ins that say so.

Everything else in the package imports the host from here alone.
"""

from __future__ import annotations

from typing import Any

__all__ = ["IN_HOST", "Raw", "autograd", "dataset", "linalg", "nn", "optim", "run", "tensor", "types"]

try:
    from wit_world.imports import autograd, dataset, linalg, nn, optim, run, tensor, types  # type: ignore

    #: Whether this is a plugin's sandbox.
    IN_HOST: bool = True
    #: The class of the host's tensors.
    Raw: Any = tensor.Tensor
except ImportError:
    IN_HOST = False

    class _Dtypes:
        """The element types, by name: what can be written down without a host."""

        def __getattr__(self, name: str) -> str:
            if name.startswith("_"):
                raise AttributeError(name)
            return name.lower()

    class _Absent:
        """A module of the host, where there is none."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if self._name == "types" and name == "Dtype":
                return _Dtypes()

            def absent(*_: Any, **__: Any) -> Any:
                raise RuntimeError(
                    "tensors live in Trainyard's host, and this is ordinary Python: "
                    "run the file with `trainyard plugin test FILE`"
                )

            return absent

    autograd, dataset, linalg, nn, optim, run, tensor, types = (
        _Absent(name)
        for name in ("autograd", "dataset", "linalg", "nn", "optim", "run", "tensor", "types")
    )

    class Raw:  # type: ignore[no-redef]
        """Stands where the class of the host's tensors is."""

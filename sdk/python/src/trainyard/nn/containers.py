"""Modules made of modules."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, Union

from ..tensor import Tensor
from .module import Module
from .parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterList", "Sequential"]


class Sequential(Module):
    """One module after the other; named by their numbers, or by a dict's keys."""

    def __init__(self, *modules: Union[Module, Mapping[str, Module]]) -> None:
        super().__init__()
        if len(modules) == 1 and not isinstance(modules[0], Module):
            named: Dict[str, Module] = dict(modules[0])
        else:
            named = {str(at): module for at, module in enumerate(modules)}  # type: ignore[misc]
        for name, module in named.items():
            setattr(self, name, module)

    def forward(self, x: Any) -> Any:
        """Through all of them."""
        for module in self._modules.values():
            x = module(x)
        return x

    def append(self, module: Module) -> Sequential:
        """One more at the end."""
        setattr(self, str(len(self._modules)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, at: Union[int, slice]) -> Any:
        modules = list(self._modules.values())[at]
        return Sequential(*modules) if isinstance(at, slice) else modules


class ModuleList(Module):
    """A list of modules."""

    def __init__(self, modules: Optional[Iterable[Module]] = None) -> None:
        super().__init__()
        for module in modules or ():
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """One more at the end."""
        setattr(self, str(len(self._modules)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """More at the end."""
        for module in modules:
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, at: int) -> Module:
        return list(self._modules.values())[at]


class ModuleDict(Module):
    """Modules by name."""

    def __init__(self, modules: Optional[Mapping[str, Module]] = None) -> None:
        super().__init__()
        for name, module in (modules or {}).items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        setattr(self, name, module)

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def keys(self) -> Iterator[str]:
        """Their names."""
        return iter(self)

    def values(self) -> Iterator[Module]:
        """The modules."""
        return self.children()

    def items(self) -> Any:
        """Names and modules."""
        return self.named_children()


class ParameterList(Module):
    """A list of parameters."""

    def __init__(self, parameters: Optional[Iterable[Tensor]] = None) -> None:
        super().__init__()
        for at, value in enumerate(parameters or ()):
            setattr(self, str(at), value if isinstance(value, Parameter) else Parameter(value))

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(list(self._parameters.values()))

    def __getitem__(self, at: int) -> Parameter:
        return list(self._parameters.values())[at]

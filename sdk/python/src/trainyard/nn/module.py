"""`Module`: a network or a part of one, as in PyTorch."""

from __future__ import annotations

import weakref
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ..tensor import Tensor, _dtype, bfloat16, float16, float32, float64
from .parameter import Parameter

__all__ = ["Module"]


class Module:
    """The base of all networks. Set parameters, buffers and other modules as attributes in `__init__`, and compute in `forward`.

        class Net(nn.Module):
            def __init__(self, inputs: int, outputs: int):
                super().__init__()
                self.line = nn.Linear(inputs, outputs)

            def forward(self, x):
                return self.line(x)
    """

    training: bool
    #: Buffers that stay `float32` in a network of `float16` or `bfloat16`: those in which small changes add up.
    _wide_buffers: Tuple[str, ...] = ()

    def __init__(self) -> None:
        own = self.__dict__
        own["_parameters"], own["_buffers"], own["_modules"] = {}, {}, {}
        # Buffers that are not persistent.
        own["_unsaved"] = set()
        own["training"] = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; called by calling the module."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # Attributes: kept as ordinary ones, too, so that reading them costs nothing more.

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._check(name)
            value.__dict__["_holder"] = (weakref.ref(self), name)
            own["_parameters"][name] = value
        elif isinstance(value, Module):
            self._check(name)
            value.__dict__["_holder"] = (weakref.ref(self), name)
            own["_modules"][name] = value
        elif "_parameters" in own:
            if name in own["_buffers"] and isinstance(value, Tensor):
                own["_buffers"][name] = value
            else:
                for kind in ("_parameters", "_buffers", "_modules"):
                    own[kind].pop(name, None)
        own[name] = value

    def __delattr__(self, name: str) -> None:
        for kind in ("_parameters", "_buffers", "_modules"):
            self.__dict__[kind].pop(name, None)
        object.__delattr__(self, name)

    def _check(self, name: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"call super().__init__() in {type(self).__name__}.__init__ before self.{name} is set")

    def register_parameter(self, name: str, parameter: Optional[Parameter]) -> None:
        """Sets a parameter by its name; None leaves it out."""
        setattr(self, name, parameter)

    def register_buffer(self, name: str, tensor: Optional[Tensor], persistent: bool = True) -> None:
        """Keeps a tensor that is state but no parameter; `persistent` ones are in `state_dict`."""
        self._check(name)
        own = self.__dict__
        if tensor is not None:
            own["_buffers"][name] = tensor
        (own["_unsaved"].discard if persistent else own["_unsaved"].add)(name)
        own[name] = tensor

    def add_module(self, name: str, module: Optional[Module]) -> None:
        """Sets a module by its name."""
        setattr(self, name, module)

    # What is in it

    def children(self) -> Iterator[Module]:
        """The modules directly in it."""
        return iter(list(self._modules.values()))

    def named_children(self) -> Iterator[Tuple[str, Module]]:
        """The modules directly in it, with their names."""
        return iter(list(self._modules.items()))

    def modules(self) -> Iterator[Module]:
        """It and all modules in it."""
        for _, module in self.named_modules():
            yield module

    def named_modules(self, prefix: str = "") -> Iterator[Tuple[str, Module]]:
        """It and all modules in it, with their paths."""
        yield prefix, self
        for name, module in self._modules.items():
            yield from module.named_modules(f"{prefix}.{name}" if prefix else name)

    def _named(self, kind: str) -> Iterator[Tuple[str, Tensor]]:
        seen = set()
        for path, module in self.named_modules():
            for name, value in module.__dict__[kind].items():
                if id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self) -> Iterator[Tuple[str, Parameter]]:
        """All parameters, with their paths."""
        return self._named("_parameters")  # type: ignore[return-value]

    def parameters(self) -> Iterator[Parameter]:
        """All parameters."""
        return (value for _, value in self.named_parameters())

    def named_buffers(self) -> Iterator[Tuple[str, Tensor]]:
        """All buffers, with their paths."""
        return self._named("_buffers")

    def buffers(self) -> Iterator[Tensor]:
        """All buffers."""
        return (value for _, value in self.named_buffers())

    def state_dict(self) -> Dict[str, Tensor]:
        """Parameters and persistent buffers by their paths, in the order of the modules. They are the tensors themselves, not copies."""
        state: Dict[str, Tensor] = {}
        for path, module in self.named_modules():
            own = module.__dict__
            for kind in ("_parameters", "_buffers"):
                for name, value in own[kind].items():
                    if kind == "_parameters" or name not in own["_unsaved"]:
                        state[f"{path}.{name}" if path else name] = value
        return state

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> None:
        """Overwrites parameters and buffers. With `strict` every name must be there, and no other."""
        own, problems = self.state_dict(), []
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        if strict and missing:
            problems.append(f"missing: {', '.join(missing)}")
        if strict and unexpected:
            problems.append(f"unexpected: {', '.join(unexpected)}")
        for name, value in own.items():
            given = state_dict.get(name)
            if given is not None and given.shape != value.shape:
                problems.append(f"{name} has the shape {list(given.shape)}, and {list(value.shape)} is needed")
        if problems:
            raise RuntimeError(f"the state does not fit {type(self).__name__}: {'; '.join(problems)}")
        for name, value in own.items():
            if name in state_dict:
                value.copy_(state_dict[name])

    # Modes

    def train(self, mode: bool = True) -> Module:
        """Switches to training, which dropout and batch normalisation look at."""
        for module in self.modules():
            module.__dict__["training"] = mode
        return self

    def eval(self) -> Module:
        """Switches to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freezes all parameters, or trains them again."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        from .. import _host

        for parameter in self.parameters():
            _host.autograd.clear_gradient(parameter)

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Calls a function with every module in it, and with it."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    def to(self, *args: Any, dtype: Any = None, **_: Any) -> Module:
        """With parameters and floating-point buffers of another floating-point type. A device is ignored: the job has one.

        The parameters are new ones, with the old values: make the optimiser afterwards. In a network of `float16` or `bfloat16` the
        running statistics of batch normalisation are `float32`, so that they keep their digits. Inputs are to be of the parameters'
        type. What is refused leaves the network as it was.
        """
        for value in args:
            if isinstance(value, Tensor):
                dtype = value.dtype
            elif not isinstance(value, (str, type(None), bool)):
                dtype = value
        if dtype is None:
            return self
        dtype = _dtype(dtype, None)
        if not dtype.is_floating_point:
            raise TypeError(f"a network's parameters are floating-point, not {dtype!r}")
        changes: List[Tuple[Module, str, Tensor, Any]] = []
        for module in self.modules():
            wide = module._wide_buffers if dtype in (float16, bfloat16) else ()
            for name, old in module.__dict__["_parameters"].items():
                if old.dtype == dtype:
                    continue
                if old.__dict__.get("_optimizer", lambda: None)() is not None:
                    raise RuntimeError("an optimiser has these parameters already: call to() first, then make the optimiser")
                changes.append((module, name, old, dtype))
            for name, old in module.__dict__["_buffers"].items():
                wanted = float32 if name in wide else dtype
                if old.is_floating_point() and old.dtype != wanted:
                    changes.append((module, name, old, wanted))
        # What several modules share they share afterwards, too.
        made: Dict[Tuple[int, Any], Tensor] = {}
        for _, _, old, wanted in changes:
            if (id(old), wanted) not in made:
                new = old.detach().to(wanted)
                made[id(old), wanted] = Parameter(new, old.requires_grad) if isinstance(old, Parameter) else new
        for module, name, old, wanted in changes:
            setattr(module, name, made[id(old), wanted])
        return self

    def half(self) -> Module:
        """`to(float16)`"""
        return self.to(float16)

    def bfloat16(self) -> Module:
        """`to(bfloat16)`"""
        return self.to(bfloat16)

    def float(self) -> Module:
        """`to(float32)`"""
        return self.to(float32)

    def double(self) -> Module:
        """`to(float64)`"""
        return self.to(float64)

    def extra_repr(self) -> str:
        """What `repr` shows in brackets."""
        return ""

    def __repr__(self) -> str:
        lines: List[str] = []
        for name, module in self._modules.items():
            lines.append(f"({name}): " + repr(module).replace("\n", "\n  "))
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"

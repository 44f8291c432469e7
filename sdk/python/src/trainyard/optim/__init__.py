"""Optimisers, as in `torch.optim`. The host changes all parameters of a group in one call.

Parameters of `bfloat16` and `float16` have a master copy in `float32` in the host, in which small steps add up. `float16` wants
`loss_scaling` as well, since its small gradients would become zero:

    net = Net().to(torch.float16)
    optimizer = optim.AdamW(net.parameters(), loss_scaling="dynamic")
    optimizer.minimize(F.mse_loss(net(x.half()).float(), y))

`"dynamic"` begins with 65536 and follows what the gradients bear, as PyTorch's `GradScaler` does; a dict with its `init_scale`,
`growth_factor`, `backoff_factor` or `growth_interval` changes the defaults, and a number stays as it is. A step with a gradient that is
not finite is skipped. Several groups of parameters are refused: each would have a scale of its own.
"""

from __future__ import annotations

import weakref
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from .. import _host
from ..nn.parameter import Parameter
from ..tensor import Tensor

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]

Groups = Union[Iterable[Parameter], Iterable[Dict[str, Any]]]
Scaling = Union[None, float, str, Mapping[str, float]]

#: What `GradScaler` calls its options, and its defaults.
_DYNAMIC = {"init_scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}


class Optimizer:
    """The base of optimisers. Each group of parameters has options of its own in `param_groups`; loss scaling takes one group alone."""

    def __init__(self, params: Groups, defaults: Dict[str, Any], loss_scaling: Scaling = None) -> None:
        self._scaling = loss_scaling
        given = list(params)
        if not given:
            raise ValueError("there are no parameters to optimise: give net.parameters()")
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        self.defaults = defaults
        self.param_groups: List[Dict[str, Any]] = []
        self._hosts: List[Any] = []
        self._rates: List[float] = []
        for group in groups:
            self.add_param_group(group)

    def _make(self, parameters: List[Tensor], group: Dict[str, Any]) -> Any:
        raise NotImplementedError

    def add_param_group(self, group: Dict[str, Any]) -> None:
        """Parameters (`params`) with options of their own. With loss scaling there cannot be a second group."""
        members = group["params"]
        members = [members] if isinstance(members, Tensor) else list(members)
        for member in members:
            if not isinstance(member, Parameter):
                raise TypeError(f"an optimiser changes parameters, not {type(member).__name__}: make it an nn.Parameter")
        if self._scaling is not None and self._hosts:
            raise ValueError("loss scaling needs all parameters in one group: each group would have a scale of its own")
        group = {**self.defaults, **group, "params": members}
        host = self._make(members, group)
        if self._scaling is not None:
            _set_scaling(host, self._scaling)
        self._hosts.append(host)
        self.param_groups.append(group)
        self._rates.append(group["lr"])
        for member in members:
            member.__dict__["_optimizer"] = weakref.ref(self)

    @staticmethod
    def _of(parameters: Sequence[Parameter]) -> Optional[Optimizer]:
        """The one optimiser that has all of these and no others."""
        owners = [parameter.__dict__.get("_optimizer", lambda: None)() for parameter in parameters]
        found = list({id(owner): owner for owner in owners}.values())
        if len(found) != 1 or found[0] is None or len(found[0]._hosts) != 1:
            return None
        return found[0] if len(found[0].param_groups[0]["params"]) == len(parameters) else None

    def _set_rates(self) -> None:
        for at, group in enumerate(self.param_groups):
            rate = group["lr"]
            if rate != self._rates[at]:
                self._hosts[at].set_learning_rate(float(rate))
                self._rates[at] = rate

    def step(self) -> None:
        """Changes every trainable parameter by its gradient. One without a gradient is an error that names it: freeze it with
        `requires_grad_(False)` if that is meant. With loss scaling, go backward from `scale_loss(loss)`."""
        self._set_rates()
        for host in self._hosts:
            host.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients."""
        for host in self._hosts:
            host.clear_gradients()

    def minimize(self, loss: Tensor) -> None:
        """`zero_grad`, `loss.backward()` and `step` in one call of the host: the quickest step."""
        if len(self._hosts) == 1:
            if self.param_groups[0]["lr"] != self._rates[0]:
                self._set_rates()
            self._hosts[0].minimize(loss)
            return
        self.zero_grad()
        loss.backward()
        self.step()

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss times the scale: what to go backward from before `step`. Without loss scaling it is the loss itself."""
        return loss if self._scaling is None else self._hosts[0].scale_loss(loss)

    @property
    def loss_scale(self) -> float:
        """What losses are multiplied by now; 1 without loss scaling."""
        return 1.0 if self._scaling is None else self._hosts[0].loss_scale()

    @property
    def skipped_steps(self) -> int:
        """Steps that loss scaling has skipped, because a gradient was not finite."""
        return 0 if self._scaling is None else self._hosts[0].skipped_steps()

    def clip_grad_norm(self, max_norm: float) -> float:
        """Scales the gradients so that their joint norm is at most `max_norm`; gives the norm before. The loss's scale does not count."""
        if len(self._hosts) != 1:
            raise ValueError("gradients of several groups cannot be clipped together: use one group")
        return self._hosts[0].clip_gradient_norm(float(max_norm))

    def clip_grad_value(self, clip_value: float) -> None:
        """Clamps every element of the gradients to -clip_value .. clip_value."""
        for host in self._hosts:
            host.clip_gradient_value(float(clip_value))

    def state_dict(self) -> Dict[str, Tensor]:
        """Moments, step counts, master copies and loss scale by names of the host's own, for a checkpoint."""
        state = {}
        for at, host in enumerate(self._hosts):
            prefix = f"{at}/" if len(self._hosts) > 1 else ""
            state.update({prefix + name: tensor for name, tensor in host.state()})
        return state

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        """What `state_dict` gave."""
        for at, host in enumerate(self._hosts):
            prefix = f"{at}/" if len(self._hosts) > 1 else ""
            own = [(name[len(prefix) :], tensor) for name, tensor in state.items() if name.startswith(prefix)]
            host.load_state(own)


def _set_scaling(host: Any, scaling: Scaling) -> None:
    if isinstance(scaling, (int, float)) and not isinstance(scaling, bool):
        options = {"init_scale": scaling, "growth_factor": 1.0, "backoff_factor": 1.0, "growth_interval": 1}
    elif isinstance(scaling, Mapping) and not set(scaling) - set(_DYNAMIC):
        options = {**_DYNAMIC, **scaling}
    elif scaling == "dynamic":
        options = _DYNAMIC
    else:
        raise ValueError(f"loss_scaling is None, a number, 'dynamic', or a dict of {', '.join(_DYNAMIC)}; not {scaling!r}")
    initial, growth, backoff, interval = (options[name] for name in _DYNAMIC)
    # The host says what is wrong with a number; one that does not fit its type would end the instance without a word.
    interval = min(max(int(interval), 0), 2**32 - 1)
    host.set_loss_scaling(_host.optim.LossScaling(float(initial), float(growth), float(backoff), interval))


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted."""

    def __init__(
        self,
        params: Groups,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        loss_scaling: Scaling = None,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov},
            loss_scaling,
        )

    def _make(self, parameters: List[Tensor], group: Dict[str, Any]) -> Any:
        options = _host.optim.SgdOptions(
            float(group["lr"]),
            float(group["momentum"]),
            float(group["dampening"]),
            float(group["weight_decay"]),
            bool(group["nesterov"]),
        )
        return _host.optim.Optimizer.sgd(parameters, options)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015). Weight decay is added to the gradient."""

    _decay = 0.0

    def __init__(
        self,
        params: Groups,
        lr: float = 1e-3,
        betas: Tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: Optional[float] = None,
        loss_scaling: Scaling = None,
    ) -> None:
        decay = self._decay if weight_decay is None else weight_decay
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": decay}, loss_scaling)

    def _make(self, parameters: List[Tensor], group: Dict[str, Any]) -> Any:
        make = _host.optim.Optimizer.adamw if isinstance(self, AdamW) else _host.optim.Optimizer.adam
        first, second = group["betas"]
        options = _host.optim.AdamOptions(
            float(group["lr"]), float(first), float(second), float(group["eps"]), float(group["weight_decay"])
        )
        return make(parameters, options)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient, 0.01 by default (Loshchilov and Hutter 2019)."""

    _decay = 0.01


from . import lr_scheduler  # noqa: E402  (it needs Optimizer)

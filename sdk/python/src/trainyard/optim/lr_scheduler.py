"""How the learning rate changes, as in `torch.optim.lr_scheduler`: call `step` after each epoch."""

from __future__ import annotations

import bisect
import math
from typing import Any, Callable, List, Optional, Sequence

from . import Optimizer

__all__ = ["CosineAnnealingLR", "ExponentialLR", "LambdaLR", "LinearLR", "MultiStepLR", "ReduceLROnPlateau", "StepLR"]


class _Scheduler:
    """A rate as a function of the number of epochs that are done."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.base_lrs: List[float] = [group["lr"] for group in optimizer.param_groups]
        self.last_epoch = 0
        self._set()

    def _factor(self, epoch: int) -> float:
        raise NotImplementedError

    def _rate(self, base: float, epoch: int) -> float:
        return base * self._factor(epoch)

    def _set(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs):
            group["lr"] = self._rate(base, self.last_epoch)

    def step(self, metric: Any = None) -> None:
        """One more epoch is done."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> List[float]:
        """The rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]


class LambdaLR(_Scheduler):
    """The first rate times `lr_lambda(epoch)`."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float]) -> None:
        self._factor = lr_lambda  # type: ignore[method-assign]
        super().__init__(optimizer)


class StepLR(_Scheduler):
    """Times `gamma` after every `step_size` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(_Scheduler):
    """Times `gamma` at each of the milestones."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** bisect.bisect_right(self.milestones, epoch)


class ExponentialLR(_Scheduler):
    """Times `gamma` after every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def _factor(self, epoch: int) -> float:
        return self.gamma**epoch


class LinearLR(_Scheduler):
    """From `start_factor` to `end_factor` of the first rate, over `total_iters` epochs."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5) -> None:
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer)

    def _factor(self, epoch: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class CosineAnnealingLR(_Scheduler):
    """Along half a cosine down to `eta_min` after `T_max` epochs (Loshchilov and Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def _rate(self, base: float, epoch: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class ReduceLROnPlateau(_Scheduler):
    """Times `factor` when a loss has not become smaller for more than `patience` epochs: `step(loss)`."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4, min_lr: float = 0.0
    ) -> None:
        self.factor, self.patience, self.threshold, self.min_lr = factor, patience, threshold, min_lr
        self.best: Optional[float] = None
        self.bad = 0
        super().__init__(optimizer)

    def _set(self) -> None:
        pass

    def step(self, metric: Any = None) -> None:
        """The loss of one more epoch."""
        if metric is None:
            raise TypeError("ReduceLROnPlateau.step needs the loss of the epoch")
        self.last_epoch += 1
        value = float(metric)
        if self.best is None or value < self.best * (1 - self.threshold):
            self.best, self.bad = value, 0
            return
        self.bad += 1
        if self.bad > self.patience:
            self.bad = 0
            for group in self.optimizer.param_groups:
                group["lr"] = max(group["lr"] * self.factor, self.min_lr)

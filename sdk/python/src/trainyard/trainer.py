"""`Trainer`: the loop around a training, with everything that a person watching it expects."""

from __future__ import annotations

import math
import struct
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from . import run
from .data import Batch, Split
from .nn.module import Module
from .optim import Optimizer
from .tensor import Tensor, no_grad

__all__ = ["History", "Trainer"]

#: The most progress reports in an epoch, and checkpoints in a run. There is no clock to pace them by, and each costs a little.
REPORTS_PER_EPOCH = 20
CHECKPOINTS_PER_RUN = 20

Loss = Callable[[Batch], Tensor]


class History(NamedTuple):
    """How a training went."""

    #: The validation loss of each epoch; empty where there is no validation.
    validation: List[float]
    #: The epoch, counted from zero, that the parameters are from; None where it is the last.
    best_epoch: Optional[int]
    #: Whether someone stopped the job before its end.
    stopped: bool


class Trainer:
    """Trains over a number of epochs: shuffled batches, progress, validation, early stopping, the best epoch's parameters,
    checkpoints, and an end when someone asks the job to stop.

    `patience` ends the training after so many epochs in a row without a smaller validation loss; 0 never does. `scheduler` is one of
    `optim.lr_scheduler`; `keep_last` ends with the last epoch's parameters instead of the best epoch's.
    """

    def __init__(
        self,
        epochs: int,
        batch_size: int = 32,
        patience: int = 0,
        scheduler: Any = None,
        clip_grad_norm: Optional[float] = None,
        keep_last: bool = False,
    ) -> None:
        self.epochs, self.batch_size, self.patience = epochs, batch_size, patience
        self.scheduler, self.clip_grad_norm, self.keep_last = scheduler, clip_grad_norm, keep_last
        self._training, self._validation = Split("train"), Split("validation")

    def fit(self, model: Module, optimizer: Optimizer, loss: Loss) -> History:
        """Minimises the mean of `loss(batch)` over the batches of the training split; validates by its mean over the validation
        split."""
        steps = -(-len(self._training) // self.batch_size)
        validation: List[float] = []
        best: Dict[str, Tensor] = {}
        early = _EarlyStopping(self.patience)
        done = self._resume(model, optimizer, best, validation, early)
        stopped = False
        while done < self.epochs and not early.is_over() and not stopped:
            model.train()
            report = _Report(done, steps, self.epochs, validation[-1] if validation else None)
            before = optimizer.skipped_steps
            stopped = self._epoch(optimizer, loss, report)
            report.tell_skipped(optimizer, before)
            judged = None if stopped else self._validate(model, loss)
            if judged is not None:
                report.validation = report.finite(judged, "validation loss")
            report.say()
            if judged is not None:
                validation.append(judged)
                if early.observe(judged) and not self.keep_last:
                    _keep(model, best)
            done += 1
            if self.scheduler is not None:
                self.scheduler.step(judged)
            often = -(-self.epochs // CHECKPOINTS_PER_RUN)
            if done < self.epochs and done % often == 0 and not stopped:
                self._checkpoint(model, optimizer, best, done, validation)
        best_epoch = None if self.keep_last else early.best_epoch
        if best_epoch is not None:
            if best:
                model.load_state_dict(best)
            run.info(f"kept epoch {best_epoch + 1} of {done}, with the smallest validation loss")
        model.eval()
        return History(validation, best_epoch, stopped)

    def _epoch(self, optimizer: Optimizer, loss: Loss, report: _Report) -> bool:
        """One pass; whether someone stopped it."""
        clip, minimize, should_stop = self.clip_grad_norm, optimizer.minimize, run.should_stop
        every = max(-(-report.steps // REPORTS_PER_EPOCH), 1)
        for batch in self._training.batches(self.batch_size, report.epoch):
            if should_stop():
                return True
            reports = (report.step + 1) % every == 0
            skipped = optimizer.skipped_steps if reports else 0
            value = loss(batch)
            if clip is None:
                minimize(value)
            else:
                optimizer.zero_grad()
                optimizer.scale_loss(value).backward()
                optimizer.clip_grad_norm(clip)
                optimizer.step()
            report.step += 1
            if reports:
                # A step that loss scaling skipped has changed nothing, and its loss need not be finite: the one before it stands.
                if optimizer.skipped_steps == skipped:
                    report.loss = report.finite(value.item(), "loss")
                report.say()
        return False

    def _validate(self, model: Module, loss: Loss) -> Optional[float]:
        if len(self._validation) == 0:
            return None
        total, samples = 0.0, 0
        model.eval()
        with no_grad():
            for batch in self._validation.batches():
                size = batch.size
                total += loss(batch).item() * size
                samples += size
        model.train()
        return total / samples

    def _checkpoint(
        self, model: Module, optimizer: Optimizer, best: Dict[str, Tensor], done: int, validation: List[float]
    ) -> None:
        tensors = {}
        for part, state in (("parameter", model.state_dict()), ("optimizer", optimizer.state_dict()), ("best", best)):
            tensors.update({f"{part}/{name}": tensor for name, tensor in state.items()})
        # Losses as the bits of their doubles: exact, and short to read.
        bits = (str(struct.unpack("<Q", struct.pack("<d", value))[0]) for value in validation)
        run.checkpoint(tensors, " ".join([str(done), *bits]))

    def _resume(
        self, model: Module, optimizer: Optimizer, best: Dict[str, Tensor], validation: List[float], early: _EarlyStopping
    ) -> int:
        saved = run.resume()
        if saved is None:
            return 0
        tensors, note = saved
        done, *bits = note.split(" ")
        parts: Dict[str, Dict[str, Tensor]] = {"parameter": {}, "optimizer": {}, "best": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        model.load_state_dict(parts["parameter"])
        optimizer.load_state_dict(parts["optimizer"])
        best.update(parts["best"])
        validation.extend(struct.unpack("<d", struct.pack("<Q", int(word)))[0] for word in bits)
        run.info(f"going on after epoch {done} of {self.epochs}")
        # Patience and schedule follow from the losses of the earlier attempt.
        for epoch in range(int(done)):
            judged = validation[epoch] if epoch < len(validation) else None
            if judged is not None:
                early.observe(judged)
            if self.scheduler is not None:
                self.scheduler.step(judged)
        return int(done)


class _Report:
    """What is told of an epoch."""

    def __init__(self, epoch: int, steps: int, epochs: int, validation: Optional[float]) -> None:
        self.epoch, self.steps, self.epochs, self.validation = epoch, steps, epochs, validation
        self.step = 0
        self.loss: Optional[float] = None

    def say(self) -> None:
        metrics = {"loss": self.loss, "validation_loss": self.validation}
        known = {name: value for name, value in metrics.items() if value is not None}
        run.update_progress(self.epoch * self.steps + min(self.step, self.steps), self.epochs * self.steps, **known)

    def tell_skipped(self, optimizer: Optimizer, before: int) -> None:
        """How many of the epoch's steps loss scaling skipped, if any; `before` is how many it had skipped at its beginning."""
        skipped = optimizer.skipped_steps - before
        if skipped > 0:
            scale = f"{optimizer.loss_scale:.9g}"
            run.info(f"epoch {self.epoch + 1}: loss scaling skipped {skipped} of {self.step} steps; the scale is now {scale}")

    def finite(self, value: float, name: str) -> float:
        if math.isfinite(value):
            return value
        raise ArithmeticError(
            f"the {name} is no longer a finite number (epoch {self.epoch + 1}, step {self.step}): try a smaller learning rate"
        )


class _EarlyStopping:
    """When to stop, and which epoch was the best."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.epochs = 0
        self.best_epoch: Optional[int] = None
        self.best = math.inf

    def observe(self, loss: float) -> bool:
        """Takes the loss of one more epoch; whether it is the smallest so far."""
        improved = self.best_epoch is None or loss < self.best
        if improved:
            self.best_epoch, self.best = self.epochs, loss
        self.epochs += 1
        return improved

    def is_over(self) -> bool:
        return self.best_epoch is not None and 0 < self.patience < self.epochs - self.best_epoch


def _keep(model: Module, best: Dict[str, Tensor]) -> None:
    """Copies the state, into the same memory where there is an older copy."""
    with no_grad():
        for name, tensor in model.state_dict().items():
            if name in best:
                best[name].copy_(tensor)
            else:
                best[name] = tensor.detach().clone()

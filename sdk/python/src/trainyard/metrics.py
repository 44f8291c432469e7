"""How good a model is, computed over batches in the host: a few numbers come back at the end."""

from __future__ import annotations

import math
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from . import _host
from .data import Split
from .tensor import Tensor, float64, full, no_grad, ones, stack, uint32, zeros

__all__ = ["ACCURACY", "MACRO_F1", "MAE", "MSE", "R2", "RMSE", "SMAPE", "Metric", "classification", "regression"]


class Metric(NamedTuple):
    """A metric as it is declared."""

    name: str
    summary: str
    maximize: bool = False


#: The mean of (prediction - target)^2.
MSE = Metric("mse", "mean squared error")
#: The mean of |prediction - target|.
MAE = Metric("mae", "mean absolute error")
#: The square root of MSE.
RMSE = Metric("rmse", "root of the mean squared error")
#: 1 - (squared error / squared distance from the target's mean), averaged over the targets.
R2 = Metric("r2", "part of the variance that is explained, at most 1", True)
#: The mean of 200 |prediction - target| / (|prediction| + |target|); 0 where both are zero.
SMAPE = Metric("smape", "symmetric mean absolute percentage error, 0 to 200")
#: The part of the samples whose most probable class is theirs.
ACCURACY = Metric("accuracy", "part of the samples that are classified correctly", True)
#: The mean over the classes of the harmonic mean of precision and recall, over those that occur or are predicted.
MACRO_F1 = Metric("macro_f1", "F1 score averaged over the classes", True)

Predict = Callable[[Tensor], Tensor]


@no_grad()
def regression(split: Split, predict: Predict, metrics: Optional[Sequence[Metric]] = None) -> Dict[str, float]:
    """The errors of `predict` over a split, which gives the targets for a batch of inputs: those of MSE, MAE, RMSE, R2 and SMAPE
    that are wanted."""
    sums: Any = None
    count = 0
    for x, y in split.batches():
        shape, prediction = y.shape, predict(x)
        if prediction.shape != shape:
            raise ValueError(f"predictions {list(prediction.shape)} and targets {list(shape)} differ in shape")
        columns = shape[-1] if shape else 1
        prediction = prediction.detach().to(float64).reshape(-1, columns)
        target = y.to(float64).reshape(-1, columns)
        error = prediction - target
        absolute = error.abs()
        # The smallest number keeps 0 / 0 at 0.
        scale = (prediction.abs() + target.abs()).maximum(full((), sys.float_info.min, dtype=float64))
        parts = [error.square(), absolute, absolute / scale, target, target.square()]
        batch = stack([part.sum(0) for part in parts])
        sums = batch if sums is None else sums + batch
        count += target.shape[0]
    if sums is None:
        raise ValueError("there are no samples to evaluate on")
    return _chosen(_of_sums(sums.tolist(), count), metrics)


def _of_sums(sums: List[List[float]], count: int) -> Dict[str, float]:
    columns = len(sums[0])

    def mean(row: int) -> float:
        return sum(sums[row]) / (count * columns)

    r2 = 0.0
    for squared, total, squares in zip(sums[0], sums[3], sums[4]):
        spread = squares - total * total / count
        # Rounding leaves a little of the spread of a constant.
        r2 += 1.0 - squared / spread if spread > squares * 1e-14 else float(squared == 0.0)
    values = {MSE: mean(0), MAE: mean(1), RMSE: math.sqrt(mean(0)), R2: r2 / columns, SMAPE: 200.0 * mean(2)}
    return {metric.name: value for metric, value in values.items()}


@no_grad()
def classification(split: Split, predict: Predict, metrics: Optional[Sequence[Metric]] = None) -> Dict[str, float]:
    """The scores of `predict` over a split, which gives logits or probabilities [size, classes] for a batch of inputs: those of
    ACCURACY and MACRO_F1 that are wanted."""
    confusion: Any = None
    classes = 0
    for x, y in split.batches():
        prediction = predict(x).detach()
        classes = prediction.shape[-1]
        if confusion is None:
            confusion = zeros(classes * classes, dtype=float64)
        place = (y.to(float64) * classes + prediction.argmax(-1).to(float64)).to(uint32)
        confusion = confusion.scatter_add(0, place, ones(place.shape, dtype=float64))
    if confusion is None:
        raise ValueError("there are no samples to evaluate on")
    return _chosen(_of_confusion(confusion.tolist(), classes), metrics)


def _of_confusion(confusion: List[float], classes: int) -> Dict[str, float]:
    hits = [confusion[at * classes + at] for at in range(classes)]
    seen = [sum(confusion[at * classes : (at + 1) * classes]) + sum(confusion[at::classes]) for at in range(classes)]
    f1 = [2.0 * hit / total for hit, total in zip(hits, seen) if total > 0]
    return {ACCURACY.name: sum(hits) / sum(confusion), MACRO_F1.name: sum(f1) / len(f1)}


def _chosen(values: Dict[str, float], metrics: Optional[Sequence[Metric]]) -> Dict[str, float]:
    if metrics is None:
        return values
    return {metric.name: values[metric.name] for metric in metrics if metric.name in values}

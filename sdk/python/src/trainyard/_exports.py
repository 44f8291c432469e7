"""What the host calls, for one algorithm; everything that goes to the host is checked here, since a wrong type would end the
instance without a word."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, Dict, List, Mapping, Tuple, Type

from .algorithm import Algorithm
from .data import Data
from .metrics import Metric
from .nn.module import Module
from .tensor import Tensor, no_grad

TASKS = ("forecasting", "regression", "classification")


def describe(cls: Type[Algorithm]) -> Dict[str, Any]:
    """Name, version, summary, tasks, parameters (JSON Schema) and metrics of an algorithm."""
    where = cls.__name__
    name = getattr(cls, "name", None) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", where).replace("_", "-").lower()
    summary = getattr(cls, "summary", None) or next(iter((cls.__dict__.get("__doc__") or "").strip().splitlines()), "")
    for attribute, value in (("name", name), ("version", cls.version), ("summary", summary)):
        if not isinstance(value, str):
            raise TypeError(f"{where}.{attribute} must be a text, not {type(value).__name__}")
    tasks = [cls.tasks] if isinstance(cls.tasks, str) else list(cls.tasks)
    if not tasks or any(task not in TASKS for task in tasks):
        raise TypeError(f"{where}.tasks is {cls.tasks!r}: list what it can do of {', '.join(TASKS)}")
    if cls.Parameters is not None and not dataclasses.is_dataclass(cls.Parameters):
        raise TypeError(f"{where}.Parameters must be a dataclass: write @dataclass above it")
    if cls._trains() is Algorithm.train:
        raise TypeError(f"{where} has no train: write one that gives a model")
    metrics = []
    for metric in cls.metrics:
        if not isinstance(metric, Metric):
            raise TypeError(f"{where}.metrics holds {metric!r}: use metrics.MSE and the like, or Metric(name, summary, maximize)")
        metrics.append((metric.name, metric.summary, bool(metric.maximize)))
    return {
        "name": name,
        "version": cls.version,
        "summary": summary,
        "tasks": tasks,
        "parameters": json.dumps(cls._parameters()),
        "metrics": metrics,
    }


def train(cls: Type[Algorithm], parameters: str) -> Tuple[List[Tuple[str, Tensor]], str]:
    """Trains: named tensors and a note."""
    made = cls._make(parameters)
    model = made.train(Data())
    if model is None:
        raise TypeError(f"{cls.__name__}.train gave nothing: end it with `return net`")
    with no_grad():
        saved = made.save(model)
    tensors, note = saved if isinstance(saved, tuple) and len(saved) == 2 else (saved, None)
    if isinstance(tensors, Module):
        tensors = tensors.state_dict()
    if not isinstance(tensors, Mapping):
        raise TypeError(f"{cls.__name__}.save gave a {type(tensors).__name__}: give a dict of tensors, or the dict and a note")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(f"the model holds {name!r}: {type(tensor).__name__}; it is a dict of names and tensors")
    # Copies, since a parameter cannot leave the graph of derivatives by itself.
    named = [(name, tensor.detach()) for name, tensor in tensors.items()]
    return named, "" if note is None else json.dumps(note)


def _model(cls: Type[Algorithm], parameters: str, tensors: Any, note: str) -> Tuple[Algorithm, Any, Data]:
    made, data = cls._make(parameters), Data()
    loaded = made.load(dict(tensors), json.loads(note) if note else None, data)
    if isinstance(loaded, Module):
        loaded.eval()
    return made, loaded, data


def evaluate(cls: Type[Algorithm], parameters: str, tensors: Any, note: str) -> List[Tuple[str, float]]:
    """Metrics on the test split."""
    made, model, data = _model(cls, parameters, tensors, note)
    with no_grad():
        metrics = made.evaluate(model, data)
    if not isinstance(metrics, Mapping):
        raise TypeError(f"{cls.__name__}.evaluate gave a {type(metrics).__name__}: give a dict of names and numbers")
    return [(str(name), float(value)) for name, value in metrics.items()]


def predict(cls: Type[Algorithm], parameters: str, tensors: Any, note: str) -> Tensor:
    """Predictions for the split `predict`."""
    made, model, data = _model(cls, parameters, tensors, note)
    with no_grad():
        result = made._predict(model, data)
    if not isinstance(result, Tensor):
        raise TypeError(f"{cls.__name__}.predict gave a {type(result).__name__}: give a tensor")
    return result.detach()



"""`Estimator`: an algorithm in the form that scikit-learn users know."""

from __future__ import annotations

import inspect
import typing
from typing import Any, Dict, Mapping

from .algorithm import Algorithm, Model
from .data import Data
from .metrics import classification, regression
from .parameters import Range, _described, _plain
from .tensor import Tensor

__all__ = ["Estimator"]


class Estimator(Algorithm):
    """Derive from it and write `__init__` with the parameters, `fit` and `predict`.

        class Ridge(Estimator):
            '''Linear regression with a penalty.'''

            tasks = ["regression"]

            def __init__(self, alpha: Annotated[float, Range(ge=0, doc="How strong.")] = 1.0):
                self.alpha = alpha

            def fit(self, X, y):
                self.coef_ = linalg.solve(X.T @ X + eye(X.shape[1]) * self.alpha, X.T @ y)
                return self

            def predict(self, X):
                return X @ self.coef_

    X is [rows, features] and y is [rows, targets], scaled by the host; a window is one flat row, classes are [rows] of `uint32`. What
    `fit` leaves in attributes whose names end in `_` is the model: tensors, and values of JSON. A classifier's `predict` gives
    classes [rows], its `predict_proba` probabilities [rows, classes].
    """

    def fit(self, X: Tensor, y: Tensor) -> Any:
        """Learns."""
        raise NotImplementedError(f"{type(self).__name__} has no fit")

    def predict(self, X: Tensor) -> Tensor:  # type: ignore[override]
        """Targets, or classes, for rows."""
        raise NotImplementedError(f"{type(self).__name__} has no predict")

    def score(self, X: Tensor, y: Tensor) -> float:
        """The coefficient of determination, or of a classifier the part that is right."""
        predicted = self.predict(X)
        if "classification" in self.tasks and y.ndim == 1:
            return (predicted.to(y.dtype) == y).float().mean().item()
        spread = (y - y.mean(0, keepdim=True)).square().sum().item()
        return 1 - (y - predicted).square().sum().item() / spread

    def get_params(self, deep: bool = True) -> Dict[str, Any]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in self._signature()}

    def set_params(self, **params: Any) -> Estimator:
        """Sets some parameters."""
        known = self._signature()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    @classmethod
    def _signature(cls) -> Dict[str, inspect.Parameter]:
        if cls.__init__ is Algorithm.__init__:
            return {}
        return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])

    @classmethod
    def _parameters(cls) -> Dict[str, Any]:
        hints = typing.get_type_hints(cls.__init__, include_extras=True)
        properties = {}
        for name, parameter in cls._signature().items():
            where = f"{cls.__name__}.__init__({name})"
            if parameter.default is inspect.Parameter.empty:
                raise TypeError(f"{where}: a parameter needs a default")
            hint, allowed = hints.get(name, type(parameter.default)), Range()
            if typing.get_origin(hint) is typing.Annotated:
                hint, *extras = typing.get_args(hint)
                allowed = next((extra for extra in extras if isinstance(extra, Range)), allowed)
            described = {"description": allowed.doc} if allowed.doc else {}
            described.update(_described(hint, allowed, where))
            described["default"] = _plain(parameter.default)
            properties[name] = described
        return {"type": "object", "additionalProperties": False, "properties": properties}

    @classmethod
    def _make(cls, text: str) -> Algorithm:
        import json

        given = json.loads(text)
        return cls(**{name: given[name] for name in cls._signature() if name in given})

    @classmethod
    def _trains(cls) -> Any:
        return Algorithm.train if cls.fit is Estimator.fit else cls.fit

    def train(self, data: Data) -> Model:
        """Fits to the training split."""
        self.update_progress(0, 1)
        X, y = _rows(data)
        self.fit(X, y)
        self.update_progress(1, 1)
        return self

    def save(self, model: Model) -> Any:
        """The attributes that end in `_`."""
        learned = {name: value for name, value in vars(self).items() if name.endswith("_") and not name.startswith("_")}
        tensors = {name: value for name, value in learned.items() if isinstance(value, Tensor)}
        note = {name: value for name, value in learned.items() if not isinstance(value, Tensor)}
        return tensors, note

    def load(self, tensors: Dict[str, Tensor], note: Any, data: Data) -> Model:
        """Sets what was learned."""
        for name, value in {**tensors, **(note or {})}.items():
            setattr(self, name, value)
        return self

    def evaluate(self, model: Model, data: Data) -> Mapping[str, float]:
        """Metrics on the test split."""
        judge = classification if data.task == "classification" else regression
        return judge(data.test, lambda x: self._answer(x, data), self.metrics)

    def _predict(self, model: Model, data: Data) -> Tensor:
        from .tensor import cat

        return cat([self._answer(batch.x, data) for batch in data.predict.batches()])

    def _answer(self, x: Tensor, data: Data) -> Tensor:
        X = x.flatten(1) if data.lookback else x
        if data.task == "classification":
            if hasattr(self, "predict_proba"):
                return self.predict_proba(X)
            from .nn.functional import one_hot
            from .tensor import uint32

            return one_hot(self.predict(X).to(uint32), len(data.classes))
        answer = self.predict(X)
        shape = (len(x), data.horizon, len(data.targets)) if data.lookback else (len(x), len(data.targets))
        return answer.reshape(shape)


def _rows(data: Data) -> Any:
    if not data.lookback:
        return data.train.features(), data.train.targets()
    from .tensor import cat

    batches = list(data.train.batches())
    return cat([batch.x.flatten(1) for batch in batches]), cat([batch.y.flatten(1) for batch in batches])

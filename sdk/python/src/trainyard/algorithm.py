"""`Algorithm`: what a plugin is."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Type

from . import metrics as _metrics
from . import run
from .data import Data
from .metrics import Metric
from .nn.module import Module
from .tensor import Tensor, cat, no_grad

__all__ = ["Algorithm"]

Model = Any


class Algorithm:
    """An algorithm that the host can run. Derive from it once in a file, and the file is a plugin.

        class MyAlgo(Algorithm):
            '''One line that says what it does.'''

            tasks = ["regression"]

            @dataclass
            class Parameters:
                hidden: int = param(32, ge=1, le=1024, doc="Units in the hidden layer.")

            def build(self, data):
                return nn.Sequential(nn.Linear(data.inputs, self.params.hidden), nn.ReLU(), nn.Linear(self.params.hidden, data.outputs))

            def train(self, data):
                net = self.build(data)
                Trainer(10).fit(net, optim.Adam(net.parameters()), lambda batch: F.mse_loss(net(batch.x), batch.y))
                return net

    The host makes a fresh instance of the plugin for each of `train`, `evaluate` and `predict`: what is to be kept goes into the
    model, through `save` and `load`.
    """

    #: Lower-case letters, digits and hyphens; follows from the name of the class when it is not said.
    name: str
    #: Semantic version.
    version: str = "0.1.0"
    #: One line; the first of the class's text when it is not said.
    summary: str
    #: Which of `forecasting`, `regression`, `classification` it can do.
    tasks: Sequence[str] = ()
    #: What `evaluate` gives.
    metrics: Sequence[Metric] = (_metrics.MSE, _metrics.MAE, _metrics.R2, _metrics.ACCURACY, _metrics.MACRO_F1)
    #: A dataclass: what users can set. See `param`.
    Parameters: Optional[Type[Any]] = None

    def __init__(self, params: Any = None) -> None:
        #: The parameters of this job.
        self.params = params

    # What an author writes

    def build(self, data: Data) -> Module:
        """The network, untrained. `load` calls it, and gives the network its trained state."""
        raise NotImplementedError(f"{type(self).__name__} has no build: write one that makes the network, or a load of your own")

    def train(self, data: Data) -> Model:
        """Learns from `data.train` and `data.validation`. Gives an `nn.Module`, a dict of tensors, or whatever `save` takes."""
        raise NotImplementedError(f"{type(self).__name__} has no train: write one that gives a model")

    def evaluate(self, model: Model, data: Data) -> Mapping[str, float]:
        """Metrics on `data.test`. As it is here: of what `forward` gives, those of `metrics` that fit the task."""
        judge = _metrics.classification if data.task == "classification" else _metrics.regression
        return judge(data.test, lambda x: self.forward(model, x), self.metrics)

    def predict(self, model: Model, data: Data) -> Tensor:
        """One prediction for each sample of `data.predict`, scaled as the targets are: [size, horizon, targets], [size, targets],
        or for classes their probabilities [size, classes]."""
        with no_grad():
            parts = [self.forward(model, batch.x) for batch in data.predict.batches()]
            if data.task == "classification":
                parts = [part.softmax(-1) for part in parts]
            return cat(parts)

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """What the model gives for a batch: targets, or logits of classes."""
        if not callable(model):
            raise NotImplementedError(
                f"{type(self).__name__} has no forward: write forward(model, x), or evaluate and predict, since the model is a "
                f"{type(model).__name__}"
            )
        return model(x)

    def save(self, model: Model) -> Any:
        """A dict of tensors, or such a dict and a note: JSON of your own."""
        if isinstance(model, Module):
            return model.state_dict()
        if isinstance(model, Mapping):
            return model
        raise TypeError(
            f"{type(self).__name__}.train gave a {type(model).__name__}: give an nn.Module or a dict of tensors, or write save and load"
        )

    def load(self, tensors: Dict[str, Tensor], note: Any, data: Data) -> Model:
        """The model from what `save` gave."""
        if type(self).build is Algorithm.build:
            return tensors
        network = self.build(data)
        network.load_state_dict(tensors)
        return network.eval()

    # What an author calls

    @property
    def seed(self) -> int:
        """The job's seed. Random tensors, shuffling and Python's `random` follow from it already."""
        return run.seed()

    def update_progress(self, current: int, total: int, **metrics: float) -> None:
        """`current` of `total` steps are done. Metrics are finite numbers, such as `loss=0.3`."""
        run.update_progress(current, total, **metrics)

    def log(self, message: Any) -> None:
        """A line for the job's log, as `print` writes."""
        run.info(message)

    def warning(self, message: Any) -> None:
        """A line for the job's log, of something that may be wrong."""
        run.warning(message)

    def should_stop(self) -> bool:
        """Whether someone asked the job to stop: return what is trained so far."""
        return run.should_stop()

    def checkpoint(self, tensors: Mapping[str, Tensor], note: str = "") -> None:
        """Stores what is needed to go on after an interruption."""
        run.checkpoint(tensors, note)

    def resume(self) -> Optional[Tuple[Dict[str, Tensor], str]]:
        """Tensors and note of the checkpoint of an earlier, interrupted attempt."""
        return run.resume()

    # What the host calls, through `_exports`

    @classmethod
    def _make(cls, text: str) -> Algorithm:
        from .parameters import from_json

        made = cls.__new__(cls)
        Algorithm.__init__(made)
        if cls.Parameters is not None:
            made.params = from_json(cls.Parameters, text)
        if cls.__init__ is not Algorithm.__init__:
            cls.__init__(made)
        return made

    @classmethod
    def _trains(cls) -> Any:
        return cls.train

    def _predict(self, model: Model, data: Data) -> Tensor:
        return self.predict(model, data)

    @classmethod
    def _parameters(cls) -> Dict[str, Any]:
        from .parameters import schema

        if cls.Parameters is None:
            return {"type": "object", "additionalProperties": False, "properties": {}}
        return schema(cls.Parameters)

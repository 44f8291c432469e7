"""The job's data: cleaned, split by time and scaled by the host; here are its batches and columns."""

from __future__ import annotations

from typing import Any, Iterator, List, NamedTuple, Optional

from . import _host
from .tensor import Tensor

__all__ = ["Batch", "Data", "DataLoader", "Split"]

#: Samples in a batch where no gradient is computed.
EVALUATION_BATCH = 512


class Batch(NamedTuple):
    """Samples of a split: `x, y = batch` works, too."""

    #: Windows [size, lookback, features], or rows [size, features].
    x: Tensor
    #: Windows [size, horizon, targets], rows [size, targets], classes [size] of `uint32`; None when predicting.
    y: Any

    @property
    def size(self) -> int:
        """How many samples there are."""
        return len(self.x)


class Split:
    """A part of the data: `data.train`, `data.validation`, `data.test`, `data.predict`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._split = getattr(_host.dataset.Split, name.upper())

    def __len__(self) -> int:
        """Samples: windows where there is a lookback, else rows."""
        return _host.dataset.size(self._split)

    def batches(
        self, size: int = EVALUATION_BATCH, shuffle: Optional[int] = None, drop_last: bool = False, dtype: Any = None
    ) -> Iterator[Batch]:
        """One pass. `shuffle` is the number of the epoch, from which and the job's seed the order follows; None is in order of
        time."""
        options = _host.dataset.BatchOptions(int(size), shuffle, bool(drop_last), dtype or _host.types.Dtype.F32)
        batches = _host.dataset.Batches.open(self._split, options)
        take = batches.next
        while True:
            batch = take()
            if batch is None:
                return
            yield Batch(batch.x, batch.y)

    def column(self, name: str, dtype: Any = None) -> Tensor:
        """One column [rows]."""
        return _host.dataset.column(self._split, name, dtype or _host.types.Dtype.F32)

    def features(self, dtype: Any = None) -> Tensor:
        """All features [rows, features]."""
        return _host.dataset.features(self._split, dtype or _host.types.Dtype.F32)

    def targets(self, dtype: Any = None) -> Tensor:
        """All targets [rows, targets]; classes as [rows] of `uint32`."""
        return _host.dataset.targets(self._split, dtype or _host.types.Dtype.F32)


class Data:
    """What an algorithm learns from."""

    def __init__(self) -> None:
        schema = _host.dataset.schema()
        #: `forecasting`, `regression` or `classification`.
        self.task: str = schema.task
        #: Names of the columns to learn from.
        self.features: List[str] = schema.features
        #: Names of the columns to predict.
        self.targets: List[str] = schema.targets
        #: Labels of a classification, in the order of the class indices.
        self.classes: List[str] = schema.classes
        #: Rows that a forecast looks back on; 0 where there are no windows.
        self.lookback: int = schema.lookback
        #: Rows that a forecast looks ahead.
        self.horizon: int = schema.horizon
        self.train, self.validation = Split("train"), Split("validation")
        self.test, self.predict = Split("test"), Split("predict")

    @property
    def inputs(self) -> int:
        """Numbers in one sample of x: features, times the lookback where there are windows."""
        return len(self.features) * max(self.lookback, 1)

    @property
    def outputs(self) -> int:
        """Numbers to give for one sample: classes, or targets times the horizon where there are windows."""
        if self.task == "classification":
            return len(self.classes)
        return len(self.targets) * max(self.horizon, 1)

    def to_original_units(self, values: Tensor) -> Tensor:
        """Scaled targets (last dimension: targets) back in their own units."""
        return _host.dataset.to_original_units(values)


class DataLoader:
    """Batches of a split, again and again, as `torch.utils.data.DataLoader`: with `shuffle` each pass has another order."""

    def __init__(self, split: Split, batch_size: int = 32, shuffle: bool = False, drop_last: bool = False, dtype: Any = None) -> None:
        self.split, self.batch_size, self.shuffle, self.drop_last, self.dtype = split, batch_size, shuffle, drop_last, dtype
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which pass comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Batches in a pass."""
        samples = len(self.split)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch if self.shuffle else None
        self._epoch += 1
        return self.split.batches(self.batch_size, epoch, self.drop_last, self.dtype)

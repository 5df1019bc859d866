"""What a data set offers to calibration and evaluation, and the registry of data sets. (MRT main2, ``dataset``.)"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.utils import data

from mrt_torch.data.accuracy import ClassificationAccuracy
from mrt_torch.data.metric import Metric, Predictions
from mrt_torch.errors import InvalidArgumentError

GROUP = "mrt_torch.datasets"
DS_REG: dict[str, type[Dataset]] = {}
DEFAULT_ROOT = Path("~/.mxnet/datasets")
Batch = tuple[torch.Tensor, torch.Tensor]


def register_dataset(name: str) -> Callable[[type[Dataset]], type[Dataset]]:
    """Class decorator: make a data set known to configurations and the command line by ``name``.

    Raises:
        InvalidArgumentError: the name is taken.
    """
    def decorate(cls: type[Dataset]) -> type[Dataset]:
        if name in DS_REG:
            raise InvalidArgumentError(f"a data set called '{name}' is registered already",
                                       remedy="choose another name")
        cls.name = name
        DS_REG[name] = cls
        return cls
    return decorate


def dataset_called(name: str) -> type[Dataset]:
    """A registered data set; one that is not known is looked for in the modules that other packages declare.

    Such a package names the module that registers its data sets in the entry-point group ``mrt_torch.datasets``.

    Raises:
        InvalidArgumentError: there is none of that name.
    """
    if name not in DS_REG:
        _load_declared()
    if name not in DS_REG:
        raise InvalidArgumentError(f"there is no data set '{name}'", why=f"registered are {', '.join(sorted(DS_REG))}",
                                   remedy="name one of them, or register your own with register_dataset")
    return DS_REG[name]


@functools.cache
def _load_declared() -> None:
    for entry in entry_points(group=GROUP):
        entry.load()


class Dataset(data.Dataset):
    """Examples of one input shape with their labels, and the metric that judges answers to them.

    A data set of one's own defines ``__len__`` and ``__getitem__``, and where it reads files ``_load_data``; it is
    registered with ``register_dataset``.

    Args:
        input_shape: shape of a batch, such as (16, 3, 224, 224).
        root: folder of data sets; the files are in ``<root>/<name>``. None takes ``~/.mxnet/datasets``.

    Attributes:
        batch_axis: axis of an input that counts examples.
        folder: where the files are.

    Raises:
        InvalidArgumentError: the data set has no inputs of that shape.
        InvalidFileError: a file is missing or corrupt.
    """

    name: ClassVar[str] = "none"
    batch_axis: ClassVar[int] = 0

    def __init__(self, input_shape: Sequence[int], root: str | os.PathLike[str] | None = None):
        self.input_shape = _checked_shape(input_shape, self.batch_axis)
        self.folder = Path(DEFAULT_ROOT if root is None else root).expanduser() / self.name
        self._check_shape()
        self._load_data()

    def _check_shape(self) -> None:
        """Raise InvalidArgumentError unless the data set has inputs of ``input_shape``."""

    def _require_shape(self, fits: bool, wanted: str) -> None:
        """Raise InvalidArgumentError, saying the shape wanted, such as (N, 3, H, H), unless ``input_shape`` fits."""
        if not fits:
            raise InvalidArgumentError(f"the data set '{self.name}' has no inputs of that shape", where="input_shape",
                                       why=f"saw {self.input_shape}, expected {wanted}",
                                       remedy="give the shape of the data, or choose the data set of the model")

    def _load_data(self) -> None:
        """Read what is needed before the first example; called once."""

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} does not define __len__")

    def __getitem__(self, index: int) -> Batch:
        """Input, without the axis of the batch, and label of an example."""
        raise TypeError(f"{type(self).__name__} does not define __getitem__")

    @property
    def batch_size(self) -> int:
        """Examples in a batch."""
        return self.input_shape[self.batch_axis]

    def collate(self, examples: Sequence[Batch]) -> Batch:
        """One batch of several examples: inputs joined on ``batch_axis``, labels on axis 0."""
        inputs, labels = zip(*examples, strict=True)
        return torch.stack(inputs, self.batch_axis), torch.stack(labels)

    def batch(self, index: int) -> Batch:
        """The batch of that number, from 0; the last one may be smaller.

        Raises:
            IndexError: there are not as many.
        """
        first = index * self.batch_size
        if not 0 <= first < len(self):
            raise IndexError(index)
        return self.collate(self._examples(range(first, min(first + self.batch_size, len(self)))))

    def _examples(self, indices: range) -> list[Batch]:
        """The examples of a batch."""
        return [self[index] for index in indices]

    def batches(self) -> Iterator[Batch]:
        """All examples in order, in batches."""
        return (self.batch(index) for index in range(-(-len(self) // self.batch_size)))

    def iter_func(self) -> Callable[[], Batch]:
        """A function that returns the next batch at each call, and raises StopIteration at the end."""
        batches = self.batches()
        return lambda: next(batches)

    def metrics(self) -> Metric:
        """A fresh accumulator for ``validate``."""
        return ClassificationAccuracy()

    def validate(self, metrics: Metric, predict: Predictions, label: torch.Tensor) -> str:
        """Judge a batch of answers, and say how it stands so far, such as ``top1=71.20% top5=90.10%``."""
        metrics.update(predict, label)
        return str(metrics)

    def agreement(self, first: Predictions, second: Predictions) -> torch.Tensor:
        """For each example of a batch whether two answers to it say the same: (N,) bool; here the highest class."""
        one, other = ((answer if isinstance(answer, torch.Tensor) else answer[0]) for answer in (first, second))
        return one.reshape(len(one), -1).argmax(1) == other.reshape(len(other), -1).argmax(1)


def _checked_shape(input_shape: Sequence[int], batch_axis: int) -> tuple[int, ...]:
    shape = tuple(input_shape)
    if len(shape) <= batch_axis or not all(isinstance(extent, Integral) and extent > 0 for extent in shape):
        raise InvalidArgumentError("the shape of a batch is a sequence of positive integers", where="input_shape",
                                   why=f"saw {shape!r:.200}",
                                   remedy="give the batch as a number too, such as (16, 3, 224, 224)")
    return tuple(map(int, shape))


class DatasetInParts(Dataset):
    """A data set with examples for training besides those for test.

    Args:
        is_train: whether to give the examples for training.
    """

    def __init__(self, input_shape: Sequence[int], root: str | os.PathLike[str] | None = None,
                 is_train: bool = False):
        self.is_train = is_train
        super().__init__(input_shape, root)


class ArrayDataset(Dataset):
    """Arrays in memory: inputs (N, ...) and labels (N, ...)."""

    def __init__(self, input_shape: Sequence[int], inputs: Any, labels: Any):
        self.inputs, self.labels = torch.as_tensor(inputs), torch.as_tensor(labels)
        super().__init__(input_shape)

    def _check_shape(self) -> None:
        if len(self.inputs) != len(self.labels) or tuple(self.inputs.shape[1:]) != self.input_shape[1:]:
            raise InvalidArgumentError(
                "inputs and labels do not fit", why=f"saw {tuple(self.inputs.shape)} and {tuple(self.labels.shape)} "
                f"for input shape {self.input_shape}", remedy="give one label for each input of that shape")

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Batch:
        return self.inputs[index], self.labels[index]

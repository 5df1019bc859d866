"""What a data set offers to calibration and evaluation, and the registry of data sets. (MRT main2, ``dataset``.)"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch

from mrt_torch.errors import InvalidArgumentError

DS_REG: dict[str, type[Dataset]] = {}
Batch = tuple[torch.Tensor, torch.Tensor]


def register_dataset(name: str) -> Callable[[type[Dataset]], type[Dataset]]:
    """Class decorator: make a data set known to configurations by ``name``.

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


class Dataset:
    """Batches of (input, label) for one input shape, whose first extent is the batch."""

    name: ClassVar[str] = "none"

    def __init__(self, input_shape: Sequence[int]):
        self.input_shape = tuple(input_shape)

    def __iter__(self) -> Iterator[Batch]:
        raise TypeError(f"{type(self).__name__} does not define __iter__")

    def iter_func(self) -> Callable[[], Batch]:
        """A function that returns the next batch at each call, and raises StopIteration at the end."""
        batches = iter(self)
        return lambda: next(batches)

    def metrics(self) -> dict[str, int]:
        """A fresh accumulator for ``validate``."""
        return {"correct": 0, "seen": 0}

    def validate(self, metrics: dict[str, int], predictions: torch.Tensor, labels: torch.Tensor) -> str:
        """Count a batch of logits (N, C) against labels (N,), and say how it stands: top-1 accuracy so far."""
        metrics["correct"] += int((predictions.argmax(1) == labels).sum())
        metrics["seen"] += len(labels)
        return f"top1={metrics['correct'] / metrics['seen']:.4%}"


class ArrayDataset(Dataset):
    """Arrays in memory: inputs (N, ...) and labels (N,); the last batch may be smaller."""

    def __init__(self, input_shape: Sequence[int], inputs: np.ndarray | torch.Tensor,
                 labels: np.ndarray | torch.Tensor):
        super().__init__(input_shape)
        self.inputs, self.labels = torch.as_tensor(inputs), torch.as_tensor(labels)
        if len(self.inputs) != len(self.labels) or tuple(self.inputs.shape[1:]) != self.input_shape[1:]:
            raise InvalidArgumentError(
                "inputs and labels do not fit", why=f"saw {tuple(self.inputs.shape)} and {tuple(self.labels.shape)} "
                f"for input shape {self.input_shape}", remedy="give one label for each input of that shape")

    def __iter__(self) -> Iterator[Batch]:
        size = self.input_shape[0]
        return zip(self.inputs.split(size), self.labels.split(size), strict=True)

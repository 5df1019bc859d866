"""The examples that a calibration observes: from a file, or from a data set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import click
import numpy as np

from mrt_torch.commands.options import (
    EXISTING_FILE,
    FOLDER,
    POSITIVE,
    batch_option,
    dataset_folder_option,
    dataset_option,
)
from mrt_torch.data import Dataset
from mrt_torch.data.dataset import dataset_called
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.model import Model

Arrays = Mapping[str, np.ndarray]
DATASET_BATCHES = 4  # 64 pictures in all, by default


@dataclass(frozen=True)
class CalibrationOptions:
    """What the user said about calibration; see the help of each option."""

    data: Path | None
    dataset: str | None
    dataset_dir: Path | None
    batch: int
    batches: int | None
    lambd: float | None
    device: str
    cache: Path | None

    @property
    def given(self) -> bool:
        """Whether there are examples to calibrate with."""
        return self.data is not None or self.dataset is not None

    def check(self) -> None:
        """Raise click.UsageError unless there is one source of examples."""
        if (self.data is None) == (self.dataset is None):
            raise click.UsageError("give either --data or --dataset")

    def examples(self, model: Model) -> Examples | DatasetExamples:
        """The batches for a prepared model."""
        if self.dataset is not None:
            dataset = dataset_for(model, self.dataset, self.dataset_dir, self.batch)
            return DatasetExamples(dataset, DATASET_BATCHES if self.batches is None else self.batches)
        axis = facts_of(input_nodes(model.module.graph)[0]).batch_axis
        return Examples(load_arrays(self.data, model, axis), self.batch, axis, self.batches)


def calibration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a calibration, which the command gets as its argument ``calibration``."""
    @functools.wraps(command)
    def collected(**values: Any) -> Any:
        own = {field.name: values.pop(field.name) for field in fields(CalibrationOptions)}
        return command(**values, calibration=CalibrationOptions(**own))

    for option in reversed((
            click.option("--data", type=EXISTING_FILE, help="Examples, preprocessed: a .npy file, or a .npz file with "
                                                            "an array for each input."),
            dataset_option, dataset_folder_option, batch_option,
            click.option("--batches", type=POSITIVE,
                         help=f"Batches to take.  [default: all of --data, {DATASET_BATCHES} of --dataset]"),
            click.option("--lambd", type=float, help="Cut a batch's threshold to |mean| + LAMBD * deviation where that "
                                                     "is well below its largest magnitude."),
            click.option("--device", default="cpu", show_default=True, help="Torch device, such as cuda."),
            click.option("--cache", type=FOLDER, help="Folder that keeps the statistics, so that an interrupted "
                                                      "calibration can go on."))):
        collected = option(collected)
    return collected


def dataset_for(model: Model, name: str, folder: Path | None, batch: int) -> Dataset:
    """A registered data set with batches of that size, of the shape of the only input of a model.

    Raises:
        InvalidArgumentError: there is no such data set, it has other inputs, or the model takes several.
        InvalidFileError: a file of it is missing or corrupt.
    """
    dataset = dataset_called(name)
    shapes = model.joined.shapes if model.joined else model.input_shapes()
    if len(shapes) != 1:
        raise InvalidArgumentError("a data set has one input", where="--dataset", why=f"the model takes {list(shapes)}",
                                   remedy="give a .npz file with an array for each input as --data")
    shape = list(next(iter(shapes.values())))
    shape[dataset.batch_axis] = batch
    return dataset(shape, folder)


@dataclass(frozen=True)
class Examples(Sequence):
    """Batches of arrays that count examples on one axis; the last batch may be smaller.

    An item is an array, or for several inputs a mapping of arrays by input. ``batches`` is the most there are.
    """

    arrays: np.ndarray | Arrays
    batch: int
    axis: int = 0
    batches: int | None = None

    @property
    def count(self) -> int:
        """Number of examples."""
        there = _values(self.arrays)[0].shape[self.axis]
        return there if self.batches is None else min(there, self.batches * self.batch)

    def __len__(self) -> int:
        return -(-self.count // self.batch)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = (slice(None),) * self.axis + (slice(index * self.batch, (index + 1) * self.batch),)
        if isinstance(self.arrays, Mapping):
            return {name: np.ascontiguousarray(array[place]) for name, array in self.arrays.items()}
        return np.ascontiguousarray(self.arrays[place])

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class DatasetExamples(Sequence):
    """The inputs of the first batches of a data set; the last batch may be smaller."""

    dataset: Dataset
    batches: int

    @property
    def count(self) -> int:
        """Number of examples."""
        return min(len(self.dataset), self.batches * self.dataset.batch_size)

    def __len__(self) -> int:
        return -(-self.count // self.dataset.batch_size)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.dataset.batch(index)[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))


def read_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a ``.npy`` file, which is not read whole, or the arrays of a ``.npz`` file by name.

    Raises:
        InvalidFileError: the file cannot be read; pickled objects are refused.
    """
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        return dict(loaded) if isinstance(loaded, Mapping) else loaded
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise InvalidFileError("the data cannot be read", where=str(path), why=str(error),
                               remedy="give a .npy or .npz file of numbers that NumPy wrote") from error


def load_arrays(path: Path, model: Model, axis: int) -> np.ndarray | Arrays:
    """The array of a file, or for a model of several inputs its arrays by input.

    Raises:
        InvalidFileError: the file cannot be read.
        InvalidArgumentError: the arrays are not those of the inputs.
    """
    loaded = arrays = read_arrays(path)
    names = list(model.joined.shapes) if model.joined else [model.input_names()[0]]
    if isinstance(arrays, Mapping) and not model.joined:
        arrays = next(iter(arrays.values())) if len(arrays) == 1 else arrays.get(names[0])
    elif isinstance(arrays, Mapping):
        arrays = {name: arrays[name] for name in names} if set(names) <= set(arrays) else None
    elif model.joined:
        arrays = None
    if arrays is None or any(array.ndim <= axis for array in _values(arrays)):
        raise InvalidArgumentError("the data does not have an array for each input", where=str(path),
                                   why=f"saw {list(loaded) if isinstance(loaded, Mapping) else loaded.shape}",
                                   remedy=f"write a .npz file with arrays called {names}, each of many examples")
    return arrays


def _values(arrays: np.ndarray | Arrays) -> list[np.ndarray]:
    return list(arrays.values()) if isinstance(arrays, Mapping) else [arrays]

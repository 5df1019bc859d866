"""TREC: questions of 38 words and the 6 kinds of answer that they ask for. (MRT main2, ``trec``.)"""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
import torch

from mrt_torch.data.accuracy import ClassificationAccuracy
from mrt_torch.data.dataset import Batch, DatasetInParts, register_dataset
from mrt_torch.data.labels import class_labels
from mrt_torch.data.metric import Metric
from mrt_torch.data.pickle_file import read_pickle
from mrt_torch.data.required_files import required_files
from mrt_torch.errors import InvalidFileError

WORDS = 38
_LARGEST = 2**53


class TopOneAccuracy(ClassificationAccuracy):
    """Share of examples whose label has the highest score, written as ``97.63%``."""

    def __init__(self) -> None:
        super().__init__(ranks=(1,))

    def __str__(self) -> str:
        return f"{self.values()['top1']:.2%}"


@register_dataset("trec")
class TrecDataset(DatasetInParts):
    """Questions as the numbers of their words: inputs (38, N) float32, labels (N,) int64.

    The files ``TREC.train.pk`` and ``TREC.test.pk`` hold a pickled list of pairs (38 numbers, label); they are read
    without running the pickle (``pickle_file``). Every question occurs once; the original left one out for each batch.

    Args:
        input_shape: (38, N).
        root: folder of data sets; the files are in ``<root>/trec``.
        is_train: read the training file instead of the test file.

    Raises:
        InvalidArgumentError: another input shape.
        InvalidFileError: the file is missing, damaged, or holds anything but such pairs.
    """

    batch_axis = 1

    def _check_shape(self) -> None:
        self._require_shape(len(self.input_shape) == 2 and self.input_shape[0] == WORDS, f"({WORDS}, N)")

    def _load_data(self) -> None:
        path, = required_files(self.name, self.folder, ("TREC.train.pk" if self.is_train else "TREC.test.pk",),
                               remedy="put the pickled questions there, or give the root of the data sets")
        pairs = read_pickle(path)
        if not isinstance(pairs, (list, tuple)) or not pairs:
            raise InvalidFileError("a TREC file holds no list of questions", where=str(path),
                                   why=f"saw {reprlib.repr(pairs)}", remedy="write a list of (words, label) pairs")
        questions, labels = zip(*(_question(pair, f"{path}, element {index}") for index, pair in enumerate(pairs)),
                                strict=True)
        self._questions, self._labels = torch.stack(questions), torch.stack(labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Batch:
        return self._questions[index], self._labels[index]

    def metrics(self) -> Metric:
        return TopOneAccuracy()


def _question(pair: Any, where: str) -> Batch:
    """Words (38,) float32 and label () of an element of the list."""
    words = pair[0] if isinstance(pair, (list, tuple)) and len(pair) == 2 else None
    if not isinstance(words, np.ndarray):
        # Numbers only: NumPy would take text for words too, and try to look into lists that hold themselves.
        words = np.array([float(word) for word in words] if _are_numbers(words) else 0.0)
    if words.shape != (WORDS,) or not _are_numbers([_scalar(pair[1])]):
        raise InvalidFileError("an element of a TREC file is no question", where=where, why=f"saw {reprlib.repr(pair)}",
                               remedy=f"write a list of pairs of {WORDS} numbers and a label")
    return torch.from_numpy(words.astype(np.float32)), class_labels(_scalar(pair[1]), where)


def _scalar(value: Any) -> Any:
    return value.reshape(())[()] if isinstance(value, np.ndarray) and value.size == 1 else value


def _are_numbers(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(
        isinstance(value, (int, float, np.integer, np.floating)) and abs(value) < _LARGEST for value in values)

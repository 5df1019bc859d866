"""Class labels from numbers of any type."""

from __future__ import annotations

import numpy as np
import torch

from mrt_torch.errors import InvalidFileError

_LARGEST = 2**31 - 1  # far beyond any number of classes, and exact in float64


def class_labels(numbers: np.ndarray, where: str, classes: int | None = None) -> torch.Tensor:
    """int64 labels of the shape of ``numbers``.

    Args:
        numbers: integers, or floats of whole value.
        where: file, and place in it, for messages.
        classes: how many there are; None: not known.

    Raises:
        InvalidFileError: a label that is no class.
    """
    numbers, largest = np.asarray(numbers), _LARGEST if classes is None else classes - 1
    if numbers.dtype.kind not in "biuf":
        raise InvalidFileError("labels are no numbers", where=where, why=f"their type is {numbers.dtype}",
                               remedy="give the number of a class for each example")
    wrong = np.argwhere(~((numbers >= 0) & (numbers <= largest) & (numbers == np.floor(numbers))))  # NaN is wrong too
    if len(wrong):
        position = tuple(map(int, wrong[0]))
        raise InvalidFileError("a label is no class", where=f"{where}, label {position[0]}" if position else where,
                               why=f"expected a whole number from 0 to {largest}, saw {numbers[position]}",
                               remedy="count classes from 0, and name the files of this data set")
    return torch.from_numpy(np.array(numbers, np.int64))

"""Arrays of one's own from a ``.npz`` file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mrt_torch.data.dataset import Batch, DatasetInParts, register_dataset
from mrt_torch.data.labels import class_labels
from mrt_torch.data.numeric_arrays import load_arrays
from mrt_torch.data.required_files import required_files
from mrt_torch.errors import InvalidFileError

NAMES = (("inputs", "labels"), ("images", "labels"), ("x", "y"))


@register_dataset("npz")
class NpzDataset(DatasetInParts):
    """Arrays ``inputs`` and ``labels``, ``images`` and ``labels``, or ``x`` and ``y``, of a file ``.npz``.

    The file is ``test.npz`` in the folder, or ``train.npz`` for training; ``root`` may also be a file itself, which
    then serves both. Inputs (n, ...) of any type of number are given as float32, unchanged: preprocess them before
    they are stored. Labels are classes, (n,) or (n, 1).
    """

    def __init__(self, input_shape: Sequence[int], root: str | os.PathLike[str] | None = None,
                 is_train: bool = False):
        self._given = Path(root).expanduser() if root is not None else None
        super().__init__(input_shape, root, is_train)

    def _load_data(self) -> None:
        folder, name = self.folder, "train.npz" if self.is_train else "test.npz"
        if self._given is not None and self._given.is_file():
            folder, name = self._given.parent, self._given.name
        path, = required_files(self.name, folder, (name,),
                               remedy="write it with numpy.savez(path, inputs=..., labels=...), or give the path of a "
                               ".npz file as the root")
        arrays = load_arrays(path)
        names = next((names for names in NAMES if set(names) <= set(arrays)), None)
        if names is None:
            raise InvalidFileError("the file lacks inputs or labels", where=str(path),
                                   why=f"it holds {sorted(arrays)}",
                                   remedy=f"name the arrays {', or '.join(' and '.join(names) for names in NAMES)}")
        inputs, labels = (arrays[name] for name in names)
        if labels.shape[:1] != (labels.size,) or inputs.shape != (labels.size, *self.input_shape[1:]):
            raise InvalidFileError(f"'{names[0]}' and '{names[1]}' are no inputs with their labels", where=str(path),
                                   why=f"saw {inputs.shape} and {labels.shape} for input shape {self.input_shape}",
                                   remedy="store inputs of that shape and one class for each, or give their shape")
        self._inputs, self._labels = inputs, class_labels(labels.reshape(-1), f"{path}, array '{names[1]}'")

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Batch:
        return torch.from_numpy(np.array(self._inputs[index], np.float32)), self._labels[index]

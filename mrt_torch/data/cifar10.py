"""CIFAR-10 from its binary files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mrt_torch.data.dataset import Batch, DatasetInParts, register_dataset
from mrt_torch.data.labels import class_labels
from mrt_torch.data.preprocessing import CIFAR10
from mrt_torch.data.required_files import required_files
from mrt_torch.errors import InvalidFileError

CLASSES = 10
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue pixels by row


@register_dataset("cifar10")
class Cifar10Dataset(DatasetInParts):
    """``test_batch.bin``, or for training ``data_batch_1.bin`` to ``_5.bin``; inputs (N, 3, 32, 32).

    The files are in the folder or in ``cifar-10-batches-bin`` there, as the archive ``cifar-10-binary.tar.gz`` of
    the authors and of MXNet unpacks; they are read through a memory map. Preprocessing: ``CIFAR10``.
    """

    def _check_shape(self) -> None:
        self._require_shape(self.input_shape[1:] == _SHAPE, "(N, 3, 32, 32)")

    def _load_data(self) -> None:
        names = [f"data_batch_{number}.bin" for number in range(1, 6)] if self.is_train else ["test_batch.bin"]
        paths = required_files(self.name, self.folder, [(name, f"cifar-10-batches-bin/{name}") for name in names],
                               remedy="unpack cifar-10-binary.tar.gz (www.cs.toronto.edu/~kriz/cifar.html) there, or "
                               "give the root of the data sets")
        self._files = [_records(path) for path in paths]
        self._labels = torch.cat([class_labels(records[:, 0], str(path), CLASSES)
                                  for path, records in zip(paths, self._files)])
        self._ends = np.cumsum([len(records) for records in self._files])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Batch:
        label = self._labels[index]
        index %= len(self)
        file = int(np.searchsorted(self._ends, index, side="right"))
        record = self._files[file][index - self._ends[file]]  # counted from the end of the file
        return CIFAR10(record[1:].reshape(_SHAPE)), label


def _records(path: Path) -> np.ndarray:
    size = path.stat().st_size
    if size == 0 or size % _RECORD:
        raise InvalidFileError("a CIFAR-10 file is cut short", where=f"{path}, byte offset {size - size % _RECORD}",
                               why=f"it has {size} bytes, not a multiple of {_RECORD}" if size else "it is empty",
                               remedy="unpack cifar-10-binary.tar.gz again")
    return np.memmap(path, np.uint8, "r").reshape(-1, _RECORD)

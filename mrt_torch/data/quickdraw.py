"""Drawings of Quick, Draw! from numpy files."""

from __future__ import annotations

import numpy as np
import torch

from mrt_torch.data.dataset import Batch, DatasetInParts, register_dataset
from mrt_torch.data.labels import class_labels
from mrt_torch.data.numeric_arrays import load_array
from mrt_torch.data.required_files import required_files
from mrt_torch.errors import InvalidFileError

SEED = 0


@register_dataset("quickdraw")
class QuickDrawDataset(DatasetInParts):
    """Drawings ``quickdraw_X_test.npy``, or for training ``quickdraw_X.npy``, and their classes ``..._y...npy``.

    X is (n, 1, 28, 28), read through a memory map and given as float32 unchanged, y (n,). The training drawings come
    in a random order that ``SEED`` fixes, the others as in the file. (MRT main2, dataset ``quickdraw``.)
    """

    def _check_shape(self) -> None:
        self._require_shape(self.input_shape[1:] == (1, 28, 28), "(N, 1, 28, 28)")

    def _load_data(self) -> None:
        part = "" if self.is_train else "_test"
        drawing_file, label_file = required_files(
            self.name, self.folder, (f"quickdraw_X{part}.npy", f"quickdraw_y{part}.npy"),
            remedy="save drawings (n, 1, 28, 28) and classes (n,) there with numpy.save, or give the root of the data "
            "sets")
        self._drawings, labels = load_array(drawing_file), load_array(label_file)
        if labels.ndim != 1 or self._drawings.shape != (len(labels), 1, 28, 28):
            raise InvalidFileError("the files are no drawings with their classes",
                                   where=f"{drawing_file}, {label_file}",
                                   why=f"saw {self._drawings.shape} and {labels.shape}, expected (n, 1, 28, 28) and "
                                   "(n,)",
                                   remedy="give drawings and classes of the same part")
        self._labels = class_labels(labels, str(label_file))
        self._order = torch.arange(len(labels))
        if self.is_train:
            self._order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED))

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Batch:
        row = int(self._order[index])
        return torch.from_numpy(np.array(self._drawings[row], np.float32)), self._labels[row]

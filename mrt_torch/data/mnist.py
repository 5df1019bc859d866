"""MNIST from its idx files."""

from __future__ import annotations

from mrt_torch.data.dataset import Batch, DatasetInParts, register_dataset
from mrt_torch.data.idx_file import read_idx
from mrt_torch.data.labels import class_labels
from mrt_torch.data.preprocessing import MNIST
from mrt_torch.data.required_files import required_files
from mrt_torch.errors import InvalidFileError

CLASSES = 10


@register_dataset("mnist")
class MnistDataset(DatasetInParts):
    """``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, or for training ``train-...``, each with or without
    ``.gz``; inputs (N, 1, 28, 28), pixels / 255. (MRT main2, dataset ``mnist``.)
    """

    def _check_shape(self) -> None:
        self._require_shape(self.input_shape[1:] == (1, 28, 28), "(N, 1, 28, 28)")

    def _load_data(self) -> None:
        part = "train" if self.is_train else "t10k"
        names = [f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"]
        image_file, label_file = required_files(
            self.name, self.folder, [(name, f"{name}.gz") for name in names],
            remedy="put the files of MNIST there, or give the root of the data sets")
        self._images, labels = read_idx(image_file), read_idx(label_file)
        if self._images.dtype != "uint8" or self._images.shape != (len(labels), 28, 28) or labels.ndim != 1:
            raise InvalidFileError(
                "the files are no images of MNIST with their labels", where=f"{image_file}, {label_file}",
                why=f"saw {self._images.dtype} {self._images.shape} and {labels.shape}, expected uint8 (N, 28, 28) "
                "and (N,)", remedy="give images and labels of the same part")
        self._labels = class_labels(labels, str(label_file), CLASSES)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Batch:
        return MNIST(self._images[index][None]), self._labels[index]

"""ImageNet from a record file."""

from __future__ import annotations

import numpy as np
import torch

from mrt_torch.data.dataset import register_dataset
from mrt_torch.data.image_classification import ImageClassification
from mrt_torch.data.image_files import decode_image
from mrt_torch.data.labels import class_labels
from mrt_torch.data.recordio import IndexedRecordFile
from mrt_torch.data.required_files import required_files
from mrt_torch.errors import InvalidFileError


@register_dataset("imagenet")
class ImageNetDataset(ImageClassification):
    """The validation images: ``rec/val.rec`` and ``rec/val.idx`` as MXNet's im2rec makes them; inputs (N, 3, H, H).

    Examples come in the order of ``val.idx``. (MRT main2, dataset ``imagenet``.)
    """

    def _load_data(self) -> None:
        self._records = IndexedRecordFile(*required_files(
            self.name, self.folder, ("rec/val.rec", "rec/val.idx"),
            remedy="make both from the validation images with MXNet's im2rec (GluonCV: scripts/datasets/imagenet.py "
            "--with-rec), or give the root of the data sets"))

    def __len__(self) -> int:
        return len(self._records)

    def decoded(self, index: int) -> tuple[np.ndarray, torch.Tensor]:
        record, where = self._records[index], self._records.where(index)
        if len(record.labels) != 1:
            raise InvalidFileError("an image of ImageNet has one label", where=where, why=f"saw {len(record.labels)}",
                                   remedy="make the record file with one label for each image")
        return decode_image(record.encoded, where=where), class_labels(record.labels[0], where)

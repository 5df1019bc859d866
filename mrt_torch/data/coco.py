"""The validation pictures of COCO 2017. (MRT main2, ``coco``.)"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mrt_torch.data.coco_annotations import read_coco_annotations
from mrt_torch.data.coco_metric import COCOMeanAveragePrecision
from mrt_torch.data.dataset import register_dataset
from mrt_torch.data.detection_dataset import DetectionDataset
from mrt_torch.data.metric import Metric
from mrt_torch.data.required_files import required_files

ANNOTATIONS = "annotations/instances_val2017.json"


@register_dataset("coco")
class COCODataset(DetectionDataset):
    """``annotations/instances_val2017.json`` and the folder ``val2017``; all pictures, by rising id.

    Preprocessing is that of gluoncv's ``SSDDefaultValTransform``, boxes and classes are those of its ``COCODetection``:
    the rank of a class is its place among the categories of the file. Crowds are objects too, and marked as difficult.
    The metric is the mean average precision over intersections over union of .50 to .95 (``COCOMeanAveragePrecision``).
    """

    def _load_data(self) -> None:
        path, = required_files(
            self.name, self.folder, (ANNOTATIONS,),
            remedy="unpack annotations_trainval2017.zip and val2017.zip there, or give the root of the data sets")
        self._annotations = read_coco_annotations(path)
        self.classes = tuple(category["name"] for category in self._annotations.categories)

    def __len__(self) -> int:
        return len(self._annotations.pictures)

    def picture(self, index: int) -> Path:
        return self.folder / "val2017" / Path(self._annotations.pictures[index]["file_name"]).name

    def objects(self, index: int) -> np.ndarray:
        return self._annotations.objects(index)

    def metrics(self) -> Metric:
        """A metric that is to be given the batches in their order, from the first one on.

        Raises:
            MissingDependencyError: pycocotools is not installed.
        """
        height, width = self.input_shape[2:]
        return COCOMeanAveragePrecision(self._annotations, width, height)

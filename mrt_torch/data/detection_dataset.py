"""What data sets of pictures with boxes share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mrt_torch.data.boxes import scale_boxes
from mrt_torch.data.dataset import Batch, Dataset
from mrt_torch.data.detections import detections_of, same_best_detection
from mrt_torch.data.image_files import decode_image
from mrt_torch.data.metric import Predictions
from mrt_torch.data.preprocessing import Normalization
from mrt_torch.data.resampling import resize_to
from mrt_torch.errors import InvalidFileError

COLUMNS = 6
DETECTOR = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 255.0)  # gluoncv's presets for SSD and YOLO3


class DetectionDataset(Dataset):
    """RGB pictures resized to (3, H, W), ``(pixel / 255 - mean) / std``, with the objects in them.

    Inputs are (N, 3, H, W) float32. Labels are (N, M, 6) float32: columns x1, y1, x2, y2 of the box in pixels of the
    resized picture, number of the class, and 1 where the object is difficult; rows of -1 fill up the batch. A subclass
    defines ``picture`` and ``objects`` of an example.
    """

    classes: Sequence[str] = ()

    def _check_shape(self) -> None:
        self._require_shape(len(self.input_shape) == 4 and self.input_shape[1] == 3, "(N, 3, H, W)")

    def picture(self, index: int) -> Path:
        """The image file of an example."""
        raise TypeError(f"{type(self).__name__} does not define picture")

    def objects(self, index: int) -> np.ndarray:
        """The rows (M, 6) of an example, with boxes in pixels of the image file."""
        raise TypeError(f"{type(self).__name__} does not define objects")

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(index)
        path = self.picture(index)
        if not path.is_file():
            raise InvalidFileError(f"a picture of the data set '{self.name}' is missing", where=str(path),
                                   remedy="unpack all pictures of the data set")
        pixels = np.asarray(decode_image(path))
        height, width = self.input_shape[2:]
        rows = self.objects(index).reshape(-1, COLUMNS)
        boxes = scale_boxes(rows[:, :4], width / pixels.shape[1], height / pixels.shape[0])
        label = torch.from_numpy(np.concatenate((boxes, rows[:, 4:]), 1).astype(np.float32))
        return DETECTOR(resize_to(pixels, width, height).transpose(2, 0, 1)), label

    def collate(self, examples: Sequence[Batch]) -> Batch:
        """One batch; labels are filled up to the most objects of a picture with rows of -1."""
        inputs, labels = zip(*examples, strict=True)
        return torch.stack(inputs), torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-1)

    def agreement(self, first: Predictions, second: Predictions) -> torch.Tensor:
        """For each picture whether the best detections of both are of one class with an intersection over union of at
        least 0.5, or both find nothing: (N,) bool."""
        return torch.tensor([same_best_detection(one, other) for one, other in
                             zip(detections_of(first), detections_of(second), strict=True)])

"""What data sets of photographs with classes share."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from mrt_torch.data.dataset import Batch, Dataset
from mrt_torch.data.preprocessing import imagenet_input

MOST_THREADS = 16


class ImageClassification(Dataset):
    """Images of any size, preprocessed as for ImageNet to (3, H, H); defines ``__len__`` and ``decoded``."""

    def _check_shape(self) -> None:
        shape = self.input_shape
        self._require_shape(len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3], "(N, 3, H, H)")

    def decoded(self, index: int) -> tuple[np.ndarray, torch.Tensor]:
        """RGB pixels (H, W, 3) uint8 of an example, and its class, () int64."""
        raise TypeError(f"{type(self).__name__} does not define decoded")

    def __getitem__(self, index: int) -> Batch:
        pixels, label = self.decoded(index)
        return imagenet_input(pixels, self.input_shape[-1]), label

    def _examples(self, indices: range) -> list[Batch]:
        """The examples of a batch, decoded by several threads."""
        with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1, len(indices))) as pool:
            return list(pool.map(self.__getitem__, indices))

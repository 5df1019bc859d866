"""From pixels to the input of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mrt_torch.data.bilinear import resize_bilinear

CROP_NUMERATOR, CROP_DENOMINATOR = 7, 8  # the crop takes 0.875 of the shorter side


@dataclass(frozen=True)
class Normalization:
    """``(pixel / divisor - mean) / std`` for each channel, each step rounded to float32."""

    mean: Sequence[float]
    std: Sequence[float]
    divisor: float = 1.0

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """Pixels (C, H, W) of any integer type as float32 of that shape."""
        values = torch.from_numpy(np.ascontiguousarray(pixels, np.float32))
        mean, std = (torch.tensor(each, dtype=torch.float32).reshape(-1, 1, 1) for each in (self.mean, self.std))
        return (values / self.divisor - mean) / std


# (MRT main2, dataset registry.)
IMAGENET = Normalization((123.68, 116.779, 103.939), (58.393, 57.12, 57.375))
CIFAR10 = Normalization((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 255.0)
MNIST = Normalization((0.0,), (1.0,), 255.0)


def resized_centre(pixels: np.ndarray, shorter: int, size: int) -> np.ndarray:
    """The middle ``size`` by ``size`` pixels of an image resized by ``resize_bilinear``.

    Its shorter side becomes ``shorter``, the other ``floor(shorter * longer / shorter side)``; of an odd rest the
    smaller part is cut off left and above.

    Args:
        pixels: (H, W, C) uint8.
    """
    resized = [shorter * extent // min(pixels.shape[:2]) for extent in pixels.shape[:2]]
    rows, columns = (slice(first, first + size) for first in ((extent - size) // 2 for extent in resized))
    return resize_bilinear(pixels, resized[1], resized[0], rows, columns)


def imagenet_input(pixels: np.ndarray, size: int) -> torch.Tensor:
    """(3, size, size) float32 of an RGB image (H, W, 3) uint8: shorter side to ``ceil(size / 0.875)``, centre crop,
    ``IMAGENET``; what MXNet's ImageRecordIter gives, but for the last bits of its normalization."""
    shorter = -(-size * CROP_DENOMINATOR // CROP_NUMERATOR)
    return IMAGENET(resized_centre(pixels, shorter, size).transpose(2, 0, 1))

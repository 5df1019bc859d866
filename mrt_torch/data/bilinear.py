"""Bilinear resizing in integers, as OpenCV does it for MXNet: the same pixels on every machine."""

from __future__ import annotations

import numpy as np

WEIGHT_BITS = 11


def resize_bilinear(pixels: np.ndarray, width: int, height: int, rows: slice = slice(None),
                    columns: slice = slice(None)) -> np.ndarray:
    """A picture of another size, from the two nearest pixels in each direction, however much it shrinks.

    The middle of target pixel i lies at ``x = (i + 0.5) * old / new - 0.5`` of the source, rounded to float32; outside
    of the source its edge pixels go on. Weights are ``w1 = round((x - floor(x)) * 2^11)``, half to even, and ``w0``
    alike of the distance to the next pixel. Of a row: ``r = w0 * left + w1 * right``; of two rows
    ``(w0 * (r0 >> 4) >> 16) + (w1 * (r1 >> 4) >> 16) + 2 >> 2``. (OpenCV, ``INTER_LINEAR`` for 8 bits.)

    Args:
        pixels: (H, W, C) uint8.
        rows, columns: what part of the result to compute.

    Returns:
        (height, width, C) uint8, or that part of it.
    """
    above, below, upper, lower = _taps(pixels.shape[0], height, rows)
    left, right, near, far = _taps(pixels.shape[1], width, columns)
    mixed = 2
    for places, weights in ((above, upper), (below, lower)):
        row = pixels[places[:, None], left] * near[:, None] + pixels[places[:, None], right] * far[:, None] >> 4
        mixed += row * weights[:, None, None] >> 16
    return (mixed >> 2).astype(np.uint8)


def _taps(old: int, new: int, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places of both pixels and their weights, int32, for a part of ``new`` pixels."""
    middle = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    middle = middle[part]
    first = np.floor(middle).astype(np.int64)
    distance = middle - first.astype(np.float32)
    one = np.float32(1 << WEIGHT_BITS)
    weights = (np.rint(share * one).astype(np.int32) for share in (1 - distance, distance))
    return first.clip(0, old - 1), (first + 1).clip(0, old - 1), *weights

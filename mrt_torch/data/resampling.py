"""Resizing of pictures as networks for detection were trained with: the same pixels on every machine."""

from __future__ import annotations

import numpy as np

from mrt_torch.data.bilinear import WEIGHT_BITS, resize_bilinear

_CUBIC = np.float32(-0.75)  # slope of the cubic kernel at distance 1, as in OpenCV
_NEGLIGIBLE = 1e-3  # share of a pixel that OpenCV leaves out of a mean


def resize_to(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture of exactly that size: bicubic where both sides grow, mean over areas where both shrink, else bilinear.

    The pixels are those of OpenCV in MXNet 1.9.1, which gluoncv resizes with for detectors (``imresize``, interpolation
    9).

    Args:
        pixels: (H, W, C) uint8.

    Returns:
        (height, width, C) uint8.
    """
    old_height, old_width = pixels.shape[:2]
    if height > old_height and width > old_width:
        return _resize_bicubic(pixels, width, height)
    if height < old_height and width < old_width:
        return _resize_area(pixels, width, height)
    return resize_bilinear(pixels, width, height)


def _resize_bicubic(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Rows exactly in integers, then columns in float32, rounded half to even: weights of 11 bits."""
    places, weights = _cubic_taps(pixels.shape[1], width)
    rows = sum(pixels[:, place] * weight[:, None] for place, weight in zip(places, weights, strict=True))
    places, weights = _cubic_taps(pixels.shape[0], height)
    total = np.float32(0)
    for place, weight in zip(places, weights, strict=True):  # the order of float32 sums is OpenCV's
        scaled = weight.astype(np.float32) * np.float32(2.0 ** (-2 * WEIGHT_BITS))
        total = rows[place].astype(np.float32) * scaled[:, None, None] + total
    return np.rint(total).clip(0, 255).astype(np.uint8)


def _cubic_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (4, new) of the pixels around the middle ``(i + 0.5) * old / new - 0.5``, and their weights.

    A pixel at distance d weighs ``round(k * 2^11)``, with Keys' kernel ``k = (a+2)d³ - (a+3)d² + 1`` up to 1 and
    ``a(d³ - 5d² + 8d - 4)`` up to 2; the last weight makes up the sum of 1.
    """
    middle = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    before = np.floor(middle).astype(np.int64)
    one, distance = np.float32(1), middle - before.astype(np.float32)
    outer, other = distance + one, one - distance
    first = ((_CUBIC * outer - 5 * _CUBIC) * outer + 8 * _CUBIC) * outer - 4 * _CUBIC
    second, third = (((_CUBIC + 2) * near - (_CUBIC + 3)) * near * near + one for near in (distance, other))
    weights = np.stack((first, second, third, one - first - second - third))
    places = np.stack([before + step for step in (-1, 0, 1, 2)]).clip(0, old - 1)
    return places, np.rint(weights * np.float32(1 << WEIGHT_BITS)).astype(np.int32)


def _resize_area(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Whole blocks of pixels: their sum in integers, times ``1 / size``; ties of 2 x 2 go up. Else float32 sums of
    rows, then of columns. Rounded half to even."""
    old_height, old_width, channels = pixels.shape
    if old_height % height == 0 and old_width % width == 0:
        blocks = pixels.reshape(height, old_height // height, width, old_width // width, channels)
        total, size = blocks.sum((1, 3), dtype=np.int32), blocks.shape[1] * blocks.shape[3]
        if blocks.shape[1] == blocks.shape[3] == 2:
            return (total + 2 >> 2).astype(np.uint8)
        return np.rint(total.astype(np.float32) * (np.float32(1) / np.float32(size))).astype(np.uint8)
    rows = _weighted_sum(pixels.astype(np.float32).swapaxes(0, 1), *_area_taps(old_width, width)).swapaxes(0, 1)
    return np.rint(_weighted_sum(rows, *_area_taps(old_height, height))).clip(0, 255).astype(np.uint8)


def _weighted_sum(values: np.ndarray, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``out[i] = sum over t of weights[t, i] * values[places[t, i]]`` in float32, added in that order."""
    total = np.float32(0)
    for place, weight in zip(places, weights, strict=True):
        total = total + values[place] * weight[:, None, None]
    return total


def _area_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels under ``[i, i + 1) * old / new``, each with its share of that stretch, float32; what is left over is 0."""
    scale = old / new
    start = np.arange(new) * scale
    end, extent = start + scale, np.minimum(scale, old - start)
    places = np.floor(start).astype(np.int64) + np.arange(int(np.ceil(scale)) + 1)[:, None]
    shares = np.minimum(places + 1, end) - np.maximum(places, start)
    shares[(shares <= _NEGLIGIBLE) | (places >= old)] = 0
    return places.clip(0, old - 1), (shares / extent).astype(np.float32)

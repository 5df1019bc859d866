"""The threshold whose quantized histogram diverges least from the histogram itself. (Kullback and Leibler.)"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

BLOCK = 2 ** 15  # numbers that are computed together: bounds the memory, and stays within the cache


def least_divergence(histogram: torch.Tensor, levels: int, epsilon: float) -> int | None:
    """How many bins on each side of the centre to keep.

    For every half width i from ``levels // 2`` to ``N // 2`` the centre slice of 2 i + 1 bins is compared with what
    ``levels`` levels keep of it:

    * P: the slice, with all that lies outside added to its first and last bin;
    * Q: the slice merged into ``levels`` groups of ``(2 i + 1) // levels`` bins, the last one longer; each group's sum
      is spread evenly over its bins where P is not zero;
    * both smoothed: zeros become ``epsilon``, and the others pay for it in equal parts;
    * their divergence: sum(P * log(P / Q)) after both are divided by their sums.

    A candidate is out where a bin would have to pay 1 or more, or as much as it holds, or where Q is zero. Ties go to
    the narrowest. (MRT GEN, ``KLDOptimizor``, whose own code took a candidate that is out for the best.) All candidates
    of a block are computed at once, in
    float64, by one thread.

    Args:
        histogram: (N,) counts, N odd; the bin of zero is the centre.
        levels: odd.
        epsilon: positive.

    Returns:
        The half width i of the best slice, in bins; None where no candidate is left.
    """
    counts = histogram.detach().cpu().to(torch.float64).numpy()
    best, half_width = math.inf, None
    for widths in _blocks(len(counts), levels):
        divergences = _divergences(counts, widths, levels, epsilon)
        position = int(divergences.argmin())
        if divergences[position] < best:
            best, half_width = divergences[position], int(widths[position])
    return half_width


def _blocks(bins: int, levels: int) -> Iterator[np.ndarray]:
    """All half widths, together where the groups are of one size."""
    widths = np.arange(levels // 2, bins // 2 + 1)
    sizes = (2 * widths + 1) // levels
    for size in np.unique(sizes):
        together = widths[sizes == size]
        rows = max(1, BLOCK // (2 * int(together[-1]) + 1))
        yield from (together[begin:begin + rows] for begin in range(0, len(together), rows))


def _divergences(counts: np.ndarray, widths: np.ndarray, levels: int, epsilon: float) -> np.ndarray:
    """Divergence of each candidate, (rows,); infinite where it is out. Rows are left-aligned, padded with zeros."""
    start, length = len(counts) // 2 - widths, 2 * widths + 1
    columns, size, rows = int(length[-1]), int(length[0]) // levels, np.arange(len(widths))
    offsets = np.arange(columns)
    outside = offsets >= length[:, None]
    values = np.lib.stride_tricks.sliding_window_view(np.pad(counts, (0, columns)), columns)[start]
    values[outside] = 0
    sums = np.pad(counts.cumsum(), (1, 0))
    reference = values.copy()
    reference[:, 0] += sums[start]
    reference[rows, length - 1] += sums[-1] - sums[start + length]
    filled = reference > 0
    means = _grouped(values, levels, size) / np.maximum(_grouped(filled, levels, size), 1)
    spread = means[:, np.minimum(offsets // size, levels - 1)] * filled
    fits = _smooth(reference, filled, outside, length, epsilon) & _smooth(spread, spread > 0, outside, length, epsilon)
    with np.errstate(all="ignore"):  # of rows that are out
        terms = np.log(np.divide(reference, spread, out=spread, where=~outside), out=spread, where=~outside)
    terms *= reference
    return np.where(fits, terms.sum(1, where=~outside), math.inf)


def _grouped(values: np.ndarray, levels: int, size: int) -> np.ndarray:
    """Sums of ``levels`` groups of ``size`` columns, of which the last has the rest as well."""
    even = values[:, :levels * size].reshape(len(values), levels, size).sum(2)
    even[:, -1] += values[:, levels * size:].sum(1)
    return even


def _smooth(values: np.ndarray, filled: np.ndarray, outside: np.ndarray, length: np.ndarray, epsilon: float
            ) -> np.ndarray:
    """Put epsilon in place of zeros, paid for by the other values, and divide by the sum, in place.

    Returns whether each row can pay, (rows,).
    """
    count = filled.sum(1)
    price = epsilon * (length - count) / np.maximum(count, 1)
    values -= price[:, None]
    values[~filled] = epsilon
    fits = (count > 0) & (price < 1) & (values.min(1) > 0)
    values[outside] = 0
    values /= values.sum(1, keepdims=True)
    return fits

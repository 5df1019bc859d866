"""The search of the least divergence as MRT GEN describes it: one candidate, one group, one bin after the other."""

from __future__ import annotations

import math


def smooth(values: list[float], epsilon: float) -> list[float] | None:
    """Zeros become epsilon, and the others pay for it; None where they cannot."""
    zeros = sum(value == 0 for value in values)
    others = len(values) - zeros
    if not others:
        return None
    price = epsilon * zeros / others
    smoothed = [epsilon if value == 0 else value - price for value in values]
    return smoothed if price < 1 and min(smoothed) > 0 else None


def plain_divergence(counts: list[float], half_width: int, levels: int, epsilon: float) -> float:
    """Divergence of the centre slice from what the levels keep of it."""
    centre = len(counts) // 2
    start, end = centre - half_width, centre + half_width + 1
    values = counts[start:end]
    reference = list(values)
    reference[0] += sum(counts[:start])
    reference[-1] += sum(counts[end:])
    size = len(values) // levels
    spread = [0.0] * len(values)
    for group in range(levels):
        first, last = group * size, (group + 1) * size if group < levels - 1 else len(values)
        filled = sum(value > 0 for value in reference[first:last])
        for position in range(first, last):
            if reference[position] > 0:
                spread[position] = sum(values[first:last]) / filled
    smooth_reference, smooth_spread = smooth(reference, epsilon), smooth(spread, epsilon)
    if smooth_reference is None or smooth_spread is None:
        return math.inf
    total_reference, total_spread = sum(smooth_reference), sum(smooth_spread)
    return sum(p / total_reference * math.log(p / total_reference / (q / total_spread))
               for p, q in zip(smooth_reference, smooth_spread, strict=True))


def plain_least_divergence(counts: list[float], levels: int, epsilon: float) -> int | None:
    """Half width of the best slice; None where none is left."""
    best, half_width = math.inf, None
    for candidate in range(levels // 2, len(counts) // 2 + 1):
        divergence = plain_divergence(counts, candidate, levels, epsilon)
        if divergence < best:
            best, half_width = divergence, candidate
    return half_width

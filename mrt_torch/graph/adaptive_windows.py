"""Windows of adaptive pooling."""

from __future__ import annotations


def adaptive_windows(extent: int, outputs: int) -> list[tuple[int, int]]:
    """Begin and end of each window: floor(i * extent / outputs) and ceil((i + 1) * extent / outputs).

    They cover the axis, and differ in size by one at most. (torch and MXNet alike.)
    """
    return [(i * extent // outputs, -(-(i + 1) * extent // outputs)) for i in range(outputs)]

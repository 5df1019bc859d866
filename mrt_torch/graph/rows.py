"""Operators along the last axis, applied along any axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_axis

aten = torch.ops.aten


def along_rows(emit: Callable[..., fx.Node], x: fx.Node, axes: Sequence[int],
               operator: Callable[[fx.Node, int], fx.Node]) -> fx.Node:
    """``operator(rows, length)`` of x with ``axes`` brought to its end and merged, and put back.

    ``operator`` keeps the shape of its input, whose last axis has the extent ``length``. A batch among the other axes
    stays free.

    Args:
        emit: writes a node: (target, *arguments).
        x: any tensor.
        axes: ascending, none negative, at least one.
        operator: what is applied to the last axis.
    """
    shape, free = list(shape_of(x)), free_axis(x)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    order = [*kept, *axes]
    moved = x if order == sorted(order) else emit(aten.permute.default, x, order)
    sizes = [-1 if axis == free else shape[axis] for axis in order]
    length = math.prod(shape[axis] for axis in axes)
    rows = moved if len(axes) == 1 else emit(aten.reshape.default, moved, [*sizes[:len(kept)], length])
    result = operator(rows, length)
    if len(axes) > 1:
        result = emit(aten.reshape.default, result, sizes)
    back = [order.index(axis) for axis in range(len(order))]
    return result if moved is x else emit(aten.permute.default, result, back)

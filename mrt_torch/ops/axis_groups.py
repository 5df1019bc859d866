"""Which axes a reshape merges and splits, and how it trades places with a transpose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.explanation import decline
from mrt_torch.ops.transposition import PERMUTE, transpose_before

RESHAPE = torch.ops.aten.reshape.default


class AxisGroup(NamedTuple):
    """Neighbouring axes that a reshape turns into neighbouring axes of as many elements, and no smaller part does."""

    before: list[int]
    after: list[int]


def axis_groups(before: Sequence[int], after: Sequence[int], free_before: int | None,
                free_after: int | None) -> list[AxisGroup] | None:
    """The groups of a reshape, in order; axes of extent 1 are in none unless they are the batch.

    Args:
        before, after: shapes for an example batch.
        free_before, free_after: axes that follow the batch; they come to stand in one group.

    Returns:
        None where the reshape moves elements across the batch, or the shapes hold nothing.
    """
    if (free_before is None) != (free_after is None) or 0 in before or math.prod(before) != math.prod(after):
        return None
    left = [axis for axis, extent in enumerate(before) if extent != 1 or axis == free_before]
    right = [axis for axis, extent in enumerate(after) if extent != 1 or axis == free_after]
    groups = []
    while left or right:
        if not left or not right:
            return None
        group = AxisGroup([left.pop(0)], [right.pop(0)])
        while True:
            sizes = math.prod(before[axis] for axis in group.before), math.prod(after[axis] for axis in group.after)
            holds = free_before in group.before, free_after in group.after
            if sizes[0] == sizes[1] and (free_before is None or holds[0] == holds[1]):
                break
            grow_left = sizes[0] < sizes[1] or (sizes[0] == sizes[1] and not holds[0])
            pending, grown = (left, group.before) if grow_left else (right, group.after)
            if not pending:
                return None
            grown.append(pending.pop(0))
        groups.append(group)
    return groups


def sink_transpose_below_reshape(op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
    """reshape(Transpose(X)) becomes Transpose(reshape(X)) where every group of axes is one in X too, in its order.

    Exact, because the axes of a group then move together. Axes of extent 1 may stand anywhere.
    """
    found = transpose_before(op, context)
    if found is None:
        return op
    x, axes = found
    free = free_axis(op)
    groups = axis_groups(shape_of(op.args[0]), shape_of(op), free_axis(op.args[0]), free)
    if groups is None:
        return decline(op, "it moves elements across the batch", context)
    longer = sorted(axes[axis] for group in groups for axis in group.before)
    positions = [[longer.index(axes[axis]) for axis in group.before] for group in groups]
    if any(places != list(range(places[0], places[0] + len(places))) for places in positions):
        return decline(op, "it merges or splits axes that the transpose before it takes apart", context)
    blocks = _with_single_axes([group.after for group in groups], len(shape_of(op)))
    order = sorted(range(len(blocks)), key=lambda index: positions[index] if positions else 0)
    moved = [axis for index in order for axis in blocks[index]]
    inner = editor.call(RESHAPE, x, [-1 if axis == free else shape_of(op)[axis] for axis in moved])
    back = [moved.index(axis) for axis in range(len(moved))]
    return inner if back == sorted(back) else editor.call(PERMUTE, inner, back)


def _with_single_axes(blocks: list[list[int]], rank: int) -> list[list[int]]:
    """Blocks that together hold all axes: those of extent 1 join the block before them, or the first."""
    if not blocks:
        return [list(range(rank))]
    starts = [0, *(block[0] for block in blocks[1:]), rank]
    return [list(range(begin, end)) for begin, end in zip(starts, starts[1:])]

"""Does with fewer axes what the runtime has too few of: transposes of more than six, between reshapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import fx

from mrt_torch.cvm.limits import LARGEST_RANK
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.shape import SHAPE_TARGETS
from mrt_torch.ops.transposition import PERMUTE, permutation_of

RESHAPE = torch.ops.aten.reshape.default


def merge_axes(module: fx.GraphModule) -> int:
    """Transposes of more than six axes become transposes of fewer; returns how many did.

        reshape (N, 2, 4, 2, 4, 2, 4, C) ──> transpose ──> reshape     =>    reshape ──> transpose ──> reshape

    Axes that stay side by side are merged, those of extent 1 left out. Where more than six are left, each step moves
    one of them to its place, between what is before and after it. Changes of shape on the way, before and after, are
    joined to one, so that no value of more than six axes is left between them. The batch stays free.
    """
    editor = GraphEditor(module)
    firings, erased = 0, set()
    for node in list(module.graph.nodes):
        if node in erased or node.op != "call_function":
            continue
        if node.target is PERMUTE and len(shape_of(node)) > LARGEST_RANK:
            with editor.before(node):
                erased |= editor.replace(node, _transposed(editor, node))
            firings += 1
        elif node.target in SHAPE_TARGETS and node.args[0].target in SHAPE_TARGETS \
                and len(shape_of(node.args[0])) > LARGEST_RANK:
            with editor.before(node):
                erased |= editor.replace(node, editor.call(RESHAPE, node.args[0].args[0], free_shape(node)))
    return firings


def _transposed(editor: GraphEditor, op: fx.Node) -> fx.Node:
    """The result of a transpose by transposes of at most six axes, in its shape."""
    source = op.args[0]
    while source.target in SHAPE_TARGETS:
        source = source.args[0]
    x, axes, free = op.args[0], permutation_of(op), free_axis(op.args[0])
    groups: list[list[int]] = []  # axes of x that stay side by side, in the order of the result
    for axis in axes:
        if shape_of(x)[axis] == 1 and axis != free:
            continue
        if groups and axis == _next_long(shape_of(x), groups[-1][-1], free):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    blocks = sorted(groups)
    order = [blocks.index(group) for group in groups]
    extents = [-1 if free in block else math.prod(shape_of(x)[axis] for axis in block) for block in blocks]
    node = source
    if len(order) <= LARGEST_RANK:
        node = editor.call(PERMUTE, editor.call(RESHAPE, node, extents), order) if order else node
    else:
        node = _one_by_one(editor, node, extents, order)
    return editor.call(RESHAPE, node, free_shape(op))


def _next_long(shape: Sequence[int], axis: int, free: int | None) -> int:
    """The next axis that is longer than 1, or the batch."""
    return next((a for a in range(axis + 1, len(shape)) if shape[a] != 1 or a == free), len(shape))


def _one_by_one(editor: GraphEditor, node: fx.Node, extents: Sequence[int], order: Sequence[int]) -> fx.Node:
    """Blocks in another order: for each place in turn, the block that belongs there passes those before it."""
    current = list(range(len(extents)))
    for place, wanted in enumerate(order):
        at = current.index(wanted)
        if at == place:
            continue
        parts = current[:place], current[place:at], [wanted], current[at + 1:]
        shape = [_extent([extents[block] for block in part]) for part in parts]
        node = editor.call(PERMUTE, editor.call(RESHAPE, node, shape), [0, 2, 1, 3])
        current = [*parts[0], *parts[2], *parts[1], *parts[3]]
    return node


def _extent(extents: Sequence[int]) -> int:
    return -1 if -1 in extents else math.prod(extents)

"""Replaces operators of several outputs by slices."""

from __future__ import annotations

import operator

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.ops.registry import TRANSFORMERS
from mrt_torch.ops.slicing import SliceChannel, split_axis

aten = torch.ops.aten


def _is_split(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in TRANSFORMERS \
        and isinstance(TRANSFORMERS[node.target], SliceChannel)


def fuse_multiple_outputs(module: fx.GraphModule) -> int:
    """Each part of a split is read through one slice of its input; returns the number of splits replaced.

        x ──> split ──> [0] ──> a           x ──> slice(0, n) ──> a
                  └───> [1] ──> b     =>    └───> slice(n, m) ──> b

    Parts of ``unbind`` lose the axis by a squeeze.
    """
    editor = GraphEditor(module)
    firings = 0
    for node in list(module.graph.nodes):
        if not _is_split(node):
            continue
        axis, squeeze = split_axis(node), node.target is aten.unbind.int
        extents = [1 if squeeze else part.shape[axis] for part in node.meta["val"]]
        for reader in list(node.users):
            if reader.target is not operator.getitem:
                continue
            index = reader.args[1] % len(extents)
            begin = sum(extents[:index])
            with editor.before(reader):
                part = _part(editor, node.args[0], axis, begin, begin + extents[index])
                if squeeze:
                    part = editor.call(aten.squeeze.dims, part, [axis])
            editor.replace(reader, part)
        firings += 1
    return firings


def _part(editor: GraphEditor, x: fx.Node, axis: int, begin: int, end: int) -> fx.Node:
    """A slice; the input itself where it takes everything, which leaves a free batch free."""
    if (begin, end) == (0, shape_of(x)[axis]):
        return x
    return editor.call(aten.slice.Tensor, x, axis, begin, end, 1)

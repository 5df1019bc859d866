"""Replaces operators of several outputs by slices."""

from __future__ import annotations

import operator

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of

aten = torch.ops.aten


def _split_sizes(node: fx.Node) -> tuple[list[int], int] | None:
    """Extents of the parts and the axis, or None for other operators."""
    if node.target not in (aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default):
        return None
    axis = (node.args[2] if len(node.args) > 2 else 0) % len(shape_of(node.args[0]))
    return [part.shape[axis] for part in node.meta["val"]], axis


def fuse_multiple_outputs(module: fx.GraphModule) -> int:
    """Each part of a split is read through one slice of its input; returns the number of splits replaced.

        x ──> split ──> [0] ──> a           x ──> slice(0, n) ──> a
                  └───> [1] ──> b     =>    └───> slice(n, m) ──> b
    """
    editor = GraphEditor(module)
    firings = 0
    for node in list(module.graph.nodes):
        sizes = _split_sizes(node) if node.op == "call_function" else None
        if sizes is None:
            continue
        extents, axis = sizes
        for reader in list(node.users):
            if reader.target is not operator.getitem:
                continue
            begin = sum(extents[:reader.args[1]])
            with editor.before(reader):
                part = editor.call(aten.slice.Tensor, node.args[0], axis, begin, begin + extents[reader.args[1]], 1)
            editor.replace(reader, part)
        firings += 1
    return firings

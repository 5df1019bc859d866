"""Joins several inputs into one, because the runtime takes a single input called ``data``."""

from __future__ import annotations

import math

import torch
from torch import fx

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor, input_nodes, shape_of
from mrt_torch.graph.facts import facts_of, set_facts, source_name
from mrt_torch.passes.names import claim_name

aten = torch.ops.aten
DATA = "data"


def fuse_multiple_inputs(module: fx.GraphModule) -> int:
    """Inputs of shapes (N, ...) become slices of one input ``data`` of shape (N, sum of their sizes).

        a (N, 3, 4) ──> f          data (N, 17) ──> [:, :12] ──> reshape (N, 3, 4) ──> f
        b (N, 5)    ──> g    =>                └──> [:, 12:] ──────────────────────> g

    Feed it with the inputs flattened and concatenated on axis 1, in their order. The batch stays free (the original
    fixed it). Whole numbers beside floats become floats, and whole again where they were. Returns the number of inputs
    joined, 0 where there is one.

    Raises:
        InvalidGraphError: the inputs differ in their batch.
    """
    inputs = input_nodes(module.graph)
    if len(inputs) < 2:
        return 0
    other = [source_name(node) for node in inputs if facts_of(node).batch_axis]
    if other:
        raise InvalidGraphError("several inputs can be joined only when their batch is axis 0", where=f"inputs {other}",
                                why="another axis was marked as the batch", remedy="transpose these inputs")
    shapes = [shape_of(node) for node in inputs]
    batches = {shape[0] if shape else None for shape in shapes}
    if len(batches) > 1 or None in batches:
        raise InvalidGraphError("several inputs can be joined only when they share their batch axis",
                                why=f"input shapes {dict(zip([source_name(n) for n in inputs], shapes, strict=True))}",
                                remedy="give all inputs the same extent on axis 0")
    dtype = _common_type([node.meta["val"].dtype for node in inputs])
    sizes = [math.prod(shape[1:]) for shape in shapes]
    editor = GraphEditor(module)
    with editor.before(inputs[0]):
        data = editor.input(DATA, (batches.pop(), sum(sizes)), dtype)
        begin = 0
        for node, shape, size in zip(inputs, shapes, sizes, strict=True):
            part = editor.call(aten.slice.Tensor, data, 1, begin, begin + size, 1)
            begin += size
            part = part if shape == (shape[0], size) else editor.call(aten.reshape.default, part, [-1, *shape[1:]])
            if node.meta["val"].dtype != dtype:
                part = editor.call(aten._to_copy.default, part, dtype=node.meta["val"].dtype)
            set_facts(part, source_name=source_name(node))
            node.replace_all_uses_with(part)
    for node in inputs:
        module.graph.erase_node(node)
    return len(inputs)


def _common_type(types: list[torch.dtype]) -> torch.dtype:
    """The type that all inputs have, or the floats among them, or int64."""
    floats = [dtype for dtype in types if dtype.is_floating_point]
    if len(set(types)) == 1:
        return types[0]
    return max(floats, key=lambda dtype: dtype.itemsize) if floats else torch.int64


def name_input(module: fx.GraphModule) -> int:
    """Rename the single input to ``data``; returns 1 when the name changed.

    Raises:
        InvalidGraphError: there is no input.
    """
    inputs = input_nodes(module.graph)
    if not inputs:
        raise InvalidGraphError("the graph has no input", why="it computes a constant",
                                remedy="check that the model reads its input")
    node = inputs[0]
    if node.name == DATA and node.target == DATA:
        return 0
    claim_name(node, DATA)
    node.target = DATA
    return 1

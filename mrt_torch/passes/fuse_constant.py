"""Evaluates what depends on parameters only."""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import source_name


def fuse_constant(module: fx.GraphModule) -> int:
    """Replace every operator whose inputs are all constants by its value; returns the number of firings.

        w  ──> reshape ──> conv            w' ──> conv
        x  ──────────────────┘      =>     x  ────┘

    Exact: the operator itself is run, in the dtype of its inputs (the original went through float32 and spoilt
    integers above 2**24). Runs to the end in one sweep, because nodes stand in topological order.
    """
    editor = GraphEditor(module)
    firings, erased = 0, set()
    for node in list(module.graph.nodes):
        if node in erased or node.op != "call_function" or not isinstance(node.meta["val"], torch.Tensor):
            continue
        if any(source.op != "get_attr" for source in node.all_input_nodes):
            continue
        args, kwargs = fx.map_arg((node.args, node.kwargs), editor.tensor_of)
        with editor.before(node):
            constant = editor.constant(source_name(node), node.target(*args, **kwargs))
        erased |= editor.replace(node, constant)
        firings += 1
    return firings

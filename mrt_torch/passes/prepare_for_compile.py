"""Fixes the batch of an integer graph and settles what depended on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import fx

from mrt_torch.cvm import OPERATORS, analyse
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.runner import copy_graph_module, finish
from mrt_torch.graph.shapes import set_input_shapes
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.registry import TRANSFORMERS


def prepare_for_compile(module: fx.GraphModule, input_shapes: Mapping[str, Sequence[int]]) -> fx.GraphModule:
    """A copy of an integer graph for inputs of these shapes, ready for an exporter.

    Expands what has an expansion in the table of operators, then calls ``prepare_for_compile`` and ``compile`` of the
    Transformer registered for a CVM target, where one is; other operators of the table need nothing.

    Raises:
        InvalidGraphError: the graph refuses the shapes.
        PrecisionError: a value cannot be proven to fit 32 bits.
    """
    fixed = copy_graph_module(module)
    set_input_shapes(fixed, {name: tuple(shape) for name, shape in input_shapes.items()})
    editor = GraphEditor(fixed)
    _expand(fixed, editor)
    for name in ("prepare_for_compile", "compile"):
        erased: set[fx.Node] = set()
        for node in list(fixed.graph.nodes):
            if node in erased or node.op != "call_function" or node.target not in TRANSFORMERS:
                continue
            with editor.before(node):
                replacement = getattr(TRANSFORMERS[node.target], name)(node, editor=editor)
            if replacement is not node:
                erased |= editor.replace(node, replacement)
    finish(fixed, Stage.INTEGER)
    analyse(fixed)
    return fixed


def _expand(module: fx.GraphModule, editor: GraphEditor) -> None:
    for node in list(module.graph.nodes):
        row = OPERATORS.of_target(node.target)
        if row is not None and row.expansion is not None:
            with editor.before(node):
                expanded = row.expansion(editor, *node.args, **node.kwargs)
            if expanded is not None:
                editor.replace(node, expanded)

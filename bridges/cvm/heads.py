"""Brings an integer graph into the shape the CVM runtime can return: one row count for all heads."""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, output_nodes, shape_of
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.graph.runner import copy_graph_module


def flatten_heads(module: fx.GraphModule) -> fx.GraphModule:
    """A copy of an integer graph whose heads the runtime can return together; the tensors are shared.

    The runtime views each of several heads as rows of its last axis, interleaves the rows, and fails during
    inference unless all heads have the same number of rows. Each head becomes (N, -1), N being the extent of
    axis 0; where heads disagree on N each becomes one row, (1, -1). A single head is left alone. Values,
    their order and their facts are unchanged (exact).
    """
    copy = copy_graph_module(module)
    heads = output_nodes(copy.graph)
    if len(heads) > 1:
        output = next(node for node in reversed(copy.graph.nodes) if node.op == "output")
        batches = {shape_of(head)[0] for head in heads}
        batch = batches.pop() if len(batches) == 1 else 1
        editor = GraphEditor(copy)
        flat: dict[fx.Node, fx.Node] = {}
        with editor.before(output):
            for head in heads:
                if head not in flat:
                    flat[head] = _as_rows(editor, head, batch)
        output.args = (tuple(flat[head] for head in heads),)
        output.meta["val"] = tuple(flat[head].meta["val"] for head in heads)
        copy.recompile()
    return copy


def _as_rows(editor: GraphEditor, head: fx.Node, batch: int) -> fx.Node:
    shape = shape_of(head)
    if len(shape) == 2 and shape[0] == batch:
        return head
    if shape[0] == batch:
        rows = editor.call(torch.ops.cvm.flatten.default, head)
    else:
        rows = editor.call(torch.ops.cvm.reshape.default, head, shape=[1, -1])
    facts = facts_of(head)
    set_facts(rows, source_name=facts.source_name, source_operator=facts.source_operator, scale=facts.scale,
              precision=facts.precision, value_range=facts.value_range)
    return rows

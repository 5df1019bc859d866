"""Makes the bias of a convolution or dense layer an operator of its own."""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.passes.names import claim_name
from mrt_torch.passes.symbol import Params, Symbol, edited

aten = torch.ops.aten
CHANNEL_AXIS = {aten.conv2d.default: 1, aten.linear.default: -1}


def sym_separate_bias(symbol: Symbol, params: Params) -> tuple[Symbol, dict[str, torch.Tensor]]:
    """The graph with no bias in a convolution or dense layer, and its parameters by name.

        x ──> conv(w, b)     =>     x ──> conv(w) ──> + <── b (1, C, 1, 1), or (1, C) for a dense layer

    Equal but for the rounding of the sum. The addition takes over the node's name; both carry its source name, and
    the new constant that of the bias. (MRT GEN, ``tfm_pass.sym_separate_bias``.)

    Args:
        symbol: prepared Model or its GraphModule, which stays as it is; the result is of the same kind.
        params: tensors that replace the graph's own, by name; None or {} keeps them.

    Raises:
        InvalidArgumentError: not a prepared float graph, or params that are not the graph's.
    """
    return edited(symbol, params, separate_bias)


def separate_bias(module: fx.GraphModule) -> int:
    """``sym_separate_bias`` in place; returns how many operators had a bias."""
    editor, firings = GraphEditor(module), 0
    for node in list(module.graph.nodes):
        if node.target not in CHANNEL_AXIS or len(node.args) < 3 or node.args[2] is None:
            continue
        bias, shape = node.args[2], [1] * len(shape_of(node))
        shape[CHANNEL_AXIS[node.target]] = -1
        name = node.name
        with editor.before(node):
            column = editor.constant(source_name(bias), editor.tensor_of(bias).reshape(shape))
            bare = editor.call(node.target, *node.args[:2], None, *node.args[3:])
            total = editor.call(aten.add.Tensor, bare, column)
        editor.replace(node, total)
        claim_name(total, name)
        firings += 1
    return firings

"""Makes the padding of a convolution an operator of its own."""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import source_name
from mrt_torch.ops.convolution import convolution_arguments
from mrt_torch.passes.names import claim_name
from mrt_torch.passes.symbol import Params, Symbol, edited

aten = torch.ops.aten


def sym_separate_pad(symbol: Symbol, params: Params) -> tuple[Symbol, dict[str, torch.Tensor]]:
    """The graph with every convolution unpadded, and its parameters by name.

        x ──> conv(padding=p)     =>     x ──> pad(p, 0) ──> conv

    Exact. The convolution keeps its names; the padding is called ``<name>_pad``. It is for a graph that was prepared:
    ``Convolution.rewrite`` takes borders of zeros back. (MRT GEN, ``tfm_pass.sym_separate_pad``.)

    Args:
        symbol: prepared Model or its GraphModule, which stays as it is; the result is of the same kind.
        params: tensors that replace the graph's own, by name; None or {} keeps them.

    Raises:
        InvalidArgumentError: not a prepared float graph, or params that are not the graph's.
    """
    return edited(symbol, params, separate_pad)


def separate_pad(module: fx.GraphModule) -> int:
    """``sym_separate_pad`` in place; returns how many convolutions had a padding."""
    editor, firings = GraphEditor(module), 0
    for node in list(module.graph.nodes):
        if node.target is not aten.conv2d.default:
            continue
        x, weight, bias, stride, padding, dilation, groups = convolution_arguments(node)
        if not any(padding):
            continue
        rows, columns = padding
        name = node.name
        with editor.before(node):
            border = editor.call(aten.constant_pad_nd.default, x, [columns, columns, rows, rows], 0.0,
                                 name=f"{source_name(node)}_pad")
            bare = editor.call(node.target, border, weight, bias, stride, [0, 0], dilation, groups)
        editor.replace(node, bare)
        claim_name(bare, name)
        firings += 1
    return firings

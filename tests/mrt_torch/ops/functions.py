"""Tables seen from outside: which integers a quantized function looks up, and what they mean."""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.graph.facts import facts_of
from tests.mrt_torch.ops.graphs import IntegerModel


def table_of(model: IntegerModel) -> torch.Tensor:
    """The entries of the model's only table."""
    return getattr(model.module, model.node("cvm_lut").args[1].target)


def _indexed(model: IntegerModel) -> tuple[fx.Node, int]:
    """The node whose integers are looked up, and what is added to them."""
    index = model.node("cvm_lut").args[0]
    if index.op == "call_function" and index.target._opname == "broadcast_add":
        return index.args[0], int(getattr(model.module, index.args[1].target))
    return index, 0


def looked_up(model: IntegerModel, x: torch.Tensor) -> torch.Tensor:
    """The values a model looks up for an input, as floats: integers within the table, by their scale.

    The scale is the input's, times the fractions of the rescalings on the way.
    """
    node, offset = _indexed(model)
    last = len(table_of(model)) - 1
    integers = (model.values(x)[node.name] + offset).clamp(0, last) - offset
    scale = facts_of(next(n for n in model.module.graph.nodes if n.op == "placeholder")).scale
    while node.op != "placeholder":
        name = node.target._opname
        if name == "cvm_right_shift":
            scale /= 2 ** node.kwargs["shift_bit"]
        elif name == "broadcast_mul":
            scale *= int(getattr(model.module, node.args[1].target))
        else:
            assert name in ("relu", "cvm_clip", "negative"), name
        node = node.args[0]
    return integers.double() / scale

"""Tensors made from nothing: constants, or, where their shape follows the batch, made like another tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.batch_axis import SymbolicSize
from mrt_torch.graph.source_call import Call, aten, canonical_form

ZERO_MAKERS = (aten.new_zeros.default, aten.zeros_like.default)
VALUE_MAKERS = (aten.new_full.default, aten.full_like.default)


def is_zeros(node: fx.Node) -> bool:
    """True for a tensor of zeros whose shape follows the batch."""
    return node.target in ZERO_MAKERS or (node.target in VALUE_MAKERS and node.args[2 if node.target is
                                          aten.new_full.default else 1] == 0)


def constant_value(call: Call) -> torch.Tensor | None:
    """The tensor made by an operator that reads no tensor and no size and is not random; None for others."""
    if not isinstance(call.target, torch._ops.OpOverload) or torch.Tag.nondeterministic_seeded in call.target.tags:
        return None
    if not isinstance(call.node.meta.get("val"), torch.Tensor) or _reads(call.args) or _reads(call.kwargs):
        return None
    return call.target(*call.args, **call.kwargs)


def _reads(argument: Any) -> bool:
    if isinstance(argument, (tuple, list)):
        return any(_reads(item) for item in argument)
    if isinstance(argument, dict):
        return any(_reads(item) for item in argument.values())
    return isinstance(argument, (fx.Node, SymbolicSize))


def _reference(call: Call) -> fx.Node:
    """Any input of the graph: the new tensor takes its device from it."""
    return next(node for node in call.editor.graph.nodes if node.op == "placeholder")


@canonical_form("zeros.default")
def zeros(call: Call) -> fx.Node:
    """Zeros whose shape follows the batch."""
    return call.emit(aten.new_zeros.default, _reference(call), call["size"], dtype=call.node.meta["val"].dtype)


@canonical_form("ones.default")
def ones(call: Call) -> fx.Node:
    """Ones whose shape follows the batch."""
    return call.emit(aten.new_full.default, _reference(call), call["size"], 1, dtype=call.node.meta["val"].dtype)


@canonical_form("full.default")
def full(call: Call) -> fx.Node:
    """One value, in a shape that follows the batch."""
    return call.emit(aten.new_full.default, _reference(call), call["size"], call["fill_value"],
                     dtype=call.node.meta["val"].dtype)

"""Tensors made from nothing: constants, or, where their shape follows the batch, constants repeated along it."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.batch_axis import SymbolicSize
from mrt_torch.graph.canonical_forms.repetition import filled
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.source_call import Call, aten, canonical_form

NUMBERS = {"zeros": 0, "ones": 1, "new_zeros": 0, "new_ones": 1}


def is_zeros(call: Call, node: fx.Node) -> bool:
    """True for a tensor of zeros whose shape follows the batch."""
    if node.target is aten.zeros_like.default:
        return True
    if node.target is aten.full_like.default:
        return node.args[1] == 0
    if node.target is not torch.ops.mrt.broadcast_like.default:
        return False
    tensor = call.constant_tensor(node.args[0])
    return tensor is not None and not bool(tensor.any())


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


@canonical_form("zeros.default", "ones.default", "new_zeros.default", "new_ones.default")
def constant(call: Call) -> fx.Node:
    """Zeros or ones of a given shape."""
    node = filled(call, call["size"], NUMBERS[call.target._opname])
    return call.keep() if node is None else node


@canonical_form("full.default", "new_full.default")
def full(call: Call) -> fx.Node:
    """One value, in a given shape."""
    value = call["fill_value"]
    node = filled(call, call["size"], value) if isinstance(value, (int, float)) else None
    return call.keep() if node is None else node


@canonical_form("zeros_like.default", "ones_like.default", "full_like.default")
def like(call: Call) -> fx.Node:
    """One value in the shape of a tensor, whose dtype is named where it is another."""
    numbers = call.args[1:2] if call.target is aten.full_like.default else ()
    dtype = call.node.meta["val"].dtype
    kwargs = {} if dtype == call["self"].meta["val"].dtype else {"dtype": dtype}
    return call.emit(call.target, call["self"], *numbers, **kwargs)


@canonical_form("meshgrid.default", "meshgrid.indexing")
def meshgrid(call: Call) -> fx.Node | tuple:
    """Of constants: constants."""
    tensors = [call.constant_tensor(node) for node in call.args[0]]
    if any(tensor is None for tensor in tensors):
        return call.keep()
    return tuple(call.editor.constant(source_name(call.node), part)
                 for part in call.target(tensors, *call.args[1:], **call.kwargs))

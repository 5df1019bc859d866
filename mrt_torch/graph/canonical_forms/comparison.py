"""Comparisons, logical operators and choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of

COMPARISONS = {
    "gt": (aten.gt, "greater"), "ge": (aten.ge, "greater_equal"), "lt": (aten.lt, "less"),
    "le": (aten.le, "less_equal"), "eq": (aten.eq, None), "ne": (aten.ne, "not_equal"),
}
MIRRORED = {aten.gt: aten.lt, aten.lt: aten.gt, aten.ge: aten.le, aten.le: aten.ge, aten.eq: aten.eq, aten.ne: aten.ne}


def number_of(call: Call, operand: Any, other: Any) -> Any:
    """A literal, or a constant without axes beside a tensor with some, as a number; None for others."""
    if isinstance(operand, (bool, int, float)):
        return operand
    tensor = call.constant_tensor(operand)
    alone = tensor is not None and not tensor.dim() and isinstance(other, fx.Node) and rank_of(other) > 0
    if not alone or tensor.is_complex():
        return None
    # A tensor of floats beside integers would make them floats, as no number does.
    return None if tensor.is_floating_point() and not other.meta["val"].is_floating_point() else tensor.item()


def _register_comparison(packet: Any, names: list[str]) -> None:
    @canonical_form(*(f"{name}.{overload}" for name in names for overload in ("Tensor", "Scalar")))
    def compare(call: Call) -> fx.Node:
        """With a number where one operand is one."""
        left, right = call["self"], call["other"]
        if not isinstance(right, (fx.Node, bool, int, float)):
            return call.keep()
        number = number_of(call, right, left)
        if number is not None:
            return call.emit(packet.Scalar, left, number)
        number = number_of(call, left, right)
        return call.emit(packet.Tensor, left, right) if number is None \
            else call.emit(MIRRORED[packet].Scalar, right, number)


for _name, (_packet, _alias) in COMPARISONS.items():
    _register_comparison(_packet, [_name] + ([_alias] if _alias else []))


def truth(call: Call, node: fx.Node) -> fx.Node:
    """A tensor of truth values: the node itself, or where it is not 0."""
    return node if node.meta["val"].dtype is torch.bool else call.emit(aten.ne.Scalar, node, 0)


def _register_logic(target: Callable, names: list[str]) -> None:
    @canonical_form(*names)
    def combine(call: Call) -> fx.Node:
        """Of truth values; numbers are true where they are not 0. Bitwise operators on integers stay."""
        operands = [call.args[0], call.args[1]] if len(call.args) > 1 else [call.args[0]]
        if not all(isinstance(operand, fx.Node) for operand in operands):
            return call.keep()
        numbers = any(operand.meta["val"].dtype is not torch.bool for operand in operands)
        if numbers and "logical" not in str(call.target):
            return call.keep()
        return call.emit(target, *(truth(call, operand) for operand in operands))


_register_logic(aten.logical_and.default, ["logical_and.default", "bitwise_and.Tensor", "__and__.Tensor"])
_register_logic(aten.logical_or.default, ["logical_or.default", "bitwise_or.Tensor", "__or__.Tensor"])
_register_logic(aten.logical_xor.default, ["logical_xor.default", "bitwise_xor.Tensor", "__xor__.Tensor"])
_register_logic(aten.logical_not.default, ["logical_not.default", "bitwise_not.default"])


def _largest(call: Call, node: fx.Node, dims: Any, keepdim: bool) -> fx.Node:
    dims = list(range(rank_of(node))) if dims is None else [dims] if isinstance(dims, int) else list(dims)
    return call.emit(aten.amax.default, node, sorted(dim % rank_of(node) for dim in dims), keepdim)


def _dims(call: Call) -> tuple[Any, bool]:
    names = {argument.name for argument in call.target._schema.arguments}
    return (call["dim"], call["keepdim"]) if "dim" in names else (None, False)


@canonical_form("any.default", "any.dim", "any.dims")
def any_true(call: Call) -> fx.Node:
    """The largest truth value."""
    return _largest(call, truth(call, call["self"]), *_dims(call)) if rank_of(call["self"]) else call.keep()


@canonical_form("all.default", "all.dim", "all.dims")
def all_true(call: Call) -> fx.Node:
    """not any (not x)."""
    if not rank_of(call["self"]):
        return call.keep()
    opposite = call.emit(aten.logical_not.default, truth(call, call["self"]))
    return call.emit(aten.logical_not.default, _largest(call, opposite, *_dims(call)))


def choose(call: Call, condition: fx.Node, x: Any, y: Any) -> fx.Node:
    """x where the condition holds, else y; either may be a number, where the type of the result does not change."""
    dtype = call.node.meta["val"].dtype
    condition = truth(call, condition)
    for choice, other, target in ((y, x, aten.where.ScalarOther), (x, y, aten.where.ScalarSelf)):
        number = number_of(call, choice, other)
        if number is not None and isinstance(other, fx.Node) and other.meta["val"].dtype == dtype:
            return call.emit(target, condition, *((other, number) if choice is y else (number, other)))
    if isinstance(x, fx.Node) and isinstance(y, fx.Node):
        return call.emit(aten.where.self, condition, x, y)
    if isinstance(x, fx.Node) or isinstance(y, fx.Node):
        return call.keep()
    ones = call.emit(aten._to_copy.default, condition, dtype=dtype)
    zeros = call.emit(aten.mul.Scalar, ones, 0)
    return call.emit(aten.where.ScalarOther, condition, call.emit(aten.add.Scalar, zeros, x), y)


@canonical_form("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def where(call: Call) -> fx.Node:
    """See ``choose``."""
    return choose(call, call["condition"], call["self"], call["other"])


@canonical_form("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(call: Call) -> fx.Node:
    """The value where the mask holds, else x."""
    value, x = call["value"], call["self"]
    if isinstance(value, fx.Node) and value.meta["val"].dtype != x.meta["val"].dtype:
        number = number_of(call, value, x)
        if number is None:
            value = call.emit(aten._to_copy.default, value, dtype=x.meta["val"].dtype)
        else:
            value = number
    return choose(call, call["mask"], value, x)

"""Rounding to whole numbers, and division with remainder."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.source_call import Call, aten, canonical_form


def _unary(name: str, target: Any) -> None:
    @canonical_form(name)
    def form(call: Call) -> fx.Node:
        """The input, where it holds integers anyway."""
        x = call["self"]
        return call.emit(target, x) if x.meta["val"].is_floating_point() else x


for _name, _target in (("floor.default", aten.floor.default), ("ceil.default", aten.ceil.default),
                       ("trunc.default", aten.trunc.default), ("fix.default", aten.trunc.default),
                       ("round.default", aten.round.default)):
    _unary(_name, _target)


@canonical_form("round.decimals")
def round_decimals(call: Call) -> fx.Node:
    """round(x * 10**d) / 10**d."""
    x, factor = call["self"], 10.0 ** call["decimals"]
    if not x.meta["val"].is_floating_point() or call["decimals"] < 0:
        return call.keep()
    scaled = x if factor == 1 else call.emit(aten.mul.Scalar, x, factor)
    whole = call.emit(aten.round.default, scaled)
    return whole if factor == 1 else call.emit(aten.div.Scalar, whole, factor)


@canonical_form("frac.default")
def fraction(call: Call) -> fx.Node:
    """x - trunc(x)."""
    return call.emit(aten.sub.Tensor, call["self"], call.emit(aten.trunc.default, call["self"]))


@canonical_form("sign.default", "sgn.default")
def sign(call: Call) -> fx.Node:
    """-1, 0 or 1; truth values as they are."""
    x = call["self"]
    return x if x.meta["val"].dtype is torch.bool or x.meta["val"].is_complex() else call.emit(aten.sign.default, x)


def _divisor(call: Call) -> float | None:
    """The number x is divided by, if the quotient rounds as the exact one: a whole number, or one over such."""
    other = call["other"]
    tensor = call.constant_tensor(other)
    number = tensor.item() if tensor is not None and not tensor.dim() and not tensor.is_complex() else other
    if isinstance(number, bool) or not isinstance(number, (int, float)) or number == 0:
        return None
    return float(number) if float(number).is_integer() or (1 / number).is_integer() else None


def _quotient(call: Call, target: Any, divisor: float) -> fx.Node:
    """The rounded quotient in floats."""
    x = call["self"]
    if not x.meta["val"].is_floating_point():
        x = call.emit(aten._to_copy.default, x, dtype=torch.get_default_dtype())
    return call.emit(target, x if divisor == 1 else call.emit(aten.div.Scalar, x, divisor))


def _typed(call: Call, node: fx.Node) -> fx.Node:
    dtype = call.node.meta["val"].dtype
    return node if node.meta["val"].dtype == dtype else call.emit(aten._to_copy.default, node, dtype=dtype)


@canonical_form("floor_divide.default", "floor_divide.Scalar")
def floor_divide(call: Call) -> fx.Node:
    """floor(x / c)."""
    divisor = _divisor(call)
    return call.keep() if divisor is None else _typed(call, _quotient(call, aten.floor.default, divisor))


@canonical_form("div.Tensor_mode", "div.Scalar_mode", "divide.Tensor_mode", "divide.Scalar_mode")
def divide(call: Call) -> fx.Node:
    """floor(x / c) or trunc(x / c)."""
    mode, divisor = call["rounding_mode"], _divisor(call)
    target = {"floor": aten.floor.default, "trunc": aten.trunc.default}.get(mode)
    return call.keep() if divisor is None or target is None else _typed(call, _quotient(call, target, divisor))


@canonical_form("fmod.Scalar", "fmod.Tensor")
def fmod(call: Call) -> fx.Node:
    """x - c * trunc(x / c): the sign of x."""
    divisor = _divisor(call)
    if divisor is None:
        return call.keep()
    whole = _typed(call, _quotient(call, aten.trunc.default, divisor))
    number = divisor if whole.meta["val"].is_floating_point() else int(divisor)
    return call.emit(aten.sub.Tensor, call["self"], call.emit(aten.mul.Scalar, whole, number))

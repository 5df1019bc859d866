"""Mathematical functions of one tensor: one name for each, and powers."""

from __future__ import annotations

import math
from typing import Any

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form

# Names that torch has beside the ones used here.
ALIASES = {
    "special_expit.default": aten.sigmoid.default, "special_erf.default": aten.erf.default,
    "special_erfc.default": aten.erfc.default, "special_expm1.default": aten.expm1.default,
    "special_log1p.default": aten.log1p.default, "arcsin.default": aten.asin.default,
    "arccos.default": aten.acos.default, "arctan.default": aten.atan.default, "arcsinh.default": aten.asinh.default,
    "arccosh.default": aten.acosh.default, "arctanh.default": aten.atanh.default,
}


@canonical_form(*ALIASES)
def alias(call: Call) -> fx.Node:
    """The operator under its first name."""
    return call.emit(ALIASES[str(call.target).removeprefix("aten.")], call["self"])


@canonical_form("exp2.default", "special_exp2.default")
def exp2(call: Call) -> fx.Node:
    """exp(x * log(2))."""
    return _exponential(call, 2.0, call["self"])


@canonical_form("pow.Scalar")
def power_of_a_number(call: Call) -> fx.Node:
    """base ** x as exp(x * log(base)), for a positive base."""
    return _exponential(call, call["self"], call["exponent"])


@canonical_form("pow.Tensor_Tensor")
def power(call: Call) -> fx.Node:
    """x ** c where c is a constant of one element."""
    x, exponent = call["self"], call["exponent"]
    number, base = _number(call, exponent), _number(call, x)
    if number is not None and shape_of(x) == tuple(call.shape()):
        if number in (1, 2):
            return x if number == 1 else call.emit(aten.mul.Tensor, x, x)
        return call.emit(aten.pow.Tensor_Scalar, x, number)
    if base is not None and shape_of(exponent) == tuple(call.shape()):
        return _exponential(call, base, exponent)
    return call.keep()


@canonical_form("remainder.Tensor")
def remainder(call: Call) -> fx.Node:
    """x - c * floor(x / c) where c is a constant of one element."""
    number = _number(call, call["other"])
    if not number or shape_of(call["self"]) != tuple(call.shape()):
        return call.keep()
    return call.emit(aten.remainder.Scalar, call["self"], number)


def _number(call: Call, operand: Any) -> float | None:
    tensor = call.constant_tensor(operand)
    same = tensor is not None and tensor.numel() == 1 and call.node.meta["val"].is_floating_point()
    return float(tensor) if same else None


def _exponential(call: Call, base: Any, exponent: fx.Node) -> fx.Node:
    positive = isinstance(base, (int, float)) and 0 < base < math.inf
    if not positive or not exponent.meta["val"].is_floating_point():
        return call.keep()
    return call.emit(aten.exp.default, call.emit(aten.mul.Scalar, exponent, math.log(base)))

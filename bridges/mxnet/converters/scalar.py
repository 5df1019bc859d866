"""Arithmetic of a tensor and a number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten

# The second names are those of MXNet 0.8 and older.
_SCALAR = {
    aten.add.Scalar: ("_plus_scalar", "_PlusScalar", "_scatter_plus_scalar"),
    aten.sub.Scalar: ("_minus_scalar", "_MinusScalar", "_scatter_minus_scalar"),
    aten.rsub.Scalar: ("_rminus_scalar", "_RMinusScalar"),
    aten.mul.Scalar: ("_mul_scalar", "_MulScalar"),
}


def _register_scalar(target: Callable, operators: tuple[str, ...]) -> None:
    @register_converter(*operators)
    def convert_scalar(view: NodeView) -> fx.Node:
        return view.call(target, view.inputs[0], _number(view))


for _target, _operators in _SCALAR.items():
    _register_scalar(_target, _operators)


@register_converter("_div_scalar", "_DivScalar")
def convert_div_scalar(view: NodeView) -> fx.Node:
    """x / number; zero is refused."""
    number = _number(view)
    if number == 0:
        raise view.invalid("the number is 0")
    return view.call(aten.div.Scalar, view.inputs[0], number)


@register_converter("_maximum_scalar", "_MaximumScalar")
def convert_maximum_scalar(view: NodeView) -> fx.Node:
    """max(x, number)."""
    return view.call(aten.clamp.default, view.inputs[0], _number(view), None)


@register_converter("_minimum_scalar", "_MinimumScalar")
def convert_minimum_scalar(view: NodeView) -> fx.Node:
    """min(x, number)."""
    return view.call(aten.clamp.default, view.inputs[0], None, _number(view))


@register_converter("clip")
def convert_clip(view: NodeView) -> fx.Node:
    """min(max(x, a_min), a_max)."""
    low, high = view.attributes.real("a_min"), view.attributes.real("a_max")
    if low > high:
        raise view.invalid(f"a_min {low} is above a_max {high}")
    return view.call(aten.clamp.default, view.inputs[0], low, high)


def _number(view: NodeView) -> float:
    return view.attributes.real("scalar")

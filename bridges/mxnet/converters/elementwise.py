"""Arithmetic of two or more tensors, and of one tensor element by element."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten

# Names of one shape ("elemwise") also in the spellings of MXNet 0.8 and older.
_SAME_SHAPE = {
    aten.add.Tensor: ("elemwise_add", "_plus", "_Plus", "_add", "_grad_add"),
    aten.sub.Tensor: ("elemwise_sub", "_minus", "_Minus", "_sub"),
    aten.mul.Tensor: ("elemwise_mul", "_mul", "_Mul"),
    aten.div.Tensor: ("elemwise_div", "_div", "_Div"),
    aten.maximum.default: ("_maximum", "_Maximum"),
    aten.minimum.default: ("_minimum", "_Minimum"),
}
_BROADCAST = {
    aten.add.Tensor: ("broadcast_add", "broadcast_plus"),
    aten.sub.Tensor: ("broadcast_sub", "broadcast_minus"),
    aten.mul.Tensor: ("broadcast_mul",),
    aten.div.Tensor: ("broadcast_div",),
    aten.maximum.default: ("broadcast_maximum",),
    aten.minimum.default: ("broadcast_minimum",),
}


def _register_binary(target: Callable, operators: tuple[str, ...], broadcast: bool) -> None:
    @register_converter(*operators)
    def convert_binary(view: NodeView) -> fx.Node:
        view.expect_inputs(2)
        _check_shapes(view, broadcast)
        return view.call(target, view.inputs[0], view.inputs[1])


for _target, _operators in _SAME_SHAPE.items():
    _register_binary(_target, _operators, broadcast=False)
for _target, _operators in _BROADCAST.items():
    _register_binary(_target, _operators, broadcast=True)


@register_converter("add_n", "ElementWiseSum", "elemwise_sum")
def convert_add_n(view: NodeView) -> fx.Node:
    """The sum of all inputs, added from the first to the last."""
    _check_shapes(view, broadcast=False)
    total = view.inputs[0]
    for position, term in enumerate(view.inputs[1:], start=2):
        emit = view.call if position == len(view.inputs) else view.step
        total = emit(aten.add.Tensor, total, term)
    return total


@register_converter("negative")
def convert_negative(view: NodeView) -> fx.Node:
    """-x."""
    return view.call(aten.neg.default, view.inputs[0])


@register_converter("abs")
def convert_abs(view: NodeView) -> fx.Node:
    """|x|."""
    return view.call(aten.abs.default, view.inputs[0])


@register_converter("square")
def convert_square(view: NodeView) -> fx.Node:
    """x * x."""
    return view.call(aten.mul.Tensor, view.inputs[0], view.inputs[0])


def _check_shapes(view: NodeView, broadcast: bool) -> None:
    """MXNet broadcasts only where asked: shapes aligned on the right, missing axes counting as 1."""
    first = view.shape()
    for position in range(1, len(view.inputs)):
        shape = view.shape(position)
        fits = all(a == b or 1 in (a, b) for a, b in zip(reversed(first), reversed(shape)))
        if not (fits if broadcast else shape == first):
            raise view.invalid(f"the inputs have shapes {first} and {shape}")

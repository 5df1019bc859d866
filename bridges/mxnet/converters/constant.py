"""Tensors of one number."""

from __future__ import annotations

import math

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten

_MOST_ELEMENTS = 2**24  # a short text could ask for more than any memory holds


@register_converter("zeros_like")
def convert_zeros_like(view: NodeView) -> fx.Node:
    """0 * x: zeros of the input's shape, whatever the batch."""
    return view.call(aten.mul.Scalar, view.inputs[0], 0.0)


@register_converter("ones_like")
def convert_ones_like(view: NodeView) -> fx.Node:
    """0 * x + 1."""
    return view.call(aten.add.Scalar, view.step(aten.mul.Scalar, view.inputs[0], 0.0), 1.0)


@register_converter("_zeros", "_ones", "_full", needs_inputs=False)
def convert_filled(view: NodeView) -> fx.Node:
    """A constant of ``shape``; a shape that is not known until bound is refused."""
    shape = view.attributes.integers("shape")
    if not shape or any(dim < 1 for dim in shape):
        raise view.unsupported(f"its shape is {shape}; positive numbers are expected")
    number = {"_zeros": 0.0, "_ones": 1.0}.get(view.operator)
    number = view.attributes.real("value") if number is None else number
    if math.prod(shape) > _MOST_ELEMENTS:
        raise view.unsupported(f"its shape is {shape}; {_MOST_ELEMENTS} elements are supported")
    value = torch.tensor(number, dtype=view.dtype).expand(shape)  # one number in memory, whatever the shape
    return view.constant(value, "value")

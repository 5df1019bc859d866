"""Tensors repeated: tile, repeat and the broadcasts to a shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


@register_converter("tile")
def convert_tile(view: NodeView) -> fx.Node:
    """The whole tensor ``reps`` times along the last axes."""
    reps, rank = view.attributes.integers("reps"), len(view.shape())
    if any(count < 1 for count in reps):
        raise view.unsupported(f"reps is {reps}; positive numbers are expected")
    return view.call(aten.repeat.default, view.inputs[0], [1] * (rank - len(reps)) + list(reps))


@register_converter("repeat")
def convert_repeat(view: NodeView) -> fx.Node:
    """Every slice along ``axis`` ``repeats`` times in a row; without an axis, every element, as one axis."""
    count, axis = view.attributes.integer("repeats"), view.attributes.optional_integer("axis")
    if count < 1:
        raise view.unsupported(f"repeats is {count}; a positive number is expected")
    axis = None if axis is None else view.axis(axis)
    return view.call(aten.repeat_interleave.self_int, view.inputs[0], count, axis)


@register_converter("broadcast_to")
def convert_broadcast_to(view: NodeView) -> fx.Node:
    """Axes of length 1 repeated to those of ``shape``; 0 keeps an axis."""
    target, shape = view.attributes.integers("shape", ()), view.shape()
    if len(target) != len(shape):
        raise view.invalid(f"its target is {target}, its input has the shape {shape}")
    return _expand(view, [extent if wanted == 0 else wanted for wanted, extent in zip(target, shape)])


@register_converter("broadcast_axis", "broadcast_axes")
def convert_broadcast_axis(view: NodeView) -> fx.Node:
    """The axes ``axis``, of length 1, repeated ``size`` times."""
    axes, sizes = view.attributes.integers("axis", ()), view.attributes.integers("size", ())
    if len(axes) != len(sizes):
        raise view.invalid(f"axis {axes} and size {sizes} differ in length")
    target = list(view.shape())
    for axis, size in zip(axes, sizes):
        axis = view.axis(axis)
        if view.shape()[axis] != 1:
            raise view.invalid(f"axis {axis} of the shape {view.shape()} is not of length 1")
        target[axis] = size
    return _expand(view, target)


def _expand(view: NodeView, target: Sequence[int]) -> fx.Node:
    """expand with -1 on the axes that stay, which leaves the batch free."""
    shape = view.shape()
    if any(wanted < 1 or extent not in (1, wanted) for wanted, extent in zip(target, shape)):
        raise view.invalid(f"the shape {shape} does not broadcast to {tuple(target)}")
    sizes = [-1 if wanted == extent else wanted for wanted, extent in zip(target, shape)]
    return view.call(aten.expand.default, view.inputs[0], sizes)


@register_converter("broadcast_like")
def convert_broadcast_like(view: NodeView) -> fx.Node:
    """Axes of length 1 repeated to those of the second input; ``lhs_axes`` and ``rhs_axes`` pair some of them."""
    view.expect_inputs(2)
    shape, like = view.shape(), view.shape(1)
    left = view.attributes.optional_integers("lhs_axes")
    right = view.attributes.optional_integers("rhs_axes")
    if (left is None) != (right is None) or len(left or ()) != len(right or ()):
        raise view.invalid(f"lhs_axes {left} and rhs_axes {right} differ in length")
    if left is None:
        if len(shape) != len(like):
            raise view.invalid(f"the shapes {shape} and {like} differ in their number of axes")
        pairs = [(axis, axis) for axis in range(len(shape))]
    else:
        pairs = [(view.axis(first), view.axis(second, len(like))) for first, second in zip(left, right)]
    if any(shape[first] not in (1, like[second]) for first, second in pairs):
        raise view.invalid(f"the shape {shape} does not broadcast to {like} on {pairs}")
    axes = (None, None) if left is None else ([first for first, _ in pairs], [second for _, second in pairs])
    return view.call(torch.ops.mrt.broadcast_like.default, *view.inputs, *axes)

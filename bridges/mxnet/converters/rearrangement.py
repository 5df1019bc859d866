"""Elements in another order or shape: reshape_like, reverse, depth_to_space and its inverse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.free_axis import free_shape

aten = torch.ops.aten


@register_converter("reshape_like")
def convert_reshape_like(view: NodeView) -> fx.Node:
    """The first input in the shape of the second, or its axes ``lhs_begin`` to ``lhs_end`` in the extents of the
    second's axes ``rhs_begin`` to ``rhs_end``."""
    view.expect_inputs(2)
    names = ("lhs_begin", "lhs_end", "rhs_begin", "rhs_end")
    bounds = [view.attributes.optional_integer(name) for name in names]
    try:
        return view.call(torch.ops.mrt.reshape_like.default, *view.inputs, *bounds)
    except RuntimeError as error:
        raise view.invalid(f"the shape {view.shape()} does not become {view.shape(1)}") from error


@register_converter("reverse", "flip")
def convert_reverse(view: NodeView) -> fx.Node:
    """The axes ``axis`` from behind."""
    axes = sorted({view.axis(axis) for axis in view.attributes.integers("axis")})
    return view.call(aten.flip.default, view.inputs[0], axes)


def _rearranged(view: NodeView, middle: Sequence[int], order: Sequence[int], after: Sequence[int]) -> fx.Node:
    batch = free_shape(view.inputs[0])[0]
    parts = view.step(aten.reshape.default, view.inputs[0], [batch, *middle])
    return view.call(aten.reshape.default, view.step(aten.permute.default, parts, list(order)), [batch, *after])


def _block(view: NodeView) -> int:
    size = view.attributes.integer("block_size")
    if size < 1 or len(view.shape()) != 4:
        raise view.invalid(f"block_size is {size}, its input has the shape {view.shape()}")
    return size


@register_converter("depth_to_space")
def convert_depth_to_space(view: NodeView) -> fx.Node:
    """(N, b * b * C, H, W) to (N, C, H * b, W * b); the channels are ordered rows, columns, C."""
    (_, channels, height, width), b = view.shape(), _block(view)
    if channels % (b * b):
        raise view.invalid(f"{channels} channels do not divide by {b} * {b}")
    channels //= b * b
    return _rearranged(view, [b, b, channels, height, width], [0, 3, 4, 1, 5, 2], [channels, height * b, width * b])


@register_converter("space_to_depth")
def convert_space_to_depth(view: NodeView) -> fx.Node:
    """(N, C, H * b, W * b) to (N, b * b * C, H, W); the channels are ordered rows, columns, C."""
    (_, channels, height, width), b = view.shape(), _block(view)
    if height % b or width % b:
        raise view.invalid(f"{height} and {width} do not divide by {b}")
    height, width = height // b, width // b
    return _rearranged(view, [channels, height, b, width, b], [0, 3, 5, 1, 2, 4], [channels * b * b, height, width])

"""Indices of extremes, order, and elements chosen by indices. MXNet's indices are floats, so a cast follows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from bridges.mxnet.converters.comparison import CAST, floats
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.ops.ordering import TOPK_INDICES, TOPK_MASK, TOPK_VALUES
from mrt_torch.ops.selection import GATHER_ND

aten = torch.ops.aten

_TYPES = ("float32", "float64", "float16", "uint8", "int32", "int64")


@register_converter("argmax")
def convert_argmax(view: NodeView) -> fx.Node:
    """Index of the first largest element along ``axis``; of all elements in order when absent."""
    return _extreme(view, aten.argmax.default, view.attributes.optional_integer("axis"))


@register_converter("argmin")
def convert_argmin(view: NodeView) -> fx.Node:
    """Index of the first smallest element; the axis as in `convert_argmax`."""
    return _extreme(view, aten.argmin.default, view.attributes.optional_integer("axis"))


@register_converter("argmax_channel")
def convert_argmax_channel(view: NodeView) -> fx.Node:
    """Index of the first largest element along axis 1."""
    return _extreme(view, aten.argmax.default, 1)


def _extreme(view: NodeView, target: Callable, axis: int | None) -> fx.Node:
    keep = view.operator != "argmax_channel" and view.attributes.boolean("keepdims", False)
    shape = view.shape()
    data, along = (view.inputs[0], view.axis(axis)) if axis is not None else (_flat(view), 0)
    found = view.step(target, data, along, keep or axis is None or len(shape) == 1)
    if axis is None and keep:
        found = view.step(aten.reshape.default, found, [1] * len(shape))
    return floats(view, found)


def _flat(view: NodeView) -> fx.Node:
    return view.inputs[0] if len(view.shape()) == 1 else view.step(aten.reshape.default, view.inputs[0], [-1])


@register_converter("topk")
def convert_topk(view: NodeView) -> fx.Node | dict[int, fx.Node]:
    """The k largest (or smallest) elements of an axis, their indices, both, or the mask of them.

    Equal elements come in the order of their indices; MXNet leaves their order open.
    """
    attributes = view.attributes
    kind = attributes.choice("ret_typ", ("value", "indices", "mask", "both"), "indices")
    attributes.choice("dtype", _TYPES, "float32")
    axis = attributes.optional_integer("axis", -1)
    data, axis = (view.inputs[0], view.axis(axis)) if axis is not None else (_flat(view), 0)
    length, k = shape_of(data)[axis], attributes.integer("k", 1)
    if k > length:
        raise view.invalid(f"k is {k}; the axis has {length} elements")
    rest = (data, length if k < 1 else k, axis, not attributes.boolean("is_ascend", False))
    if kind == "mask":
        mask = view.step(TOPK_MASK, *rest)
        if shape_of(mask) != view.shape():
            mask = view.step(aten.reshape.default, mask, free_shape(view.inputs[0]))
        return floats(view, mask)
    if kind == "value":
        return view.call(TOPK_VALUES, *rest)
    if kind == "indices":
        return floats(view, view.step(TOPK_INDICES, *rest))
    return _both(view, rest)


def _both(view: NodeView, rest: tuple) -> dict[int, fx.Node]:
    outputs = {}
    if 0 in view.outputs_read:
        outputs[0] = view.call(TOPK_VALUES, *rest, output=0)
    if 1 in view.outputs_read:
        outputs[1] = view.call(CAST, view.step(TOPK_INDICES, *rest), output=1, dtype=view.dtype)
    return outputs


@register_converter("sort")
def convert_sort(view: NodeView) -> fx.Node:
    """All elements of an axis in order."""
    return view.call(TOPK_VALUES, *_whole_axis(view))


@register_converter("argsort")
def convert_argsort(view: NodeView) -> fx.Node:
    """Their indices; equal elements in the order of theirs."""
    view.attributes.choice("dtype", _TYPES, "float32")
    return floats(view, view.step(TOPK_INDICES, *_whole_axis(view)))


def _whole_axis(view: NodeView) -> tuple:
    axis = view.attributes.optional_integer("axis", -1)
    data, axis = (view.inputs[0], view.axis(axis)) if axis is not None else (_flat(view), 0)
    return data, shape_of(data)[axis], axis, not view.attributes.boolean("is_ascend", True)


@register_converter("batch_take")
def convert_batch_take(view: NodeView) -> fx.Node:
    """Of each row the element that the index names, clamped to the row."""
    view.expect_inputs(2)
    if len(view.shape()) != 2 or view.shape(1) != view.shape()[:1]:
        raise view.invalid(f"the index has shape {view.shape(1)} beside {view.shape()}")
    places = view.step(aten.clamp.default, view.step(CAST, view.inputs[1], dtype=torch.int64), 0, view.shape()[1] - 1)
    column = view.step(aten.unsqueeze.default, places, 1)
    return view.call(aten.squeeze.dims, view.step(aten.gather.default, view.inputs[0], 1, column), [1])


@register_converter("gather_nd")
def convert_gather_nd(view: NodeView) -> fx.Node:
    """The elements, or slices, at points whose coordinates axis 0 of the indices holds."""
    view.expect_inputs(2)
    depth = view.shape(1)[0]
    if not 1 <= depth <= len(view.shape()):
        raise view.invalid(f"its points have {depth} coordinates; the data has shape {view.shape()}")
    return view.call(GATHER_ND, view.inputs[0], view.inputs[1])

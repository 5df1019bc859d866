"""Choosing rows by indices: Embedding, take, one_hot, pick."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.free_axis import free_shape

aten = torch.ops.aten

_MOST_ROWS = 2**13  # of an identity matrix: a short text could ask for more than any memory holds


@register_converter("Embedding", "_contrib_SparseEmbedding", parameters=("weight",))
def convert_embedding(view: NodeView) -> fx.Node:
    """The rows of the weight at the indices, which lose their fraction and are clamped to the table."""
    view.expect_inputs(2)
    rows, columns = view.attributes.integer("input_dim"), view.attributes.integer("output_dim")
    view.expect_shape(1, (rows, columns), "the weight")
    return view.call(aten.embedding.default, view.inputs[1], _clamped(view, view.inputs[0], rows))


@register_converter("take")
def convert_take(view: NodeView) -> fx.Node:
    """Slices of ``axis`` (0 by default) at the indices, which lose their fraction.

    Indices beyond the axis are clamped (mode "clip", the default) or count modulo its length ("wrap"); those of mode
    "raise" must lie within it.
    """
    view.expect_inputs(2)
    axis = view.axis(view.attributes.integer("axis", 0))
    mode = view.attributes.choice("mode", ("clip", "wrap", "raise"), "clip")
    data, index = view.inputs
    extent, shape = view.shape()[axis], view.shape(1)
    whole = _wrapped(view, index, extent) if mode == "wrap" else _clamped(view, index, extent)
    if axis == 0 and len(view.shape()) == 2:
        return view.call(aten.embedding.default, data, whole)
    if len(shape) == 1:
        return view.call(aten.index_select.default, data, axis, whole)
    return _take_block(view, data, axis, whole)


def _take_block(view: NodeView, data: fx.Node, axis: int, index: fx.Node) -> fx.Node:
    """Indices of several axes: their rows of a table (extent, everything else), put in place."""
    rank, own = len(view.shape()), len(view.shape(1))
    order = [axis, *(other for other in range(rank) if other != axis)]
    rest = [free_shape(data)[other] for other in order[1:]]
    table = data if axis == 0 else view.step(aten.permute.default, data, order)
    table = view.step(aten.reshape.default, table, [view.shape()[axis], -1])
    rows = view.step(aten.embedding.default, table, index)
    rows = view.step(aten.reshape.default, rows, [*free_shape(index), *rest])
    back = [*range(own, own + axis), *range(own), *range(own + axis, own + len(rest))]
    return rows if axis == 0 else view.call(aten.permute.default, rows, back)


@register_converter("one_hot")
def convert_one_hot(view: NodeView) -> fx.Node:
    """A last axis of ``depth`` with ``on_value`` at the index and ``off_value`` elsewhere; nothing on for others.

    Rows of an identity matrix between two rows for the indices outside.
    """
    attributes = view.attributes
    depth = attributes.integer("depth")
    if not 0 < depth <= _MOST_ROWS:
        raise view.unsupported(f"its depth is {depth}; 1 to {_MOST_ROWS} are supported")
    on, off = attributes.real("on_value", 1.0), attributes.real("off_value", 0.0)
    table = torch.nn.functional.pad(torch.eye(depth, dtype=view.dtype), (0, 0, 1, 1)) * (on - off) + off
    shifted = view.step(aten.add.Scalar, _whole(view, view.inputs[0]), 1)
    row = view.step(aten.clamp.default, shifted, 0, depth + 1)
    return view.call(aten.embedding.default, view.constant(table, "rows"), row)


@register_converter("pick", "choose_element_0index")
def convert_pick(view: NodeView) -> fx.Node:
    """The element of ``axis`` (the last by default) at the index: the sum of the products with a one_hot.

    Indices beyond the axis are clamped (mode "clip", the default) or count modulo its length ("wrap").
    """
    view.expect_inputs(2)
    attributes = view.attributes
    axis = attributes.optional_integer("axis", -1)
    if axis is None:
        raise view.unsupported("it picks from the flattened input: its axis is None")
    axis = view.axis(axis)
    extent, keepdims = view.shape()[axis], attributes.boolean("keepdims", False)
    mode = attributes.choice("mode", ("clip", "wrap"), "clip")
    index = view.inputs[1]
    if extent > _MOST_ROWS:
        raise view.unsupported(f"its axis has {extent} elements; {_MOST_ROWS} are supported")
    if len(view.shape(1)) == len(view.shape()):
        index = view.step(aten.squeeze.dims, index, [axis])
    whole = (_wrapped if mode == "wrap" else _clamped)(view, index, extent)
    identity = view.constant(torch.eye(extent, dtype=view.dtype), "rows")
    chosen = view.step(aten.embedding.default, identity, whole)
    rank = len(view.shape())
    if axis != rank - 1:
        chosen = view.step(aten.permute.default, chosen, [*range(axis), rank - 1, *range(axis, rank - 1)])
    product = view.step(aten.mul.Tensor, view.inputs[0], chosen)
    return view.call(aten.sum.dim_IntList, product, [axis], keepdims)


def _clamped(view: NodeView, index: fx.Node, extent: int) -> fx.Node:
    """The index without its fraction, within 0..extent - 1."""
    return view.step(aten.clamp.default, _whole(view, index), 0, extent - 1)


def _wrapped(view: NodeView, index: fx.Node, extent: int) -> fx.Node:
    """The index without its fraction, modulo the extent."""
    return view.step(aten.remainder.Scalar, _whole(view, index), extent)


def _whole(view: NodeView, index: fx.Node) -> fx.Node:
    return view.step(aten._to_copy.default, index, dtype=torch.int64)

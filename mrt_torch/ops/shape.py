"""Operators that change the shape only: Flatten, Reshape, expand_dims, squeeze."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.axis_groups import sink_transpose_below_reshape
from mrt_torch.ops.column_layout import columns_before, keeps_columns
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.columns import moved
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.held import ColumnQuantized

aten = torch.ops.aten
SHAPE_TARGETS = (aten.flatten.using_ints, aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dims)
UNFOLDED_PRECISION = 16


def integers_of(context: QuantizationContext, node: fx.Node) -> Quantized:
    """The integers of an activation as they stand, or of a constant that was too large to fold, in 16 bits."""
    return context.parameter(node, UNFOLDED_PRECISION) if context.is_constant(node) else context.value(node)


def same_shape(first: fx.Node, second: fx.Node) -> bool:
    """Whether two values have one shape at every batch."""
    return shape_of(first) == shape_of(second) and free_axis(first) == free_axis(second)


def reshape_integers(context: QuantizationContext, quantized: Quantized, op: fx.Node) -> Quantized:
    """The integers in the shape of the float node ``op``, whose batch stays free."""
    return Quantized(context.call("reshape", quantized.node, shape=free_shape(op)), quantized.scale)


class ShapeTransformer(Transformer):
    """An operator that moves no element; its integer form is a reshape with the batch left free: exact."""

    cvm_operators = ("reshape",)
    limits = "refused: more than 6 axes, unless a transpose between reshapes can do with fewer."

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """The input where the shape stays; one reshape where another change of shape comes before."""
        source = op.args[0]
        while source.target in SHAPE_TARGETS:
            source = source.args[0]
        if same_shape(op, source):
            return source
        return op if source is op.args[0] else editor.call(aten.reshape.default, source, free_shape(op))

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """See ``sink_transpose_below_reshape``."""
        return sink_transpose_below_reshape(op, editor=editor, **context)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized | ColumnQuantized:
        """A reshape; a column for each of its own where columns have scales of their own and stay columns."""
        columns = columns_before(op, context)
        if columns is not None and keeps_columns(op):
            rows = free_shape(op)[:-1]
            return moved(columns, lambda node, extent: context.call("reshape", node, shape=[*rows, extent]))
        quantized = integers_of(context, op.args[0])
        return quantized if same_shape(op, op.args[0]) else reshape_integers(context, quantized, op)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.flatten.using_ints)
class Flatten(ShapeTransformer):
    """Merge axes into one."""

    op_name = "Flatten"
    cvm_operators = ("flatten", "reshape")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        before = shape_of(op.args[0])
        if len(shape_of(op)) == 2 and len(before) > 2 and shape_of(op)[0] == before[0] \
                and free_axis(op) == free_axis(op.args[0]):
            node, scale = integers_of(context, op.args[0])
            return Quantized(context.call("flatten", node), scale)
        return super().quantize(op, context=context)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.reshape.default)
class Reshape(ShapeTransformer):
    """Another shape for the same elements; -1 on the axis that follows the batch keeps it free."""

    op_name = "Reshape"


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.unsqueeze.default)
class ExpandDims(ShapeTransformer):
    """A new axis of extent 1."""

    op_name = "expand_dims"


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.squeeze.dims)
class Squeeze(ShapeTransformer):
    """Axes of extent 1 removed."""

    op_name = "squeeze"

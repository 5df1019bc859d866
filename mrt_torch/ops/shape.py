"""Operators that change the shape only: Flatten, Reshape, expand_dims, squeeze."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten


class ShapeTransformer(Transformer):
    """An operator that moves no element; its integer form is a reshape with the batch left free."""

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        quantized = context.value(op.args[0])
        if shape_of(op) == shape_of(op.args[0]):
            return quantized
        shape = [-1, *shape_of(op)[1:]]
        return Quantized(context.call("reshape", quantized.node, shape=shape), quantized.scale)


@register_pass("validate", "rewrite", "fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.flatten.using_ints)
class Flatten(ShapeTransformer):
    """Merge axes into one."""

    op_name = "Flatten"

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        if len(shape_of(op)) == 2 and len(shape_of(op.args[0])) > 2 and shape_of(op)[0] == shape_of(op.args[0])[0]:
            node, scale = context.value(op.args[0])
            return Quantized(context.call("flatten", node), scale)
        return super().quantize(op, context=context)


@register_pass("validate", "rewrite", "fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.reshape.default)
class Reshape(ShapeTransformer):
    """Another shape for the same elements; -1 on axis 0 keeps the batch free."""

    op_name = "Reshape"


@register_pass("validate", "rewrite", "fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.unsqueeze.default)
class ExpandDims(ShapeTransformer):
    """A new axis of extent 1."""

    op_name = "expand_dims"


@register_pass("validate", "rewrite", "fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.squeeze.dims)
class Squeeze(ShapeTransformer):
    """Axes of extent 1 removed."""

    op_name = "squeeze"

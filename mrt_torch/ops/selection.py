"""Elements chosen by computed indices, one for each position: gather and gather_nd."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import bits_for
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of, source_name
from mrt_torch.graph.float_operators import define_float_operator
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.embedding import INDEXING
from mrt_torch.ops.extremes import along_axis
from mrt_torch.ops.reduction import reduce_integers
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.rounding import nearest
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.truth import is_zero
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten
MOST_PRODUCTS = 2 ** 24
VALUE_BITS = 16
TERM_BITS = 28


def _gather_nd(x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    parts = [part.clamp(0, extent - 1) for part, extent in zip(indices.to(torch.int64), x.shape)]
    return x[tuple(parts)].clone()


def _gather_nd_fake(x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    return x.new_empty([*indices.shape[1:], *x.shape[indices.shape[0]:]])


GATHER_ND = define_float_operator("gather_nd", "(Tensor x, Tensor indices) -> Tensor", _gather_nd, _gather_nd_fake)


def index_integers(context: QuantizationContext, node: fx.Node) -> fx.Node:
    """Indices at scale 1, constant or computed; fractions are rounded to the nearest."""
    if context.is_constant(node):
        return context.constant(source_name(node), context.tensor(node).round().to(torch.int64))
    return nearest(context, node).node


def chosen_integers(context: QuantizationContext, node: fx.Node, bits: int = 31) -> Quantized:
    """The tensor that is indexed, constant or computed."""
    if context.is_constant(node):
        return context.parameter(node, min(bits, VALUE_BITS))
    quantized = context.value(node)
    return quantized if quantized.value_range.precision <= bits else context.requantize(node, bits)


@register_pass("rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(aten.gather.default)
class Gather(Transformer):
    """Along one axis, for every position, the elements that the indices there name."""

    op_name = "pick"
    cvm_operators = ("broadcast_sub", "abs", "broadcast_greater", "broadcast_mul", "sum", "cvm_clip", "reshape")
    limits = "Not along the batch axis; the indices have the shape of the tensor but for the axis."

    @staticmethod
    def axis(op: fx.Node) -> int:
        return op.args[1] % len(shape_of(op.args[0]))

    @classmethod
    def parts(cls, op: fx.Node) -> tuple[fx.Node, int, fx.Node]:
        """Tensor, axis (not negative) and index."""
        return op.args[0], cls.axis(op), op.args[2]

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        (x, index), axis = (op.args[0], op.args[2]), self.axis(op)
        if axis in (free_axis(x), free_axis(index)):
            return "it chooses along the batch axis, which is free"
        shapes = [shape_of(node)[:axis] + shape_of(node)[axis + 1:] for node in (x, index)]
        if shapes[0] != shapes[1]:
            return f"its indices have shape {shape_of(index)} beside {shape_of(x)}"
        if math.prod(shape_of(op)) * shape_of(x)[axis] > MOST_PRODUCTS:
            return f"it compares {math.prod(shape_of(op))} indices with {shape_of(x)[axis]} places"
        return "it has 6 axes; 5 are the most" if len(shape_of(x)) > 5 and shape_of(index)[axis] > 1 else None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """One product for each index and place."""
        return super().calculate_ops(op) * shape_of(op.args[0])[self.axis(op)]

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """y = sum over i of (index == i) * X(i), exact; the one term that is not 0 keeps the bits of X.

        X of more than 28 bits less those of the axis is rounded to as many first. An index outside gives 0.
        """
        axis, length = self.axis(op), shape_of(op.args[0])[self.axis(op)]
        (x, scale) = chosen_integers(context, op.args[0], TERM_BITS - bits_for(length))
        index, count = index_integers(context, op.args[2]), shape_of(op.args[2])[axis]
        bits = facts_of(x).value_range.precision
        summed = axis
        if count > 1:
            summed = axis + 1
            x = _with_axis(context, x, axis)
            index = _with_axis(context, index, axis + 1)
        places = along_axis(torch.arange(length), summed, len(shape_of(x)))
        hot = is_zero(context, context.call("broadcast_sub", context.constant(f"places_{length}", places), index))
        total = reduce_integers(context, "sum", context.call("broadcast_mul", hot, x), [summed], count == 1)
        return Quantized(context.narrow(total, bits), scale)


def _with_axis(context: QuantizationContext, node: fx.Node, axis: int) -> fx.Node:
    shape = free_shape(node)
    return context.call("reshape", node, shape=[*shape[:axis], 1, *shape[axis:]])


@register_pass("rewrite", "fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(GATHER_ND)
class GatherNd(Transformer):
    """X at points: axis 0 of the indices holds the coordinates on the first axes of X."""

    op_name = "gather_nd"
    cvm_operators = ("broadcast_mul", "sum", "reshape", "take", "clip")
    limits = "The axes that are indexed have fixed extents: not the batch axis. Indices outside are clamped."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        x, indices = op.args
        depth, free = shape_of(indices)[0], free_axis(x)
        if free_axis(indices) == 0:
            return "the coordinates of its points follow the batch"
        if free is not None and free < depth:
            return "it indexes the batch axis, which is free"
        if free is not None and free_axis(indices) is not None:
            return "tensor and indices both follow the batch"
        if math.prod(shape_of(x)[:depth]) >= MOST_PRODUCTS:
            return f"it indexes {math.prod(shape_of(x)[:depth])} places"
        return None

    @staticmethod
    def parts(op: fx.Node) -> tuple[fx.Node, int, fx.Node]:
        """Tensor, the longest of the axes that are indexed, and index."""
        x, points = op.args
        extents = shape_of(x)[:shape_of(points)[0]]
        return x, extents.index(max(extents)), points

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """The coordinates, clamped and weighed with the strides, add up to an index into the flattened axes; exact."""
        x, points = op.args
        depth = shape_of(points)[0]
        (node, scale), extents = chosen_integers(context, x), shape_of(x)[:depth]
        coordinates = index_integers(context, points)
        rank = len(shape_of(points))
        strides = torch.tensor([math.prod(extents[axis + 1:]) for axis in range(depth)])
        largest = max(extents) - 1
        coordinates = context.call("clip", coordinates, a_min=0, a_max=max(largest, 1))
        if len(set(extents)) > 1 or largest < 1:
            beyond = along_axis(torch.tensor(extents) - 1, 0, rank)
            excess = context.call("relu", context.call(
                "broadcast_sub", coordinates, context.constant("last_places", beyond)))
            coordinates = context.call("elemwise_sub", coordinates, excess)
        weighed = context.call("broadcast_mul", coordinates,
                               context.constant("strides", along_axis(strides, 0, rank)))
        linear = reduce_integers(context, "sum", weighed, [0], False)
        flat = context.call("reshape", node, shape=[math.prod(extents), *free_shape(node)[depth:]])
        return Quantized(context.call("take", flat, linear, axis=0), scale)


INDEXING.update({aten.gather.default: Gather, GATHER_ND: GatherNd})

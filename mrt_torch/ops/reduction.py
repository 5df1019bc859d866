"""Reductions: sum, mean, max."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import PrecisionError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, permutation_of
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import get_bit_cnt

aten = torch.ops.aten
NARROWEST_TERM = 8


def reduction_arguments(op: fx.Node) -> tuple[list[int], bool]:
    """Axes (ascending, none negative; all when none are given) and keepdim of a reduction node."""
    rank = len(shape_of(op.args[0]))
    axes = op.args[1] if len(op.args) > 1 and op.args[1] is not None else []
    axes = [axes] if isinstance(axes, int) else list(axes)
    return sorted(axis % rank for axis in axes) or list(range(rank)), len(op.args) > 2 and bool(op.args[2])


def reduce_integers(context: QuantizationContext, name: str, node: fx.Node, axes: Sequence[int],
                    keepdims: bool) -> fx.Node:
    """Emit ``sum`` or ``max`` over explicit axes.

    The runtime's CPU back end mixes up kept axes of extent 1 that stand right of a larger kept one: they are reshaped
    away first. The batch counts as larger than 1, because it is free.
    """
    shape = shape_of(node)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    single = [axis for axis in kept if axis > 0 and shape[axis] == 1]
    if not single:
        return context.call(name, node, axis=list(axes), keepdims=keepdims, exclude=False)
    remaining = [axis for axis in range(len(shape)) if axis not in single]
    squeezed = context.call("reshape", node, shape=[-1 if axis == 0 else shape[axis] for axis in remaining])
    reduced = context.call(name, squeezed, axis=[remaining.index(axis) for axis in axes], keepdims=False,
                           exclude=False)
    result = [1 if axis in axes else shape[axis] for axis in range(len(shape)) if keepdims or axis not in axes]
    if 0 not in axes:
        result[0] = -1
    return context.call("reshape", reduced, shape=result)


class Reduction(Transformer):
    """What sum, mean and max share."""

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if 0 in reduction_arguments(op)[0]:
            return "it reduces the batch axis, which is free"
        return None

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """reduce(Transpose(X), axes) becomes Transpose(reduce(X, mapped axes)), unless others read the transpose."""
        before = op.args[0]
        if before.target is not PERMUTE or len(before.users) > 1:
            return op
        permutation = permutation_of(before)
        axes, keepdims = reduction_arguments(op)
        mapped = sorted(permutation[axis] for axis in axes)
        reduced = editor.call(op.target, before.args[0], mapped, keepdims)
        if keepdims:
            return editor.call(PERMUTE, reduced, permutation)
        left = [permutation[axis] for axis in range(len(permutation)) if axis not in axes]
        order = [sorted(left).index(axis) for axis in left]
        return reduced if order == sorted(order) else editor.call(PERMUTE, reduced, order)

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """One for each input element."""
        return math.prod(shape_of(op.args[0]))


def quantize_sum(op: fx.Node, context: QuantizationContext, bits: int) -> tuple[Quantized, int]:
    """The sum at its input's scale, and how many terms it has.

    Raises:
        PrecisionError: terms of 8 bits do not fit 31 bits.
    """
    axes, keepdims = reduction_arguments(op)
    count = math.prod(shape_of(op.args[0])[axis] for axis in axes)
    room = 31 - get_bit_cnt(count)
    if room < NARROWEST_TERM:
        raise PrecisionError("a sum cannot fit 32 bits", where=describe(op),
                             why=f"{count} terms leave {room} bits for each, at least {NARROWEST_TERM} are needed",
                             remedy="reduce in several steps, or split the model here")
    node, scale = context.requantize(op.args[0], min(bits, room))
    return Quantized(reduce_integers(context, "sum", node, axes, keepdims), scale), count


@register_pass("rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.sum.dim_IntList)
class Sum(Reduction):
    """Sum over axes."""

    op_name = "sum"

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        return quantize_sum(op, context, context.settings.operator_precision("sum"))[0]


@register_pass("rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.mean.dim)
class Mean(Reduction):
    """Mean over axes."""

    op_name = "mean"

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """The sum, with its scale multiplied by the count: no division is needed, and none is rounded."""
        (node, scale), count = quantize_sum(op, context, context.settings.operator_precision("mean"))
        return Quantized(node, scale * count)


@register_pass("rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.amax.default)
class Max(Reduction):
    """Largest element over axes."""

    op_name = "max"

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        node, scale = context.value(op.args[0])
        return Quantized(reduce_integers(context, "max", node, *reduction_arguments(op)), scale)

"""Reductions over axes: sum, mean, max, min, prod and norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import PrecisionError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.explanation import decline
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import NO_TRANSPOSE, PERMUTE, permutation_of
from mrt_torch.quantization.affine import affine, is_affine, with_zero
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import get_bit_cnt

aten = torch.ops.aten
NARROWEST_TERM = 8
LONGEST_PRODUCT = 256
BATCH = "Reducing the batch axis, which is free, is refused."


def reduction_arguments(op: fx.Node) -> tuple[list[int], bool]:
    """Axes (ascending, none negative; all when none are given) and keepdim of a reduction node."""
    rank = len(shape_of(op.args[0]))
    axes = op.args[1] if len(op.args) > 1 and op.args[1] is not None else []
    axes = [axes] if isinstance(axes, int) else list(axes)
    return sorted({axis % rank for axis in axes}) or list(range(rank)), len(op.args) > 2 and bool(op.args[2])


def reduce_integers(context: QuantizationContext, name: str, node: fx.Node, axes: Sequence[int],
                    keepdims: bool) -> fx.Node:
    """Emit ``sum`` or ``max`` over explicit axes.

    The runtime's CPU back end mixes up kept axes of extent 1 that stand right of a larger kept one: they are reshaped
    away first. The batch counts as larger than 1, because it is free.
    """
    shape, free = free_shape(node), free_axis(node)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    larger = [axis for axis in kept if axis == free or shape[axis] != 1]
    single = [axis for axis in kept if larger and axis > larger[0] and axis not in larger]
    if not single:
        return context.call(name, node, axis=list(axes), keepdims=keepdims, exclude=False)
    remaining = [axis for axis in range(len(shape)) if axis not in single]
    squeezed = context.call("reshape", node, shape=[shape[axis] for axis in remaining])
    reduced = context.call(name, squeezed, axis=[remaining.index(axis) for axis in axes], keepdims=False,
                           exclude=False)
    result = [1 if axis in axes else shape[axis] for axis in range(len(shape)) if keepdims or axis not in axes]
    return context.call("reshape", reduced, shape=result)


def fuse_transpose_reduce(op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
    """reduce(Transpose(X), axes) becomes Transpose(reduce(X, mapped axes)); the transpose goes where none is left.

        axes'[j] = perm[axes[j]]

    Where others read the transpose, it stays for them, and the rule fires only if that leaves none behind the
    reduction. (The original moved the transpose away from its other readers.) Further arguments of the operator that
    stand behind keepdim are kept.
    """
    before = op.args[0]
    if before.target is not PERMUTE:
        return decline(op, NO_TRANSPOSE, context)
    permutation = permutation_of(before)
    axes, keepdims = reduction_arguments(op)
    kept = [axis for axis in range(len(permutation)) if keepdims or axis not in axes]
    left = [permutation[axis] for axis in kept]
    order = [sorted(left).index(axis) for axis in left]
    if len(before.users) > 1 and order != sorted(order):
        return decline(op, "others read the transpose before it, and another would be left behind it", context)
    mapped = sorted(permutation[axis] for axis in axes)
    where = mapped[0] if isinstance(op.args[1], int) else mapped
    reduced = editor.call(op.target, before.args[0], where, keepdims, *op.args[3:], **op.kwargs)
    return reduced if order == sorted(order) else editor.call(PERMUTE, reduced, order)


class Reduction(Transformer):
    """What sum, mean, max, min and prod share."""

    limits = BATCH

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if op.kwargs.get("dtype") is not None or (len(op.args) > 3 and op.args[3] is not None):
            return "its result has another type than its input"
        return "it reduces the batch axis, which is free" if free_axis(op.args[0]) in reduction_arguments(op)[0] \
            else None

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """See ``fuse_transpose_reduce``."""
        return fuse_transpose_reduce(op, editor=editor, **context)

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """One for each input element."""
        return math.prod(shape_of(op.args[0]))


def quantize_sum(op: fx.Node, context: QuantizationContext, bits: int) -> tuple[Quantized, int]:
    """The sum at its input's scale, and how many terms it has.

    Terms have ``bits`` bits, or as many as leave the sum 31; it is exact then. Error: half a unit of them for a term.
    A zero point that is configured comes back behind the sum, times the number of terms.

    Raises:
        PrecisionError: terms of 8 bits do not fit 31 bits.
    """
    axes, keepdims = reduction_arguments(op)
    count = math.prod(shape_of(op.args[0])[axis] for axis in axes)
    room = 31 - get_bit_cnt(count) - int(is_affine(context, op.args[0]))
    if room < NARROWEST_TERM:
        raise PrecisionError("a sum cannot fit 32 bits", where=describe(op),
                             why=f"{count} terms leave {room} bits for each, at least {NARROWEST_TERM} are needed",
                             remedy="reduce in several steps, or split the model here")
    node, scale, zero = affine(context, op.args[0], min(bits, room))
    total = reduce_integers(context, "sum", node, axes, keepdims)
    return Quantized(with_zero(context, total, count * zero), scale), count


@register_pass("rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.sum.dim_IntList)
class Sum(Reduction):
    """Sum over axes."""

    op_name = "sum"
    cvm_operators = ("sum", "reshape", "broadcast_add")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``quantize_sum``: terms of 16 bits."""
        return quantize_sum(op, context, context.settings.operator_precision("sum"))[0]


@register_pass("rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.mean.dim)
class Mean(Reduction):
    """Mean over axes, of any number of elements."""

    op_name = "mean"
    cvm_operators = ("sum", "reshape", "broadcast_add")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """The sum, with its scale multiplied by the count: no division is needed, and none is rounded."""
        (node, scale), count = quantize_sum(op, context, context.settings.operator_precision("mean"))
        return Quantized(node, scale * count)


@register_pass("rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.amax.default)
class Max(Reduction):
    """Largest element over axes; exact."""

    op_name = "max"
    cvm_operators = ("max", "reshape")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """The largest integer."""
        node, scale = context.value(op.args[0])
        return Quantized(reduce_integers(context, "max", node, *reduction_arguments(op)), scale)


@register_pass("quantize", "prepare_for_compile", "compile")
@register_transformer(aten.amin.default)
class Min(Reduction):
    """Smallest element over axes; gone after rewrite."""

    op_name = "min"
    rewritten_into = "-max(-X)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """-max(-X), exact: the runtime has no min."""
        negated = editor.call(aten.neg.default, op.args[0])
        return editor.call(aten.neg.default, editor.call(aten.amax.default, negated, *op.args[1:], **op.kwargs))


@register_pass("quantize", "prepare_for_compile", "compile")
@register_transformer(aten.prod.dim_int)
class Product(Reduction):
    """Product over one axis; gone after rewrite."""

    op_name = "prod"
    rewritten_into = "X[even] * X[odd], and so on"
    limits = f"{BATCH} So is an axis longer than {LONGEST_PRODUCT}."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        length = shape_of(op.args[0])[op.args[1]]
        if length > LONGEST_PRODUCT:
            return f"it multiplies {length} elements: the rounding of as many factors leaves nothing of the product"
        return super().validate(op, **context)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A tree of products: each halves the axis, and is rounded to 16 bits."""
        node, (axes, keepdims) = op.args[0], reduction_arguments(op)
        axis, length = axes[0], shape_of(op.args[0])[axes[0]]
        while length > 1:
            half = length // 2
            parts = [editor.call(aten.slice.Tensor, node, axis, begin, begin + half) for begin in (0, half)]
            rest = editor.call(aten.slice.Tensor, node, axis, 2 * half, length) if length % 2 else None
            node, length = editor.call(aten.mul.Tensor, *parts), half
            if rest is not None:
                node, length = editor.call(aten.cat.default, [node, rest], axis), half + 1
        return node if keepdims else editor.call(aten.squeeze.dims, node, [axis])

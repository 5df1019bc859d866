"""Where the extremes are: Argmax and Argmin. Indices have the scale 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.reduction import reduce_integers
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, transpose_before
from mrt_torch.ops.truth import greater
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten


def along_axis(values: torch.Tensor, axis: int, rank: int) -> torch.Tensor:
    """A vector as a tensor that broadcasts along ``axis`` of one of ``rank`` axes."""
    return values.reshape([-1] + [1] * (rank - 1 - axis))


def largest_and_index(context: QuantizationContext, node: fx.Node, axis: int, keepdims: bool
                      ) -> tuple[fx.Node, fx.Node]:
    """The largest element along an axis, which it keeps, and the index of the first that is as large.

        m = max(X)     index = L - max((X > m - 1) * (L - arange(L)))

    Exact for integers; L is the length of the axis.
    """
    length = shape_of(node)[axis]
    largest = reduce_integers(context, "max", node, [axis], True)
    reached = greater(context, node, context.call("broadcast_sub", largest, context.number(1)))
    countdown = along_axis(torch.arange(length, 0, -1), axis, len(shape_of(node)))
    ranked = context.call("broadcast_mul", reached, context.constant(f"countdown_{length}", countdown))
    first = reduce_integers(context, "max", ranked, [axis], keepdims)
    return largest, context.call("broadcast_sub", context.number(length), first)


@register_pass("prepare_for_compile", "compile")
@register_transformer(aten.argmax.default)
class Argmax(Transformer):
    """Index of the largest element along an axis, the first where several are as large."""

    op_name = "argmax"
    cvm_operators = ("max", "broadcast_sub", "broadcast_greater", "broadcast_mul")
    limits = "The batch axis cannot be searched."

    @staticmethod
    def arguments(op: fx.Node) -> tuple[int | None, bool]:
        """The axis, None for the flattened tensor, and keepdim."""
        axis = op.args[1] if len(op.args) > 1 else None
        return None if axis is None else axis % len(shape_of(op.args[0])), len(op.args) > 2 and bool(op.args[2])

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        axis, free = self.arguments(op)[0], free_axis(op.args[0])
        if free is not None and axis in (None, free):
            return "it searches the batch axis, which is free"
        return "its result has no axes" if axis is None and not shape_of(op) else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Over all axes: over the only one of the flattened tensor."""
        axis, keepdims = self.arguments(op)
        if axis is not None:
            return op
        flat = editor.call(op.target, editor.call(aten.reshape.default, op.args[0], [-1]), 0, keepdims)
        return editor.call(aten.reshape.default, flat, list(shape_of(op))) if keepdims else flat

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """argmax(Transpose(X), axis) becomes argmax(X, axes[axis]), transposed where axes are left in another order."""
        axis, keepdims = self.arguments(op)
        before = None if axis is None else transpose_before(op, context)
        if before is None:
            return op
        source, axes = before
        found = editor.call(op.target, source, axes[axis], keepdims)
        if not keepdims:
            left = [a for position, a in enumerate(axes) if position != axis]
            axes = [sorted(left).index(a) for a in left]
        return found if axes == sorted(axes) else editor.call(PERMUTE, found, axes)

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """One for each input element."""
        return shape_of(op.args[0])[self.arguments(op)[0] or 0] * super().calculate_ops(op)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``largest_and_index``: exact for the integers, so floats that became one integer count as equal."""
        axis, keepdims = self.arguments(op)
        node = self.searched(context, context.value(op.args[0]).node)
        return Quantized(largest_and_index(context, node, axis, keepdims)[1], 1.0)

    @staticmethod
    def searched(context: QuantizationContext, node: fx.Node) -> fx.Node:
        """The integers whose largest is looked for."""
        return node


@register_pass("prepare_for_compile", "compile")
@register_transformer(aten.argmin.default)
class Argmin(Argmax):
    """Index of the smallest element along an axis, the first where several are as small: argmax of -X."""

    op_name = "argmin"
    cvm_operators = ("negative", *Argmax.cvm_operators)

    @staticmethod
    def searched(context: QuantizationContext, node: fx.Node) -> fx.Node:
        return context.call("negative", node)

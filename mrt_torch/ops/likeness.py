"""Operators that take a shape from another tensor: reshape_like, slice_like, broadcast_like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.float_operators import define_float_operator
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.repetition import broadcast_is_redundant, tile_integers
from mrt_torch.ops.shape import integers_of, same_shape
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten


def _reshape_like(x: torch.Tensor, like: torch.Tensor, lhs_begin: int | None = None, lhs_end: int | None = None,
                  rhs_begin: int | None = None, rhs_end: int | None = None) -> torch.Tensor:
    left, right = (slice(*(None if bound is None else bound + rank * (bound < 0) for bound in bounds))
                   for bounds, rank in (((lhs_begin, lhs_end), x.dim()), ((rhs_begin, rhs_end), like.dim())))
    begin, end, _ = left.indices(x.dim())
    return x.reshape(*x.shape[:begin], *like.shape[right], *x.shape[end:]).clone()


def _slice_like(x: torch.Tensor, like: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    for axis in axes or range(x.dim()):
        x = x.narrow(axis, 0, like.shape[axis])
    return x.clone()


def _broadcast_like(x: torch.Tensor, like: torch.Tensor, lhs_axes: Sequence[int] | None = None,
                    rhs_axes: Sequence[int] | None = None) -> torch.Tensor:
    sizes = list(x.shape)
    for left, right in _axis_pairs(x.dim(), like.dim(), lhs_axes, rhs_axes):
        sizes[left] = like.shape[right]
    return x.expand(sizes).clone()


def _axis_pairs(rank: int, like_rank: int, lhs_axes: Sequence[int] | None,
                rhs_axes: Sequence[int] | None) -> list[tuple[int, int]]:
    """Axes of the tensor that take the extent of an axis of ``like``; without axes, all in order."""
    if lhs_axes is None or rhs_axes is None:
        return [(axis, axis) for axis in range(rank)]
    return [(left % rank, right % like_rank) for left, right in zip(lhs_axes, rhs_axes, strict=True)]


RESHAPE_LIKE = define_float_operator(
    "reshape_like", "(Tensor x, Tensor like, int? lhs_begin=None, int? lhs_end=None, int? rhs_begin=None, "
    "int? rhs_end=None) -> Tensor", _reshape_like)
SLICE_LIKE = define_float_operator("slice_like", "(Tensor x, Tensor like, int[] axes) -> Tensor", _slice_like)
BROADCAST_LIKE = define_float_operator(
    "broadcast_like", "(Tensor x, Tensor like, int[]? lhs_axes=None, int[]? rhs_axes=None) -> Tensor", _broadcast_like)


@register_pass("validate", "fuse_transpose", "calculate_ops", "quantize", "prepare_for_compile", "compile")
@register_transformer(RESHAPE_LIKE, aten.reshape_as.default, aten.view_as.default)
class ReshapeLike(Transformer):
    """The elements of a tensor in the shape of another, or some axes in the extents of some of the other's.

    Gone after rewrite. The values of the other are not read.
    """

    op_name = "reshape_like"
    rewritten_into = "reshape(X, shape), with -1 for the axis that follows the batch"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """reshape; the batch stays free on the one axis that follows it."""
        return editor.call(aten.reshape.default, op.args[0], free_shape(op))


@register_pass("fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(SLICE_LIKE)
class SliceLike(Transformer):
    """The beginning of a tensor, as long on ``axes`` (all, where none are given) as another: exact."""

    op_name = "slice_like"
    cvm_operators = ("strided_slice", "slice_like")
    limits = "refused: a part of the batch."

    @staticmethod
    def axes(op: fx.Node) -> list[int]:
        """The axes that are cut."""
        rank = len(shape_of(op))
        return sorted(axis % rank for axis in op.args[2]) or list(range(rank))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        x, like = op.args[:2]
        axis = free_axis(x)
        if axis in self.axes(op) and (axis != free_axis(like) or shape_of(x)[axis] != shape_of(like)[axis]):
            return "it cuts the batch axis, which is free"
        return None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A slice along every axis whose length is fixed; what is left is as long as the batch."""
        (x, like), node, left = op.args[:2], op.args[0], []
        for axis in self.axes(op):
            if free_axis(x) == free_axis(like) == axis:
                continue
            if free_axis(like) == axis:
                left.append(axis)
            elif shape_of(like)[axis] != shape_of(x)[axis]:
                node = editor.call(aten.slice.Tensor, node, axis, 0, shape_of(like)[axis], 1)
        if left and (node is not x or left != self.axes(op)):
            return editor.call(op.target, node, like, left)
        return op if left else node

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """X cut to the batch of the other, whose values are not read."""
        node, scale = integers_of(context, op.args[0])
        like = context.value(op.args[1]).node
        return Quantized(context.call("slice_like", node, like, axis=self.axes(op)), scale)


@register_pass("validate", "fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(BROADCAST_LIKE, aten.expand_as.default)
class BroadcastLike(Transformer):
    """Axes of extent 1 repeated to the extents of another tensor, whose values are not read: exact.

    The three cases of MRT: where the extents are fixed, whatever the axes, it is broadcast_to; where one follows the
    batch, zeros made of the other tensor are added: of extent 1 everywhere but there.
    """

    op_name = "broadcast_like"
    cvm_operators = ("strided_slice", "reshape", "cvm_clip", "broadcast_add", "tile")

    @staticmethod
    def pairs(op: fx.Node) -> list[tuple[int, int]]:
        """Axes of the result that take the extent of an axis of the other tensor."""
        rank, like_rank = len(shape_of(op)), len(shape_of(op.args[1]))
        axes = (None, None) if op.target is aten.expand_as.default else (tuple(op.args[2:]) + (None, None))[:2]
        return _axis_pairs(rank, like_rank, *axes)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """broadcast_to where no axis has to follow the other's batch; the input where readers broadcast too."""
        x = op.args[0]
        if same_shape(op, x) or broadcast_is_redundant(op, x):
            return x
        new = free_axis(op)
        if new is not None and free_axis(x) != new - (len(shape_of(op)) - len(shape_of(x))):
            return op
        return editor.call(aten.expand.default, x, free_shape(op))

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """X plus zeros that are as long as the batch, then a tile for the axes of fixed length."""
        (x, like), axis = op.args[:2], free_axis(op)
        node, scale = integers_of(context, x)
        zeros = context.narrow(self._line(context, like, len(shape_of(op)), axis), 1)
        node = context.call("broadcast_add", node, zeros)
        before = shape_of(node)
        reps = [1 if position == axis else extent // before[position] for position, extent in enumerate(shape_of(op))]
        return Quantized(tile_integers(context, node, reps), scale)

    @staticmethod
    def _line(context: QuantizationContext, like: fx.Node, rank: int, axis: int) -> fx.Node:
        """Elements of ``like`` along its batch, as the axis ``axis`` of ``rank``."""
        node, free = context.value(like).node, free_axis(like)
        shape = shape_of(node)
        if any(extent > 1 for position, extent in enumerate(shape) if position != free):
            node = context.call("strided_slice", node, begin=[0] * len(shape), stride=[1] * len(shape),
                                end=[2 ** 31 - 1 if position == free else 1 for position in range(len(shape))])
        wanted = [-1 if position == axis else 1 for position in range(rank)]
        return node if free_shape(node) == wanted else context.call("reshape", node, shape=wanted)

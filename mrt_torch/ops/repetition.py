"""Operators that repeat what a tensor holds: tile, repeat, broadcast_to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.limits import LARGEST_ATTRIBUTE
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.shape import integers_of, same_shape
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, transpose_before
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten
BROADCASTING = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.maximum.default,
                aten.minimum.default)


def tile_integers(context: QuantizationContext, node: fx.Node, reps: Sequence[int]) -> fx.Node:
    """Emit a tile of as many axes as ``reps`` has; counts beyond the 4096 of the runtime go by ``repeat``."""
    rank = len(reps)
    if len(shape_of(node)) < rank:
        shape = [1] * (rank - len(shape_of(node))) + free_shape(node)
        node = context.call("reshape", node, shape=shape)
    for axis, count in enumerate(reps):
        if count > LARGEST_ATTRIBUTE:
            node = _tile_one_axis(context, node, axis, count)
    small = [1 if count > LARGEST_ATTRIBUTE else count for count in reps]
    return context.call("tile", node, reps=small) if any(count > 1 for count in small) else node


def _tile_one_axis(context: QuantizationContext, node: fx.Node, axis: int, count: int) -> fx.Node:
    """The whole before ``axis`` as one axis, the rest as another, and a new one between them that is repeated."""
    shape, free = free_shape(node), free_axis(node)
    sides = [-1 if free is not None and (free < axis) == first else math.prod(part)
             for first, part in ((True, shape_of(node)[:axis]), (False, shape_of(node)[axis:]))]
    apart = context.call("reshape", node, shape=[sides[0], 1, sides[1]])
    repeated = context.call("repeat", apart, repeats=count, axis=1)
    return context.call("reshape", repeated, shape=[*shape[:axis], count * shape[axis], *shape[axis + 1:]])


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.repeat.default)
class Tile(Transformer):
    """The whole tensor, ``reps`` times along each axis: exact."""

    op_name = "tile"
    cvm_operators = ("tile", "repeat", "reshape")
    limits = "refused: repeating the batch as a whole."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        free, reps = free_axis(op.args[0]), list(op.args[1])
        if any(count < 1 for count in reps):
            return f"it repeats {tuple(reps)} times, which leaves nothing"
        if free is not None and reps[free + len(reps) - len(shape_of(op.args[0]))] != 1:
            return "it tiles the batch axis, which is free"
        return None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """The input where all counts are 1."""
        return op.args[0] if same_shape(op, op.args[0]) and set(op.args[1]) <= {1} else op

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """tile(Transpose(X), reps) becomes Transpose(tile(X)), the counts following their axes."""
        found = transpose_before(op, context)
        if found is None or len(op.args[1]) != len(found[1]):
            return op
        reps = [0] * len(found[1])
        for axis, count in zip(found[1], op.args[1], strict=True):
            reps[axis] = count
        return editor.call(PERMUTE, editor.call(op.target, found[0], reps), found[1])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        node, scale = integers_of(context, op.args[0])
        return Quantized(tile_integers(context, node, list(op.args[1])), scale)


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.repeat_interleave.self_int)
class Repeat(Transformer):
    """Every slice along an axis ``repeats`` times in a row: exact, along the batch too.

    Without an axis, every element of the flattened tensor.
    """

    op_name = "repeat"
    cvm_operators = ("repeat",)
    limits = "refused: no repetition at all."

    @staticmethod
    def axis(op: fx.Node) -> int | None:
        """The axis that is repeated; None for the flattened tensor."""
        axis = op.args[2] if len(op.args) > 2 else None
        return None if axis is None else axis % len(shape_of(op))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return "it repeats 0 times, which leaves nothing" if op.args[1] < 1 else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """The input where there is one of each; without an axis, that of the flattened tensor."""
        x, count, axis = op.args[0], op.args[1], self.axis(op)
        if axis is None:
            flat = x if len(shape_of(x)) == 1 else editor.call(aten.reshape.default, x, [-1])
            return editor.call(op.target, flat, count, 0)
        return x if count == 1 else op

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """repeat(Transpose(X), axis) becomes Transpose(repeat(X, axes[axis]))."""
        axis = self.axis(op)
        found = None if axis is None else transpose_before(op, context)
        if found is None:
            return op
        return editor.call(PERMUTE, editor.call(op.target, found[0], op.args[1], found[1][axis]), found[1])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        node, scale = integers_of(context, op.args[0])
        return Quantized(context.call("repeat", node, repeats=op.args[1], axis=self.axis(op)), scale)


def broadcast_is_redundant(op: fx.Node, x: fx.Node) -> bool:
    """Whether all readers of ``op`` broadcast ``x`` to the same shape by themselves."""
    if not op.users or any(user.target not in BROADCASTING for user in op.users):
        return False
    return all(_broadcasts_alone(user, op, x) for user in op.users)


def _broadcasts_alone(user: fx.Node, op: fx.Node, x: fx.Node) -> bool:
    others = [node for node in user.args if isinstance(node, fx.Node) and node is not op]
    if len(others) != 1 or shape_of(others[0]) != shape_of(user) or free_axis(others[0]) != free_axis(user):
        return False
    return len(shape_of(x)) <= len(shape_of(user))


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.expand.default)
class BroadcastTo(Transformer):
    """Axes of extent 1 repeated to a given extent, and new ones before them: exact.

    Its target has -1 on the axes that stay, the batch among them.
    """

    op_name = "broadcast_to"
    cvm_operators = ("tile",)

    @staticmethod
    def reps(op: fx.Node) -> list[int]:
        """How often each axis of the result repeats that of the input."""
        after, before = shape_of(op), shape_of(op.args[0])
        before = (1,) * (len(after) - len(before)) + before
        free = free_axis(op)
        return [1 if axis == free else extent // old for axis, (extent, old) in enumerate(zip(after, before))]

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """The input where it has the shape already, or where everything that reads the result broadcasts too."""
        x = op.args[0]
        return x if same_shape(op, x) or broadcast_is_redundant(op, x) else op

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """broadcast_to(Transpose(X)) becomes Transpose(broadcast_to(X)) where no axis is new."""
        found = transpose_before(op, context)
        if found is None or len(shape_of(op)) != len(found[1]):
            return op
        sizes = [0] * len(found[1])
        for axis, size in zip(found[1], op.args[1], strict=True):
            sizes[axis] = size
        return editor.call(PERMUTE, editor.call(op.target, found[0], sizes), found[1])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """One tile."""
        node, scale = integers_of(context, op.args[0])
        return Quantized(tile_integers(context, node, self.reps(op)), scale)

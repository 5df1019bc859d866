"""Embedding and other choices of rows by computed indices; which bits and scale such indices need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.rounding import nearest
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten


def clamped_index(index: fx.Node, count: int) -> fx.Node:
    """What an index is before it is clamped to 0..count - 1, which the runtime's take does by itself."""
    while index.target is aten.clamp.default and tuple(index.args[1:3]) == (0, count - 1):
        index = index.args[0]
    return index


def index_integers(context: QuantizationContext, index: fx.Node, count: int) -> fx.Node:
    """The integers of an index into ``count`` rows at the scale 1 exactly, clamped to at least 0..count - 1.

    Inputs of whole numbers and what picks, orders or reshapes them are at scale 1 already. At other scales, which
    arithmetic between them leaves, the index is rounded to the nearest.
    """
    if context.is_constant(index):
        rows = context.tensor(index).to(torch.int64).clamp(0, count - 1)
        return context.constant(index.name, rows.to(torch.int32))
    index = clamped_index(index, count)
    quantized = context.value(index)
    return quantized.node if quantized.scale == 1.0 else nearest(context, index).node


def table_of(context: QuantizationContext, table: fx.Node, bits: int) -> Quantized:
    """A constant table in ``bits`` bits, of whole numbers at scale 1 where they fit; a computed one as it stands."""
    if context.is_constant(table):
        values = context.tensor(table)
        if bool((values == values.round()).all()) and float(values.abs().max()) <= precision_range(bits):
            return context.parameter(table, bits, 1.0)
        return context.parameter(table, bits)
    return context.value(table)


class IndexingTransformer(Transformer):
    """What the operators share that choose rows of a table along an axis."""

    cvm_operators = ("take",)
    limits = "The axis that is chosen from cannot be the batch; indices outside it are clamped to it."

    @staticmethod
    def parts(op: fx.Node) -> tuple[fx.Node, int, fx.Node]:
        """Table, axis (not negative) and index."""
        raise TypeError("IndexingTransformer is abstract: a subclass gives its parts")

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        table, axis, index = self.parts(op)
        if free_axis(table) == axis:
            return "it chooses along the batch axis, which is free"
        if free_axis(table) is not None and free_axis(index) is not None:
            return "the table and the index both follow the batch"
        return None

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """take(T, I) with the rows of T in 16 bits and I at the scale 1; see ``index_integers``.

        Error: that of the table, at most 1 / (2 * scale). Indices below 0 or beyond the table take its first or last
        row (CVM take), where the float operator refuses them.
        """
        table, axis, index = self.parts(op)
        rows = index_integers(context, index, shape_of(table)[axis])
        node, scale = table_of(context, table, context.settings.operator_precision("Embedding"))
        return Quantized(context.call("take", node, rows, axis=axis), scale)


@register_pass("rewrite", "fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.embedding.default)
class Embedding(IndexingTransformer):
    """Row ``i`` of a table for each index ``i``: shape of the index, then the row."""

    op_name = "Embedding"

    @staticmethod
    def parts(op: fx.Node) -> tuple[fx.Node, int, fx.Node]:
        return op.args[0], 0, op.args[1]


@register_pass("rewrite", "fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.index_select.default)
class Take(IndexingTransformer):
    """Elements of one axis, in the order of a list of indices."""

    op_name = "take"

    @staticmethod
    def parts(op: fx.Node) -> tuple[fx.Node, int, fx.Node]:
        return op.args[0], op.args[1] % len(shape_of(op.args[0])), op.args[2]


# What hands indices on: the same whole numbers, in another shape, order or type, a few more, or fewer of them.
CARRIERS = frozenset((
    aten.reshape.default, aten.flatten.using_ints, aten.unsqueeze.default, aten.squeeze.dims, aten.permute.default,
    aten.slice.Tensor, aten.cat.default, aten.expand.default, aten.index_select.default, aten._to_copy.default,
    aten.clamp.default, aten.add.Scalar, aten.sub.Scalar, aten.remainder.Scalar))
# The table and the index of what chooses rows.
INDEXING: dict[Any, type[IndexingTransformer]] = {aten.embedding.default: Embedding, aten.index_select.default: Take}


@dataclass(frozen=True)
class Reading:
    """How the readers of a value take it.

    Attributes:
        whole: as whole numbers: as an index, or of an integer type already.
        extent: elements of the largest axis that it indexes, 0 where it is no index.
        numbers: nodes that hold it, or a part, where something takes it as a number.
    """

    whole: bool
    extent: int
    numbers: tuple[fx.Node, ...]


def reading_of(node: fx.Node) -> Reading:
    """How a value is read, followed through ``CARRIERS``."""
    whole, extent, numbers, pending, seen = False, 0, [], [node], {node}
    while pending:
        current = pending.pop()
        integral = not current.meta["val"].dtype.is_floating_point
        whole = whole or integral and current is node  # a cast truncates; only indices are whole before it
        for user in current.users:
            indexing = INDEXING.get(user.target)
            if indexing is not None and indexing.parts(user)[2] is current:
                table, axis, _ = indexing.parts(user)
                whole, extent = True, max(extent, shape_of(table)[axis])
            elif user.target in CARRIERS and (integral or _is_view(user)):
                if user not in seen:
                    seen.add(user)
                    pending.append(user)
            elif not integral:
                numbers.append(current)
    return Reading(whole, extent, tuple(dict.fromkeys(numbers)))


def _is_view(node: fx.Node) -> bool:
    """Whether a carrier hands the very numbers on, floats as they are."""
    return node.target not in (aten.add.Scalar, aten.sub.Scalar, aten.remainder.Scalar, aten.clamp.default)

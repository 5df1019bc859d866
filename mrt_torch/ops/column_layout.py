"""Which float operators keep the columns of a tensor, its elements on the last axis, apart, and which read them."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.detection_kernels import BOX_NMS
from mrt_torch.quantization.columns import columns_of, held_of, stacked
from mrt_torch.quantization.held import ColumnQuantized, Quantized

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext

aten = torch.ops.aten
RESHAPING = (aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dims)


def keeps_columns(op: fx.Node) -> bool:
    """Whether column c of the result is made of column c of the input: whole rows are moved, cut or stacked."""
    if op.op != "call_function" or op.target not in (*RESHAPING, aten.permute.default, aten.slice.Tensor,
                                                     aten.cat.default):
        return False
    rank = len(shape_of(op))
    if op.target in RESHAPING:
        before = shape_of(op.args[0])
        return bool(before) and rank > 0 and before[-1] == shape_of(op)[-1] and free_axis(op) != rank - 1
    if op.target is aten.permute.default:
        return op.args[1][-1] % rank == rank - 1
    axis = op.args[1] if len(op.args) > 1 and op.args[1] is not None else 0
    return axis % rank != rank - 1


def takes_columns(op: fx.Node) -> bool:
    """Whether an operator is a slice of neighbouring columns."""
    if op.op != "call_function" or op.target is not aten.slice.Tensor or keeps_columns(op):
        return False
    return len(op.args) < 5 or op.args[4] in (None, 1)


def columns_are_read(op: fx.Node) -> bool:
    """Whether all that reads a concatenation, also behind operators that keep columns, wants its columns apart.

    That is a suppression, or a slice of columns of one of its inputs: for any other operator all columns would have to
    be brought to one scale besides. To return them is nothing against it.
    """
    edges = list(accumulate((shape_of(part)[-1] for part in op.args[0]), initial=0))
    pending, seen, found = [(user, 0) for user in op.users], set(), False
    while pending:
        user, first = pending.pop()  # and the column of the concatenation that its input begins with
        if user in seen:
            continue
        seen.add(user)
        if takes_columns(user):
            columns = range(shape_of(user.args[0])[-1])[slice(*user.args[2:4])]
            begin, end = first + columns.start, first + columns.stop
            if any(low <= begin and end <= high for low, high in pairwise(edges)):
                found = True
            else:
                pending += [(after, begin) for after in user.users]
        elif user.target is BOX_NMS:
            found = True
        elif keeps_columns(user):
            pending += [(after, first) for after in user.users]
        elif user.op != "output":
            return False
    return found


def columns_before(op: fx.Node, context: QuantizationContext) -> ColumnQuantized | None:
    """The first input of ``op`` where its columns have scales of their own."""
    if context.is_constant(op.args[0]):
        return None
    held = context.stored(op.args[0])
    return held if isinstance(held, ColumnQuantized) else None


def concatenated_columns(op: fx.Node, axis: int, bits: int, context: QuantizationContext
                         ) -> Quantized | ColumnQuantized | None:
    """A concatenation whose columns keep scales of their own; None where nothing has, or wants, such."""
    parts = op.args[0]
    if axis == len(shape_of(op)) - 1:
        if not columns_are_read(op):
            return None
        return held_of(context, [column for part in parts for column in columns_of(context, part)])
    if any(not context.is_constant(part) and isinstance(context.stored(part), ColumnQuantized) for part in parts):
        return held_of(context, stacked(context, [columns_of(context, part) for part in parts], axis, bits, op))
    return None

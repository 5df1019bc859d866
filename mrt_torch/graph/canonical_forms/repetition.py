"""Tensors repeated to a larger shape, which may follow the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from mrt_torch.graph.batch_axis import Size, SymbolicSize, is_free
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of


def batch_reference(call: Call, size: Size | SymbolicSize) -> fx.Node | None:
    """An input of the graph that is as long on its batch axis as ``size``; None where the size is no plain batch."""
    value = size.node.meta["val"] if isinstance(size, SymbolicSize) else size
    if not is_free(value) or value.node.expr != call.batch.symbol:
        return None
    return next((node for node in call.editor.graph.nodes
                 if node.op == "placeholder" and rank_of(node) > call.batch.axis
                 and shape_of(node)[call.batch.axis] == call.batch.example), None)


def along_batch(call: Call, x: fx.Node, axis: int, reference: fx.Node) -> fx.Node:
    """``x``, whose axis ``axis`` has extent 1, repeated to the batch of ``reference``."""
    return call.emit(torch.ops.mrt.broadcast_like.default, x, reference, [axis], [call.batch.axis])


def filled(call: Call, sizes: Sequence[Size | SymbolicSize], value: float) -> fx.Node | None:
    """A tensor of one number: a constant, repeated along the batch where it follows it; None where that is hard."""
    free = [axis for axis, size in enumerate(sizes) if isinstance(size, SymbolicSize) or is_free(size)]
    reference = batch_reference(call, sizes[free[0]]) if len(free) == 1 else None
    if free and reference is None:
        return None
    shape = [1 if axis in free else int(size) for axis, size in enumerate(sizes)]
    number = torch.tensor(value, dtype=call.node.meta["val"].dtype)
    constant = call.editor.constant(source_name(call.node), number.expand(shape))
    return along_batch(call, constant, free[0], reference) if free else constant


def expanded(call: Call, x: fx.Node, before: Sequence[Size], after: Sequence[Size]) -> fx.Node | None:
    """``x``, of the sizes ``before``, repeated to the sizes ``after``; None where two axes follow the batch."""
    if sum(map(is_free, after)) > 1:
        return None
    old = [1] * (len(after) - len(before)) + list(before)
    new = [axis for axis, pair in enumerate(zip(old, after, strict=True)) if is_free(pair[1]) and not is_free(pair[0])]
    reference = batch_reference(call, after[new[0]]) if len(new) == 1 else None
    if new and reference is None:
        return None
    wanted = [-1 if is_free(a) or (axis >= len(after) - len(before) and a == b) else int(a)
              for axis, (a, b) in enumerate(zip(after, old, strict=True))]
    for axis in new:
        wanted[axis] = 1
    if len(after) > len(before) or any(a not in (-1, b) for a, b in zip(wanted, old, strict=True)):
        x = call.emit(aten.expand.default, x, wanted)
    return along_batch(call, x, new[0], reference) if new else x


@canonical_form("expand.default", "expand_as.default", "broadcast_to.default", "expand_copy.default")
def expand(call: Call) -> fx.Node:
    """The input, when it has the shape already; -1 on the axes that stay."""
    node = expanded(call, call["self"], call.source("self").meta["val"].shape, call.node.meta["val"].shape)
    return call.keep() if node is None else node


@canonical_form("broadcast_tensors.default")
def broadcast_tensors(call: Call) -> fx.Node | tuple:
    """Each as ``expand``."""
    parts = tuple(expanded(call, x, source.meta["val"].shape, value.shape) for x, source, value in
                  zip(call.args[0], call.node.args[0], call.node.meta["val"], strict=True))
    return call.keep() if None in parts else parts


@canonical_form("repeat.default", "tile.default")
def repeat(call: Call) -> fx.Node:
    """Whole numbers of times along each axis; once for each sample where an axis of extent 1 follows the batch."""
    name = "repeats" if str(call.target) == "aten.repeat.default" else "dims"
    x, reps = call["self"], list(call[name])
    reps = [1] * (rank_of(x) - len(reps)) + reps
    symbolic = [axis for axis, count in enumerate(reps) if isinstance(count, SymbolicSize)]
    if symbolic:
        axis = symbolic[0] - (len(reps) - rank_of(x))
        single = axis < 0 or call.source("self").meta["val"].shape[axis] == 1
        plain = single and sum(map(is_free, call.node.meta["val"].shape)) == 1 == len(symbolic)
        reference = batch_reference(call, reps[symbolic[0]]) if plain else None
        if reference is None:
            return call.keep()
        reps[symbolic[0]] = 1
    if len(reps) > rank_of(x) or set(reps) != {1}:
        x = call.emit(aten.repeat.default, x, reps)
    return along_batch(call, x, symbolic[0], reference) if symbolic else x


@canonical_form("repeat_interleave.self_int")
def repeat_interleave(call: Call) -> fx.Node:
    """Every slice of an axis several times in a row."""
    if not isinstance(call["repeats"], int):
        return call.keep()
    axis = call["dim"]
    axis = axis if axis is None else axis % rank_of(call["self"])
    return call.emit(aten.repeat_interleave.self_int, call["self"], call["repeats"], axis)

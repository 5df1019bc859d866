"""Choices of rows by computed indices."""

from __future__ import annotations

import math

import torch
from torch import fx

from mrt_torch.graph.batch_axis import is_free
from mrt_torch.graph.canonical_forms.slicing import part
from mrt_torch.graph.contraction import is_constant
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of

SUM, MEAN = 0, 1  # modes of embedding_bag; the third takes the largest


@canonical_form("embedding.default")
def embedding(call: Call) -> fx.Node:
    """Rows of a table; the row of padding is one like the others."""
    return call.emit(aten.embedding.default, call["weight"], call["indices"])


@canonical_form("embedding_bag.padding_idx", "embedding_bag.default", "_embedding_bag_forward_only.default",
                "_embedding_bag.default")
def embedding_bag(call: Call) -> fx.Node | tuple:
    """Sum, mean or largest of rows, for bags of one size: nn.EmbeddingBag on a matrix of indices."""
    indices, weights, mode = call["indices"], call["per_sample_weights"], call["mode"]
    size = _bag_size(call)
    if size is None or rank_of(indices) != 1 or call["padding_idx"] not in (None, -1) \
            or any(call.reads_part(index) for index in (1, 2, 3)):
        return call.keep()
    rows = call.emit(aten.embedding.default, call["weight"], call.emit(aten.reshape.default, indices, [-1, size]))
    if weights is not None:
        rows = call.emit(aten.mul.Tensor, rows, call.emit(aten.reshape.default, weights, [-1, size, 1]))
    if mode == SUM:
        return call.emit(aten.sum.dim_IntList, rows, [1], False), None, None, None
    return call.emit(aten.mean.dim if mode == MEAN else aten.amax.default, rows, [1], False), None, None, None


def _bag_size(call: Call) -> int | None:
    """The step of the arange that gives the offsets of the bags; None where they come from elsewhere."""
    offsets = call.source("offsets")
    if str(offsets.target) != "aten.arange.start_step" or call["include_last_offset"] or offsets.args[0] != 0:
        return None
    return offsets.args[2] if len(offsets.args) > 2 and isinstance(offsets.args[2], int) else None


@canonical_form("take.default")
def take(call: Call) -> fx.Node:
    """Elements of a flattened constant."""
    if not is_constant(call["self"]):
        return call.keep()
    column = call.emit(aten.reshape.default, call["self"], [-1, 1])
    return call.emit(aten.squeeze.dims, call.emit(aten.embedding.default, column, call["index"]),
                     [rank_of(call["index"])])


@canonical_form("one_hot.default")
def one_hot(call: Call) -> fx.Node:
    """Rows of an identity matrix; the number of classes must be given."""
    classes = call["num_classes"]
    if not isinstance(classes, int) or classes < 1:
        return call.keep()
    identity = call.editor.constant("identity", torch.eye(classes, dtype=torch.int64))
    return call.emit(aten.embedding.default, identity, call["self"])


@canonical_form("index.Tensor", "index_select.default")
def index(call: Call) -> fx.Node:
    """One axis at whole numbers: computed ones choose rows, constant ones a slice where they are equally spaced.

    Of several axes: one place in each sample is a gather, constant places of axes side by side are taken from them as
    one axis. Others of several, and computed masks, stay.
    """
    if call.target is aten.index.Tensor:
        given = [axis for axis, indices in enumerate(call["indices"]) if indices is not None]
        if len(given) > 1:
            return _one_of_each(call) if _counts_samples(call, given) else _at_places(call, given)
        axis, chosen = (given[0], call["indices"][given[0]]) if given else (None, None)
    else:
        axis, chosen = call["dim"] % max(rank_of(call["self"]), 1), call["index"]
    if chosen is None or not rank_of(chosen):
        return call.keep()
    positions = call.constant_tensor(chosen)
    if positions is not None and positions.dim() == 1 and not is_constant(call["self"]):
        return call.keep() if call.is_free_axis("self", axis) else _at_constants(call, axis, positions)
    return call.keep() if chosen.meta["val"].dtype in (torch.bool, torch.uint8) else _rows_at(call, axis, chosen)


def _at_constants(call: Call, axis: int, positions: torch.Tensor) -> fx.Node:
    positions = positions.nonzero().flatten() if positions.dtype is torch.bool else positions.to(torch.int64)
    extent = shape_of(call["self"])[axis]
    places = [place % extent for place in positions.tolist()]
    steps = {after - before for before, after in zip(places, places[1:])} or {1}
    if places and len(steps) == 1 and min(steps) > 0:
        return part(call, call["self"], axis, places[0], places[-1] + 1, steps.pop())
    if places and len(steps) == 1 and max(steps) < 0:
        forwards = part(call, call["self"], axis, places[-1], places[0] + 1, -steps.pop())
        return call.emit(aten.flip.default, forwards, [axis])
    constant = call.editor.constant(source_name(call.node), torch.tensor(places, dtype=torch.int64))
    return call.emit(aten.index_select.default, call["self"], axis, constant)


def _counts_samples(call: Call, axes: list[int]) -> bool:
    """True for x[arange(batch), i]: the batch is axis 0, and ``i`` has an index for each sample."""
    sources = call.source("indices")
    if axes != [0, 1] or not call.is_free_axis("self", 0) or rank_of(call["indices"][1]) != 1:
        return False
    counts, size = sources[0], call.source("self").meta["val"].shape[0].node.expr
    return str(counts.target) == "aten.arange.default" and counts.meta["val"].shape[0].node.expr == size \
        and is_free(sources[1].meta["val"].shape[0]) and sources[1].meta["val"].dtype == torch.int64


def _one_of_each(call: Call) -> fx.Node:
    """x[n, i[n]] for every sample n."""
    after = shape_of(call["self"])[2:]
    chosen = call.emit(aten.reshape.default, call["indices"][1], [-1, *(1 for _ in after), 1])
    if after:
        chosen = call.emit(aten.expand.default, chosen, [-1, 1, *after])
    return call.emit(aten.squeeze.dims, call.emit(aten.gather.default, call["self"], 1, chosen), [1])


def _at_places(call: Call, axes: list[int]) -> fx.Node:
    """Elements at constant places of several axes, which become one."""
    x, places = call["self"], [call["indices"][axis] for axis in axes]
    first, last = axes[0], axes[-1]
    fixed = not any(call.is_free_axis("self", axis) for axis in axes) and last - first == len(axes) - 1
    types = {place.meta["val"].dtype for place in places}
    if not fixed or not all(map(is_constant, places)) or types != {torch.int64}:
        return call.keep()
    position = None
    for axis, place in zip(axes, places, strict=True):
        place = call.emit(aten.remainder.Scalar, place, shape_of(x)[axis])
        if position is not None:
            place = call.emit(aten.add.Tensor, call.emit(aten.mul.Scalar, position, shape_of(x)[axis]), place)
        position = place
    before, after = free_shape(x)[:first], free_shape(x)[last + 1:]
    row = call.emit(aten.reshape.default, x, [*before, math.prod(shape_of(x)[first:last + 1]), *after])
    chosen = call.emit(aten.index_select.default, row, first, call.emit(aten.reshape.default, position, [-1]))
    shape = shape_of(position)
    return chosen if len(shape) == 1 else call.emit(aten.reshape.default, chosen, [*before, *shape, *after])


def _rows_at(call: Call, axis: int, chosen: fx.Node) -> fx.Node:
    """Elements of one axis at computed positions."""
    x = call["self"]
    if axis == 0 and rank_of(x) == 2:
        return call.emit(aten.embedding.default, x, chosen)
    if rank_of(chosen) == 1:
        return call.emit(aten.index_select.default, x, axis, chosen)
    before, after = free_shape(x)[:axis], free_shape(x)[axis + 1:]
    rows = call.emit(aten.index_select.default, x, axis, call.emit(aten.reshape.default, chosen, [-1]))
    return call.emit(aten.reshape.default, rows, [*before, *free_shape(chosen), *after])

"""Reductions over axes."""

from __future__ import annotations

from typing import Any

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of


def _axes(call: Call, x: fx.Node, dim: Any) -> list[int]:
    """Axes ascending and none negative; all when none are given."""
    rank = rank_of(x)
    given = [dim] if isinstance(dim, int) else list(dim or [])
    return sorted(axis % rank for axis in given) or list(range(rank))


def _reduce(call: Call, target: Any, dim: Any = None, keepdim: bool = False) -> fx.Node:
    x = call["self"]
    if call.node.meta["val"].dtype != x.meta["val"].dtype or not rank_of(x):
        return call.keep()
    return call.emit(target, x, _axes(call, x, dim), keepdim)


@canonical_form("mean.dim")
def mean(call: Call) -> fx.Node:
    """Mean over axes."""
    return _reduce(call, aten.mean.dim, call["dim"], call["keepdim"])


@canonical_form("mean.default")
def mean_of_all(call: Call) -> fx.Node:
    """Mean over all axes."""
    return _reduce(call, aten.mean.dim)


@canonical_form("sum.dim_IntList")
def total(call: Call) -> fx.Node:
    """Sum over axes."""
    return _reduce(call, aten.sum.dim_IntList, call["dim"], call["keepdim"])


@canonical_form("sum.default")
def total_of_all(call: Call) -> fx.Node:
    """Sum over all axes."""
    return _reduce(call, aten.sum.dim_IntList)


@canonical_form("amax.default")
def largest(call: Call) -> fx.Node:
    """Largest element over axes."""
    return _reduce(call, aten.amax.default, call["dim"], call["keepdim"])


@canonical_form("max.default")
def largest_of_all(call: Call) -> fx.Node:
    """Largest element."""
    return _reduce(call, aten.amax.default)


def _with_index(call: Call, extreme: Any, place: Any) -> fx.Node | tuple:
    x = call["self"]
    if not rank_of(x):
        return call.keep()
    axes, keepdim = _axes(call, x, call["dim"]), call["keepdim"]
    return (call.emit(extreme, x, axes, keepdim) if call.reads_part(0) or not call.reads_part(1) else None,
            call.emit(place, x, axes[0], keepdim) if call.reads_part(1) else None)


@canonical_form("max.dim")
def largest_along_axis(call: Call) -> fx.Node | tuple:
    """Largest element along an axis, and the index of the first such, each where it is read."""
    return _with_index(call, aten.amax.default, aten.argmax.default)


@canonical_form("amin.default")
def smallest(call: Call) -> fx.Node:
    """Smallest element over axes."""
    return _reduce(call, aten.amin.default, call["dim"], call["keepdim"])


@canonical_form("min.default")
def smallest_of_all(call: Call) -> fx.Node:
    """Smallest element."""
    return _reduce(call, aten.amin.default)


@canonical_form("min.dim")
def smallest_along_axis(call: Call) -> fx.Node | tuple:
    """Smallest element along an axis, and the index of the first such, each where it is read."""
    return _with_index(call, aten.amin.default, aten.argmin.default)


@canonical_form("logsumexp.default")
def logarithm_of_sum(call: Call) -> fx.Node:
    """m + log(sum(exp(x - m))) over axes, with their largest element m."""
    x = call["self"]
    if call.node.meta["val"].dtype != x.meta["val"].dtype or not rank_of(x):
        return call.keep()
    axes = _axes(call, x, call["dim"])
    largest = call.emit(aten.amax.default, x, axes, True)
    powers = call.emit(aten.exp.default, call.emit(aten.sub.Tensor, x, largest))
    logarithm = call.emit(aten.log.default, call.emit(aten.sum.dim_IntList, powers, axes, True))
    result = call.emit(aten.add.Tensor, logarithm, largest)
    return result if call["keepdim"] else call.emit(aten.squeeze.dims, result, axes)


@canonical_form("cumsum.default")
def running_total(call: Call) -> fx.Node:
    """Sums of all up to each element: sums of 2, 4, 8, ... of them, each of two halves."""
    x, distance = call["self"], 1
    if call.node.meta["val"].dtype != x.meta["val"].dtype or not rank_of(x) or call.is_free_axis("self", call["dim"]):
        return call.keep()
    axis = call["dim"] % rank_of(x)
    extent = shape_of(x)[axis]
    while distance < extent:
        before = call.emit(aten.slice.Tensor, x, axis, 0, extent - distance, 1)
        amounts = [0, 0] * (rank_of(x) - 1 - axis) + [distance, 0]
        x = call.emit(aten.add.Tensor, x, call.emit(aten.constant_pad_nd.default, before, amounts, 0.0))
        distance *= 2
    return x


@canonical_form("prod.dim_int")
def product(call: Call) -> fx.Node:
    """Product over one axis."""
    x = call["self"]
    if call.node.meta["val"].dtype != x.meta["val"].dtype or not rank_of(x):
        return call.keep()
    return call.emit(aten.prod.dim_int, x, call["dim"] % rank_of(x), call["keepdim"])

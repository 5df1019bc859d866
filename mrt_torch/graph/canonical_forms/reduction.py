"""Reductions over axes."""

from __future__ import annotations

from typing import Any

from torch import fx

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


@canonical_form("max.dim")
def largest_along_axis(call: Call) -> fx.Node | tuple:
    """Largest element along an axis, when nothing reads its index."""
    x = call["self"]
    if call.reads_part(1) or not rank_of(x):
        return call.keep()
    return call.emit(aten.amax.default, x, _axes(call, x, call["dim"]), call["keepdim"]), None


def _smallest(call: Call, x: fx.Node, dim: Any, keepdim: bool) -> fx.Node:
    negated = call.emit(aten.amax.default, call.emit(aten.neg.default, x), _axes(call, x, dim), keepdim)
    return call.emit(aten.neg.default, negated)


@canonical_form("amin.default")
def smallest(call: Call) -> fx.Node:
    """-max(-x), exact."""
    return _smallest(call, call["self"], call["dim"], call["keepdim"]) if rank_of(call["self"]) else call.keep()


@canonical_form("min.dim")
def smallest_along_axis(call: Call) -> fx.Node | tuple:
    """Smallest element along an axis, when nothing reads its index."""
    if call.reads_part(1) or not rank_of(call["self"]):
        return call.keep()
    return _smallest(call, call["self"], call["dim"], call["keepdim"]), None

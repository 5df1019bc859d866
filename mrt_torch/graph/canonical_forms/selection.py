"""Indices of extremes, order, and elements chosen by indices."""

from __future__ import annotations

from typing import Any

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of
from mrt_torch.ops.ordering import TOPK_INDICES, TOPK_VALUES


def _extreme(call: Call, target: Any) -> fx.Node:
    x = call["self"]
    if call["dim"] is not None and rank_of(x):
        return call.emit(target, x, call["dim"] % rank_of(x), call["keepdim"])
    return call.keep() if not rank_of(x) else call.emit(target, x, None, call["keepdim"])


@canonical_form("argmax.default")
def argmax(call: Call) -> fx.Node:
    """The axis counted from the front."""
    return _extreme(call, aten.argmax.default)


@canonical_form("argmin.default")
def argmin(call: Call) -> fx.Node:
    """The axis counted from the front."""
    return _extreme(call, aten.argmin.default)


def _ordered(call: Call, k: int, largest: bool, parts: tuple[bool, bool]) -> tuple:
    x, axis = call["self"], call["dim"] % rank_of(call["self"])
    return tuple(call.emit(target, x, k, axis, largest) if wanted else None
                 for target, wanted in zip((TOPK_VALUES, TOPK_INDICES), parts, strict=True))


@canonical_form("topk.default")
def topk(call: Call) -> fx.Node | tuple:
    """Values and indices apart, each where it is read; in order, as ``sorted`` asks for, and ties by index."""
    if not rank_of(call["self"]) or not isinstance(call["k"], int):
        return call.keep()
    return _ordered(call, call["k"], call["largest"], (call.reads_part(0), call.reads_part(1)))


@canonical_form("sort.default", "sort.stable")
def sort(call: Call) -> fx.Node | tuple:
    """topk of the whole axis."""
    if not rank_of(call["self"]) or call.is_free_axis("self", call["dim"]):
        return call.keep()
    length = shape_of(call["self"])[call["dim"]]
    return _ordered(call, length, call["descending"], (call.reads_part(0), call.reads_part(1)))


@canonical_form("argsort.default", "argsort.stable")
def argsort(call: Call) -> fx.Node:
    """Indices of the topk of the whole axis."""
    if not rank_of(call["self"]) or call.is_free_axis("self", call["dim"]):
        return call.keep()
    return _ordered(call, shape_of(call["self"])[call["dim"]], call["descending"], (False, True))[1]


@canonical_form("gather.default")
def gather(call: Call) -> fx.Node:
    """Without the gradient's option."""
    if not rank_of(call["self"]):
        return call.keep()
    return call.emit(aten.gather.default, call["self"], call["dim"] % rank_of(call["self"]), call["index"])


@canonical_form("take_along_dim.default")
def take_along_dim(call: Call) -> fx.Node:
    """gather."""
    if call["dim"] is None:
        return call.keep()
    return call.emit(aten.gather.default, call["self"], call["dim"] % rank_of(call["self"]), call["indices"])



"""Comparisons, choices, rounding, casts and selection by value as MXNet nodes. Truth values are floats 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.graph.editor import shape_of
from mrt_torch.ops.ordering import TOPK_INDICES, TOPK_MASK, TOPK_VALUES
from mrt_torch.ops.rounding import ROUND_HALF_AWAY, ROUND_HALF_DOWN
from mrt_torch.ops.selection import GATHER_ND

aten = torch.ops.aten


def _plain(operator: str) -> Callable[[FloatCall], Entry]:
    return lambda view: view.result(operator, *view.inputs)


def _with_number(operator: str) -> Callable[[FloatCall], Entry]:
    return lambda view: view.result(operator, *view.inputs, scalar=float(view.arguments["other"]))


def write_cast(view: FloatCall) -> Entry:
    """Nothing between floats, truth values and indices; fix to integers; != 0 to truth values; Cast where it wraps."""
    before, after = (node.meta["val"].dtype for node in (view.arguments["self"], view.node))
    if after is torch.bool:
        return view.result("_not_equal_scalar", *view.inputs, scalar=0.0)
    if after.is_floating_point or not before.is_floating_point:
        return view.result("identity", *view.inputs)
    if after in (torch.int32, torch.int64):
        return view.result("fix", *view.inputs)
    kind = str(after).removeprefix("torch.")
    view.require(kind in ("int8", "uint8"), f"MXNet has no type {kind}")
    whole = view.part("wrapped", "Cast", *view.inputs, dtype=kind)
    return view.result("Cast", whole, dtype=str(before).removeprefix("torch."))


def write_round_half_even(view: FloatCall) -> Entry:
    """rint, whose ties go down, and 1 more where that leaves an odd number a half below."""
    down = view.part("down", "rint", *view.inputs)
    tie = view.part("tie", "_equal_scalar", view.part("rest", "elemwise_sub", *view.inputs, down), scalar=0.5)
    odd = view.part("odd", "_mod_scalar", down, scalar=2.0)
    return view.result("elemwise_add", down, view.part("step", "elemwise_mul", tie, odd))


def _filled(view: FloatCall, entry: Entry, number: float) -> Entry:
    return view.part("filled", "_plus_scalar", view.part("zeros", "zeros_like", entry), scalar=number)


def write_where(view: FloatCall) -> Entry:
    """where; operands that are smaller than the result are broadcast by adding zeros of the others' shapes."""
    condition, *choices = (view.arguments[name] for name in ("condition", "self", "other"))
    holds = view.entries[condition]
    tensors = [choice for choice in choices if not isinstance(choice, (bool, int, float))]
    entries = [view.entries[node] for node in tensors]
    if any(shape_of(node) != view.output_shape for node in (condition, *tensors)):
        zeros = view.part("zeros", "zeros_like", holds)
        for entry in entries:
            zeros = view.part("zeros", "broadcast_add", zeros, view.part("zeros", "zeros_like", entry))
        holds, *entries = (view.part("whole", "broadcast_add", entry, zeros) for entry in (holds, *entries))
    chosen = iter(entries)
    x, y = (next(chosen) if choice in tensors else _filled(view, entries[0], float(choice)) for choice in choices)
    return view.result("where", holds, x, y)


def _extreme(operator: str) -> Callable[[FloatCall], Entry]:
    def write(view: FloatCall) -> Entry:
        axis = view.arguments["dim"]
        axis = None if axis is None else axis % len(view.shape)
        return view.result(operator, *view.inputs, axis=str(axis), keepdims=bool(view.arguments["keepdim"]))
    return write


def _topk(kind: str) -> Callable[[FloatCall], Entry]:
    def write(view: FloatCall) -> Entry:
        return view.result("topk", *view.inputs, axis=view.axis("dim"), k=view.arguments["k"], ret_typ=kind,
                           is_ascend=not view.arguments["largest"])
    return write


def write_gather(view: FloatCall) -> Entry:
    """pick for one index of each vector; for more, the sum of products with one_hot."""
    axis = view.axis("dim")
    index = view.arguments["index"]
    length, count = view.shape[axis], shape_of(index)[axis]
    if count == 1:
        return view.result("pick", *view.inputs, axis=axis, keepdims=True)
    data = view.part("column", "expand_dims", view.entries[view.arguments["self"]], axis=axis)
    hot = view.part("hot", "one_hot", view.entries[index], depth=length)
    rank = len(view.shape) + 1
    order = [*range(axis + 1), rank - 1, *range(axis + 1, rank - 1)]
    hot = view.part("places", "transpose", hot, axes=tuple(order))
    return view.result("sum", view.part("products", "broadcast_mul", data, hot), axis=(axis + 1,), keepdims=False)


_COMPARISONS = {aten.gt: "greater", aten.ge: "greater_equal", aten.lt: "lesser", aten.le: "lesser_equal",
                aten.eq: "equal", aten.ne: "not_equal"}

LOGIC_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    **{packet.Tensor: _plain(f"broadcast_{name}") for packet, name in _COMPARISONS.items()},
    **{packet.Scalar: _with_number(f"_{name}_scalar") for packet, name in _COMPARISONS.items()},
    aten.logical_and.default: _plain("broadcast_logical_and"), aten.logical_or.default: _plain("broadcast_logical_or"),
    aten.logical_xor.default: _plain("broadcast_logical_xor"), aten.logical_not.default: _plain("logical_not"),
    aten._to_copy.default: write_cast,
    aten.where.self: write_where, aten.where.ScalarOther: write_where, aten.where.ScalarSelf: write_where,
    aten.floor.default: _plain("floor"), aten.ceil.default: _plain("ceil"), aten.trunc.default: _plain("fix"),
    aten.sign.default: _plain("sign"), aten.round.default: write_round_half_even,
    ROUND_HALF_AWAY: _plain("round"), ROUND_HALF_DOWN: _plain("rint"),
    aten.argmax.default: _extreme("argmax"), aten.argmin.default: _extreme("argmin"),
    TOPK_VALUES: _topk("value"), TOPK_INDICES: _topk("indices"), TOPK_MASK: _topk("mask"),
    aten.gather.default: write_gather, GATHER_ND: _plain("gather_nd"),
}

"""Float repetition, reversal, borders, parts and likeness as MXNet nodes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import torch
from torch import fx

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.ops.creation import ARANGE_LIKE
from mrt_torch.ops.likeness import BROADCAST_LIKE, RESHAPE_LIKE, SLICE_LIKE
from mrt_torch.ops.padding import pad_amounts
from mrt_torch.ops.slicing import split_axis

aten = torch.ops.aten
SPLITS = (aten.split_with_sizes.default, aten.split.Tensor, aten.chunk.default, aten.unbind.int)


def _split_sizes(split: fx.Node) -> list[int]:
    """Extents of the parts along the axis that is divided."""
    if split.target is aten.unbind.int:
        return [1] * len(split.meta["val"])
    return [part.shape[split_axis(split)] for part in split.meta["val"]]


def write_split(view: FloatCall) -> Entry:
    """SliceChannel for equal sizes; for others the input itself, which `write_getitem` slices."""
    sizes = _split_sizes(view.node)
    if len(set(sizes)) > 1:
        return view.inputs[0]
    squeeze = True if view.node.target is aten.unbind.int else None
    return view.result("SliceChannel", *view.inputs, num_outputs=len(sizes), axis=split_axis(view.node),
                       squeeze_axis=squeeze)


def write_getitem(view: FloatCall) -> Entry:
    """One part of a split, or one of several results."""
    split, index = view.node.args
    if split.target not in SPLITS:
        return view.entries[split][0], index
    sizes = _split_sizes(split)
    index %= len(sizes)
    if len(set(sizes)) == 1:
        return view.entries[split][0], index
    begin = sum(sizes[:index])
    return view.result("slice_axis", view.entries[split], axis=split_axis(split), begin=begin,
                       end=begin + sizes[index])


def write_narrow(view: FloatCall) -> Entry:
    """slice_axis."""
    axis = view.axis("dim")
    begin = view.arguments["start"] % view.shape[axis]
    return view.result("slice_axis", *view.inputs, axis=axis, begin=begin, end=begin + view.arguments["length"])


def write_swap(view: FloatCall) -> Entry:
    """SwapAxis."""
    return view.result("SwapAxis", *view.inputs, dim1=view.axis("dim0"), dim2=view.axis("dim1"))


def write_flip(view: FloatCall) -> Entry:
    """reverse."""
    axes = sorted({axis % len(view.shape) for axis in view.arguments["dims"]})
    return view.result("reverse", *view.inputs, axis=tuple(axes)) if axes else view.result("identity", *view.inputs)


def write_tile(view: FloatCall) -> Entry:
    """tile."""
    return view.result("tile", *view.inputs, reps=tuple(view.arguments["repeats"]))


def write_repeat(view: FloatCall) -> Entry:
    """repeat; without an axis, of all elements."""
    axis = view.arguments["dim"]
    axis = None if axis is None else axis % len(view.shape)
    return view.result("repeat", *view.inputs, repeats=view.arguments["repeats"], axis=axis)


def _with_axes(view: FloatCall, rank: int) -> Entry:
    """The first input with new axes of length 1 before its own, ``rank`` in all."""
    entry = view.inputs[0]
    for _ in range(rank - len(view.shape)):
        entry = view.part("axis", "expand_dims", entry, axis=0)
    return entry


def write_expand(view: FloatCall) -> Entry:
    """broadcast_axis of the axes that grow."""
    after = view.output_shape
    before = (1,) * (len(after) - len(view.shape)) + view.shape
    growing = [axis for axis, pair in enumerate(zip(before, after)) if pair[0] != pair[1]]
    entry = _with_axes(view, len(after))
    if not growing:
        return view.result("identity", entry)
    return view.result("broadcast_axis", entry, axis=tuple(growing), size=tuple(after[axis] for axis in growing))


def write_broadcast_like(view: FloatCall) -> Entry:
    """broadcast_like."""
    rank = len(view.output_shape)
    names = {} if view.arguments.get("lhs_axes") is None else {
        key: tuple(view.arguments[key]) for key in ("lhs_axes", "rhs_axes")}
    return view.result("broadcast_like", _with_axes(view, rank), view.inputs[1], **names)


def write_reshape_like(view: FloatCall) -> Entry:
    """reshape_like."""
    names = ("lhs_begin", "lhs_end", "rhs_begin", "rhs_end")
    return view.result("reshape_like", *view.inputs, **{name: view.arguments.get(name) for name in names})


def write_slice_like(view: FloatCall) -> Entry:
    """slice_like."""
    return view.result("slice_like", *view.inputs, axes=tuple(view.arguments["axes"]) or None)


def _like(kind: str) -> Callable[[FloatCall], Entry]:
    def write(view: FloatCall) -> Entry:
        dtype = view.arguments.get("dtype")
        view.require(dtype in (None, view.node.args[0].meta["val"].dtype), f"its dtype is {dtype}")
        return view.result(kind, *view.inputs)
    return write


def write_full_like(view: FloatCall) -> Entry:
    """The number added to zeros_like."""
    zeros = view.part("zeros", "zeros_like", *view.inputs)
    return view.result("_plus_scalar", zeros, scalar=float(view.arguments["fill_value"]))


def write_arange(view: FloatCall) -> Entry:
    """A parameter: the numbers themselves."""
    numbers = view.node.target(*view.node.args, **view.node.kwargs)
    dtype = numbers.dtype if numbers.is_floating_point() else torch.float32
    return view.constant("numbers", numbers.to(dtype).numpy())


def write_arange_like(view: FloatCall) -> Entry:
    """_contrib_arange_like."""
    arguments = view.arguments
    return view.result("_contrib_arange_like", *view.inputs, start=arguments["start"], step=arguments["step"],
                       repeat=arguments["repeat"], axis=arguments["axis"])


def write_border(view: FloatCall) -> Entry:
    """Pad where MXNet has it: the last axes of 4-D and 5-D tensors, edge and reflect; otherwise Concat of slices."""
    mode, pads = view.arguments["mode"], pad_amounts(view.node)
    rank = len(view.shape)
    view.require(mode in ("reflect", "replicate", "circular"), f"its mode is {mode}")
    if not pads:
        return view.result("identity", *view.inputs)
    if mode != "circular" and rank in (4, 5) and all(axis >= 2 and min(pair) >= 0 for axis, *pair in pads):
        by_axis = {axis: pair for axis, *pair in pads}
        widths = [amount for axis in range(rank) for amount in by_axis.get(axis, (0, 0))]
        return view.result("Pad", *view.inputs, mode="edge" if mode == "replicate" else "reflect", pad_width=widths)
    entry, shape = view.inputs[0], list(view.shape)
    for axis, before, after in pads:
        parts = [_border(view, entry, axis, shape[axis], before, mode, True),
                 _part(view, entry, axis, max(-before, 0), shape[axis] + min(after, 0)),
                 _border(view, entry, axis, shape[axis], after, mode, False)]
        parts = [part for part in parts if part is not None]
        entry = view.part("padded", "Concat", *parts, dim=axis, num_args=len(parts))
        shape[axis] += before + after
    return view.result("identity", entry)


def _part(view: FloatCall, entry: Entry, axis: int, begin: int, end: int) -> Entry:
    return view.part("part", "slice_axis", entry, axis=axis, begin=begin, end=end)


def _border(view: FloatCall, entry: Entry, axis: int, extent: int, width: int, mode: str, first: bool) -> Entry | None:
    if width <= 0:
        return None
    if mode == "replicate":
        edge = _part(view, entry, axis, *((0, 1) if first else (extent - 1, extent)))
        return view.part("edge", "repeat", edge, repeats=width, axis=axis)
    if mode == "circular":
        return _part(view, entry, axis, *((extent - width, extent) if first else (0, width)))
    inside = _part(view, entry, axis, *((1, width + 1) if first else (extent - 1 - width, extent - 1)))
    return view.part("mirrored", "reverse", inside, axis=(axis,))


MOVEMENT_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    **dict.fromkeys(SPLITS, write_split), operator.getitem: write_getitem,
    aten.narrow.default: write_narrow, aten.transpose.int: write_swap, aten.flip.default: write_flip,
    aten.repeat.default: write_tile, aten.repeat_interleave.self_int: write_repeat,
    aten.expand.default: write_expand, aten.expand_as.default: write_broadcast_like,
    BROADCAST_LIKE: write_broadcast_like, SLICE_LIKE: write_slice_like,
    **dict.fromkeys((RESHAPE_LIKE, aten.reshape_as.default, aten.view_as.default), write_reshape_like),
    aten.zeros_like.default: _like("zeros_like"), aten.ones_like.default: _like("ones_like"),
    aten.full_like.default: write_full_like, aten.pad.default: write_border, ARANGE_LIKE: write_arange_like,
    **dict.fromkeys((aten.arange.default, aten.arange.start, aten.arange.start_step), write_arange),
}

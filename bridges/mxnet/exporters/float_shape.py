"""Float changes of shape as MXNet nodes: reshape, order of axes, slices, concatenation, padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.graph.free_axis import free_shape

aten = torch.ops.aten


def write_flatten(view: FloatCall) -> Entry:
    """Flatten of all axes but the first; otherwise Reshape with -1 for the batch."""
    rank = len(view.shape)
    if rank > 1 and view.axis("start_dim") == 1 and view.axis("end_dim") == rank - 1:
        return view.result("Flatten", *view.inputs)
    return view.result("Reshape", *view.inputs, shape=tuple(free_shape(view.node)))


def write_reshape(view: FloatCall) -> Entry:
    """Reshape, with torch's target."""
    target = tuple(view.arguments["shape"])
    view.require(0 not in view.output_shape and len(target) > 0, f"the result has shape {view.output_shape}")
    return view.result("Reshape", *view.inputs, shape=target)


def write_permute(view: FloatCall) -> Entry:
    """transpose."""
    rank = len(view.shape)
    return view.result("transpose", *view.inputs, axes=tuple(axis % rank for axis in view.arguments["dims"]))


def write_unsqueeze(view: FloatCall) -> Entry:
    """expand_dims."""
    return view.result("expand_dims", *view.inputs, axis=view.axis("dim", extra=1))


def write_squeeze(view: FloatCall) -> Entry:
    """squeeze of the axes that have extent 1, as torch does."""
    axes = {axis % len(view.shape) for axis in view.arguments["dim"]}
    axes = tuple(sorted(axis for axis in axes if view.shape[axis] == 1))
    return view.result("squeeze", *view.inputs, axis=axes) if axes else view.result("identity", *view.inputs)


def write_concatenate(view: FloatCall) -> Entry:
    """Concat."""
    return view.result("Concat", *view.inputs, dim=view.axis("dim"), num_args=len(view.inputs))


def write_slice(view: FloatCall) -> Entry:
    """slice_axis, or slice where there is a step; the end is None at the end of the axis."""
    axis = view.axis("dim")
    extent = view.shape[axis]
    bounds = slice(*(view.arguments[name] for name in ("start", "end", "step")))
    begin, end, step = bounds.indices(extent)
    view.require(begin < end, f"the slice {begin}..{end} of axis {axis} is empty")
    end = None if end == extent else end
    if step == 1:
        return view.result("slice_axis", *view.inputs, axis=axis, begin=begin, end=str(end))
    begins, ends, steps = ([whole] * axis for whole in (None, None, 1))
    return view.result("slice", *view.inputs, begin=(*begins, begin), end=(*ends, end), step=(*steps, step))


def write_pad(view: FloatCall) -> Entry:
    """Pad of the last axes of 4-D and 5-D tensors, which is all MXNet pads; otherwise Concat with constants.

    Negative amounts crop.
    """
    rank, amounts, value = len(view.shape), list(view.arguments["pad"]), float(view.arguments["value"])
    pads = {rank - 1 - i: (amounts[2 * i], amounts[2 * i + 1]) for i in range(len(amounts) // 2)}
    pads = {axis: pad for axis, pad in sorted(pads.items()) if any(pad)}
    if not pads:
        return view.result("identity", *view.inputs)
    if rank in (4, 5) and min(pads) >= 2 and all(amount >= 0 for pad in pads.values() for amount in pad):
        widths = [amount for axis in range(rank) for amount in pads.get(axis, (0, 0))]
        return view.result("Pad", *view.inputs, mode="constant", pad_width=widths, constant_value=value)
    entry, shape = view.inputs[0], list(view.shape)
    for axis, (before, after) in pads.items():
        if before < 0 or after < 0:
            end = shape[axis] + min(after, 0)
            entry = view.part("crop", "slice_axis", entry, axis=axis, begin=max(-before, 0), end=end)
        entry = _with_borders(view, entry, axis, max(before, 0), max(after, 0), value)
        shape[axis] += before + after
    return view.result("identity", entry)


def _with_borders(view: FloatCall, entry: Entry, axis: int, before: int, after: int, value: float) -> Entry:
    if not before and not after:
        return entry
    # A slice times zero would keep NaN and infinity.
    edge = view.part("edge", "slice_axis", entry, axis=axis, begin=0, end=1)
    edge = view.part("fill", "_plus_scalar", view.part("zeros", "zeros_like", edge), scalar=value)
    parts = [edge] * before + [entry] + [edge] * after
    return view.part("padded", "Concat", *parts, dim=axis, num_args=len(parts))


SHAPE_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    aten.flatten.using_ints: write_flatten,
    aten.reshape.default: write_reshape,
    aten.permute.default: write_permute,
    aten.unsqueeze.default: write_unsqueeze,
    aten.squeeze.dims: write_squeeze,
    aten.cat.default: write_concatenate,
    aten.slice.Tensor: write_slice,
    aten.constant_pad_nd.default: write_pad,
}

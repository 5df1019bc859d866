"""Taking parts of a tensor: slice, slice_axis and SliceChannel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten

Part = tuple[int, int, int, int]  # axis, begin, end, step


@register_converter("slice_axis")
def convert_slice_axis(view: NodeView) -> fx.Node:
    """Elements begin to end (exclusive) of one axis; negative numbers count from the end, None is the end."""
    axis = view.axis(view.attributes.integer("axis"))
    begin, end = view.attributes.integer("begin"), view.attributes.optional_integer("end")
    return _slice(view, [_part(view, axis, begin, end, 1)])


@register_converter("slice", "crop")
def convert_slice(view: NodeView) -> fx.Node:
    """Elements begin to end (exclusive) of the first axes, every step-th; negative steps are refused."""
    begins, ends = view.attributes.bounds("begin"), view.attributes.bounds("end")
    steps = view.attributes.bounds("step", ()) or (None,) * len(begins)
    if not len(begins) == len(ends) == len(steps) <= len(view.shape()):
        raise view.invalid(f"begin {begins}, end {ends}, step {steps} do not fit the shape {view.shape()}")
    parts = [_part(view, axis, begin, end, 1 if step is None else step)
             for axis, (begin, end, step) in enumerate(zip(begins, ends, steps))]
    return _slice(view, parts)


@register_converter("SliceChannel", "split")
def convert_slice_channel(view: NodeView) -> dict[int, fx.Node]:
    """``num_outputs`` equal slices along ``axis`` (1 by default), which ``squeeze_axis`` removes."""
    attributes = view.attributes
    axis = view.axis(attributes.integer("axis", 1))
    count, length = attributes.integer("num_outputs"), view.shape()[axis]
    if count < 1 or length % count:
        raise view.invalid(f"axis {axis} of length {length} does not divide into {count} outputs")
    size = length // count
    squeeze = attributes.boolean("squeeze_axis", False)
    if squeeze and size != 1:
        raise view.invalid(f"squeeze_axis needs slices of length 1; they have {size}")
    return _split(view, axis, range(0, length, size), range(size, length + 1, size), squeeze)


@register_converter("_split_v2")
def convert_split(view: NodeView) -> dict[int, fx.Node]:
    """Slices along ``axis`` that begin at ``indices``, or ``sections`` equal ones."""
    attributes = view.attributes
    axis = view.axis(attributes.integer("axis", 1))
    length, sections = view.shape()[axis], attributes.integer("sections", 0)
    squeeze = attributes.boolean("squeeze_axis", False)
    if sections:
        if sections < 0 or length % sections:
            raise view.invalid(f"axis {axis} of length {length} does not divide into {sections} sections")
        size = length // sections
        starts, ends = range(0, length, size), range(size, length + 1, size)
        longest = size
    else:
        starts = attributes.integers("indices")
        ends = (*starts[1:], length)
        if not starts or any(not 0 <= start < end <= length for start, end in zip(starts, ends)):
            raise view.invalid(f"indices {starts} do not divide axis {axis} of length {length}")
        longest = max(end - start for start, end in zip(starts, ends))
    if squeeze and longest != 1:
        raise view.invalid("squeeze_axis needs slices of length 1")
    return _split(view, axis, starts, ends, squeeze)


def _split(view: NodeView, axis: int, starts: Sequence[int], ends: Sequence[int], squeeze: bool) -> dict[int, fx.Node]:
    """The slices that something reads: a short text can announce more of them than fit into memory."""
    outputs = {}
    for position in sorted(position for position in view.outputs_read if position < len(starts)):
        begin, end = starts[position], ends[position]
        output = position if len(starts) > 1 else None
        if not squeeze:
            outputs[position] = view.call(aten.slice.Tensor, view.inputs[0], axis, begin, end, 1, output=output)
            continue
        part = view.step(aten.slice.Tensor, view.inputs[0], axis, begin, end, 1)
        outputs[position] = view.call(aten.squeeze.dims, part, [axis], output=output)
    return outputs


def _slice(view: NodeView, parts: list[Part]) -> fx.Node:
    # A part that is the whole axis makes no node: on axis 0 it would fix the batch.
    parts = [part for part in parts if part[1:] != (0, view.shape()[part[0]], 1)]
    data = view.inputs[0]
    for position, part in enumerate(parts, start=1):
        data = (view.call if position == len(parts) else view.step)(aten.slice.Tensor, data, *part)
    return data


def _part(view: NodeView, axis: int, begin: int | None, end: int | None, step: int) -> Part:
    if step < 1:
        raise view.unsupported(f"the step of axis {axis} is {step}; positive steps are supported")
    length = view.shape()[axis]
    begin, end = 0 if begin is None else begin, length if end is None else end
    begin, end = begin + length * (begin < 0), end + length * (end < 0)
    if view.operator == "slice_axis" and end > length:
        raise view.invalid(f"end {end} is beyond axis {axis} of length {length}")
    end = min(end, length)
    if not 0 <= begin < end:
        raise view.invalid(f"begin {begin} and end {end} leave nothing of axis {axis} of length {length}")
    return axis, begin, end, step

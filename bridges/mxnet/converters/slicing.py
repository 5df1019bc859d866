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
    """Elements begin to end (exclusive) of the first axes, every step-th; a negative step runs backwards."""
    begins, ends = view.attributes.bounds("begin"), view.attributes.bounds("end")
    steps = view.attributes.bounds("step", ()) or (None,) * len(begins)
    if not len(begins) == len(ends) == len(steps) <= len(view.shape()):
        raise view.invalid(f"begin {begins}, end {ends}, step {steps} do not fit the shape {view.shape()}")
    parts, backwards = [], []
    for axis, (begin, end, step) in enumerate(zip(begins, ends, steps)):
        if step is not None and step < 0:
            parts.append(_backwards_part(view, axis, begin, end, step))
            backwards.append(axis)
        else:
            parts.append(_part(view, axis, begin, end, 1 if step is None else step))
    return _slice(view, parts, backwards)


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


def _slice(view: NodeView, parts: list[Part], backwards: Sequence[int] = ()) -> fx.Node:
    # A part that is the whole axis makes no node: on the batch axis it would fix the batch.
    parts = [part for part in parts if part[1:] != (0, view.shape()[part[0]], 1)]
    data = view.inputs[0]
    for position, part in enumerate(parts, start=1):
        last = position == len(parts) and not backwards
        data = (view.call if last else view.step)(aten.slice.Tensor, data, *part)
    return view.call(aten.flip.default, data, list(backwards)) if backwards else data


def _part(view: NodeView, axis: int, begin: int | None, end: int | None, step: int) -> Part:
    if step < 1:
        raise view.invalid(f"the step of axis {axis} is {step}")
    length = view.shape()[axis]
    begin, end = 0 if begin is None else begin, length if end is None else end
    begin, end = begin + length * (begin < 0), end + length * (end < 0)
    if view.operator == "slice_axis" and end > length:
        raise view.invalid(f"end {end} is beyond axis {axis} of length {length}")
    end = min(end, length)
    if not 0 <= begin < end:
        raise view.invalid(f"begin {begin} and end {end} leave nothing of axis {axis} of length {length}")
    return axis, begin, end, step


def _backwards_part(view: NodeView, axis: int, begin: int | None, end: int | None, step: int) -> Part:
    """The elements of a backwards slice, forwards: from begin down to end, exclusive.

    Negative numbers count from behind, also an end of -1; None is what lies before the first element.
    """
    length = view.shape()[axis]
    begin = length - 1 if begin is None else min(begin + length * (begin < 0), length - 1)
    end = -1 if end is None else end + length * (end < 0)
    if not -1 <= end < begin < length:
        raise view.invalid(f"begin {begin}, end {end} and step {step} leave nothing of axis {axis} of length {length}")
    lowest = begin - (begin - end - 1) // -step * -step
    return axis, lowest, begin + 1, -step


@register_converter("Crop")
def convert_crop(view: NodeView) -> fx.Node:
    """Height and width cut to those of a second input, or to ``h_w``, at ``offset`` or in the middle."""
    attributes = view.attributes
    view.expect_inputs(1, 2)
    if len(view.shape()) != 4:
        raise view.invalid(f"its input has the shape {view.shape()}; 4 axes are expected")
    size = view.shape(1)[2:] if len(view.inputs) == 2 else attributes.integers("h_w", (0, 0))
    offset, room = attributes.integers("offset", (0, 0)), view.shape()[2:]
    if attributes.boolean("center_crop", False):
        offset = tuple((extent - wanted) // 2 for extent, wanted in zip(room, size))
    if len(size) != 2 or len(offset) != 2 or any(
            not (wanted > 0 and 0 <= begin <= extent - wanted) for begin, wanted, extent in zip(offset, size, room)):
        raise view.invalid(f"{tuple(size)} at {tuple(offset)} is no part of {tuple(room)}")
    return _slice(view, [(axis, begin, begin + wanted, 1)
                         for axis, (begin, wanted) in enumerate(zip(offset, size), start=2)])


@register_converter("slice_like")
def convert_slice_like(view: NodeView) -> fx.Node:
    """The beginning of the first input, as long on ``axes`` (all by default) as the second."""
    view.expect_inputs(2)
    rank, axes = len(view.shape()), view.attributes.integers("axes", ())
    axes = sorted({view.axis(axis) for axis in axes})
    shape, like = view.shape(), view.shape(1)
    if not axes and len(like) != rank:
        raise view.invalid(f"the inputs have shapes {shape} and {like}; without axes they need as many")
    if any(axis >= len(like) or like[axis] > shape[axis] for axis in axes or range(rank)):
        raise view.invalid(f"the shape {like} is longer than {shape} on one of the axes {axes or 'all'}")
    return view.call(torch.ops.mrt.slice_like.default, *view.inputs, axes)

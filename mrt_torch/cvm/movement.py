"""CVM operators that copy elements elsewhere: concatenate, repeat, tile, strided_slice and slice_like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mrt_torch.cvm.attribute_text import integer, integers, reader, write
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.limits import attribute_limits
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator, Shape
from mrt_torch.cvm.shape_rules import normal_axis, require


def concatenate(tensors: Sequence[torch.Tensor], *, axis: int) -> torch.Tensor:
    """Join tensors along ``axis``."""
    return torch.cat(list(tensors), axis)


def repeat(data: torch.Tensor, *, repeats: int, axis: int) -> torch.Tensor:
    """Repeat every slice along ``axis`` ``repeats`` times in a row."""
    return data.repeat_interleave(repeats, axis)


def tile(data: torch.Tensor, *, reps: Sequence[int]) -> torch.Tensor:
    """Repeat the whole tensor ``reps`` times along the last axes; 1 fills the shorter of shape and reps."""
    return data.tile(list(reps)).clone(memory_format=torch.contiguous_format)


def strided_slice(data: torch.Tensor, *, begin: Sequence[int], end: Sequence[int],
                  stride: Sequence[int]) -> torch.Tensor:
    """Every ``stride``-th element from ``begin`` until before ``end``, axis by axis; see ``slice_bounds``."""
    result = data
    for axis, extent in enumerate(data.shape):
        first, step, count = slice_bounds(extent, axis, begin, end, stride)
        if step > 0:
            result = result[(slice(None),) * axis + (slice(first, first + count * step, step),)]
        else:
            indices = torch.arange(count, device=data.device) * step + first
            result = result.index_select(axis, indices)
    return result.clone(memory_format=torch.contiguous_format)


def slice_like(data: torch.Tensor, like: torch.Tensor, *, axis: Sequence[int]) -> torch.Tensor:
    """Crop ``data`` at its origin to ``like``'s extents along ``axis``; an empty list means all axes."""
    shape = _slice_like_shape([tuple(data.shape), tuple(like.shape)], {"axis": axis})
    return data[tuple(slice(extent) for extent in shape)].clone(memory_format=torch.contiguous_format)


def slice_bounds(extent: int, axis: int, begin: Sequence[int], end: Sequence[int],
                 stride: Sequence[int]) -> tuple[int, int, int]:
    """(first index, step, number of elements) of a slice along one axis.

    Missing tails mean begin 0, end = extent, stride 1; what is beyond the last axis is not read. A negative begin
    or end counts from the back once; both are then clamped to [0, extent], for a negative stride to [-1, extent - 1].

    Raises:
        InvalidArgumentError: the stride is 0 or nothing is selected.
    """
    first = begin[axis] if axis < len(begin) else 0
    last = end[axis] if axis < len(end) else extent
    step = stride[axis] if axis < len(stride) else 1
    require(step != 0, f"the stride of axis {axis} is 0")
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    first, last = (min(max(b + extent if b < 0 else b, low), high) for b in (first, last))
    require(first < last if step > 0 else last < first, f"the slice of axis {axis} is empty",
            f"begin {first}, end {last}, stride {step} after counting from the front")
    return first, step, (abs(last - first) + abs(step) - 1) // abs(step)


def _strided_slice_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data = shapes[0]
    return tuple(slice_bounds(extent, axis, attributes["begin"], attributes["end"], attributes["stride"])[2]
                 for axis, extent in enumerate(data))


def _concatenate_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    require(len(shapes) > 0, "concatenate needs a tensor")
    first = shapes[0]
    axis = normal_axis(attributes["axis"], len(first))
    for shape in shapes:
        require(len(shape) == len(first)
                and all(a == axis or x == y for a, (x, y) in enumerate(zip(shape, first))),
                f"concatenated tensors differ outside axis {axis}", f"shapes {list(shapes)}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1:])


def _repeat_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data, repeats = shapes[0], attributes["repeats"]
    axis = normal_axis(attributes["axis"], len(data))
    require(repeats > 0, f"repeats {repeats} is not positive")
    return (*data[:axis], data[axis] * repeats, *data[axis + 1:])


def _tile_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data, reps = tuple(shapes[0]), tuple(attributes["reps"])
    require(len(reps) > 0 and all(r > 0 for r in reps), f"reps {reps} are not positive")
    length = max(len(data), len(reps))
    data, reps = ((1,) * (length - len(s)) + s for s in (data, reps))
    return tuple(extent * count for extent, count in zip(data, reps))


def _slice_like_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data, like = shapes
    axes = [axis + len(data) if axis < 0 else axis for axis in attributes["axis"]]
    require(axes or len(data) == len(like), "slice_like without axes takes tensors of as many dimensions",
            f"shapes {data} and {like}")
    axes = axes or list(range(len(data)))
    require(all(0 <= axis < min(len(data), len(like)) for axis in axes), f"axes {axes} are out of range",
            f"shapes {data} and {like}")
    require(all(like[axis] <= data[axis] for axis in axes), "slice_like cannot enlarge an axis",
            f"shapes {data} and {like}, axes {axes}")
    return tuple(like[axis] if axis in axes else extent for axis, extent in enumerate(data))


def _write_given(call: Call) -> dict[str, str]:
    return write(**call.attributes)


OPERATORS.register(CvmOperator(
    name="concatenate", schema="(Tensor[] tensors, *, int axis) -> Tensor", kernel=concatenate,
    output_shape=_concatenate_shape,
    precision=lambda call: max(operand.precision for operand in call.operands),
    value_range=lambda call: Interval.hull(operand.value_range for operand in call.operands),
    write_attributes=_write_given, read_attributes=reader("concatenate", axis=integer(1)),
    mxnet_name="Concat"))

OPERATORS.register(CvmOperator(
    name="repeat", schema="(Tensor data, *, int repeats, int axis) -> Tensor", kernel=repeat,
    output_shape=_repeat_shape, write_attributes=_write_given,
    read_attributes=reader("repeat", repeats=integer(), axis=integer(0)), mxnet_name="repeat"))

OPERATORS.register(CvmOperator(
    name="tile", schema="(Tensor data, *, int[] reps) -> Tensor", kernel=tile, output_shape=_tile_shape,
    limits=lambda call: attribute_limits(call, 1, "reps"), write_attributes=_write_given,
    # The runtime's default (0,) is refused by the runtime itself.
    read_attributes=reader("tile", reps=integers()), mxnet_name="tile"))

OPERATORS.register(CvmOperator(
    name="strided_slice", schema="(Tensor data, *, int[] begin, int[] end, int[] stride) -> Tensor",
    kernel=strided_slice, output_shape=_strided_slice_shape, write_attributes=_write_given,
    read_attributes=reader("strided_slice", begin=integers((0,)), end=integers((1,)), stride=integers(())),
    mxnet_name="slice"))

OPERATORS.register(CvmOperator(
    name="slice_like", schema="(Tensor data, Tensor like, *, int[] axis) -> Tensor", kernel=slice_like,
    output_shape=_slice_like_shape, write_attributes=_write_given,
    read_attributes=reader("slice_like", axis=integers(())), mxnet_name="slice_like"))

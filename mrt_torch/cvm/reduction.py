"""CVM operators that reduce axes: sum and max."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mrt_torch.cvm.attribute_text import boolean, integers, literal, reader, write
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator, Shape
from mrt_torch.cvm.shape_rules import elements, normal_axes

SCHEMA = "(Tensor data, *, int[] axis, bool keepdims, bool exclude) -> Tensor"


def reduced_axes(rank: int, axis: Sequence[int], exclude: bool) -> list[int]:
    """Axes that are reduced: the listed ones, with ``exclude`` the others; an empty list means all."""
    listed = normal_axes(axis, rank)
    if not listed:
        return list(range(rank))
    return [a for a in range(rank) if (a in listed) != exclude]


def starts_from_zero(axis: Sequence[int], exclude: bool) -> bool:
    """Whether the runtime's max compares with 0 too: it does for no axes, unless told to exclude those."""
    return not axis and not exclude


def sum_axes(data: torch.Tensor, *, axis: Sequence[int], keepdims: bool, exclude: bool) -> torch.Tensor:
    """Sum over ``axis``, in int32."""
    axes = reduced_axes(data.dim(), axis, exclude)
    result = data.sum(axes, keepdim=keepdims, dtype=torch.int32) if axes else data.clone()
    return result.reshape(1) if result.dim() == 0 else result


def max_axes(data: torch.Tensor, *, axis: Sequence[int], keepdims: bool, exclude: bool) -> torch.Tensor:
    """Maximum over ``axis``; over all axes by an empty list, of 0 too: so the runtime starts."""
    axes = reduced_axes(data.dim(), axis, exclude)
    result = data.amax(axes, keepdim=keepdims) if axes else data.clone()
    if starts_from_zero(axis, exclude):
        result = result.clamp_(min=0)
    return result.reshape(1) if result.dim() == 0 else result


def _reduced_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data = shapes[0]
    axes = reduced_axes(len(data), attributes["axis"], attributes["exclude"])
    if attributes["keepdims"]:
        return tuple(1 if a in axes else extent for a, extent in enumerate(data))
    return tuple(extent for a, extent in enumerate(data) if a not in axes) or (1,)


def summed_elements(call: Call) -> int:
    """Number of input elements in one output element."""
    return elements(call.operands[0].shape) // elements(call.output_shape)


def _sum_range(call: Call) -> Interval:
    count, values = summed_elements(call), call.operands[0].value_range
    return Interval(count * values.minimum, count * values.maximum)


def _max_range(call: Call) -> Interval:
    values = call.operands[0].value_range
    if starts_from_zero(call.attributes["axis"], call.attributes["exclude"]):
        return Interval(max(values.minimum, 0), max(values.maximum, 0))
    return values


def _reduction_divergences(call: Call) -> list[str]:
    """The CPU back end drops extent-1 axes from the output, and pairs the rest with the kept from the right.

    A pair reads the right elements only where both axes have the same stride in the input.
    """
    data = call.operands[0].shape
    axes = reduced_axes(len(data), call.attributes["axis"], call.attributes["exclude"])
    kept = [axis for axis in range(len(data)) if axis not in axes]
    larger = [axis for axis in kept if data[axis] > 1]
    strides = [elements(data[axis + 1:]) for axis in range(len(data))]
    if axes and any(strides[a] != strides[b] for a, b in zip(reversed(larger), reversed(kept))):
        return [f"the shape {data} reduced over axes {axes} keeps an axis of extent 1 right of a larger one, "
                "which the CPU back end miscomputes: reshape it away before and back after"]
    return []


_read = {name: reader(name, axis=integers(()), keepdims=boolean(False), exclude=boolean(False),
                      dtype=literal("int32")) for name in ("sum", "max")}


def _write(call: Call) -> dict[str, str]:
    return write(axis=call.attributes["axis"], keepdims=call.attributes["keepdims"],
                 exclude=call.attributes["exclude"], dtype="int32")


OPERATORS.register(CvmOperator(
    name="sum", schema=SCHEMA, kernel=sum_axes, output_shape=_reduced_shape,
    # One bit more even where there is one element to sum: bit_length(1) is 1.
    precision=lambda call: call.operands[0].precision + summed_elements(call).bit_length(),
    value_range=_sum_range, divergences=_reduction_divergences, unit_cost=summed_elements,
    write_attributes=_write, read_attributes=_read["sum"], mxnet_name="sum"))

OPERATORS.register(CvmOperator(
    name="max", schema=SCHEMA, kernel=max_axes, output_shape=_reduced_shape, value_range=_max_range,
    divergences=_reduction_divergences, write_attributes=_write, read_attributes=_read["max"], mxnet_name="max"))

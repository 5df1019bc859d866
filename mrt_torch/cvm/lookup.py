"""CVM operators that choose values: take, cvm_lut and where. Indices are clamped, never wrapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mrt_torch.cvm.attribute_text import integer, optional_integer, reader, unused, write
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator, Operand, Shape
from mrt_torch.cvm.shape_rules import elements, normal_axis, require, same_shape


def take(data: torch.Tensor, indices: torch.Tensor, *, axis: int | None) -> torch.Tensor:
    """Slices of ``data`` along ``axis`` at ``clamp(indices, 0, n - 1)``; without an axis, elements."""
    if axis is None:
        return _elements_at(data, indices)
    axis = axis % data.dim()
    clamped = indices.clamp(0, data.shape[axis] - 1).reshape(-1)
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1:])
    return data.index_select(axis, clamped).view(shape)


def cvm_lut(index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """``table.flat[clamp(index, 0, n - 1)]``."""
    return _elements_at(table, index)


def where(condition: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """``x`` where ``condition`` is not 0, else ``y``; a 1-D condition chooses rows."""
    if condition.dim() != x.dim():
        condition = condition.view(-1, *(1,) * (x.dim() - 1))
    return torch.where(condition != 0, x, y)


def _elements_at(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    clamped = indices.clamp(0, values.numel() - 1).reshape(-1)
    return values.reshape(-1).index_select(0, clamped).view(indices.shape)


def _take_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data, indices = shapes
    if attributes["axis"] is None:
        return tuple(indices)
    axis = normal_axis(attributes["axis"], len(data))
    return (*data[:axis], *indices, *data[axis + 1:])


def _where_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    condition, x, y = (tuple(shape) for shape in shapes)
    require(x == y, "where chooses between tensors of one shape", f"{x} and {y}")
    require(condition in (x, x[:1]),
            "where's condition has the shape of its choices or that of their first axis",
            f"{condition} and {x}")
    return x


def _take_range(call: Call) -> Interval:
    (data, indices), axis = call.operands, call.attributes["axis"]
    return _reachable(data, indices, None if axis is None else axis % len(data.shape))


def _reachable(values: Operand, indices: Operand, axis: int | None) -> Interval:
    """Extremes of the values that clamped indices can reach; all values where they are not constant."""
    if values.value is None:
        return values.value_range
    table = values.value.reshape(-1) if axis is None else values.value
    axis = axis or 0
    reached = indices.value_range.clamp(0, table.shape[axis] - 1)
    return Interval.of_tensor(table.narrow(axis, reached.minimum, reached.maximum - reached.minimum + 1))


def _where_limits(call: Call) -> list[str]:
    condition, x, y = call.operands
    reasons = []
    if condition.shape != x.shape:
        reasons.append("a 1-D condition makes the runtime return uninitialised memory: broadcast it first")
    wider = max(x.value_range.precision, y.value_range.precision)
    if condition.precision < wider:
        reasons.append(f"the runtime infers the condition's {condition.precision} bits for values of {wider} bits")
    return reasons


OPERATORS.register(CvmOperator(
    name="take", schema="(Tensor data, Tensor indices, *, int? axis) -> Tensor", kernel=take,
    output_shape=_take_shape, value_range=_take_range,
    write_attributes=lambda call: write(axis=call.attributes["axis"]),
    read_attributes=reader("take", axis=optional_integer(None)), mxnet_name="take"))

OPERATORS.register(CvmOperator(
    name="cvm_lut", schema="(Tensor index, Tensor table) -> Tensor", kernel=cvm_lut, output_shape=same_shape,
    precision=lambda call: call.operands[1].precision,
    value_range=lambda call: _reachable(call.operands[1], call.operands[0], None),
    write_attributes=lambda call: write(in_dim=elements(call.operands[1].shape)),
    read_attributes=reader("cvm_lut", in_dim=unused(integer())), mxnet_name="cvm_lut"))

OPERATORS.register(CvmOperator(
    name="where", schema="(Tensor condition, Tensor x, Tensor y) -> Tensor", kernel=where,
    output_shape=_where_shape,
    value_range=lambda call: Interval.hull(choice.value_range for choice in call.operands[1:]),
    limits=_where_limits, read_attributes=reader("where"), mxnet_name="where"))

"""CVM operators that multiply and accumulate: conv2d and dense.

Sums are exact on every device. A CPU has int32 kernels, except for dilated convolutions, and a CUDA device
has none. Those go through float64 and back: with operands of up to 8 bits and a result of up to 32, every
partial sum is an integer below 2**53.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mrt_torch.cvm.attribute_text import boolean, integer, integers, literal, reader, unused, write
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.limits import attribute_limits, product_limits
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator, Shape
from mrt_torch.cvm.shape_rules import require

LARGEST_COLUMN_BUFFER = 2 ** 31 - 1     # the CPU back end counts its im2col buffer's elements in an int32


def conv2d(data: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *,
           strides: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
           groups: int) -> torch.Tensor:
    """Cross-correlation of (N, C, H, W) with (O, C / groups, kh, kw), zero padding, plus bias (O,)."""
    if weight.shape[1] == 1 and groups > 1 and not data.is_cuda:
        return _depthwise(data, weight, bias, strides, padding, dilation)
    function = _in_float64 if data.is_cuda or max(dilation) > 1 else _in_int32
    return function(torch.nn.functional.conv2d, data, weight, bias, stride=list(strides),
                    padding=list(padding), dilation=list(dilation), groups=groups)


def dense(data: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """``y = x @ weight.T + bias`` of (M, K) and (units, K)."""
    function = _in_float64 if data.is_cuda else _in_int32
    return function(torch.nn.functional.linear, data, weight, bias)


def _depthwise(data: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, strides: Sequence[int],
               padding: Sequence[int], dilation: Sequence[int]) -> torch.Tensor:
    """One multiply-add of whole planes for each tap: torch's int32 kernel runs a small product for each channel."""
    data = torch.nn.functional.pad(data, (padding[1], padding[1], padding[0], padding[0]))
    if weight.shape[0] > data.shape[1]:
        data = data.repeat_interleave(weight.shape[0] // data.shape[1], dim=1)
    reach = [dilation[axis] * (weight.shape[2 + axis] - 1) + 1 for axis in (0, 1)]
    spans = [(data.shape[2 + axis] - reach[axis]) // strides[axis] * strides[axis] + 1 for axis in (0, 1)]
    total = None
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            top, left = i * dilation[0], j * dilation[1]
            plane = data[:, :, top:top + spans[0]:strides[0], left:left + spans[1]:strides[1]]
            term = plane * weight[:, 0, i, j, None, None]
            total = term if total is None else total.add_(term)
    return total if bias is None else total.add_(bias[:, None, None])


def _in_int32(product, data, weight, bias, **options):
    return product(data, weight, bias, **options).contiguous()


def _in_float64(product, data, weight, bias, **options):
    wide = [None if tensor is None else tensor.to(torch.float64) for tensor in (data, weight, bias)]
    return product(*wide, **options).to(torch.int32).contiguous()


def _conv2d_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data, weight = shapes[0], shapes[1]
    require(len(data) == 4 and len(weight) == 4, "conv2d takes 4-D data and weight",
            f"shapes {data} and {weight}")
    require(all(len(attributes[name]) == 2 for name in ("strides", "padding", "dilation")),
            "strides, padding and dilation of conv2d have two elements", f"attributes {dict(attributes)}")
    groups = attributes["groups"]
    require(groups > 0 and data[1] == weight[1] * groups and weight[0] % groups == 0,
            "conv2d's weight does not match its data", f"shapes {data} and {weight}, groups {groups}")
    _require_bias(shapes)
    extents = []
    for axis in (0, 1):
        stride, dilation = attributes["strides"][axis], attributes["dilation"][axis]
        require(stride > 0 and dilation > 0, "strides and dilation are positive", f"{stride} and {dilation}")
        room = data[2 + axis] + 2 * attributes["padding"][axis] - (dilation * (weight[2 + axis] - 1) + 1)
        require(room >= 0, "conv2d's kernel exceeds its padded data", f"shapes {data} and {weight}")
        extents.append(room // stride + 1)
    return (data[0], weight[0], *extents)


def _dense_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data, weight = shapes[0], shapes[1]
    require(len(data) == 2 and len(weight) == 2 and data[1] == weight[1],
            "dense takes data (M, K) and weight (units, K)", f"shapes {data} and {weight}")
    _require_bias(shapes)
    return (data[0], weight[0])


def _require_bias(shapes: Sequence[Shape]) -> None:
    if len(shapes) == 3:
        require(tuple(shapes[2]) == (shapes[1][0],), "the bias has one element for each output channel",
                f"weight {shapes[1]} and bias {shapes[2]}")


def reduction_length(call: Call) -> int:
    """Number of products in one output element."""
    return math.prod(call.operands[1].shape[1:])


def _precision(call: Call) -> int:
    """``p(data) + p(weight) + bit_length(K)``; a bias makes it the wider of that and its own, plus one."""
    width = call.operands[0].precision + call.operands[1].precision + reduction_length(call).bit_length()
    return max(width, call.operands[2].precision) + 1 if len(call.operands) == 3 else width


def _value_range(call: Call) -> Interval:
    """Hull over output channels of the sums with every product at its least and at its greatest."""
    data, weight = call.operands[0].value_range, call.operands[1]
    if any(call.attributes.get("padding", ())):
        data = Interval.hull([data, Interval(0, 0)])
    if weight.value is None:
        length, product = reduction_length(call), data * weight.value_range
        channels = [Interval(length * product.minimum, length * product.maximum)]
    else:
        channels = _channel_ranges(weight.value, data)
    if len(call.operands) == 3:
        channels = _add_bias(channels, call.operands[2])
    return Interval.hull(channels)


def _channel_ranges(weight: torch.Tensor, data: Interval) -> list[Interval]:
    taps = weight.detach().reshape(weight.shape[0], -1)
    positive = taps.clamp(min=0).sum(1, dtype=torch.int64).tolist()
    negative = taps.clamp(max=0).sum(1, dtype=torch.int64).tolist()
    return [Interval(p * data.minimum + n * data.maximum, p * data.maximum + n * data.minimum)
            for p, n in zip(positive, negative)]


def _add_bias(channels: list[Interval], bias) -> list[Interval]:
    if bias.value is None:
        return [channel + bias.value_range for channel in channels]
    values = bias.value.tolist()
    if len(channels) == 1:
        channels = channels * len(values)
    return [channel + Interval(value, value) for channel, value in zip(channels, values)]


def _conv2d_limits(call: Call) -> list[str]:
    reasons = product_limits(call)
    reasons += attribute_limits(call, 0, "padding") + attribute_limits(call, 1, "strides", "dilation")
    data, weight = call.shapes[:2]
    columns = data[1] * math.prod(weight[2:]) * math.prod(call.output_shape[2:])
    if columns > LARGEST_COLUMN_BUFFER:
        reasons.append(f"C * kh * kw * oh * ow is {columns}, more than {LARGEST_COLUMN_BUFFER}, "
                       "which the CPU back end can count")
    return reasons


def _unit_cost(call: Call) -> int:
    return 3 * reduction_length(call) + (len(call.operands) == 3)


def _write_conv2d(call: Call) -> dict[str, str]:
    weight = call.operands[1].shape
    return write(channels=weight[0], kernel_size=weight[2:], strides=call.attributes["strides"],
                 padding=call.attributes["padding"], dilation=call.attributes["dilation"],
                 groups=call.attributes["groups"], layout="NCHW", kernel_layout="OIHW", out_layout="NCHW",
                 out_dtype="same", use_bias=len(call.operands) == 3)


def _write_dense(call: Call) -> dict[str, str]:
    return write(units=call.operands[1].shape[0], use_bias=len(call.operands) == 3)


OPERATORS.register(CvmOperator(
    name="conv2d", kernel=conv2d,
    schema="(Tensor data, Tensor weight, Tensor? bias=None, *, int[] strides, int[] padding, int[] dilation, "
           "int groups) -> Tensor",
    output_shape=_conv2d_shape, precision=_precision, value_range=_value_range, limits=_conv2d_limits,
    unit_cost=_unit_cost, write_attributes=_write_conv2d,
    # channels and kernel_size are the weight's shape: the runtime does not compare them, and corrupts memory.
    read_attributes=reader(
        "conv2d", channels=unused(integer()), kernel_size=unused(integers()), strides=integers((1, 1)),
        padding=integers((0, 0)), dilation=integers((1, 1)), groups=integer(1), layout=literal("NCHW"),
        kernel_layout=literal("OIHW"), out_layout=literal("__undef__", "NCHW"),
        out_dtype=literal("same", "int32"), use_bias=unused(boolean(True))),
    mxnet_name="Convolution"))

OPERATORS.register(CvmOperator(
    name="dense", schema="(Tensor data, Tensor weight, Tensor? bias=None) -> Tensor", kernel=dense,
    output_shape=_dense_shape, precision=_precision, value_range=_value_range, limits=product_limits,
    unit_cost=_unit_cost, write_attributes=_write_dense,
    read_attributes=reader("dense", units=unused(integer()), use_bias=unused(boolean(True))),
    mxnet_name="FullyConnected"))

"""CVM operators on windows and grids: max_pool2d and upsampling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mrt_torch.cvm.attribute_text import boolean, integer, integers, literal, reader, write
from mrt_torch.cvm.limits import attribute_limits
from mrt_torch.cvm.operator import OPERATORS, CvmOperator, Shape
from mrt_torch.cvm.shape_rules import require

SMALLEST_INT32 = -2 ** 31


def max_pool2d(data: torch.Tensor, *, pool_size: Sequence[int], strides: Sequence[int],
               padding: Sequence[int], ceil_mode: bool) -> torch.Tensor:
    """Maximum over windows of (N, C, H, W); padding and overhang never win."""
    extents = _pooled_extents(tuple(data.shape), pool_size, strides, padding, ceil_mode)
    borders = []
    for axis in (1, 0):
        before, extent = _both(padding)[axis], data.shape[2 + axis]
        reach = (extents[axis] - 1) * strides[axis] + pool_size[axis]
        borders += [before, max(reach - extent - before, before)]
    padded = torch.nn.functional.pad(data, borders, value=SMALLEST_INT32)
    # A CUDA device pools floats only; float64 holds every int32.
    padded = padded.to(torch.float64) if data.is_cuda else padded
    pooled = torch.nn.functional.max_pool2d(padded, list(pool_size), list(strides))
    return pooled.to(torch.int32).contiguous()


def upsampling(data: torch.Tensor, *, scale: int) -> torch.Tensor:
    """``y[n, c, i, j] = x[n, c, i // scale, j // scale]``."""
    return data.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


def _both(padding: Sequence[int]) -> tuple[int, int]:
    """Padding of height and width; a single element stands for both."""
    return (padding[0], padding[-1])


def _pooled_extents(data: Shape, pool_size, strides, padding, ceil_mode) -> tuple[int, int]:
    extents = []
    for axis in (0, 1):
        window, stride, before, extent = pool_size[axis], strides[axis], _both(padding)[axis], data[2 + axis]
        require(stride > 0, "strides of max_pool2d are positive", f"strides {list(strides)}")
        require(before < window <= extent + 2 * before,
                "a window of max_pool2d is wider than its padding and not wider than the padded data",
                f"pool_size {list(pool_size)}, padding {list(padding)}, data {data}")
        pooled = (extent + 2 * before - window + (stride - 1 if ceil_mode else 0)) // stride + 1
        require(not ceil_mode or (pooled - 1) * stride - before < extent,
                "the last window of max_pool2d in ceil mode lies outside the data",
                f"pool_size {list(pool_size)}, strides {list(strides)}, padding {list(padding)}, data {data}")
        extents.append(pooled)
    return tuple(extents)


def _max_pool2d_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data = shapes[0]
    require(len(data) == 4, "max_pool2d takes 4-D data", f"shape {data}")
    require(len(attributes["pool_size"]) == 2 and len(attributes["strides"]) == 2
            and len(attributes["padding"]) in (1, 2),
            "pool_size and strides of max_pool2d have two elements, padding one or two",
            f"saw {dict(attributes)}")
    return (*data[:2], *_pooled_extents(data, **attributes))


def _upsampling_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data, scale = shapes[0], attributes["scale"]
    require(len(data) == 4 and scale > 0, "upsampling takes 4-D data and a positive scale",
            f"shape {data}, scale {scale}")
    return (data[0], data[1], data[2] * scale, data[3] * scale)


OPERATORS.register(CvmOperator(
    name="max_pool2d", kernel=max_pool2d,
    schema="(Tensor data, *, int[] pool_size, int[] strides, int[] padding, bool ceil_mode) -> Tensor",
    output_shape=_max_pool2d_shape,
    limits=lambda call: attribute_limits(call, 0, "padding") + attribute_limits(call, 1, "strides"),
    unit_cost=lambda call: math.prod(call.attributes["pool_size"]),
    write_attributes=lambda call: write(
        pool_size=call.attributes["pool_size"], strides=call.attributes["strides"],
        padding=_both(call.attributes["padding"]), layout="NCHW", ceil_mode=call.attributes["ceil_mode"]),
    read_attributes=reader(
        "max_pool2d", pool_size=integers(), strides=integers((1, 1)), padding=integers((0, 0)),
        layout=literal("NCHW"), ceil_mode=boolean(False)),
    mxnet_name="Pooling"))

OPERATORS.register(CvmOperator(
    name="upsampling", schema="(Tensor data, *, int scale) -> Tensor", kernel=upsampling,
    output_shape=_upsampling_shape, limits=lambda call: attribute_limits(call, 1, "scale"),
    write_attributes=lambda call: write(scale=call.attributes["scale"], layout="NCHW",
                                        method="NEAREST_NEIGHBOR"),
    read_attributes=reader("upsampling", scale=integer(), layout=literal("NCHW"),
                           method=literal("NEAREST_NEIGHBOR")),
    mxnet_name="UpSampling"))

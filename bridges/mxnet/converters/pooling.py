"""Pooling: max, average and sum, local and global."""

from __future__ import annotations

import math

import torch
from torch import fx

from bridges.mxnet.converters.convolution import spatial
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


@register_converter("Pooling")
def convert_pooling(view: NodeView) -> fx.Node:
    """2-D pooling; 1-D too, with another spatial axis of length 1, removed again.

    The convention "valid" rounds the output size floor((x + 2 * pad - kernel) / stride) + 1 down, "full" up.
    Refused: channels-last layouts, 3-D and Lp pooling, the convention "same", and windows that lie in the
    padding alone.
    """
    attributes = view.attributes
    view.expect_inputs(1)
    layout = attributes.choice("layout", ("None", "NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"), "None")
    if layout not in ("None", "NCW", "NCHW"):
        raise view.unsupported(f"layout is {layout}; NCW and NCHW are supported")
    rank = len(view.shape()) - 2
    if rank not in (1, 2):
        raise view.unsupported(f"the input has shape {view.shape()}; one or two spatial axes are supported")
    kind = attributes.choice("pool_type", ("avg", "lp", "max", "sum"), "max")
    if kind == "lp":
        raise view.unsupported("pool_type is lp; max, avg and sum are supported")
    if attributes.boolean("global_pool", False):
        return _convert_global(view, kind, rank)
    return _convert_local(view, kind, rank)


@register_converter("_contrib_AdaptiveAvgPooling2D")
def convert_adaptive_average_pooling(view: NodeView) -> fx.Node:
    """The average over windows that cover the input; no size means 1, one number stands for both axes."""
    size = list(view.attributes.integers("output_size", ())) or [1]
    if len(view.shape()) != 4 or len(size) > 2 or any(length < 1 for length in size):
        raise view.invalid(f"output_size is {tuple(size)} for the input shape {view.shape()}")
    return view.call(aten.adaptive_avg_pool2d.default, view.inputs[0], size * 2 if len(size) == 1 else size)


def _convert_global(view: NodeView, kind: str, rank: int) -> fx.Node:
    data = view.inputs[0]
    axes = list(range(2, rank + 2))
    if kind == "max":
        return view.call(aten.amax.default, data, axes, True)
    if kind == "sum":
        return view.call(aten.sum.dim_IntList, data, axes, True)
    if rank == 2:
        return view.call(aten.adaptive_avg_pool2d.default, data, [1, 1])
    return view.call(aten.mean.dim, data, axes, True)


def _convert_local(view: NodeView, kind: str, rank: int) -> fx.Node:
    attributes = view.attributes
    kernel = list(attributes.integers("kernel"))
    if len(kernel) != rank or any(length < 1 for length in kernel):
        raise view.invalid(f"kernel is {tuple(kernel)}; {rank} positive numbers are expected")
    stride, padding = spatial(view, "stride", rank, 1), spatial(view, "pad", rank, 0)
    convention = attributes.choice("pooling_convention", ("full", "same", "valid"), "valid")
    if convention == "same":
        raise view.unsupported("pooling_convention is same; valid and full are supported")
    full = convention == "full"
    remainders = [_check_windows(view, *window, full)
                  for window in zip(view.shape()[2:], kernel, stride, padding)]
    ceil = full and any(remainders)
    count_padding = attributes.optional_boolean("count_include_pad") is not False
    data = view.inputs[0]
    if rank == 1:
        data = view.step(aten.unsqueeze.default, data, 3)
        kernel, stride, padding = [*kernel, 1], [*stride, 1], [*padding, 0]
    if any(2 * pad > length for pad, length in zip(padding, kernel)):  # torch refuses it
        if kind == "max" or not count_padding:
            raise view.unsupported(f"pad {tuple(padding)} is more than half the kernel {tuple(kernel)}",
                                   "use at most half the kernel as padding")
        border = [padding[1], padding[1], padding[0], padding[0]]  # torch lists the last axis first
        data = view.step(aten.constant_pad_nd.default, data, border, 0.0)
        padding = [0, 0]
    emit = view.call if rank == 2 and kind != "sum" else view.step
    if kind == "max":
        result = emit(aten.max_pool2d.default, data, kernel, stride, padding, [1, 1], ceil)
    else:
        if kind == "sum" and ceil:
            raise view.unsupported("pool_type is sum with the convention full; use valid")
        result = emit(aten.avg_pool2d.default, data, kernel, stride, padding, ceil,
                      count_padding or kind == "sum", None)
    if kind == "sum":
        emit = view.call if rank == 2 else view.step
        result = emit(aten.mul.Scalar, result, math.prod(kernel))
    return result if rank == 2 else view.call(aten.squeeze.dims, result, [3])


def _check_windows(view: NodeView, size: int, kernel: int, stride: int, pad: int, full: bool) -> int:
    """The elements that the windows of the convention "valid" leave over on one axis.

    Every window must read at least one element of the input: MXNet's result is arbitrary otherwise.
    """
    room = size + 2 * pad - kernel
    if room < 0:
        raise view.invalid(f"a window of {kernel} is larger than {size} elements with padding {pad}")
    last = (-(-room // stride) if full else room // stride) * stride - pad
    if last >= size or pad >= kernel:
        raise view.unsupported(f"a window of {kernel} with stride {stride} and padding {pad} lies outside of "
                               f"the {size} elements", "use the convention valid, or less padding")
    return room % stride

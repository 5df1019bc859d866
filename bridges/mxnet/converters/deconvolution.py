"""Deconvolution: a transposed convolution."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.converters.convolution import convolution_attributes, spatial
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


@register_converter("Deconvolution", parameters=("weight", "bias"))
def convert_deconvolution(view: NodeView) -> fx.Node:
    """conv_transpose2d, which computes in float; ``prepare`` refuses it, so that a model can be split before it.

    1-D ones get another spatial axis of length 1. ``target_shape`` settles padding and adjustment, as in MXNet.
    Channels-last layouts and 3-D kernels are refused.
    """
    kernel, channels, filters, groups, no_bias = convolution_attributes(view, no_bias=True)
    rank = len(kernel)
    view.expect_shape(1, (channels, filters // groups, *kernel), "the weight")
    if not no_bias:
        view.expect_shape(2, (filters,), "the bias")
    stride, dilation = spatial(view, "stride", rank, 1), spatial(view, "dilate", rank, 1)
    padding, adjustment = _padding(view, kernel, stride, dilation)
    bias = None if no_bias else view.inputs[2]
    data, weight = view.inputs[:2]
    if rank == 2:
        return view.call(aten.conv_transpose2d.input, data, weight, bias, stride, padding, adjustment, groups,
                         dilation)
    data, weight = view.step(aten.unsqueeze.default, data, 3), view.reshaped(1, (*view.shape(1), 1))
    result = view.step(aten.conv_transpose2d.input, data, weight, bias, [*stride, 1], [*padding, 0],
                       [*adjustment, 0], groups, [*dilation, 1])
    return view.call(aten.squeeze.dims, result, [3])


def _padding(view: NodeView, kernel: tuple[int, ...], stride: list[int],
             dilation: list[int]) -> tuple[list[int], list[int]]:
    """What is cut off on both sides of each axis, and what is added at its end."""
    target = view.attributes.integers("target_shape", ())
    if not any(target):
        return spatial(view, "pad", len(kernel), 0), spatial(view, "adj", len(kernel), 0)
    if len(target) != len(kernel):
        raise view.invalid(f"target_shape is {target}; {len(kernel)} numbers are expected")
    surplus = [step * (extent - 1) + spread * (size - 1) + 1 - wanted for step, extent, spread, size, wanted
               in zip(stride, view.shape()[2:], dilation, kernel, target)]
    if any(total < 0 for total in surplus):
        raise view.invalid(f"target_shape {target} is larger than the result without padding")
    return [(total + 1) // 2 for total in surplus], [total % 2 for total in surplus]

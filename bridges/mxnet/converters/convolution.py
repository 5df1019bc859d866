"""Convolution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


class ConvolutionAttributes(NamedTuple):
    """What convolutions and deconvolutions have in common."""

    kernel: tuple[int, ...]
    channels: int
    filters: int
    groups: int
    no_bias: bool


def convolution_attributes(view: NodeView, no_bias: bool) -> ConvolutionAttributes:
    """The attributes, checked against the inputs; ``no_bias`` is the operator's default.

    Raises:
        UnsupportedOperatorError: a channels-last layout, or a kernel that has not 1 or 2 axes.
        InvalidGraphError: they contradict the shapes.
    """
    attributes = view.attributes
    kernel = attributes.integers("kernel")
    rank = len(kernel)
    layout = attributes.choice("layout", ("None", "NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"), "None")
    if layout not in ("None", "NCW", "NCHW"):
        raise view.unsupported(f"layout is {layout}; NCW and NCHW are supported")
    if rank not in (1, 2):
        raise view.unsupported(f"the kernel has {rank} axes; 1 and 2 are supported")
    no_bias = attributes.boolean("no_bias", no_bias)
    view.expect_inputs(*((2, 3) if no_bias else (3,)))
    if len(view.shape()) != rank + 2:
        raise view.invalid(f"the input has shape {view.shape()}; kernel {kernel} asks for {rank + 2} axes")
    filters, groups = attributes.integer("num_filter"), attributes.integer("num_group", 1)
    channels = view.shape()[1]
    if groups < 1 or channels % groups or filters % groups:
        raise view.invalid(f"{channels} channels and {filters} filters do not divide into {groups} groups")
    return ConvolutionAttributes(kernel, channels, filters, groups, no_bias)


@register_converter("Convolution", "Convolution_v1", parameters=("weight", "bias"))
def convert_convolution(view: NodeView) -> fx.Node:
    """2-D convolutions become conv2d; 1-D ones too, with another spatial axis of length 1, removed again.

    Channels-last layouts and 3-D kernels are refused.
    """
    kernel, channels, filters, groups, no_bias = convolution_attributes(view, no_bias=False)
    rank = len(kernel)
    view.expect_shape(1, (filters, channels // groups, *kernel), "the weight")
    if not no_bias:
        view.expect_shape(2, (filters,), "the bias")
    stride = spatial(view, "stride", rank, 1)
    padding = spatial(view, "pad", rank, 0)
    dilation = spatial(view, "dilate", rank, 1)
    bias = None if no_bias else view.inputs[2]
    if rank == 2:
        data, weight = view.inputs[:2]
        return view.call(aten.conv2d.default, data, weight, bias, stride, padding, dilation, groups)
    data = view.step(aten.unsqueeze.default, view.inputs[0], 3)
    weight = view.reshaped(1, (*view.shape(1), 1))
    stride, padding, dilation = [*stride, 1], [*padding, 0], [*dilation, 1]
    data = view.step(aten.conv2d.default, data, weight, bias, stride, padding, dilation, groups)
    return view.call(aten.squeeze.dims, data, [3])


def spatial(view: NodeView, attribute: str, rank: int, default: int) -> list[int]:
    """A parameter with one number for each spatial axis; absent or () means ``default`` everywhere."""
    numbers = list(view.attributes.integers(attribute, ())) or [default] * rank
    if len(numbers) != rank or any(number < default for number in numbers):
        raise view.invalid(f"{attribute} is {tuple(numbers)}; {rank} numbers from {default} on are expected")
    return numbers

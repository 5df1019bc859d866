"""Convolution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import fx

from bridges.mxnet.converters.spatial import Layout, chain, row, spatial
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


class ConvolutionAttributes(NamedTuple):
    """What convolutions and deconvolutions have in common."""

    layout: Layout
    kernel: tuple[int, ...]
    channels: int
    filters: int
    groups: int
    no_bias: bool


def convolution_attributes(view: NodeView, no_bias: bool) -> ConvolutionAttributes:
    """The attributes, checked against the inputs; ``no_bias`` is the operator's default.

    Raises:
        UnsupportedOperatorError: the kernel has more than 3 axes.
        InvalidGraphError: they contradict the shapes.
    """
    attributes = view.attributes
    kernel = attributes.integers("kernel")
    rank = len(kernel)
    if rank not in (1, 2, 3):
        raise view.unsupported(f"the kernel has {rank} axes; 1 to 3 are supported")
    no_bias = attributes.boolean("no_bias", no_bias)
    view.expect_inputs(*((2, 3) if no_bias else (3,)))
    layout = Layout.of(view, rank)
    filters, groups = attributes.integer("num_filter"), attributes.integer("num_group", 1)
    channels = layout.shape(view)[1]
    if groups < 1 or channels % groups or filters % groups:
        raise view.invalid(f"{channels} channels and {filters} filters do not divide into {groups} groups")
    return ConvolutionAttributes(layout, kernel, channels, filters, groups, no_bias)


def expect_parameters(view: NodeView, found: ConvolutionAttributes, outer: int, inner: int) -> None:
    """Raise InvalidGraphError unless weight and bias have their shapes; inner channels stand where the data's do."""
    last = found.layout.channels_last
    view.expect_shape(1, (outer, *found.kernel, inner) if last else (outer, inner, *found.kernel), "the weight")
    if not found.no_bias:
        view.expect_shape(2, (found.filters,), "the bias")


@register_converter("Convolution", "Convolution_v1", parameters=("weight", "bias"))
def convert_convolution(view: NodeView) -> fx.Node:
    """2-D convolutions become conv2d, 3-D ones conv3d; 1-D ones conv2d with another axis of length 1, removed again.

    Channels-last data and weights are transposed before, and the result after.
    """
    found = convolution_attributes(view, no_bias=False)
    layout, groups, rank = found.layout, found.groups, len(found.kernel)
    expect_parameters(view, found, found.filters, found.channels // groups)
    stride, padding = spatial(view, "stride", rank, 1), spatial(view, "pad", rank, 0)
    dilation = spatial(view, "dilate", rank, 1)
    bias, weight = None if found.no_bias else view.inputs[2], layout.weight(view, extra=rank == 1)
    if rank == 1:
        core = row(aten.conv2d.default, weight, bias, [*stride, 1], [*padding, 0], [*dilation, 1], groups)
    else:
        target = aten.conv2d.default if rank == 2 else aten.conv3d.default
        core = [(target, weight, bias, stride, padding, dilation, groups)]
    return chain(view, view.inputs[0], *layout.opening, *core, *layout.closing)

"""Deconvolution: a transposed convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from bridges.mxnet.converters.convolution import convolution_attributes, expect_parameters
from bridges.mxnet.converters.spatial import chain, row, spatial
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


@register_converter("Deconvolution", parameters=("weight", "bias"))
def convert_deconvolution(view: NodeView) -> fx.Node:
    """conv_transpose2d; 1-D ones get another spatial axis of length 1, removed again.

    ``target_shape`` settles padding and adjustment, as in MXNet. Channels-last data and weights are transposed before,
    and the result after. 3-D ones become conv_transpose3d, which computes in float only. Along an axis with both a
    stride and a dilation MXNet's own CPU kernel takes wrong taps; this is the definition, which oneDNN follows too.
    """
    found = convolution_attributes(view, no_bias=True)
    layout, groups, rank = found.layout, found.groups, len(found.kernel)
    expect_parameters(view, found, found.channels, found.filters // groups)
    stride, dilation = spatial(view, "stride", rank, 1), spatial(view, "dilate", rank, 1)
    padding, adjustment = _padding(view, layout.shape(view)[2:], found.kernel, stride, dilation)
    bias, weight = None if found.no_bias else view.inputs[2], layout.weight(view, extra=rank == 1)
    if rank == 1:
        core = row(aten.conv_transpose2d.input, weight, bias, [*stride, 1], [*padding, 0], [*adjustment, 0], groups,
                   [*dilation, 1])
    else:
        target = aten.conv_transpose2d.input if rank == 2 else aten.conv_transpose3d.input
        core = [(target, weight, bias, stride, padding, adjustment, groups, dilation)]
    return chain(view, view.inputs[0], *layout.opening, *core, *layout.closing)


def _padding(view: NodeView, extents: Sequence[int], kernel: Sequence[int], stride: list[int],
             dilation: list[int]) -> tuple[list[int], list[int]]:
    """What is cut off on both sides of each axis, and what is added at its end."""
    target = view.attributes.integers("target_shape", ())
    if not any(target):
        return spatial(view, "pad", len(kernel), 0), spatial(view, "adj", len(kernel), 0)
    if len(target) != len(kernel):
        raise view.invalid(f"target_shape is {target}; {len(kernel)} numbers are expected")
    surplus = [step * (extent - 1) + spread * (size - 1) + 1 - wanted for step, extent, spread, size, wanted
               in zip(stride, extents, dilation, kernel, target)]
    if any(total < 0 for total in surplus):
        raise view.invalid(f"target_shape {target} is larger than the result without padding")
    return [(total + 1) // 2 for total in surplus], [total % 2 for total in surplus]

"""FullyConnected."""

from __future__ import annotations

import math

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


@register_converter("FullyConnected", parameters=("weight", "bias"))
def convert_fully_connected(view: NodeView) -> fx.Node:
    """linear, after flattening all axes but the batch when ``flatten`` (MXNet's default)."""
    no_bias = view.attributes.boolean("no_bias", False)
    view.expect_inputs(*((2, 3) if no_bias else (3,)))
    units = view.attributes.integer("num_hidden")
    data, shape = view.inputs[0], view.shape()
    flatten = view.attributes.boolean("flatten", True)
    if len(shape) < 2 and flatten:
        raise view.invalid(f"the input has shape {shape}; at least two axes are expected")
    features = math.prod(shape[1:]) if flatten else shape[-1]
    view.expect_shape(1, (units, features), "the weight")
    if not no_bias:
        view.expect_shape(2, (units,), "the bias")
    if flatten and len(shape) > 2:
        data = view.step(aten.flatten.using_ints, data, 1, -1)
    return view.call(aten.linear.default, data, view.inputs[1], None if no_bias else view.inputs[2])

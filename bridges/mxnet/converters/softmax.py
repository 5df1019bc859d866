"""softmax."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


@register_converter("softmax")
def convert_softmax(view: NodeView) -> fx.Node:
    """exp(x / temperature), divided by its sum over ``axis``; lengths are refused."""
    attributes = view.attributes
    if len(view.inputs) > 1 or attributes.optional_boolean("use_length"):
        raise view.unsupported("it masks by a length input")
    axis = view.axis(attributes.integer("axis", -1))
    data, temperature = view.inputs[0], attributes.optional_real("temperature")
    if temperature == 0:
        raise view.invalid("the temperature is 0")
    if temperature not in (None, 1.0):
        data = view.step(aten.div.Scalar, data, temperature)
    return view.call(aten.softmax.int, data, axis)


@register_converter("SoftmaxActivation")
def convert_softmax_activation(view: NodeView) -> fx.Node:
    """softmax over axis 1 (mode "channel") or the last axis (mode "instance", the default).

    MXNet's documentation has "instance" work on all axes but the batch; MXNet 1.9.1 computes the last one
    alone.
    """
    channel = view.attributes.choice("mode", ("channel", "instance"), "instance") == "channel"
    return view.call(aten.softmax.int, view.inputs[0], view.axis(1 if channel else -1))

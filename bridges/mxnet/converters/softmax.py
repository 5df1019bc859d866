"""softmax."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.masking import MASKED_SOFTMAX

aten = torch.ops.aten


@register_converter("softmax")
def convert_softmax(view: NodeView) -> fx.Node:
    """exp(x / temperature), divided by its sum over ``axis``, along which a second input may give lengths.

    What lies beyond a length is 0 and does not count, nor does what a mask excluded before; see ``graph.masking``.
    """
    attributes = view.attributes
    masked = bool(attributes.optional_boolean("use_length"))
    view.expect_inputs(2 if masked else 1)
    axis = view.axis(attributes.integer("axis", -1))
    data, temperature = view.inputs[0], attributes.optional_real("temperature")
    if temperature == 0:
        raise view.invalid("the temperature is 0")
    if temperature not in (None, 1.0):
        data = view.step(aten.div.Scalar, data, temperature)
    if masked:
        return view.call(MASKED_SOFTMAX, data, _within_length(view, axis), axis)
    found = view.without_mask(data)
    return view.call(aten.softmax.int, data, axis) if found is None else view.call(MASKED_SOFTMAX, *found, axis)


def _within_length(view: NodeView, axis: int) -> fx.Node:
    """1 where the position on ``axis`` is below the length, which the second input has for every other axis."""
    shape = view.shape()
    if view.shape(1) != shape[:axis] + shape[axis + 1:]:
        raise view.invalid(f"the lengths have shape {view.shape(1)} for the input shape {shape}")
    positions = torch.arange(shape[axis], dtype=view.dtype).reshape([-1] + [1] * (len(shape) - 1 - axis))
    lengths = view.step(aten.unsqueeze.default, view.inputs[1], axis)
    within = view.step(aten.gt.Tensor, lengths, view.constant(positions, "positions"))
    return view.step(aten._to_copy.default, within, dtype=view.dtype)


@register_converter("log_softmax")
def convert_log_softmax(view: NodeView) -> fx.Node:
    """log(softmax(x / temperature)); lengths are refused, as MXNet computes none there."""
    axis = view.axis(view.attributes.integer("axis", -1))
    return view.call(aten.log_softmax.int, _cooled(view, view.inputs[0]), axis)


@register_converter("softmin")
def convert_softmin(view: NodeView) -> fx.Node:
    """softmax(-x / temperature)."""
    negated = view.step(aten.neg.default, _cooled(view, view.inputs[0]))
    return view.call(aten.softmax.int, negated, view.axis(view.attributes.integer("axis", -1)))


def _cooled(view: NodeView, data: fx.Node) -> fx.Node:
    """x / temperature, where there is one."""
    if view.attributes.optional_boolean("use_length") or len(view.inputs) > 1:
        raise view.unsupported("it masks by a length input")
    temperature = view.attributes.optional_real("temperature")
    if temperature == 0:
        raise view.invalid("the temperature is 0")
    return data if temperature in (None, 1.0) else view.step(aten.div.Scalar, data, temperature)


@register_converter("SoftmaxActivation")
def convert_softmax_activation(view: NodeView) -> fx.Node:
    """softmax over axis 1 (mode "channel") or the last axis (mode "instance", the default).

    MXNet's documentation has "instance" work on all axes but the batch; MXNet 1.9.1 computes the last one
    alone.
    """
    channel = view.attributes.choice("mode", ("channel", "instance"), "instance") == "channel"
    return view.call(aten.softmax.int, view.inputs[0], view.axis(1 if channel else -1))

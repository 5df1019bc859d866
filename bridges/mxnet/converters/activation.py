"""Activation functions."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.canonical_forms.activation import SELU_ALPHA, SELU_SCALE
from mrt_torch.ops.activation_functions import softsign

aten = torch.ops.aten

# MXNet's softrelu is log(1 + exp(x)) up to 20 and x beyond, as torch's softplus; log_sigmoid and mish came with 2.0.
_ACTIVATIONS = {"relu": aten.relu.default, "sigmoid": aten.sigmoid.default, "tanh": aten.tanh.default,
                "softrelu": aten.softplus.default, "softsign": softsign, "log_sigmoid": aten.log_sigmoid.default,
                "mish": aten.mish.default}


@register_converter("Activation")
def convert_activation(view: NodeView) -> fx.Node:
    """One of seven functions."""
    return view.call(_ACTIVATIONS[view.attributes.choice("act_type", tuple(_ACTIVATIONS))], view.inputs[0])


@register_converter("relu")
def convert_relu(view: NodeView) -> fx.Node:
    """max(x, 0)."""
    return view.call(aten.relu.default, view.inputs[0])


@register_converter("sigmoid")
def convert_sigmoid(view: NodeView) -> fx.Node:
    """1 / (1 + exp(-x))."""
    return view.call(aten.sigmoid.default, view.inputs[0])


@register_converter("tanh")
def convert_tanh(view: NodeView) -> fx.Node:
    """The hyperbolic tangent."""
    return view.call(aten.tanh.default, view.inputs[0])


@register_converter("softsign")
def convert_softsign(view: NodeView) -> fx.Node:
    """x / (1 + |x|)."""
    return view.call(softsign, view.inputs[0])


@register_converter("log_sigmoid")
def convert_log_sigmoid(view: NodeView) -> fx.Node:
    """log(1 / (1 + exp(-x)))."""
    return view.call(aten.log_sigmoid.default, view.inputs[0])


@register_converter("mish")
def convert_mish(view: NodeView) -> fx.Node:
    """x * tanh(log(1 + exp(x)))."""
    return view.call(aten.mish.default, view.inputs[0])


@register_converter("hard_sigmoid")
def convert_hard_sigmoid(view: NodeView) -> fx.Node:
    """clip(alpha * x + beta, 0, 1), with alpha 0.2 and beta 0.5 by default."""
    scaled = view.step(aten.mul.Scalar, view.inputs[0], view.attributes.real("alpha", 0.2))
    shifted = view.step(aten.add.Scalar, scaled, view.attributes.real("beta", 0.5))
    return view.call(aten.clamp.default, shifted, 0.0, 1.0)


@register_converter("LeakyReLU", parameters=("gamma",))
def convert_leaky_relu(view: NodeView) -> fx.Node:
    """leaky, prelu, rrelu (in inference: the mean slope), elu, selu and gelu (by erf).

    prelu with one slope per channel is relu(x) - slope * relu(-x).
    """
    attributes = view.attributes
    kind = attributes.choice("act_type", ("elu", "gelu", "leaky", "prelu", "rrelu", "selu"), "leaky")
    if kind == "leaky":
        return view.call(aten.leaky_relu.default, view.inputs[0], attributes.real("slope", 0.25))
    if kind == "rrelu":
        # float32 defaults and arithmetic of MXNet; the difference to double is below 1e-7
        low, high = attributes.real("lower_bound", 0.125), attributes.real("upper_bound", 0.334)
        return view.call(aten.leaky_relu.default, view.inputs[0], (low + high) / 2)
    if kind == "prelu":
        return _convert_prelu(view)
    if kind == "elu":
        return view.call(aten.elu.default, view.inputs[0], attributes.real("slope", 0.25), 1.0, 1.0)
    if kind == "selu":
        return view.call(aten.elu.default, view.inputs[0], SELU_ALPHA, SELU_SCALE, 1.0)
    return view.call(aten.gelu.default, view.inputs[0])


def _convert_prelu(view: NodeView) -> fx.Node:
    view.expect_inputs(2)
    slopes, shape = view.value(1), view.shape()
    count = 1
    for dim in view.shape(1):
        count *= dim
    if count == 1 and slopes is not None:
        return view.call(aten.leaky_relu.default, view.inputs[0], slopes.item())
    if len(shape) < 2 or count not in (1, shape[1]):
        raise view.invalid(f"it has {count} slopes for the input shape {shape}; one per channel is expected")
    gamma = view.reshaped(1, (1, count, *(1 for _ in shape[2:])))
    positive = view.step(aten.relu.default, view.inputs[0])
    negative = view.step(aten.relu.default, view.step(aten.neg.default, view.inputs[0]))
    return view.call(aten.sub.Tensor, positive, view.step(aten.mul.Tensor, negative, gamma))

"""Float layers as MXNet nodes: convolution, linear, normalisation, activation, softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import fx

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.graph.editor import shape_of, tensor_of

aten = torch.ops.aten


def write_convolution(view: FloatCall) -> Entry:
    """Convolution of two or three axes."""
    weight = shape_of(view.arguments["weight"])
    spatial = len(weight) - 2
    view.require_rank(spatial + 2)
    view.require(not isinstance(view.arguments["padding"], str), f"padding is {view.arguments['padding']!r}")
    return view.result("Convolution", *view.inputs, kernel=weight[2:], stride=view.numbers("stride", spatial),
                       dilate=view.numbers("dilation", spatial), pad=view.numbers("padding", spatial),
                       num_filter=weight[0], num_group=view.arguments["groups"],
                       no_bias=view.arguments["bias"] is None, layout="NCHW" if spatial == 2 else "NCDHW")


def write_deconvolution(view: FloatCall) -> Entry:
    """Deconvolution; a kernel dilated along an axis with a stride is filled with zeros instead.

    MXNet's own CPU kernel takes the wrong taps for such an axis, unlike the one of oneDNN.
    """
    view.require_rank(4)
    data, node, *bias = view.inputs
    weight, groups = shape_of(view.arguments["weight"]), view.arguments["groups"]
    stride, extra, dilation = view.pair("stride"), view.pair("output_padding"), view.pair("dilation")
    if any(step > 1 and spread > 1 for step, spread in zip(stride, dilation)):
        source = view.arguments["weight"]
        view.require(source.op == "get_attr", "its weight is computed, its kernel dilated and its stride above 1")
        tensor = tensor_of(view.node.graph.owning_module, source)
        filled = tensor.new_zeros(*weight[:2], *(d * (k - 1) + 1 for d, k in zip(dilation, weight[2:])))
        filled[:, :, ::dilation[0], ::dilation[1]] = tensor
        node, weight, dilation = view.constant("weight", filled.cpu().numpy()), tuple(filled.shape), (1, 1)
    view.require(all(more < step for more, step in zip(extra, stride)),
                 f"output_padding {extra} is not below the stride {stride}")
    return view.result("Deconvolution", data, node, *bias, kernel=weight[2:], stride=stride, pad=view.pair("padding"),
                       adj=extra, dilate=dilation, num_filter=weight[1] * groups, num_group=groups,
                       no_bias=view.arguments["bias"] is None, layout="NCHW")


def write_linear(view: FloatCall) -> Entry:
    """FullyConnected on the last axis."""
    view.require(len(view.shape) >= 2, f"the input has shape {view.shape}; a batch axis is expected")
    return view.result("FullyConnected", *view.inputs, num_hidden=shape_of(view.arguments["weight"])[0],
                       no_bias=view.arguments["bias"] is None, flatten=False)


def write_batch_norm(view: FloatCall) -> Entry:
    """BatchNorm with its stored moments; a missing scale or shift becomes a parameter of ones or zeros."""
    moments = [view.arguments[name] for name in ("running_mean", "running_var")]
    view.require(not view.arguments["training"], "it is in training mode")
    view.require(all(isinstance(moment, fx.Node) and moment.op == "get_attr" for moment in moments),
                 "mean and variance are not constants; MXNet keeps them as auxiliary states")
    dtype = np.dtype(str(view.node.meta["val"].dtype).removeprefix("torch."))
    operands = [view.entries[view.arguments["input"]]]
    for name, suffix, make in (("weight", "gamma", np.ones), ("bias", "beta", np.zeros)):
        node = view.arguments[name]
        operands.append(view.entries[node] if node is not None
                        else view.constant(suffix, make(view.shape[1], dtype)))
    return view.result("BatchNorm", *operands, *(view.entries[moment] for moment in moments),
                       eps=view.arguments["eps"], momentum=1 - view.arguments["momentum"], fix_gamma=False,
                       use_global_stats=True, axis=1)


def _activation(kind: str) -> Callable[[FloatCall], Entry]:
    return lambda view: view.result("Activation", *view.inputs, act_type=kind)


def write_leaky_relu(view: FloatCall) -> Entry:
    """LeakyReLU."""
    return view.result("LeakyReLU", *view.inputs, act_type="leaky", slope=view.arguments["negative_slope"])


def write_elu(view: FloatCall) -> Entry:
    """LeakyReLU of the type elu: scale / s * elu(s * x) with the slope alpha * s, for the input scale s."""
    alpha, scale, inner = (float(view.arguments[name]) for name in ("alpha", "scale", "input_scale"))
    view.require(inner != 0, "its input_scale is 0")
    if scale == inner == 1:
        return view.result("LeakyReLU", *view.inputs, act_type="elu", slope=alpha)
    data = view.inputs[0] if inner == 1 else view.part("scaled", "_mul_scalar", *view.inputs, scalar=inner)
    curve = view.part("elu", "LeakyReLU", data, act_type="elu", slope=alpha * inner)
    return view.result("_mul_scalar", curve, scalar=scale / inner)


def write_dropout(view: FloatCall) -> Entry:
    """Dropout, which does nothing in inference."""
    view.require(not view.arguments["train"], "it is in training mode")
    return view.result("Dropout", *view.inputs, p=view.arguments["p"])


def write_softmax(view: FloatCall) -> Entry:
    """softmax."""
    return view.result("softmax", *view.inputs, axis=view.axis("dim"))


LAYER_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    aten.conv2d.default: write_convolution, aten.conv3d.default: write_convolution,
    aten.conv_transpose2d.input: write_deconvolution, aten.linear.default: write_linear,
    aten.batch_norm.default: write_batch_norm,
    aten.relu.default: _activation("relu"), aten.sigmoid.default: _activation("sigmoid"),
    aten.tanh.default: _activation("tanh"), aten.leaky_relu.default: write_leaky_relu,
    aten.elu.default: write_elu,
    aten.dropout.default: write_dropout, aten.softmax.int: write_softmax,
}

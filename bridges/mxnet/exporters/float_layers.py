"""Float layers as MXNet nodes: convolution, linear, normalisation, pooling, activation, softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import fx

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.graph.editor import shape_of

aten = torch.ops.aten


def write_convolution(view: FloatCall) -> Entry:
    """Convolution."""
    view.require_rank(4)
    view.require(not isinstance(view.arguments["padding"], str), f"padding is {view.arguments['padding']!r}")
    weight = shape_of(view.arguments["weight"])
    return view.result("Convolution", *view.inputs, kernel=weight[2:], stride=view.pair("stride"),
                       dilate=view.pair("dilation"), pad=view.pair("padding"), num_filter=weight[0],
                       num_group=view.arguments["groups"], no_bias=view.arguments["bias"] is None,
                       layout="NCHW")


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


def _pool(view: FloatCall, kind: str, kernel: tuple[int, int], **attributes: object) -> Entry:
    """Pooling; MXNet's ceil mode may make one window more than torch's on an axis, which is cut off."""
    view.require_rank(4)
    stride = view.pair("stride") if view.arguments["stride"] else kernel
    padding, ceil = view.pair("padding"), view.arguments["ceil_mode"]
    rooms = [extent + 2 * pad - window for extent, pad, window in zip(view.shape[2:], padding, kernel)]
    wanted = view.output_shape[2:]
    full = tuple(-(-room // step) + 1 for room, step in zip(rooms, stride))
    valid = tuple(room // step + 1 for room, step in zip(rooms, stride))
    ceil = ceil and wanted != valid
    attributes = dict(attributes, kernel=kernel, stride=stride, pad=padding, pool_type=kind,
                      pooling_convention="full" if ceil else "valid")
    if not ceil or wanted == full:
        return view.result("Pooling", *view.inputs, **attributes)
    return view.result("slice", view.part("full", "Pooling", *view.inputs, **attributes),
                       begin=(None,) * 4, end=(None, None, *wanted))


def write_max_pool(view: FloatCall) -> Entry:
    """Pooling of the type max."""
    view.require(set(view.pair("dilation")) == {1}, f"dilation is {view.arguments['dilation']}")
    return _pool(view, "max", view.pair("kernel_size"))


def write_average_pool(view: FloatCall) -> Entry:
    """Pooling of the type avg; with a divisor of its own, the sum divided by it."""
    kernel, divisor = view.pair("kernel_size"), view.arguments["divisor_override"]
    if divisor is None:
        return _pool(view, "avg", kernel, count_include_pad=view.arguments["count_include_pad"])
    total = _pool(replace(view, name=view.builder.unused_name(f"{view.name}_sum")), "sum", kernel)
    return view.result("_div_scalar", total, scalar=float(divisor))


def write_adaptive_average(view: FloatCall) -> Entry:
    """Global Pooling for the size 1, adaptive pooling for others."""
    view.require_rank(4)
    if view.output_shape[2:] == (1, 1):
        return view.result("Pooling", *view.inputs, kernel=(1, 1), global_pool=True, pool_type="avg")
    return view.result("_contrib_AdaptiveAvgPooling2D", *view.inputs, output_size=view.output_shape[2:])


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
    aten.conv2d.default: write_convolution, aten.linear.default: write_linear,
    aten.batch_norm.default: write_batch_norm, aten.max_pool2d.default: write_max_pool,
    aten.avg_pool2d.default: write_average_pool, aten.adaptive_avg_pool2d.default: write_adaptive_average,
    aten.relu.default: _activation("relu"), aten.sigmoid.default: _activation("sigmoid"),
    aten.tanh.default: _activation("tanh"), aten.leaky_relu.default: write_leaky_relu,
    aten.elu.default: write_elu,
    aten.dropout.default: write_dropout, aten.softmax.int: write_softmax,
}

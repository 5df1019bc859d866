"""Activation functions."""

from __future__ import annotations

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.masking import softmax_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of

# Klambauer et al., Self-Normalizing Neural Networks (2017), as torch and MXNet have them.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


@canonical_form("relu6.default")
def relu6(call: Call) -> fx.Node:
    """min(max(x, 0), 6)."""
    return call.emit(aten.clamp.default, call["self"], 0.0, 6.0)


@canonical_form("hardtanh.default")
def hardtanh(call: Call) -> fx.Node:
    """min(max(x, min_val), max_val)."""
    return call.emit(aten.clamp.default, call["self"], call["min_val"], call["max_val"])


@canonical_form("clamp.default", "clip.default")
def clamp(call: Call) -> fx.Node:
    """Either bound may be None."""
    return call.emit(aten.clamp.default, call["self"], call["min"], call["max"])


@canonical_form("clamp_min.default")
def clamp_min(call: Call) -> fx.Node:
    """max(x, min)."""
    return call.emit(aten.clamp.default, call["self"], call["min"], None)


@canonical_form("clamp_max.default")
def clamp_max(call: Call) -> fx.Node:
    """min(x, max)."""
    return call.emit(aten.clamp.default, call["self"], None, call["max"])


@canonical_form("clamp.Tensor", "clip.Tensor")
def clamp_by_tensors(call: Call) -> fx.Node:
    """min(max(x, min), max), in torch's order: the upper bound wins."""
    x = call["self"]
    if call["min"] is not None:
        x = call.emit(aten.maximum.default, x, call["min"])
    return x if call["max"] is None else call.emit(aten.minimum.default, x, call["max"])


@canonical_form("threshold.default")
def threshold(call: Call) -> fx.Node:
    """x where x > threshold, else value: a relu when both are zero, max(x, value) when they are equal."""
    x, bound, value = call["self"], call["threshold"], call["value"]
    if bound != value:
        return call.emit(aten.threshold.default, x, bound, value)
    return call.emit(aten.relu.default, x) if value == 0 else call.emit(aten.clamp.default, x, value, None)


@canonical_form("hardshrink.default")
def hardshrink(call: Call) -> fx.Node:
    """x where |x| > lambd, else 0."""
    return call.emit(aten.hardshrink.default, call["self"], call["lambd"])


@canonical_form("softshrink.default")
def softshrink(call: Call) -> fx.Node:
    """x - min(max(x, -lambd), lambd)."""
    bound = float(call["lambd"])
    return call.emit(aten.sub.Tensor, call["self"], call.emit(aten.clamp.default, call["self"], -bound, bound))


@canonical_form("leaky_relu.default")
def leaky_relu(call: Call) -> fx.Node:
    """x where positive, slope * x elsewhere."""
    return call.emit(aten.leaky_relu.default, call["self"], call["negative_slope"])


@canonical_form("prelu.default", "_prelu_kernel.default")
def prelu(call: Call) -> fx.Node:
    """relu(x) - w * relu(-x), exact: one of the terms is zero. w is one number, or one for each channel (axis 1)."""
    x, weight = call["self"], call["weight"]
    if rank_of(weight) <= 1:
        weight = call.emit(aten.reshape.default, weight, [1, -1] + [1] * (rank_of(x) - 2) if rank_of(x) > 1 else [-1])
    negative = call.emit(aten.relu.default, call.emit(aten.neg.default, x))
    return call.emit(aten.sub.Tensor, call.emit(aten.relu.default, x), call.emit(aten.mul.Tensor, negative, weight))


@canonical_form("rrelu.default")
def rrelu(call: Call) -> fx.Node:
    """In evaluation, x where positive and (lower + upper) / 2 * x elsewhere."""
    if call["training"]:
        return call.keep()
    return call.emit(aten.leaky_relu.default, call["self"], (call["lower"] + call["upper"]) / 2)


@canonical_form("hardsigmoid.default")
def hardsigmoid(call: Call) -> fx.Node:
    """min(max(x + 3, 0), 6) / 6."""
    shifted = call.emit(aten.add.Scalar, call["self"], 3.0)
    return call.emit(aten.div.Scalar, call.emit(aten.clamp.default, shifted, 0.0, 6.0), 6.0)


@canonical_form("softplus.default")
def softplus(call: Call) -> fx.Node:
    """log(1 + exp(beta * x)) / beta, every argument given: beta, threshold."""
    return call.emit(aten.softplus.default, call["self"], call["beta"], call["threshold"])


@canonical_form("glu.default")
def glu(call: Call) -> fx.Node:
    """a * sigmoid(b) for the halves a and b of an axis."""
    axis = call["dim"] % rank_of(call["self"])
    half = shape_of(call["self"])[axis] // 2
    if call.is_free_axis("self", axis):
        return call.keep()
    first, second = (call.emit(aten.slice.Tensor, call["self"], axis, start, start + half) for start in (0, half))
    return call.emit(aten.mul.Tensor, first, call.emit(aten.sigmoid.default, second))


@canonical_form("softmax.int", "_softmax.default")
def softmax(call: Call) -> fx.Node:
    """exp(x) / sum(exp(x)) along an axis, when the result keeps the input's dtype; masked where x was: ``masking``."""
    x = call["self"]
    if call.node.meta["val"].dtype != x.meta["val"].dtype:
        return call.keep()
    return softmax_of(call.emit, call.editor, x, call["dim"] % max(rank_of(x), 1))


@canonical_form("elu.default")
def elu(call: Call) -> fx.Node:
    """Every argument given: alpha, scale, input_scale."""
    return _elu(call, call["alpha"], call["scale"], call["input_scale"])


@canonical_form("selu.default")
def selu(call: Call) -> fx.Node:
    """scale * elu with the constants that keep mean and variance."""
    return _elu(call, SELU_ALPHA, SELU_SCALE)


@canonical_form("celu.default")
def celu(call: Call) -> fx.Node:
    """max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)."""
    return _elu(call, call["alpha"], 1.0, 1.0 / call["alpha"])


def _elu(call: Call, alpha: float, scale: float, input_scale: float = 1.0) -> fx.Node:
    return call.emit(aten.elu.default, call["self"], float(alpha), float(scale), float(input_scale))

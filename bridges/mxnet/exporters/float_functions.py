"""Functions of one tensor as MXNet nodes. What MXNet 1.9 has no operator for becomes several nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.ops.activation_functions import smooth_l1, softsign
from mrt_torch.ops.mathematical_functions import cbrt, rcbrt

aten = torch.ops.aten
LARGEST_SOFTRELU = 20  # MXNet's softrelu is x itself beyond


def _function(operator: str) -> Callable[[FloatCall], Entry]:
    return lambda view: view.result(operator, *view.inputs)


def _activation(kind: str) -> Callable[[FloatCall], Entry]:
    return lambda view: view.result("Activation", *view.inputs, act_type=kind)


def _with_number(operator: str, name: str) -> Callable[[FloatCall], Entry]:
    return lambda view: view.result(operator, *view.inputs, scalar=float(view.arguments[name]))


def write_log_sigmoid(view: FloatCall) -> Entry:
    """-softrelu(-x)."""
    softrelu = view.part("softrelu", "Activation", view.part("negative", "negative", *view.inputs),
                         act_type="softrelu")
    return view.result("negative", softrelu)


def write_silu(view: FloatCall) -> Entry:
    """x * sigmoid(x)."""
    return view.result("broadcast_mul", *view.inputs, view.part("sigmoid", "sigmoid", *view.inputs))


def write_mish(view: FloatCall) -> Entry:
    """x * tanh(softrelu(x))."""
    softrelu = view.part("softrelu", "Activation", *view.inputs, act_type="softrelu")
    return view.result("broadcast_mul", *view.inputs, view.part("tanh", "tanh", softrelu))


def write_hardswish(view: FloatCall) -> Entry:
    """x * (clip(x + 3, 0, 6) / 6)."""
    clipped = view.part("clip", "clip", view.part("shifted", "_plus_scalar", *view.inputs, scalar=3.0),
                        a_min=0.0, a_max=6.0)
    return view.result("broadcast_mul", *view.inputs, view.part("gate", "_div_scalar", clipped, scalar=6.0))


def write_gelu(view: FloatCall) -> Entry:
    """LeakyReLU of the type gelu; by tanh, x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))."""
    if view.arguments["approximate"] == "none":
        return view.result("LeakyReLU", *view.inputs, act_type="gelu")
    cube = view.part("cube", "_mul_scalar", view.part("power", "_power_scalar", *view.inputs, scalar=3.0),
                     scalar=0.044715)
    inner = view.part("scaled", "_mul_scalar", view.part("sum", "broadcast_add", *view.inputs, cube),
                      scalar=math.sqrt(2 / math.pi))
    gate = view.part("gate", "_plus_scalar", view.part("tanh", "tanh", inner), scalar=1.0)
    return view.result("broadcast_mul", view.part("half", "_mul_scalar", *view.inputs, scalar=0.5), gate)


def write_softplus(view: FloatCall) -> Entry:
    """softrelu(beta * x) / beta; a threshold other than MXNet's 20 chooses between that and x."""
    beta, threshold = float(view.arguments["beta"]), float(view.arguments["threshold"])
    view.require(beta != 0, "its beta is 0")
    if beta == 1 and threshold == LARGEST_SOFTRELU:
        return view.result("Activation", *view.inputs, act_type="softrelu")
    scaled = view.part("scaled", "_mul_scalar", *view.inputs, scalar=beta)
    softrelu = view.part("softrelu", "Activation", scaled, act_type="softrelu")
    if threshold == LARGEST_SOFTRELU:
        return view.result("_div_scalar", softrelu, scalar=beta)
    above = view.part("above", "_greater_scalar", scaled, scalar=threshold)
    return view.result("where", above, *view.inputs, view.part("curve", "_div_scalar", softrelu, scalar=beta))


def write_hardshrink(view: FloatCall) -> Entry:
    """x * (abs(x) > c)."""
    magnitude = view.part("abs", "abs", *view.inputs)
    outside = view.part("outside", "_greater_scalar", magnitude, scalar=float(view.arguments["lambd"]))
    return view.result("broadcast_mul", *view.inputs, outside)


def write_threshold(view: FloatCall) -> Entry:
    """where(x > threshold, x, value)."""
    above = view.part("above", "_greater_scalar", *view.inputs, scalar=float(view.arguments["threshold"]))
    value = view.part("value", "_plus_scalar", view.part("zeros", "zeros_like", *view.inputs),
                      scalar=float(view.arguments["value"]))
    return view.result("where", above, *view.inputs, value)


def write_erfc(view: FloatCall) -> Entry:
    """1 - erf(x)."""
    return view.result("_rminus_scalar", view.part("erf", "erf", *view.inputs), scalar=1.0)


FUNCTION_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    aten.expm1.default: _function("expm1"), aten.log.default: _function("log"), aten.log2.default: _function("log2"),
    aten.log10.default: _function("log10"), aten.log1p.default: _function("log1p"),
    aten.sqrt.default: _function("sqrt"), aten.rsqrt.default: _function("rsqrt"), cbrt: _function("cbrt"),
    rcbrt: _function("rcbrt"), aten.reciprocal.default: _function("reciprocal"), aten.erf.default: _function("erf"),
    aten.erfc.default: write_erfc, aten.sin.default: _function("sin"), aten.cos.default: _function("cos"),
    aten.tan.default: _function("tan"), aten.asin.default: _function("arcsin"), aten.acos.default: _function("arccos"),
    aten.atan.default: _function("arctan"), aten.sinh.default: _function("sinh"), aten.cosh.default: _function("cosh"),
    aten.asinh.default: _function("arcsinh"), aten.acosh.default: _function("arccosh"),
    aten.atanh.default: _function("arctanh"), softsign: _activation("softsign"),
    smooth_l1: _with_number("smooth_l1", "sigma"), aten.pow.Tensor_Scalar: _with_number("_power_scalar", "exponent"),
    aten.remainder.Scalar: _with_number("_mod_scalar", "other"), aten.log_sigmoid.default: write_log_sigmoid,
    aten.silu.default: write_silu, aten.mish.default: write_mish, aten.hardswish.default: write_hardswish,
    aten.gelu.default: write_gelu, aten.softplus.default: write_softplus, aten.hardshrink.default: write_hardshrink,
    aten.threshold.default: write_threshold,
}

"""Mathematical functions of one tensor, and powers and remainders by a constant."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.ops.activation_functions import smooth_l1
from mrt_torch.ops.mathematical_functions import cbrt, rcbrt

aten = torch.ops.aten

_FUNCTIONS = {
    "exp": aten.exp.default, "expm1": aten.expm1.default,
    "log": aten.log.default, "log2": aten.log2.default, "log10": aten.log10.default, "log1p": aten.log1p.default,
    "sqrt": aten.sqrt.default, "rsqrt": aten.rsqrt.default, "cbrt": cbrt, "rcbrt": rcbrt,
    "reciprocal": aten.reciprocal.default, "erf": aten.erf.default,
    "sin": aten.sin.default, "cos": aten.cos.default, "tan": aten.tan.default,
    "arcsin": aten.asin.default, "arccos": aten.acos.default, "arctan": aten.atan.default,
    "sinh": aten.sinh.default, "cosh": aten.cosh.default,
    "arcsinh": aten.asinh.default, "arccosh": aten.acosh.default, "arctanh": aten.atanh.default,
}


def _register_function(operator: str, target: Callable) -> None:
    @register_converter(operator)
    def convert_function(view: NodeView) -> fx.Node:
        return view.call(target, view.inputs[0])


for _operator, _target in _FUNCTIONS.items():
    _register_function(_operator, _target)


@register_converter("degrees")
def convert_degrees(view: NodeView) -> fx.Node:
    """Radians to degrees."""
    return view.call(aten.mul.Scalar, view.inputs[0], 180 / math.pi)


@register_converter("radians")
def convert_radians(view: NodeView) -> fx.Node:
    """Degrees to radians."""
    return view.call(aten.mul.Scalar, view.inputs[0], math.pi / 180)


@register_converter("smooth_l1")
def convert_smooth_l1(view: NodeView) -> fx.Node:
    """(s * x)**2 / 2 next to zero, abs(x) - 1 / (2 * s**2) beyond 1 / s**2."""
    return view.call(smooth_l1, view.inputs[0], view.attributes.real("scalar", 1.0))


@register_converter("_rdiv_scalar", "_RDivScalar")
def convert_rdiv_scalar(view: NodeView) -> fx.Node:
    """number / x, as number * (1 / x)."""
    number = view.attributes.real("scalar")
    inverse = view.step(aten.reciprocal.default, view.inputs[0])
    return view.call(aten.mul.Scalar, inverse, number)


@register_converter("_power_scalar", "_PowerScalar")
def convert_power_scalar(view: NodeView) -> fx.Node:
    """x ** number."""
    return _power(view, view.inputs[0], view.attributes.real("scalar"))


@register_converter("_rpower_scalar", "_RPowerScalar")
def convert_rpower_scalar(view: NodeView) -> fx.Node:
    """number ** x, as exp(x * log(number)); numbers that are not positive are refused."""
    return _exponential(view, view.attributes.real("scalar"), view.inputs[0])


@register_converter("_mod_scalar", "_ModScalar")
def convert_mod_scalar(view: NodeView) -> fx.Node:
    """x - number * floor(x / number)."""
    number = view.attributes.real("scalar")
    if number == 0:
        raise view.unsupported("the number is 0")
    return view.call(aten.remainder.Scalar, view.inputs[0], number)


@register_converter("broadcast_power", "_power", "_Power")
def convert_power(view: NodeView) -> fx.Node:
    """x ** y where one of them is a constant that holds one number; other powers are refused."""
    view.expect_inputs(2)
    shape = tuple(torch.broadcast_shapes(view.shape(0), view.shape(1)))
    base, exponent = view.value(0), view.value(1)
    if exponent is not None and _is_one_number(exponent) and view.shape(0) == shape:
        return _power(view, view.inputs[0], float(exponent.reshape(-1)[0]))
    if base is not None and _is_one_number(base) and view.shape(1) == shape:
        return _exponential(view, float(base.reshape(-1)[0]), view.inputs[1])
    raise view.unsupported("neither base nor exponent is a constant that holds one number")


def _is_one_number(tensor: torch.Tensor) -> bool:
    return tensor.numel() > 0 and bool((tensor == tensor.reshape(-1)[0]).all())


def _power(view: NodeView, base: fx.Node, exponent: float) -> fx.Node:
    if exponent == 1:
        return base
    if exponent == 2:
        return view.call(aten.mul.Tensor, base, base)
    return view.call(aten.pow.Tensor_Scalar, base, exponent)


def _exponential(view: NodeView, base: float, exponent: fx.Node) -> fx.Node:
    if base <= 0 or math.isinf(base):
        raise view.unsupported(f"the base is {base}; positive numbers are supported")
    scaled = view.step(aten.mul.Scalar, exponent, math.log(base))
    return view.call(aten.exp.default, scaled)

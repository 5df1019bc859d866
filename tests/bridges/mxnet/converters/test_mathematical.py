"""Functions, powers and remainders; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, renamed, targets

# The target, and what brings random values into the function's domain.
FUNCTIONS = {
    "exp": ("exp", None), "expm1": ("expm1", None), "log": ("log", "positive"), "log2": ("log2", "positive"),
    "log10": ("log10", "positive"), "log1p": ("log1p", "positive"), "sqrt": ("sqrt", "positive"),
    "rsqrt": ("rsqrt", "positive"), "cbrt": ("cbrt", None), "rcbrt": ("rcbrt", "positive"),
    "reciprocal": ("reciprocal", "positive"), "erf": ("erf", None), "sin": ("sin", None), "cos": ("cos", None),
    "tan": ("tan", "within one"), "arcsin": ("asin", "within one"), "arccos": ("acos", "within one"),
    "arctan": ("atan", None), "sinh": ("sinh", None), "cosh": ("cosh", None), "arcsinh": ("asinh", None),
    "arccosh": ("acosh", "above one"), "arctanh": ("atanh", "within one"), "degrees": ("mul", None),
    "radians": ("mul", None),
}


def in_domain(mx, domain):
    data = mx.sym.var("data")
    return {None: lambda: data, "positive": lambda: mx.sym.abs(data) + 0.1, "above one": lambda: mx.sym.abs(data) + 1.1,
            "within one": lambda: mx.sym.tanh(data) * 0.9}[domain]()


@pytest.mark.parametrize("operator", FUNCTIONS)
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 5)], ids=str)
def test_function_equals_mxnet(mxnet, operator, shape):
    target, domain = FUNCTIONS[operator]
    symbol = getattr(mxnet.sym, operator)(in_domain(mxnet, domain))
    assert targets(compare(mxnet, symbol, data=shape))[-1] == target


def test_cube_roots_of_negative_numbers_equal_mxnet(mxnet):
    """cbrt(-8) is -2, in both."""
    for operator in (mxnet.sym.cbrt, mxnet.sym.rcbrt):
        compare(mxnet, operator(mxnet.sym.var("data") - 3), data=(0, 3, 4))


EXPRESSIONS = {
    "_rdiv_scalar": (lambda x: 1.5 / x, ["reciprocal", "mul"]), "_power_scalar": (lambda x: x ** 2, ["mul"]),
    "_rpower_scalar": (lambda x: 1.5 ** x, ["mul", "exp"]), "_mod_scalar": (lambda x: x % 0.75, ["remainder"]),
}
OLD_NAMES = {"_RDivScalar": "_rdiv_scalar", "_PowerScalar": "_power_scalar", "_RPowerScalar": "_rpower_scalar",
             "_ModScalar": "_mod_scalar"}


@pytest.mark.parametrize("operator", EXPRESSIONS)
def test_expression_equals_mxnet(mxnet, operator):
    expression, expected = EXPRESSIONS[operator]
    symbol = expression(mxnet.sym.var("data"))
    assert f'"op": "{operator}"' in symbol.tojson()
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == expected


@pytest.mark.parametrize("old", OLD_NAMES)
def test_old_name_equals_mxnet(mxnet, old):
    symbol = EXPRESSIONS[OLD_NAMES[old]][0](mxnet.sym.var("data"))
    compare(mxnet, renamed(mxnet, symbol, OLD_NAMES[old], old), data=(0, 3, 4))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.5, -0.25, 7])
def test_power_equals_mxnet(mxnet, exponent):
    """Every exponent of a positive base; whole ones of negative bases too."""
    compare(mxnet, mxnet.sym.tanh((mxnet.sym.abs(mxnet.sym.var("data")) + 0.5) ** exponent), data=(0, 3, 4))
    if exponent == int(exponent) >= 0:
        compare(mxnet, mxnet.sym.tanh(mxnet.sym.var("data") ** exponent), data=(0, 3, 4))


def test_first_power_is_the_input(mxnet):
    assert targets(compare(mxnet, mxnet.sym.exp(mxnet.sym.var("data") ** 1), data=(0, 3, 4))) == ["exp"]


@pytest.mark.parametrize("base", [0.1, 1.0, 2.0, 10.0])
def test_exponential_equals_mxnet(mxnet, base):
    compare(mxnet, base ** mxnet.sym.var("data"), data=(0, 3, 4))


@pytest.mark.parametrize("number", [-1.5, 0.3, 7.0])
def test_remainder_equals_mxnet(mxnet, number):
    """Its sign is that of the divisor, in both."""
    compare(mxnet, (3 * mxnet.sym.var("data")) % number, data=(0, 3, 4))


@pytest.mark.parametrize("sigma", [None, 1.0, 0.5, 3.0, 0.0, -2.0])
def test_smooth_l1_equals_mxnet(mxnet, sigma):
    attributes = {} if sigma is None else dict(scalar=sigma)
    symbol = mxnet.sym.smooth_l1(2 * mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4)))[-1] == "smooth_l1"


@pytest.mark.parametrize("side", ["exponent", "base"])
def test_power_of_a_parameter_equals_mxnet(mxnet, side):
    """A parameter of one element; random ones are positive under this name."""
    data, number = mxnet.sym.var("data"), mxnet.sym.var("c_var", shape=(1, 1, 1))
    operands = (mxnet.sym.abs(data), number) if side == "exponent" else (number, data)
    symbol = mxnet.sym.broadcast_power(*operands)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4)))[-1] == ("pow" if side == "exponent" else "exp")


@pytest.mark.parametrize("operator", ["broadcast_power", "_power", "_Power"])
def test_power_of_equal_numbers(import_node, operator):
    """A constant of the input's shape that holds 0.5 everywhere. Oracle: torch."""
    x = torch.tensor([[0.1, 1.0, 4.0]])
    assert torch.allclose(import_node(operator, {}, (1, 3), exponent=(1, 3))(x)[0], x.sqrt(), rtol=1e-6)


def test_powers_of_two_activations_are_named(import_node):
    """Oracle: the support table of the converter."""
    with pytest.raises(UnsupportedOperatorError, match="neither base nor exponent"):
        import_node("broadcast_power", {}, (1, 3), (1, 3))


@pytest.mark.parametrize("operator, attributes, match", [
    ("_rpower_scalar", dict(scalar="0"), "the base is 0"), ("_rpower_scalar", dict(scalar="-2"), "the base is -2"),
    ("_mod_scalar", dict(scalar="0"), "the number is 0")])
def test_senseless_numbers(import_node, operator, attributes, match):
    """Oracle: the result would not be a finite real number."""
    with pytest.raises(UnsupportedOperatorError, match=match):
        import_node(operator, attributes, (1, 3))

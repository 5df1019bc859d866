"""Arithmetic with a number; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidFileError, InvalidGraphError
from tests.bridges.mxnet.oracle import compare, renamed, targets

EXPRESSIONS = {
    "_plus_scalar": (lambda x: x + 1.5, "add"), "_minus_scalar": (lambda x: x - 1.5, "sub"),
    "_rminus_scalar": (lambda x: 1.5 - x, "rsub"), "_mul_scalar": (lambda x: x * -1.5, "mul"),
    "_div_scalar": (lambda x: x / 127.5, "div"),
}
OLD_NAMES = {"_PlusScalar": "_plus_scalar", "_MinusScalar": "_minus_scalar",
             "_RMinusScalar": "_rminus_scalar",
             "_MulScalar": "_mul_scalar", "_DivScalar": "_div_scalar"}


@pytest.mark.parametrize("operator", EXPRESSIONS)
def test_expression_equals_mxnet(mxnet, operator):
    expression, target = EXPRESSIONS[operator]
    symbol = expression(mxnet.sym.var("data"))
    assert f'"op": "{operator}"' in symbol.tojson()
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == [target]


@pytest.mark.parametrize("old", OLD_NAMES)
def test_old_name_equals_mxnet(mxnet, old):
    symbol = EXPRESSIONS[OLD_NAMES[old]][0](mxnet.sym.var("data"))
    compare(mxnet, renamed(mxnet, symbol, OLD_NAMES[old], old), data=(0, 3, 4))


@pytest.mark.parametrize("name", ["_maximum_scalar", "_MaximumScalar", "_minimum_scalar", "_MinimumScalar"])
def test_bound_equals_mxnet(mxnet, name):
    symbol = renamed(mxnet, mxnet.sym.var("data") + 0.25, "_plus_scalar", name)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == ["clamp"]


def test_clip_equals_mxnet(mxnet):
    symbol = mxnet.sym.clip(mxnet.sym.var("data"), -0.25, 0.75)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == ["clamp"]


@pytest.mark.parametrize("operator, attributes", [("_div_scalar", dict(scalar="0")),
                                                  ("clip", dict(a_min="1", a_max="0"))])
def test_senseless_numbers(import_node, operator, attributes):
    """Oracle: the result would not be finite, or not between the bounds."""
    with pytest.raises(InvalidGraphError):
        import_node(operator, attributes, (1, 3))


@pytest.mark.parametrize("number", ["nan", "1,5", "", "0x10", "1_000"])
def test_malformed_number(import_node, number):
    """Oracle: the grammar of decimal numbers."""
    with pytest.raises(InvalidFileError, match="'scalar'"):
        import_node("_plus_scalar", dict(scalar=number), (1, 3))

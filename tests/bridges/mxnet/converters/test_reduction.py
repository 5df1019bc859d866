"""Reductions; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets

OPERATORS = {"sum": ["sum"], "mean": ["mean"], "max": ["amax"], "min": ["amin"]}


@pytest.mark.parametrize("attributes", [
    dict(axis=1), dict(axis=-1, keepdims=True), dict(axis=(2, 3)), dict(axis=(-1, 1), keepdims=True),
    dict(axis=(1, 2, 3)), dict(axis=(0, 1), exclude=True), dict(axis=0, exclude=True, keepdims=True),
], ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_reduction_equals_mxnet(mxnet, operator, attributes):
    symbol = getattr(mxnet.sym, operator)(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4, 5))) == OPERATORS[operator]


@pytest.mark.parametrize("attributes", [{}, dict(keepdims=True), dict(axis=()), dict(axis=(0, 1, 2))],
                         ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_reduction_of_everything_equals_mxnet(mxnet, operator, attributes):
    """The batch too: MXNet gives one element, in shape (1,)."""
    symbol = getattr(mxnet.sym, operator)(mxnet.sym.var("data"), **attributes)
    compare(mxnet, symbol, data=(0, 3, 4))


@pytest.mark.parametrize("operator", ["sum", "max", "min"])
def test_alias_equals_mxnet(mxnet, operator):
    symbol = getattr(mxnet.sym, f"{operator}_axis")(mxnet.sym.var("data"), axis=1)
    compare(mxnet, symbol, data=(0, 3, 4))


def test_axis_out_of_range(import_node):
    """Oracle: MXNet refuses it too."""
    with pytest.raises(InvalidGraphError, match="axis 3"):
        import_node("sum", dict(axis="(1, 3)"), (1, 2, 3))


@pytest.mark.parametrize("attributes", [
    dict(axis=1), dict(axis=-1, keepdims=True, ord=1), dict(axis=(2, 3), ord=2), dict(axis=(1, 2), keepdims=True),
    {}, dict(ord=1), dict(keepdims=True),
], ids=str)
def test_norm_equals_mxnet(mxnet, attributes):
    compare(mxnet, mxnet.sym.norm(mxnet.sym.var("data"), **attributes), data=(0, 3, 4, 5))


@pytest.mark.parametrize("attributes", [dict(axis=1), dict(axis=-1, keepdims=True), dict(axis=(1, 3)), dict(axis=0,
                                        exclude=True), {}, dict(keepdims=True)], ids=str)
def test_product_equals_mxnet(mxnet, attributes):
    compare(mxnet, mxnet.sym.prod(mxnet.sym.var("data"), **attributes), data=(0, 3, 2, 4))


@pytest.mark.parametrize("attributes", [dict(axis=(1,)), dict(axis=(0, 1), keepdims=True)], ids=str)
def test_square_sum_equals_mxnet(mxnet, attributes):
    """Of a sum in two axes. Oracle: MXNet's sum of squares, whose own operator takes sparse arrays alone."""
    sums = mxnet.sym.sum(mxnet.sym.square(mxnet.sym.var("data")), name="s", **attributes)
    compare(mxnet, sums, data=(0, 5))


@pytest.mark.parametrize("axis, keepdims, exclude, shape", [
    ("(1,)", "False", "False", (2,)), ("(1,)", "True", "False", (2, 1)), ("(1,)", "False", "True", (5,))])
def test_square_sum(import_node, axis, keepdims, exclude, shape):
    """Oracle: its definition."""
    module = import_node("_square_sum", dict(axis=axis, keepdims=keepdims, exclude=exclude), (2, 5))
    x = torch.arange(10.0).reshape(2, 5)
    expected = (x * x).sum(0 if exclude == "True" else 1).reshape(shape)
    assert torch.equal(module(x)[0], expected)


@pytest.mark.parametrize("attributes", [dict(axes=(1,)), dict(axes=(1, -1), keepdims=True), dict(axes=(2, 3))], ids=str)
def test_moments_equal_mxnet(mxnet, attributes):
    symbol = mxnet.sym.moments(mxnet.sym.var("data"), **attributes)
    compare(mxnet, mxnet.sym.Group([symbol[0], symbol[1] + 0]), data=(0, 3, 4, 5))


def test_refusals(import_node):
    """Oracle: what the integers cannot hold, and the orders that MXNet has."""
    with pytest.raises(UnsupportedOperatorError, match="NaN"):
        import_node("nansum", dict(axis="1"), (1, 2))
    with pytest.raises(InvalidGraphError, match="ord is 3"):
        import_node("norm", dict(ord="3"), (1, 2))

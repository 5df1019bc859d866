"""Reductions; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError
from tests.bridges.mxnet.oracle import compare, targets

OPERATORS = {"sum": ["sum"], "mean": ["mean"], "max": ["amax"], "min": ["neg", "amax", "neg"]}


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


@pytest.mark.parametrize("operator", ["sum", "max"])
def test_alias_equals_mxnet(mxnet, operator):
    symbol = getattr(mxnet.sym, f"{operator}_axis")(mxnet.sym.var("data"), axis=1)
    compare(mxnet, symbol, data=(0, 3, 4))


def test_axis_out_of_range(import_node):
    """Oracle: MXNet refuses it too."""
    with pytest.raises(InvalidGraphError, match="axis 3"):
        import_node("sum", dict(axis="(1, 3)"), (1, 2, 3))

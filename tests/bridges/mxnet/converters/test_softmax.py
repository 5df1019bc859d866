"""softmax; oracle: MXNet 1.9.1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol_file import parse_symbol
from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import check_close, compare, run_mxnet, targets
from tests.bridges.mxnet.parity_tally import TALLY


@pytest.mark.parametrize("attributes", [{}, dict(axis=1), dict(axis=-2), dict(axis=2, temperature=1.0)],
                         ids=str)
def test_softmax_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.softmax(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4, 5))) == ["softmax"]


def test_temperature_equals_mxnet(mxnet):
    symbol = mxnet.sym.softmax(mxnet.sym.var("data"), axis=1, temperature=2.5)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == ["div", "softmax"]


@pytest.mark.parametrize("mode, shape", [
    ("instance", (0, 6)), ("instance", (0, 3, 4)), ("instance", (0, 3, 4, 5)), ("channel", (0, 3, 4)),
    ("channel", (0, 3, 4, 5)),  # MXNet wants three axes or more for channels
], ids=str)
def test_softmax_activation_equals_mxnet(mxnet, mode, shape):
    compare(mxnet, mxnet.sym.SoftmaxActivation(mxnet.sym.var("data"), mode=mode), data=shape)


@pytest.mark.parametrize("axis, shape", [(-1, (3, 4, 5)), (1, (3, 5, 4)), (1, (3, 5))], ids=str)
def test_lengths(mxnet, axis, shape):
    """0 beyond a length, and everywhere where it is 0."""
    lengths = np.arange(np.prod(shape) // shape[axis], dtype=np.int32).reshape(shape[:axis % len(shape)] + shape[
        axis % len(shape) + 1:]) % (shape[axis] + 1)
    symbol = mxnet.sym.softmax(mxnet.sym.var("data"), mxnet.sym.var("lengths"), axis=axis, use_length=True)
    data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = run_mxnet(mxnet, symbol, {"data": data, "lengths": lengths})
    module = import_symbol(parse_symbol(symbol.tojson()), {"lengths": lengths}, {"data": shape})
    TALLY.record(symbol.tojson(), check_close(module(torch.from_numpy(data)), expected))


@pytest.mark.parametrize("fill", [-1e18, -1e4])
def test_scores_masked_by_a_huge_number(mxnet, fill):
    """As gluonnlp's attention cells do it, with a mask that is a parameter: a masked softmax of the scores."""
    data, mask = mxnet.sym.var("data"), mxnet.sym.var("mask")
    added = mxnet.sym.softmax(mxnet.sym.broadcast_add(data, (1 - mask) * fill)) * mxnet.sym.broadcast_like(mask, data)
    arrays = {"data": np.random.default_rng(0).standard_normal((2, 4, 5)).astype(np.float32),
              "mask": np.tril(np.ones((1, 4, 5), np.float32))}
    module = import_symbol(parse_symbol(added.tojson()), {"mask": arrays["mask"]}, {"data": (2, 4, 5)})
    assert "masked_softmax" in targets(module)
    check_close(module(torch.from_numpy(arrays["data"])), run_mxnet(mxnet, added, arrays))


def test_lengths_that_do_not_fit(import_node):
    """Oracle: MXNet's documentation."""
    with pytest.raises(InvalidGraphError, match="the lengths have shape"):
        import_node("softmax", dict(use_length="True"), (1, 3), (2,))


@pytest.mark.parametrize("operator", ["log_softmax", "softmin"])
@pytest.mark.parametrize("attributes", [{}, dict(axis=1), dict(axis=-2, temperature=2.5)], ids=str)
def test_relatives_of_softmax_equal_mxnet(mxnet, operator, attributes):
    compare(mxnet, getattr(mxnet.sym, operator)(mxnet.sym.var("data"), **attributes), data=(0, 3, 4))


def test_temperature_of_zero_and_lengths(import_node):
    """Oracle: the definition, and the support table of the converter."""
    with pytest.raises(InvalidGraphError, match="temperature"):
        import_node("log_softmax", dict(temperature="0"), (1, 3))
    with pytest.raises(UnsupportedOperatorError, match="length"):
        import_node("softmin", dict(use_length="True"), (1, 3), (1,))

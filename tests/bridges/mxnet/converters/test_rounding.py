"""Rounding and sign; oracle: MXNet 1.9.1, exactly, on halves, whole numbers and their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bridges.mxnet.grid_values import compare_on
from tests.bridges.mxnet.oracle import targets

HALVES = np.arange(-13, 14, dtype=np.float32) / 2
NEIGHBOURS = np.concatenate([HALVES, np.nextafter(HALVES, np.float32(9)), np.nextafter(HALVES, np.float32(-9)),
                             np.float32([2 ** 23 + 1, -2 ** 23 - 1, 1e9, 0.49999997])])
NAMES = {"floor": "floor", "ceil": "ceil", "round": "round_half_away", "rint": "round_half_down", "fix": "trunc",
         "trunc": "trunc", "sign": "sign"}


@pytest.mark.parametrize("name", NAMES)
def test_rounding(mxnet, name):
    symbol = getattr(mxnet.sym, name)(mxnet.sym.var("data"))
    module = compare_on(mxnet, symbol, {"data": NEIGHBOURS.reshape(1, -1)}, {"data": NEIGHBOURS.reshape(5, -1)})
    assert targets(module) == [NAMES[name]]


@pytest.mark.parametrize("dtype, target", [("int32", ["trunc"]), ("int64", ["trunc"]), ("bool", ["ne", "_to_copy"]),
                                           ("float16", []), ("int8", ["_to_copy", "_to_copy"])])
def test_cast(mxnet, dtype, target):
    """The values of MXNet's integers, in the float type of the graph; halves are exact in float16."""
    symbol = mxnet.sym.Cast(mxnet.sym.Cast(mxnet.sym.var("data"), dtype=dtype), dtype="float32")
    module = compare_on(mxnet, symbol, {"data": HALVES.reshape(1, -1)})
    assert targets(module) == target


def test_cast_of_truth_values_and_indices(mxnet):
    """They are whole already."""
    x = mxnet.sym.var("data")
    for dtype in ("int32", "uint8", "float32"):
        symbol = mxnet.sym.Cast(mxnet.sym.Cast(x > 1, dtype=dtype), dtype="float32")
        assert targets(compare_on(mxnet, symbol, {"data": HALVES.reshape(1, -1)})) == ["gt", "_to_copy"]
    symbol = mxnet.sym.Cast(mxnet.sym.Cast(mxnet.sym.argmax(x, axis=1), dtype="int32"), dtype="float32")
    assert targets(compare_on(mxnet, symbol, {"data": HALVES.reshape(1, -1)})) == ["argmax", "_to_copy"]

"""A converter of the user for an MXNet operator. Oracle: MXNet on the symbol."""

from __future__ import annotations

import math

import pytest
import torch

from bridges.mxnet import register_converter
from bridges.mxnet.registry import CONVERTERS
from mrt_torch import Model
from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import random_arrays, run_mxnet
from tests.end_to_end.following import check_deployed, check_mxnet, check_values, follow

aten = torch.ops.aten
OPERATOR = "_contrib_div_sqrt_dim"


def register():
    """As a user writes it: x / sqrt(length of the last axis)."""
    @register_converter(OPERATOR)
    def convert_div_sqrt_dim(view):
        view.expect_inputs(1)
        return view.call(aten.div.Scalar, view.inputs[0], math.sqrt(view.shape()[-1]))


def test_a_converter_of_the_user(mxnet, tmp_path):
    symbol = mxnet.sym.relu(mxnet.sym.contrib.div_sqrt_dim(mxnet.sym.FullyConnected(
        mxnet.sym.var("data"), num_hidden=6, name="f"), name="scaled"))
    arrays = random_arrays(mxnet, symbol, {"data": (4, 5)}, seed=0)
    params = {name: array for name, array in arrays.items() if name != "data"}
    with pytest.raises(UnsupportedOperatorError, match=rf"{OPERATOR}: 1 node, first 'scaled'"):
        Model.load(symbol, params).prepare((4, 5))
    register()
    followed = follow(Model.load(symbol, params), (4, 5), torch.from_numpy(arrays["data"]), tmp_path)
    check_values(followed, run_mxnet(mxnet, symbol, arrays))
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


def test_it_registers_once_and_is_taken_back():
    """Oracle: the registry's own words."""
    register()
    with pytest.raises(InvalidArgumentError, match="has a converter already"):
        register()
    CONVERTERS.unregister(OPERATOR)
    assert OPERATOR not in CONVERTERS
    with pytest.raises(InvalidArgumentError, match="has no converter"):
        CONVERTERS.unregister(OPERATOR)

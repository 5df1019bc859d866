"""A converter of the user for an MXNet operator. Oracle: MXNet on the symbol."""

from __future__ import annotations

import pytest
import torch

from bridges.mxnet import register_converter
from bridges.mxnet.registry import CONVERTERS
from mrt_torch import Model
from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import random_arrays, run_mxnet
from tests.end_to_end.following import check_deployed, check_mxnet, check_values, follow

aten = torch.ops.aten
OPERATOR = "_contrib_quadratic"


def register():
    """As a user writes it: a * x * x + b * x + c."""
    @register_converter(OPERATOR)
    def convert_quadratic(view):
        view.expect_inputs(1)
        x, (a, b, c) = view.inputs[0], (view.attributes.real(name, 0.0) for name in "abc")
        square = view.step(aten.mul.Scalar, view.step(aten.mul.Tensor, x, x), a)
        return view.call(aten.add.Scalar, view.step(aten.add.Tensor, square, view.step(aten.mul.Scalar, x, b)), c)


def test_a_converter_of_the_user(mxnet, tmp_path):
    symbol = mxnet.sym.relu(mxnet.sym.contrib.quadratic(mxnet.sym.FullyConnected(
        mxnet.sym.var("data"), num_hidden=6, name="f"), a=0.5, b=2, c=1, name="scaled"))
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

"""Activation functions; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import InvalidFileError, InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets

ACTIVATIONS = {"relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh", "softrelu": "softplus", "softsign": "softsign"}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation_equals_mxnet(mxnet, kind):
    """Values of 60 too, where exp overflows."""
    symbol = mxnet.sym.Activation(mxnet.sym.var("data"), act_type=kind)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == [ACTIVATIONS[kind]]
    compare(mxnet, mxnet.sym.Activation(60 * mxnet.sym.var("data"), act_type=kind), data=(0, 3, 4))


@pytest.mark.parametrize("kind", ["log_sigmoid", "mish"])
@pytest.mark.parametrize("operator", [False, True])
def test_activations_of_mxnet_2(import_node, kind, operator):
    """Not in MXNet 1.9.1. Oracle: torch."""
    module = import_node(kind, {}, (1, 5)) if operator else import_node("Activation", dict(act_type=kind), (1, 5))
    x = torch.linspace(-30, 30, 5).reshape(1, 5)
    expected = torch.nn.functional.logsigmoid(x) if kind == "log_sigmoid" else torch.nn.functional.mish(x)
    assert torch.equal(module(x)[0], expected)


@pytest.mark.parametrize("operator", ["relu", "sigmoid", "tanh", "softsign"])
def test_function_equals_mxnet(mxnet, operator):
    symbol = getattr(mxnet.sym, operator)(mxnet.sym.var("data"))
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == [operator]


@pytest.mark.parametrize("attributes", [{}, dict(alpha=0.5, beta=0.25)], ids=str)
def test_hard_sigmoid_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.hard_sigmoid(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == ["mul", "add", "clamp"]


@pytest.mark.parametrize("attributes", [
    {}, dict(act_type="leaky", slope=0.1), dict(act_type="leaky", slope=-0.5),
], ids=str)
def test_leaky_relu_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.LeakyReLU(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4, 5))) == ["leaky_relu"]


@pytest.mark.parametrize("attributes", [dict(act_type="elu"), dict(act_type="elu", slope=0.7), dict(act_type="selu")],
                         ids=str)
def test_elu_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.LeakyReLU(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4, 5))) == ["elu"]


@pytest.mark.parametrize("shape", [(0, 6), (0, 3, 4, 5)], ids=str)
def test_gelu_equals_mxnet(mxnet, shape):
    symbol = mxnet.sym.LeakyReLU(3 * mxnet.sym.var("data"), act_type="gelu")
    assert targets(compare(mxnet, symbol, data=shape)) == ["mul", "gelu"]


@pytest.mark.parametrize("attributes", [{}, dict(lower_bound=0.2, upper_bound=0.5)], ids=str)
def test_randomized_slope_equals_mxnet(mxnet, attributes):
    """In inference MXNet takes the mean slope; its second output, the mask, is of training."""
    symbol = mxnet.sym.LeakyReLU(mxnet.sym.var("data"), act_type="rrelu", **attributes)
    assert targets(compare(mxnet, symbol[0], data=(0, 3, 4, 5))) == ["leaky_relu"]
    with pytest.raises(UnsupportedOperatorError, match="a head reads output 1"):
        compare(mxnet, symbol, data=(0, 3, 4, 5))


@pytest.mark.parametrize("shape", [(0, 6), (0, 6, 3), (0, 6, 4, 5)], ids=str)
def test_prelu_with_a_slope_per_channel_equals_mxnet(mxnet, shape):
    symbol = mxnet.sym.LeakyReLU(mxnet.sym.var("data"), mxnet.sym.var("gamma", shape=(6,)), act_type="prelu")
    assert targets(compare(mxnet, symbol, data=shape)) == ["relu", "neg", "relu", "mul", "sub"]


def test_prelu_with_one_slope_equals_mxnet(mxnet):
    symbol = mxnet.sym.LeakyReLU(mxnet.sym.var("data"), mxnet.sym.var("gamma", shape=(1,)), act_type="prelu")
    assert targets(compare(mxnet, symbol, data=(0, 6, 4, 5))) == ["leaky_relu"]


def test_prelu_with_computed_slopes_equals_mxnet(mxnet):
    slopes = mxnet.sym.exp(mxnet.sym.var("gamma", shape=(6,)))
    symbol = mxnet.sym.LeakyReLU(mxnet.sym.var("data"), slopes, act_type="prelu")
    compare(mxnet, symbol, data=(0, 6, 4, 5))


def test_unknown_function_is_malformed(import_node):
    """Oracle: MXNet's list of act_type."""
    with pytest.raises(InvalidFileError, match="'act_type'"):
        import_node("Activation", dict(act_type="rectified"), (1, 3))


def test_wrong_number_of_slopes(import_node):
    """Oracle: MXNet refuses it too."""
    with pytest.raises(InvalidGraphError, match="4 slopes"):
        import_node("LeakyReLU", dict(act_type="prelu"), (1, 3, 5), gamma=(4,))

"""FullyConnected; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError
from tests.bridges.mxnet.oracle import compare, targets


@pytest.mark.parametrize("no_bias", [False, True])
@pytest.mark.parametrize("flatten, shape, operators", [
    (True, (0, 7), ["linear"]), (True, (0, 3, 2, 4), ["flatten", "linear"]), (False, (0, 7), ["linear"]),
    (False, (0, 3, 2, 4), ["linear"]),
], ids=str)
def test_fully_connected_equals_mxnet(mxnet, flatten, shape, operators, no_bias):
    symbol = mxnet.sym.FullyConnected(mxnet.sym.var("data"), num_hidden=5, flatten=flatten, no_bias=no_bias,
                                      name="fc")
    assert targets(compare(mxnet, symbol, data=shape)) == operators


def test_flatten_is_the_default(mxnet):
    compare(mxnet, mxnet.sym.FullyConnected(mxnet.sym.var("data"), num_hidden=5, name="fc"), data=(0, 3, 4))


@pytest.mark.parametrize("no_bias", [False, True])
@pytest.mark.parametrize("flatten, shape", [(True, (0, 6)), (True, (0, 2, 3)), (False, (0, 4, 6))], ids=str)
def test_a_weight_computed_from_parameters_and_data(mxnet, flatten, shape, no_bias):
    """Weight and bias depend on the mean of all the data. Oracle: MXNet."""
    data = mxnet.sym.var("data")
    factor = mxnet.sym.Reshape(mxnet.sym.mean(data), shape=(1, 1))
    weight = mxnet.sym.broadcast_mul(mxnet.sym.var("w", shape=(5, 6)), factor)
    bias = () if no_bias else (mxnet.sym.Reshape(mxnet.sym.slice_axis(weight, axis=1, begin=0, end=1), shape=(-1,)),)
    symbol = mxnet.sym.FullyConnected(data, weight, *bias, num_hidden=5, flatten=flatten, no_bias=no_bias, name="fc")
    compare(mxnet, symbol, data=shape)


@pytest.mark.parametrize("weight, bias, message", [
    ((5, 11), (5,), r"the weight has shape \(5, 11\); \(5, 12\)"), ((5, 12), (4,), "the bias has shape"),
])
def test_wrong_shapes_name_the_node(import_node, weight, bias, message):
    """Oracle: the shapes of MXNet's documentation of FullyConnected."""
    with pytest.raises(InvalidGraphError, match=message):
        import_node("FullyConnected", dict(num_hidden="5"), (1, 3, 4), weight=weight, bias=bias)

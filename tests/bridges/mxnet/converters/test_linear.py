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


@pytest.mark.parametrize("weight, bias, message", [
    ((5, 11), (5,), r"the weight has shape \(5, 11\); \(5, 12\)"), ((5, 12), (4,), "the bias has shape"),
])
def test_wrong_shapes_name_the_node(import_node, weight, bias, message):
    """Oracle: the shapes of MXNet's documentation of FullyConnected."""
    with pytest.raises(InvalidGraphError, match=message):
        import_node("FullyConnected", dict(num_hidden="5"), (1, 3, 4), weight=weight, bias=bias)

"""softmax; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets


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


def test_lengths_are_refused(import_node):
    """Oracle: the support table of the converter."""
    with pytest.raises(UnsupportedOperatorError, match="length"):
        import_node("softmax", dict(use_length="True"), (1, 3), (1,))

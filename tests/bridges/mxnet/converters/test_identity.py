"""Operators without effect in inference; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, renamed, targets


@pytest.mark.parametrize("operator", ["identity", "BlockGrad", "stop_gradient", "MakeLoss", "make_loss"])
def test_identity_equals_mxnet(mxnet, operator):
    symbol = mxnet.sym.exp(getattr(mxnet.sym, operator)(mxnet.sym.var("data")))
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == ["exp"]


def test_input_that_is_the_output_equals_mxnet(mxnet):
    symbol = mxnet.sym.identity(mxnet.sym.var("data"))
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == []


def test_other_name_equals_mxnet(mxnet):
    symbol = mxnet.sym.exp(mxnet.sym.identity(mxnet.sym.var("data")))
    compare(mxnet, renamed(mxnet, symbol, "_copy", "identity"), data=(0, 3))


@pytest.mark.parametrize("attributes", [{}, dict(p=0.3)], ids=str)
def test_dropout_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.Dropout(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == ["dropout"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cast_equals_mxnet(mxnet, dtype):
    symbol = mxnet.sym.Cast(mxnet.sym.exp(mxnet.sym.Cast(mxnet.sym.var("data"), dtype=dtype)),
                            dtype="float32")
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == ["exp"]


def test_active_dropout_is_refused(import_node):
    """Oracle: the support table of the converter."""
    with pytest.raises(UnsupportedOperatorError, match="mode is always"):
        import_node("Dropout", dict(mode="always"), (1, 3))

"""Tensors of one number; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets


@pytest.mark.parametrize("operator", ["zeros_like", "ones_like"])
def test_like_equals_mxnet(mxnet, operator):
    compare(mxnet, getattr(mxnet.sym, operator)(mxnet.sym.var("data")), data=(0, 3, 4))


@pytest.mark.parametrize("make", [lambda sym: sym.zeros((1, 3)), lambda sym: sym.ones((1, 3)),
                                  lambda sym: sym.full((1, 3), 2.5)], ids=["zeros", "ones", "full"])
def test_filled_equals_mxnet(mxnet, make):
    symbol = mxnet.sym.broadcast_add(mxnet.sym.var("data"), make(mxnet.sym))
    assert targets(compare(mxnet, symbol, data=(0, 3))) == ["add"]


def test_unknown_shape_is_named(import_node):
    """Oracle: the support table of the converter."""
    with pytest.raises(UnsupportedOperatorError, match=r"\(0, 3\)"):
        import_node("_zeros", dict(shape="(0, 3)"))


def test_filled_takes_no_memory_for_its_shape(import_node):
    """Oracle: the strides."""
    (value,) = import_node("_full", dict(shape="(4096, 4096)", value="2.5")).buffers()
    assert value.shape == (4096, 4096) and value.stride() == (0, 0)
    assert value[0, 1] == 2.5


@pytest.mark.parametrize("extents", ["(4096, 4097)", "(1000000, 1000000)", "(9223372036854775807, 2)",
                                     "(9999999999999999999, 1)"])
def test_shapes_beyond_memory_are_refused(import_node, extents):
    """Oracle: the limit. These made tensors of terabytes, or RuntimeError and TypeError of torch."""
    with pytest.raises(UnsupportedOperatorError, match="'node'"):
        import_node("_ones", dict(shape=extents))

"""Tensors of one number; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets


@pytest.mark.parametrize("operator", ["zeros_like", "ones_like"])
def test_like_equals_mxnet(mxnet, operator):
    module = compare(mxnet, getattr(mxnet.sym, operator)(mxnet.sym.var("data")), data=(0, 3, 4))
    assert targets(module) == [operator]


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


@pytest.mark.parametrize("attributes", [dict(start=5), dict(start=1, stop=6), dict(start=1, stop=2, step=0.3),
                                        dict(start=3, stop=-2, step=-1), dict(start=0, stop=3, repeat=2),
                                        dict(start=-2.5, stop=2.5)], ids=str)
def test_arange_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.broadcast_add(mxnet.sym.var("data"), mxnet.sym.arange(**attributes))
    assert targets(compare(mxnet, symbol, data=(0, 1))) == ["add"]


@pytest.mark.parametrize("attributes", [dict(start=0, stop=1, num=5), dict(start=2, stop=-1, num=4, endpoint=False),
                                        dict(start=2, stop=3, num=1)], ids=str)
def test_linspace_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.broadcast_add(mxnet.sym.var("data"), mxnet.sym.linspace(**attributes))
    assert targets(compare(mxnet, symbol, data=(0, 1))) == ["add"]


@pytest.mark.parametrize("attributes", [dict(N=3), dict(N=3, M=4), dict(N=3, M=4, k=1), dict(N=4, M=3, k=-2)], ids=str)
def test_eye_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.broadcast_add(mxnet.sym.var("data"), mxnet.sym.eye(**attributes))
    assert targets(compare(mxnet, symbol, data=(0, 1, 1))) == ["add"]


@pytest.mark.parametrize("attributes", [dict(axis=1), dict(axis=-1, start=2, step=0.5), dict(axis=2, repeat=2),
                                        dict(axis=1, repeat=5)], ids=str)
def test_arange_like_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.contrib.arange_like(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == ["arange_like"]


def test_arange_like_all_equals_mxnet(mxnet):
    """Without an axis it numbers all elements, in the shape of the input."""
    compare(mxnet, mxnet.sym.contrib.arange_like(mxnet.sym.var("data"), start=1), data=(0, 3, 4))


@pytest.mark.parametrize("operator, attributes, error", [
    ("_arange", dict(start="0", stop="-1"), InvalidGraphError),
    ("_arange", dict(start="0", step="0"), InvalidGraphError),
    ("_arange", dict(start="1e9"), UnsupportedOperatorError), ("_eye", dict(N="100000"), UnsupportedOperatorError),
    ("_arange", dict(start="3", infer_range="True"), UnsupportedOperatorError),
    ("_linspace", dict(start="0", stop="1", num="0"), UnsupportedOperatorError),
    ("_eye", dict(N="-1"), UnsupportedOperatorError),
])
def test_numbers_that_are_refused(import_node, operator, attributes, error):
    """Oracle: MXNet refuses them or gives no number; the last but two are the limit of elements."""
    with pytest.raises(error, match="'node'"):
        import_node(operator, attributes)

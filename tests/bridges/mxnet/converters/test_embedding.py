"""Embedding, take, one_hot, pick; oracle: MXNet 1.9.1.

The indices are normal floats: some have a fraction, some are negative, and a factor brings others beyond the end.
"""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets


def indices(mx):
    return mx.sym.var("x") * 3


@pytest.mark.parametrize("shape", [(0,), (0, 5), (0, 2, 3)], ids=str)
@pytest.mark.parametrize("operator", ["Embedding", "SparseEmbedding"])
def test_embedding(mxnet, operator, shape):
    make = mxnet.sym.Embedding if operator == "Embedding" else mxnet.sym.contrib.SparseEmbedding
    module = compare(mxnet, make(indices(mxnet), mxnet.sym.var("w"), input_dim=4, output_dim=3), x=shape)
    assert targets(module)[-1] == "embedding"


@pytest.mark.parametrize("mode", ["clip", "wrap"])
@pytest.mark.parametrize("axis, table", [(0, (4, 3)), (1, (3, 4)), (-1, (2, 3, 4)), (0, (4, 3, 2)), (0, (4,))], ids=str)
@pytest.mark.parametrize("shape", [(0,), (0, 5)], ids=str)
def test_take(mxnet, shape, axis, table, mode):
    symbol = mxnet.sym.take(mxnet.sym.var("w", shape=table), indices(mxnet), axis=axis, mode=mode)
    compare(mxnet, symbol, x=shape)


def test_take_from_what_is_computed(mxnet):
    """Constant indices into an axis of the data."""
    symbol = mxnet.sym.take(mxnet.sym.var("x"), mxnet.sym.var("i", shape=(3,)), axis=2)
    compare(mxnet, symbol, x=(0, 2, 4))
    symbol = mxnet.sym.take(mxnet.sym.var("x"), mxnet.sym.var("i", shape=(3, 2)), axis=1)
    compare(mxnet, symbol, x=(0, 4, 2))


@pytest.mark.parametrize("numbers", [{}, dict(on_value=2.5, off_value=-1.0)], ids=str)
@pytest.mark.parametrize("shape", [(0,), (0, 5)], ids=str)
def test_one_hot(mxnet, shape, numbers):
    compare(mxnet, mxnet.sym.one_hot(indices(mxnet), depth=4, **numbers), x=shape)


@pytest.mark.parametrize("axis, shape", [(-1, (0, 4)), (1, (0, 4, 3)), (2, (0, 3, 4))], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("mode", ["clip", "wrap"])
def test_pick(mxnet, mode, keepdims, axis, shape):
    index = [extent for position, extent in enumerate(shape) if position != axis % len(shape)]
    symbol = mxnet.sym.pick(mxnet.sym.var("data"), indices(mxnet), axis=axis, keepdims=keepdims, mode=mode)
    compare(mxnet, symbol, data=shape, x=tuple(index))


def test_refusals(import_node):
    """Oracle: what the converters say they take."""
    with pytest.raises(InvalidGraphError, match="the weight has shape"):
        import_node("Embedding", dict(input_dim="4", output_dim="3"), (2,), weight=(3, 3))
    with pytest.raises(UnsupportedOperatorError, match="its depth is"):
        import_node("one_hot", dict(depth="100000000"), (2,))
    with pytest.raises(UnsupportedOperatorError, match="flattened"):
        import_node("pick", dict(axis="None"), (2, 3), (2,))

"""Elements in another order or shape; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError
from tests.bridges.mxnet.oracle import compare, renamed, targets


@pytest.mark.parametrize("attributes, shape, like", [
    ({}, (0, 6, 4), (0, 3, 8)), ({}, (0, 6, 4), (0, 24)),
    (dict(lhs_begin=1, lhs_end=3, rhs_begin=1, rhs_end=2), (0, 6, 4), (0, 24, 5)),
    (dict(lhs_begin=1, lhs_end=2, rhs_begin=-2, rhs_end=None), (0, 6, 4), (0, 9, 2, 3)),
    (dict(lhs_begin=-1, lhs_end=None, rhs_begin=1, rhs_end=3), (0, 6, 4), (0, 2, 2, 7)),
    (dict(lhs_begin=0, lhs_end=2, rhs_begin=0, rhs_end=3), (0, 6, 4), (0, 2, 3, 7)),
], ids=str)
def test_reshape_like_equals_mxnet(mxnet, attributes, shape, like):
    symbol = mxnet.sym.reshape_like(mxnet.sym.var("data"), mxnet.sym.var("like"), **attributes)
    assert targets(compare(mxnet, symbol, data=shape, like=like)) == ["reshape_like"]


@pytest.mark.parametrize("axes", [1, (1, 2), (2,), (2, 1)], ids=str)
def test_reverse_equals_mxnet(mxnet, axes):
    assert targets(compare(mxnet, mxnet.sym.reverse(mxnet.sym.var("data"), axis=axes), data=(0, 3, 4))) == ["flip"]


def test_flip_equals_mxnet(mxnet):
    symbol = mxnet.sym.reverse(mxnet.sym.var("data"), axis=1)
    compare(mxnet, renamed(mxnet, symbol, "reverse", "flip"), data=(0, 3, 4))


@pytest.mark.parametrize("block, shape", [(2, (0, 8, 3, 5)), (3, (0, 9, 1, 2)), (1, (0, 2, 3, 4))], ids=str)
def test_depth_to_space_equals_mxnet(mxnet, block, shape):
    """Channels in the order rows, columns, C: not torch's pixel_shuffle."""
    symbol = mxnet.sym.depth_to_space(mxnet.sym.var("data"), block_size=block)
    assert targets(compare(mxnet, symbol, data=shape)) == ["reshape", "permute", "reshape"]


@pytest.mark.parametrize("block, shape", [(2, (0, 3, 4, 6)), (3, (0, 2, 3, 9)), (1, (0, 2, 3, 4))], ids=str)
def test_space_to_depth_equals_mxnet(mxnet, block, shape):
    symbol = mxnet.sym.space_to_depth(mxnet.sym.var("data"), block_size=block)
    assert targets(compare(mxnet, symbol, data=shape)) == ["reshape", "permute", "reshape"]


def test_channel_shuffle_equals_mxnet(mxnet):
    """ShuffleNet as gluoncv has it: reshape with special numbers, SwapAxis, reshape."""
    data = mxnet.sym.reshape(mxnet.sym.var("data"), shape=(0, -4, 3, -1, -2))
    compare(mxnet, mxnet.sym.reshape(mxnet.sym.SwapAxis(data, dim1=1, dim2=2), shape=(0, -3, -2)), data=(0, 6, 4, 5))


@pytest.mark.parametrize("operator, attributes", [
    ("depth_to_space", dict(block_size="2")), ("space_to_depth", dict(block_size="4")),
    ("depth_to_space", dict(block_size="0")), ("reverse", dict(axis="4")),
])
def test_contradictions_name_the_node(import_node, operator, attributes):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError, match="'node'"):
        import_node(operator, attributes, (2, 6, 4, 6))


def test_a_likeness_of_other_size_names_the_node(import_node):
    """Oracle: MXNet refuses it too."""
    with pytest.raises(InvalidGraphError, match="'node'"):
        import_node("reshape_like", {}, (2, 6), (2, 5))

"""Tensors repeated; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, renamed, targets


@pytest.mark.parametrize("reps", [(1, 2, 3), (2,), (1, 1, 1), (1, 1, 2, 3), (1, 5, 1), (2, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("shape", [(0, 3, 4), (0, 1, 1)], ids=str)
def test_tile_equals_mxnet(mxnet, reps, shape):
    module = compare(mxnet, mxnet.sym.tile(mxnet.sym.var("data"), reps=reps), data=shape)
    assert targets(module) == ["repeat"]


@pytest.mark.parametrize("attributes", [dict(repeats=2), dict(repeats=3, axis=1), dict(repeats=2, axis=-1),
                                        dict(repeats=1, axis=2), dict(repeats=4, axis=0)], ids=str)
def test_repeat_equals_mxnet(mxnet, attributes):
    module = compare(mxnet, mxnet.sym.repeat(mxnet.sym.var("data"), **attributes), data=(0, 3, 4))
    assert targets(module) == ["repeat_interleave"]


@pytest.mark.parametrize("target", [(0, 3, 4), (0, 0, 5), (0, 3, 0), (0, 7, 5)], ids=str)
def test_broadcast_to_equals_mxnet(mxnet, target):
    shape = (0, 3 if target[1] == 3 else 1, 4 if target[2] in (4, 0) else 1)
    module = compare(mxnet, mxnet.sym.broadcast_to(mxnet.sym.var("data"), shape=target), data=shape)
    assert targets(module) == ["expand"]


def test_broadcast_of_a_literal_batch_keeps_it_free(import_node):
    """Oracle: the rule of the importer: an axis that stays follows the batch."""
    module = import_node("broadcast_to", dict(shape="(2, 5)"), (2, 1))
    assert tuple(module(torch.zeros(7, 1))[0].shape) == (7, 5)


@pytest.mark.parametrize("attributes", [dict(axis=1, size=4), dict(axis=(1, 2), size=(4, 2)),
                                        dict(axis=(2,), size=(3,)), {}], ids=str)
def test_broadcast_axis_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.broadcast_axis(mxnet.sym.var("data"), **attributes)
    compare(mxnet, symbol, data=(0, 1, 1, 5))


def test_other_name_equals_mxnet(mxnet):
    symbol = mxnet.sym.broadcast_axis(mxnet.sym.var("data"), axis=1, size=4)
    compare(mxnet, renamed(mxnet, symbol, "broadcast_axis", "broadcast_axes"), data=(0, 1, 3))


@pytest.mark.parametrize("attributes, shape, like", [
    ({}, (0, 1, 4), (0, 3, 4)), ({}, (0, 1, 1), (0, 3, 5)), (dict(lhs_axes=(1,), rhs_axes=(2,)), (0, 1, 4), (0, 3, 5)),
    (dict(lhs_axes=(1, 2), rhs_axes=(-1, -2)), (0, 1, 1), (0, 3, 5)),
    (dict(lhs_axes=(2,), rhs_axes=(1,)), (0, 3, 1), (0, 6)),
], ids=str)
def test_broadcast_like_equals_mxnet(mxnet, attributes, shape, like):
    symbol = mxnet.sym.broadcast_like(mxnet.sym.var("data"), mxnet.sym.var("like"), **attributes)
    assert targets(compare(mxnet, symbol, data=shape, like=like)) == ["broadcast_like"]


@pytest.mark.parametrize("left, right", [((0,), (0,)), ((2,), (0,)), ((0, 1), (0, 1))], ids=str)
def test_broadcast_of_a_parameter_along_the_batch_equals_mxnet(mxnet, left, right):
    """The parameter (1, 3, 1) takes the batch of the data on the axis ``left``."""
    shape = tuple(1 if axis in left or axis == 2 else 3 for axis in range(3))
    parameter = mxnet.sym.var("parameter", shape=shape)
    symbol = mxnet.sym.broadcast_like(parameter, mxnet.sym.var("data"), lhs_axes=left, rhs_axes=right)
    compare(mxnet, symbol, data=(0, 4))


@pytest.mark.parametrize("operator, attributes, error", [
    ("tile", dict(reps="(0, 2)"), UnsupportedOperatorError), ("repeat", dict(repeats="0"), UnsupportedOperatorError),
    ("repeat", dict(repeats="2", axis="3"), InvalidGraphError),
    ("broadcast_to", dict(shape="(0, 5, 5)"), InvalidGraphError),
    ("broadcast_to", dict(shape="(0, 5)"), InvalidGraphError),
    ("broadcast_axis", dict(axis="2", size="4"), InvalidGraphError),
    ("broadcast_axis", dict(axis="(1, 2)", size="4"), InvalidGraphError),
])
def test_contradictions_name_the_node(import_node, operator, attributes, error):
    """Oracle: MXNet refuses them, or makes tensors without elements."""
    with pytest.raises(error, match="'node'"):
        import_node(operator, attributes, (2, 1, 4))


@pytest.mark.parametrize("attributes", [dict(lhs_axes="(1,)"), dict(lhs_axes="(1,)", rhs_axes="(0, 1)"), {},
                                        dict(lhs_axes="(2,)", rhs_axes="(0,)")])
def test_likes_that_do_not_fit(import_node, attributes):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError, match="'node'"):
        import_node("broadcast_like", attributes, (2, 1, 4), (2, 3))

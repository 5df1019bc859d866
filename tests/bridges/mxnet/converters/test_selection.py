"""argmax, topk, sort, pick and gather_nd; oracle: MXNet 1.9.1, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from mrt_torch.errors import InvalidGraphError
from tests.bridges.mxnet.grid_values import compare_halves, compare_on, halves
from tests.bridges.mxnet.oracle import targets


@pytest.mark.parametrize("attributes", [dict(axis=1), dict(axis=-1), dict(axis=2, keepdims=True),
                                        dict(axis=1, keepdims=True)])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_extremes(mxnet, name, attributes):
    """Halves have many ties: the first index wins."""
    module = compare_halves(mxnet, getattr(mxnet.sym, name)(mxnet.sym.var("data"), **attributes), data=(0, 5, 9))
    assert targets(module) == [name, "_to_copy"]


@pytest.mark.parametrize("attributes", [dict(), dict(keepdims=True), dict(axis=0)])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_extremes_of_everything(mxnet, name, attributes):
    symbol = getattr(mxnet.sym, name)(mxnet.sym.var("data"), **attributes)
    compare_on(mxnet, symbol, {"data": halves((4, 6))})
    if not attributes.get("keepdims"):
        compare_on(mxnet, symbol, {"data": halves((7,), seed=4)})


def test_argmax_channel(mxnet):
    compare_halves(mxnet, mxnet.sym.argmax_channel(mxnet.sym.var("data")), data=(0, 9))


def distinct(shape, seed=0):
    """No two equal along any axis: MXNet leaves the order of ties open."""
    return np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["value", "indices", "mask", "both"])
@pytest.mark.parametrize("attributes", [dict(k=3), dict(k=1, axis=1), dict(k=2, axis=1, is_ascend=True), dict(k=0),
                                        dict(k=4, axis=None)])
def test_topk(mxnet, kind, attributes):
    symbol = mxnet.sym.topk(mxnet.sym.var("data"), ret_typ=kind, **attributes)
    batches = [distinct((1, 4, 6))] if attributes.get("axis", -1) is None else [distinct((b, 4, 6), b) for b in (1, 3)]
    compare_on(mxnet, symbol, *({"data": data} for data in batches))


def test_topk_reads_one_of_both(mxnet):
    """Oracle: the part that is read."""
    symbol = mxnet.sym.topk(mxnet.sym.var("data"), ret_typ="both", k=2)[1]
    assert targets(compare_on(mxnet, symbol, {"data": distinct((2, 6))})) == ["topk_indices", "_to_copy"]


@pytest.mark.parametrize("attributes", [dict(), dict(axis=1), dict(is_ascend=False), dict(axis=None)])
@pytest.mark.parametrize("name", ["sort", "argsort"])
def test_sort(mxnet, name, attributes):
    symbol = getattr(mxnet.sym, name)(mxnet.sym.var("data"), **attributes)
    compare_on(mxnet, symbol, {"data": distinct((2, 4, 5))})


def test_topk_of_too_many(import_node):
    """Oracle: MXNet refuses it as well."""
    with pytest.raises(InvalidGraphError, match="k is 4"):
        import_node("topk", dict(k="4"), (2, 3))


def places(shape, length, seed=0, beyond=0):
    return np.random.default_rng(seed).integers(-beyond, length + beyond, shape).astype(np.float32)


def test_batch_take(mxnet):
    symbol = mxnet.sym.batch_take(mxnet.sym.var("data"), mxnet.sym.Cast(mxnet.sym.var("index"), dtype="int32"))
    compare_on(mxnet, symbol, {"data": halves((3, 5)), "index": places((3,), 5)})


@pytest.mark.parametrize("points", [(1, 5), (2, 5), (3, 2, 2)])
def test_gather_nd(mxnet, points):
    symbol = mxnet.sym.gather_nd(mxnet.sym.var("data"), mxnet.sym.var("points"))
    compare_on(mxnet, symbol, {"data": halves((3, 4, 5)), "points": places(points, 3)})


@pytest.mark.parametrize("operator, shapes", [("batch_take", ((2, 3), (3,))), ("gather_nd", ((2, 3), (3, 2)))])
def test_indices_that_do_not_fit(import_node, operator, shapes):
    """Oracle: MXNet's rule on shapes."""
    with pytest.raises(InvalidGraphError):
        import_node(operator, {}, *shapes)

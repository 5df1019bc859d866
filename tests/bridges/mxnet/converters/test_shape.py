"""Changes of shape and order; oracle: MXNet 1.9.1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrt_torch.errors import InvalidFileError, InvalidGraphError
from tests.bridges.mxnet.oracle import compare, renamed, targets


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (0, 6)], ids=str)
def test_flatten_equals_mxnet(mxnet, shape):
    assert targets(compare(mxnet, mxnet.sym.Flatten(mxnet.sym.var("data")), data=shape)) == ["flatten"]


def test_flatten_of_one_axis_equals_mxnet(mxnet):
    compare(mxnet, mxnet.sym.Flatten(mxnet.sym.var("data")), batches=(4,), data=(0,))


@pytest.mark.parametrize("attributes", [
    dict(shape=(0, -1)), dict(shape=(-1, 60)), dict(shape=(0, 0, -3)), dict(shape=(-1, 2, 2, 15)),
    dict(shape=(0, -4, 3, 2, -2)), dict(shape=(0, -4, -1, 2, 0, 0)), dict(shape=(0, -2, 1)),
    dict(shape=(-3, 0, 0)),
    dict(shape=(-1, 0, 0), reverse=True), dict(shape=(-1, 4, 3, 0), reverse=True), dict(shape=(-1,)),
    dict(target_shape=(0, 60)), dict(shape=(-2,)), dict(shape=(0, -3, -2)), dict(shape=(-3, -3)), dict(shape=(2, -1)),
    dict(shape=(-4, -1, 1, -2)), dict(shape=(0, 0, -4, 1, -1, 0)), dict(shape=(0, 0, 0, 5)), dict(shape=(-1, 0)),
    dict(shape=(0, 0, -1, 2, -4, 0), reverse=True), dict(shape=(0, -3, 0), reverse=True), dict(shape=(0, 0, 10)),
], ids=str)
def test_reshape_equals_mxnet(mxnet, attributes):
    module = compare(mxnet, mxnet.sym.Reshape(mxnet.sym.var("data"), **attributes), data=(0, 6, 2, 5))
    assert targets(module) == ["reshape"]


def test_deprecated_target_equals_mxnet(mxnet):
    symbol = mxnet.sym.Reshape(mxnet.sym.var("data"), target_shape=(0, 4, 3), keep_highest=True)
    compare(mxnet, symbol, data=(0, 12))


def test_batch_stays_free_in_a_literal_target(import_node):
    """Oracle: the rule of the importer: axis 0 is the batch. MXNet would refuse another batch."""
    module = import_node("Reshape", dict(shape="(1, 12)"), (1, 3, 4))
    assert tuple(module(torch.zeros(5, 3, 4))[0].shape) == (5, 12)


@pytest.mark.parametrize("attributes", [{}, dict(axes=(0, 2, 3, 1)), dict(axes=(2, 0, 1, 3))], ids=str)
def test_transpose_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.transpose(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4, 5))) == ["permute"]


@pytest.mark.parametrize("axes", [dict(dim1=1, dim2=3), dict(dim1=2, dim2=1), dict(dim1=1), {}], ids=str)
def test_swap_axis_equals_mxnet(mxnet, axes):
    assert targets(compare(mxnet, mxnet.sym.SwapAxis(mxnet.sym.var("data"), **axes),
                           data=(0, 3, 4, 5))) == ["permute"]


@pytest.mark.parametrize("axis", [0, 1, 3, -1, -2])
def test_expand_dims_equals_mxnet(mxnet, axis):
    symbol = mxnet.sym.expand_dims(mxnet.sym.var("data"), axis=axis)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == ["unsqueeze"]


@pytest.mark.parametrize("attributes, batches",
                         [(dict(axis=1), (1, 3)), (dict(axis=(1, -1)), (1, 3)), ({}, (2, 3))],
                         ids=str)
def test_squeeze_equals_mxnet(mxnet, attributes, batches):
    symbol = mxnet.sym.squeeze(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, batches=batches, data=(0, 1, 4, 1))) == ["squeeze"]


def test_squeeze_keeps_a_batch_of_one(import_node):
    """Oracle: the rule of the importer: the example batch must not shape the graph."""
    module = import_node("squeeze", {}, (1, 1, 4))
    assert tuple(module(torch.zeros(3, 1, 4))[0].shape) == (3, 4)
    assert tuple(module(torch.zeros(1, 1, 4))[0].shape) == (1, 4)


def test_squeeze_of_nothing_is_the_input(mxnet):
    symbol = mxnet.sym.exp(mxnet.sym.squeeze(mxnet.sym.var("data")))
    assert targets(compare(mxnet, symbol, batches=(2, 3), data=(0, 3, 4))) == ["exp"]


@pytest.mark.parametrize("attributes", [{}, dict(dim=2), dict(dim=-1)], ids=str)
def test_concat_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.Concat(mxnet.sym.var("a"), mxnet.sym.var("b"), mxnet.sym.var("a"), **attributes)
    axis = attributes.get("dim", 1)
    b = [0, 3, 4]
    b[axis] = 7
    assert targets(compare(mxnet, symbol, a=(0, 3, 4), b=tuple(b))) == ["cat"]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stack_equals_mxnet(mxnet, axis):
    compare(mxnet, mxnet.sym.stack(mxnet.sym.var("a"), mxnet.sym.var("b"), axis=axis), a=(0, 3), b=(0, 3))


@pytest.mark.parametrize("widths",
                         [(0, 0, 0, 0, 1, 2, 3, 4), (0, 0, 0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 1, 0, 0, 0)],
                         ids=str)
@pytest.mark.parametrize("number", [{}, dict(constant_value=-1.5)], ids=str)
def test_pad_equals_mxnet(mxnet, widths, number):
    symbol = mxnet.sym.Pad(mxnet.sym.var("data"), mode="constant", pad_width=widths, **number)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4, 5))) == ["constant_pad_nd"]


def test_pad_of_channels(import_node):
    """Oracle: numpy.pad; MXNet 1.9.1 itself pads spatial axes alone."""
    module = import_node("Pad", dict(mode="constant", pad_width="(0,0,2,1)", constant_value="3"), (1, 4))
    data = np.arange(8, dtype=np.float32).reshape(2, 4)
    expected = np.pad(data, ((0, 0), (2, 1)), constant_values=3)
    np.testing.assert_array_equal(module(torch.from_numpy(data))[0].numpy(), expected)


def test_pad_of_nothing_is_the_input(import_node):
    """Oracle: a border of no width changes nothing."""
    assert targets(import_node("Pad", dict(mode="constant", pad_width="(0,0,0,0)"), (1, 4))) == []


@pytest.mark.parametrize("name, other",
                         [("Flatten", "flatten"), ("Reshape", "reshape"), ("SwapAxis", "swapaxes"),
                          ("Concat", "concat"), ("Pad", "pad")])
def test_other_name_equals_mxnet(mxnet, name, other):
    data = mxnet.sym.var("data")
    symbols = {"Flatten": lambda: mxnet.sym.Flatten(data),
               "Reshape": lambda: mxnet.sym.Reshape(data, shape=(0, -1)),
               "SwapAxis": lambda: mxnet.sym.SwapAxis(data, dim1=1, dim2=2),
               "Concat": lambda: mxnet.sym.Concat(data, data),
               "Pad": lambda: mxnet.sym.Pad(data, mode="constant", pad_width=(0, 0, 0, 0, 1, 1, 0, 0))}
    compare(mxnet, renamed(mxnet, symbols[name](), name, other), data=(0, 3, 4, 5))


@pytest.mark.parametrize("mode", ["edge", "reflect"])
@pytest.mark.parametrize("widths, shape", [
    ((0, 0, 0, 0, 1, 2, 3, 2), (0, 3, 4, 5)), ((0, 0, 0, 0, 0, 0, 0, 1), (0, 3, 4, 5)),
    ((0, 0, 0, 0, 1, 0, 0, 0), (0, 3, 4, 5)), ((0, 0, 0, 0, 1, 2, 2, 1, 0, 1), (0, 2, 3, 4, 3)),
], ids=str)
def test_pad_with_what_is_there_equals_mxnet(mxnet, mode, widths, shape):
    symbol = mxnet.sym.Pad(mxnet.sym.var("data"), mode=mode, pad_width=widths)
    assert targets(compare(mxnet, symbol, data=shape)) == ["pad"]


@pytest.mark.parametrize("operator, attributes", [
    ("Reshape", dict(shape="(0, 7)")), ("Reshape", dict(shape="(-1, -1)")),
    ("Reshape", dict(shape="(0, -4, 5, 2, 0)")),
    ("Reshape", dict(shape="(0, 0, 0, 0)")), ("Reshape", dict(shape="(-5,)")),
    ("transpose", dict(axes="(0, 1, 1)")),
    ("transpose", dict(axes="(0, 1)")), ("squeeze", dict(axis="(1,)")), ("expand_dims", dict(axis="4")),
    ("SwapAxis", dict(dim1="3")), ("Concat", dict(dim="3")),
    ("Pad", dict(mode="constant", pad_width="(0, 0, 1, 1)")),
    ("Pad", dict(mode="reflect", pad_width="(0, 0, 0, 0, 4, 0)")),
])
def test_contradictions_name_the_node(import_node, operator, attributes):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError, match="'node'"):
        import_node(operator, attributes, (1, 6, 4))


def test_concat_of_other_shapes_names_the_node(import_node):
    """Oracle: MXNet refuses it too."""
    with pytest.raises(InvalidGraphError, match="'node'"):
        import_node("Concat", dict(dim="1"), (1, 3, 4), (1, 3, 5))


def test_reshape_without_target(import_node):
    """Oracle: MXNet refuses it too."""
    with pytest.raises(InvalidFileError, match="target_shape"):
        import_node("Reshape", {}, (1, 3))

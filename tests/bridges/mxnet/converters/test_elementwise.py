"""Arithmetic of tensors; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError
from tests.bridges.mxnet.oracle import compare, renamed, targets

SAME_SHAPE = {"elemwise_add": "add", "elemwise_sub": "sub", "elemwise_mul": "mul", "elemwise_div": "div"}
OLD_NAMES = {"_plus": "elemwise_add", "_Plus": "elemwise_add", "_add": "elemwise_add",
             "_minus": "elemwise_sub",
             "_Minus": "elemwise_sub", "_sub": "elemwise_sub", "_mul": "elemwise_mul", "_Mul": "elemwise_mul",
             "_div": "elemwise_div", "_Div": "elemwise_div", "_grad_add": "elemwise_add",
             "_maximum": "elemwise_add",
             "_Maximum": "elemwise_add", "_minimum": "elemwise_add", "_Minimum": "elemwise_add",
             "broadcast_plus": "broadcast_add", "broadcast_minus": "broadcast_sub", "ElementWiseSum": "add_n"}
BROADCAST = {"broadcast_add": "add", "broadcast_sub": "sub", "broadcast_mul": "mul", "broadcast_div": "div",
             "broadcast_maximum": "maximum", "broadcast_minimum": "minimum"}


def pair(mxnet, operator):
    return getattr(mxnet.sym, operator)(mxnet.sym.var("a"), mxnet.sym.var("b"))


@pytest.mark.parametrize("operator", SAME_SHAPE)
def test_same_shape_equals_mxnet(mxnet, operator):
    module = compare(mxnet, pair(mxnet, operator), a=(0, 3, 4), b=(0, 3, 4))
    assert targets(module) == [SAME_SHAPE[operator]]


@pytest.mark.parametrize("old", OLD_NAMES)
def test_old_name_equals_mxnet(mxnet, old):
    """MXNet reads the same file."""
    symbol = renamed(mxnet, pair(mxnet, OLD_NAMES[old]), OLD_NAMES[old], old)
    compare(mxnet, symbol, a=(0, 3, 4), b=(0, 3, 4))


@pytest.mark.parametrize("operator", BROADCAST)
@pytest.mark.parametrize("b", [(0, 3, 4), (0, 3, 1), (0, 1, 1)], ids=str)
def test_broadcast_equals_mxnet(mxnet, operator, b):
    module = compare(mxnet, pair(mxnet, operator), a=(0, 3, 4), b=b)
    assert targets(module) == [BROADCAST[operator]]


def test_broadcast_with_a_parameter_equals_mxnet(mxnet):
    symbol = mxnet.sym.broadcast_mul(mxnet.sym.var("a"), mxnet.sym.var("scale", shape=(1, 3, 1)))
    compare(mxnet, symbol, a=(0, 3, 4))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_sum_of_many_equals_mxnet(mxnet, count):
    names = [f"x{position}" for position in range(count)]
    symbol = mxnet.sym.add_n(*(mxnet.sym.var(name) for name in names))
    module = compare(mxnet, symbol, **{name: (0, 3, 4) for name in names})
    assert targets(module) == ["add"] * (count - 1)


@pytest.mark.parametrize("operator, target", [("negative", "neg"), ("abs", "abs"), ("square", "mul")])
def test_one_tensor_equals_mxnet(mxnet, operator, target):
    symbol = getattr(mxnet.sym, operator)(mxnet.sym.var("data"))
    assert targets(compare(mxnet, symbol, data=(0, 3, 4))) == [target]


def test_same_tensor_twice_equals_mxnet(mxnet):
    data = mxnet.sym.var("data")
    compare(mxnet, mxnet.sym.elemwise_add(data, data), data=(0, 3, 4))


def test_broadcast_adds_axes(mxnet):
    """Oracle: MXNet, which aligns shapes on the right."""
    data = mxnet.sym.var("data")
    compare(mxnet, mxnet.sym.broadcast_add(data, mxnet.sym.sum(data, axis=0)), data=(2, 3, 4))


@pytest.mark.parametrize("operator, b", [
    ("elemwise_add", (1, 1, 4)), ("broadcast_add", (1, 2, 4)), ("broadcast_add", (2, 4)),
    ("add_n", (1, 3, 1)),
])
def test_shapes_that_do_not_fit(import_node, operator, b):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError, match="shapes"):
        import_node(operator, {}, (1, 3, 4), b)

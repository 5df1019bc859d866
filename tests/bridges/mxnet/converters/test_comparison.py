"""Comparisons, logical operators and where; oracle: MXNet 1.9.1, exactly, on values that meet."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol_file import parse_symbol
from mrt_torch.errors import InvalidGraphError
from tests.bridges.mxnet.grid_values import compare_halves, halves
from tests.bridges.mxnet.oracle import input_order, renamed, targets

NAMES = {"greater": "gt", "greater_equal": "ge", "lesser": "lt", "lesser_equal": "le", "equal": "eq", "not_equal": "ne"}
OLD = {"_greater": "_Greater", "_greater_equal": "_Greater_Equal", "_lesser": "_Lesser",
       "_lesser_equal": "_Lesser_Equal", "_equal": "_Equal", "_not_equal": "_Not_Equal"}
OLD_SCALAR = {"_greater_scalar": "_GreaterScalar", "_greater_equal_scalar": "_GreaterEqualScalar",
              "_lesser_scalar": "_LesserScalar", "_lesser_equal_scalar": "_LesserEqualScalar",
              "_equal_scalar": "_EqualScalar", "_not_equal_scalar": "_NotEqualScalar"}
A, B = halves((2, 3, 4), seed=1), halves((2, 1, 4), seed=2)
SHAPES = [((0, 3, 4), (0, 3, 4)), ((0, 3, 4), (0, 1, 4)), ((0, 1, 4), (0, 3, 1)), ((0, 5), (0, 1))]


def variables(mx):
    return mx.sym.var("data"), mx.sym.var("other")


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_broadcasting_comparisons(mxnet, name, shapes):
    symbol = getattr(mxnet.sym, f"broadcast_{name}")(*variables(mxnet))
    module = compare_halves(mxnet, symbol, data=shapes[0], other=shapes[1])
    assert targets(module) == [NAMES[name], "_to_copy"]


@pytest.mark.parametrize("name", NAMES)
def test_comparisons_of_one_shape(mxnet, name):
    for operator in (f"_{name}", OLD[f"_{name}"]):
        symbol = renamed(mxnet, mxnet.sym.elemwise_add(*variables(mxnet)), "elemwise_add", operator)
        compare_halves(mxnet, symbol, data=(0, 3, 4), other=(0, 3, 4))


def test_one_shape_is_not_broadcast(import_node):
    """Oracle: MXNet's rule that these take equal shapes."""
    with pytest.raises(InvalidGraphError, match="shapes"):
        import_node("_greater", {}, (2, 3), (2, 1))


@pytest.mark.parametrize("number", [0, 1.5, -1, 2.25, 1e18, -3])
@pytest.mark.parametrize("name", NAMES)
def test_comparisons_with_a_number(mxnet, name, number):
    for operator in (f"_{name}_scalar", OLD_SCALAR[f"_{name}_scalar"]):
        symbol = renamed(mxnet, mxnet.sym.var("data") + number, "_plus_scalar", operator)
        compare_halves(mxnet, symbol, data=(0, 3, 4))


@pytest.mark.parametrize("name", ["and", "or", "xor"])
def test_logic(mxnet, name):
    """Anything but 0 is true, fractions and negative numbers too."""
    data, other = variables(mxnet)
    compare_halves(mxnet, getattr(mxnet.sym, f"broadcast_logical_{name}")(data, other), data=(0, 3, 4), other=(0, 1, 4))
    compare_halves(mxnet, getattr(mxnet.sym, f"broadcast_logical_{name}")(data > 1, other < 1),
                   data=(0, 3, 4), other=(0, 3, 4))
    compare_halves(mxnet, renamed(mxnet, mxnet.sym.elemwise_add(data, other), "elemwise_add", f"_logical_{name}"),
                   data=(0, 3, 4), other=(0, 3, 4))


@pytest.mark.parametrize("number", [0, 2, -0.5])
@pytest.mark.parametrize("name", ["and", "or", "xor"])
def test_logic_with_a_number(mxnet, name, number):
    symbol = renamed(mxnet, mxnet.sym.var("data") + number, "_plus_scalar", f"_logical_{name}_scalar")
    compare_halves(mxnet, symbol, data=(0, 3, 4))


def test_logical_not(mxnet):
    module = compare_halves(mxnet, mxnet.sym.logical_not(mxnet.sym.var("data")), data=(0, 3, 4))
    assert targets(module) == ["ne", "logical_not", "_to_copy"]


@pytest.mark.parametrize("condition", [(0, 3, 4), (0,)])
def test_where(mxnet, condition):
    """The condition has the shape of the choices, or chooses along axis 0."""
    x, y = variables(mxnet)
    symbol = mxnet.sym.where(mxnet.sym.var("condition"), x, y)
    compare_halves(mxnet, symbol, condition=condition, data=(0, 3, 4), other=(0, 3, 4))


def test_where_reads_the_truth_value_behind_a_comparison(mxnet):
    data, other = variables(mxnet)
    module = compare_halves(mxnet, mxnet.sym.where(data > other, data, other * 3), data=(0, 3), other=(0, 3))
    assert targets(module) == ["gt", "mul", "where"]


def test_where_with_constants(mxnet):
    """A mask among the parameters, whose first axis is not the batch."""
    x, y = variables(mxnet)
    symbol = mxnet.sym.where(mxnet.sym.var("mask", shape=(3, 4)), x, y)
    params = {"mask": (halves((3, 4), seed=5) > 0).astype(np.float32), "other": halves((3, 4), seed=6)}
    compare_halves(mxnet, symbol, batches=(3,), params=params, data=(0, 4))


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3), (2, 4)), ((3,), (2, 3), (2, 3)), ((2, 1), (2, 3), (2, 3))])
def test_where_that_does_not_fit(import_node, shapes):
    """Oracle: MXNet's rule on shapes."""
    with pytest.raises(InvalidGraphError):
        import_node("where", {}, *shapes)


@pytest.mark.parametrize("name", ["where", "where with a number", "number where", "comparisons"])
def test_numpy_interface(mxnet, name):
    """mx.sym.np broadcasts all three. Oracle: numpy, which MXNet's interface follows."""
    x, y = (variable.as_np_ndarray() for variable in variables(mxnet))
    cases = {
        "where": (lambda w: w(x > y, x, y), np.where(A > B, A, B)),
        "where with a number": (lambda w: w(x <= 1, x, 2.5), np.where(A <= 1, A, 2.5)),
        "number where": (lambda w: w(x == y, -2.5, y), np.where(A == B, -2.5, B)),
        "comparisons": (lambda w: w(x >= y, w(x < y, x, y), w(x != 1, y, x)),
                        np.where(A >= B, B, np.where(A != 1, B, A))),
    }
    build, expected = cases[name]
    symbol = build(mxnet.sym.np.where)
    given = {"data": torch.from_numpy(A), "other": torch.from_numpy(B)}
    shapes = {key: given[key].shape for key in symbol.list_arguments()}
    module = import_symbol(parse_symbol(symbol.tojson()), {}, shapes)
    assert np.array_equal(module(*(given[key] for key in input_order(module)))[0].numpy(), expected)

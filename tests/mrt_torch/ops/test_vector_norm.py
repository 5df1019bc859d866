"""Norms against torch in float64."""

from __future__ import annotations

import math

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.passes import validate
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    aten,
    draw,
    integer_model,
    operators,
    relative_error,
    rewritten,
    unary,
)

NORM = aten.linalg_vector_norm.default


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("order", [1, 2, math.inf, 2.0])
@pytest.mark.parametrize("shape, axes", [((2, 3, 4), [2]), ((2, 3, 4), [1]), ((2, 3, 4, 5), [1, 3]),
                                         ((2, 3, 4), [1, 2]), ((3, 1, 4), [-1]), ((2, 3, 1), [1])])
def test_orders_and_axes(order, shape, axes, keepdim):
    """Oracle: torch. Bound: 0.3 % for order 2, the docstring's; order 1 sums 16 bits, infinity is exact."""
    module, x = unary(NORM, order, axes, keepdim, shape=shape), draw(*shape)
    assert_same_values(module, rewritten(module), x)
    model = integer_model(module, x, input_precision=16)
    assert relative_error(model(x), module(x)[0]) < 0.003
    assert torch.equal(model(torch.zeros_like(x)), torch.zeros_like(module(x)[0]))


@pytest.mark.parametrize("length", [1, 2, 100, 1009, 4096])
@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 1e4])
def test_rows_of_all_sizes(length, magnitude):
    """Each row by itself is within 0.5 %, down to a thousandth of the largest. Oracle: torch."""
    x = draw(4, length) * magnitude * torch.tensor([[1.0], [0.1], [0.01], [0.001]], dtype=torch.float64)
    model = integer_model(unary(NORM, 2, [1], True, shape=x.shape), x, input_precision=24)
    expected = x.norm(dim=1, keepdim=True)
    assert float(((model(x) - expected).abs() / expected).max()) < 0.005


def test_operators():
    """Order 2 along the last axis is what stays; the others become a sum or a maximum."""
    assert_untouched(unary(NORM, 2, [2], True, shape=(2, 3, 4)), draw(2, 3, 4))
    assert operators(rewritten(unary(NORM, 1, [2], True))) == ["abs", "sum"]
    assert operators(rewritten(unary(NORM, math.inf, [2], False))) == ["abs", "amax"]


@pytest.mark.parametrize("arguments, reason", [
    ((3, [1], True), "its order is 3.0"), ((2, [0], True), "the batch axis"), ((2, None, True), "the batch axis"),
    ((0, [1], True), "its order is 0.0")])
def test_refusals(arguments, reason):
    """Oracle: the limits of the operator table."""
    with pytest.raises(UnsupportedOperatorError, match=reason):
        validate(unary(NORM, *arguments, shape=(2, 3)))


def test_operations():
    """Three for each input element."""
    node = next(n for n in unary(NORM, 2, [1], shape=(2, 3)).graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 18

"""Adaptive average pooling, against torch's own in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_within,
    aten,
    draw,
    integer_model,
    operators,
    rewritten,
    unary,
)

X = draw(2, 3, 7, 8)


def pooling(size, shape=X.shape):
    return unary(aten.adaptive_avg_pool2d.default, size, shape=shape)


@pytest.mark.parametrize("size, expected", [([1, 1], ["mean"]), ([2, 3], ["conv2d"]), ([6, 3], ["conv2d"]),
                                            ([6, 9], []), ([1, 3], ["conv2d"])])
def test_equal_windows(size, expected):
    """Oracle: torch's adaptive_avg_pool2d; 1e-12 for the order of sums."""
    module, x = pooling(size, (2, 3, 6, 9)), draw(2, 3, 6, 9)
    assert operators(rewritten(module)) == expected
    assert_same_values(module, rewritten(module), x)


@pytest.mark.parametrize("size", [[4, 3], [7, 3], [3, 4], [1, 5], [14, 3], [9, 16]])
def test_unequal_windows(size):
    """Sums over slices, or over blocks where one axis divides, times 1 / count; also sizes beyond the input's."""
    module = pooling(size)
    after = rewritten(module)
    assert operators(after)[-1] == "mul" and set(operators(after)) <= {"slice", "sum", "cat", "reshape", "mul"}
    assert_same_values(module, after, X)
    assert_same_values(module, after, draw(5, 3, 7, 8))


@settings(deadline=None, max_examples=30)
@given(extents=st.tuples(st.integers(1, 9), st.integers(1, 9)), size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_any_size(extents, size):
    """Oracle: torch."""
    module, x = pooling(list(size), (2, 2, *extents)), draw(2, 2, *extents)
    assert_same_values(module, rewritten(module), x)


@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize("size", [[4, 3], [3, 4], [14, 3]])
def test_quantized_unequal_windows(size, magnitude):
    """Oracle: torch on the quantized input. The sums are exact; the shares are off by half a unit of their 15 bits."""
    x = X * magnitude
    model = integer_model(pooling(size), x)
    assert_within(model(x), aten.adaptive_avg_pool2d.default(model.seen(x), size), magnitude * 2 ** -14)
    assert torch.equal(model(x[:1]), model(x)[:1])


def test_quantized_global_average_pooling_is_exact():
    """A sum whose scale is multiplied by the count: nothing is rounded but the division of floats."""
    model = integer_model(pooling([1, 1]), X)
    assert torch.allclose(model(X), model.seen(X).mean((2, 3), keepdim=True), rtol=1e-12, atol=1e-15)


def test_refusals():
    with pytest.raises(UnsupportedOperatorError, match="the input has 3 axes, expected 4"):
        prepare(pooling([1, 1], (3, 7, 8)))


def test_operations():
    """mrt-core 8: one for each element that is summed, and one for each mean."""
    node = next(n for n in pooling([1, 1]).graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 2 * 3 * 57

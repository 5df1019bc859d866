"""Pooling in every variant, against torch's own pooling in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    assert_within,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    rewritten,
    unary,
)

X = draw(2, 3, 7, 8)
GEOMETRIES = [  # kernel, stride, padding
    ([2, 2], [2, 2], [0, 0]), ([3, 3], [2, 2], [1, 1]), ([3, 2], [2, 3], [1, 0]), ([3, 3], [3, 3], [0, 0]),
    ([2, 2], [], [0, 0]), ([4, 5], [3, 2], [2, 1]), ([1, 1], [2, 2], [0, 0]), ([7, 8], [7, 8], [0, 0]),
    ([3], [2], [1]), ([7, 8], [1, 1], [2, 3])]


def node_of(module):
    return next(n for n in module.graph.nodes if n.op == "call_function")


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("divisor", [None, 5, -2])
def test_average_pooling_variants(geometry, ceil_mode, count_include_pad, divisor):
    """MRT defect 1: count_include_pad and ceil_mode are honoured. Oracle: torch; 1e-12 for the order of sums."""
    module = unary(aten.avg_pool2d.default, *geometry, ceil_mode, count_include_pad, divisor, shape=X.shape)
    after = rewritten(module)
    assert set(operators(after)) <= {"conv2d", "mul", "mean"}
    assert_same_values(module, after, X)
    assert_same_values(module, after, draw(5, 3, 7, 8))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_average_pooling(data):
    """Oracle: torch, for odd extents, kernels, strides and paddings."""
    extents = [data.draw(st.integers(1, 9)) for _ in range(2)]
    kernel = [data.draw(st.integers(1, 5)) for _ in range(2)]
    stride = [data.draw(st.integers(1, 6)) for _ in range(2)]
    padding = [data.draw(st.integers(0, k // 2)) for k in kernel]
    ceil_mode = data.draw(st.booleans())
    assume(ceil_mode or all(k <= e + 2 * p for k, e, p in zip(kernel, extents, padding, strict=True)))
    assume(all((e + 2 * p - k) // s + 1 + ceil_mode > 0 for e, p, k, s in zip(extents, padding, kernel, stride)))
    x = draw(2, 2, *extents)
    try:
        aten.avg_pool2d.default(x, kernel, stride, padding, ceil_mode)
    except RuntimeError:  # torch finds the output too small
        assume(False)
    arguments = (kernel, stride, padding, ceil_mode, data.draw(st.booleans()))
    module = unary(aten.avg_pool2d.default, *arguments, shape=x.shape)
    assert_same_values(module, rewritten(module), x)


@pytest.mark.parametrize("arguments", [([7, 8],), ([7, 8], [3, 3]), ([7, 8], [1, 1], [0, 0], True)])
def test_one_window_over_everything_is_a_mean(arguments):
    module = unary(aten.avg_pool2d.default, *arguments, shape=X.shape)
    assert operators(rewritten(module)) == ["mean"]
    assert_same_values(module, rewritten(module), X)


@pytest.mark.parametrize("arguments", [([7, 7],), ([7, 8], [7, 8], [1, 1]), ([7, 8], [7, 8], [0, 0], False, True, 3)])
def test_near_misses_are_no_mean(arguments):
    module = unary(aten.avg_pool2d.default, *arguments, shape=X.shape)
    assert operators(rewritten(module)) == ["conv2d"]
    assert_same_values(module, rewritten(module), X)


@pytest.mark.parametrize("arguments", [
    ([2, 2], [2, 2]), ([3, 3], [2, 2], [1, 1]), ([3, 3], [2, 2], [1, 1], True, False),
    ([3, 2], [2, 3], [1, 0], True, True), ([3, 3], [1, 1], [1, 1], False, False, 5)])
def test_quantized_average_pooling(arguments):
    """Oracle: torch on the quantized input. Equal weights are exact in 8 bits; what a constant map of shares costs is
    half a unit of its 15 bits and of the 16 bits of the sums."""
    model = integer_model(unary(aten.avg_pool2d.default, *arguments, shape=X.shape), X)
    assert_within(model(X), aten.avg_pool2d.default(model.seen(X), *arguments), 2 ** -14)


@pytest.mark.parametrize("geometry", GEOMETRIES[:8])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_quantized_max_pooling_is_exact(geometry, ceil_mode):
    """Oracle: torch's max_pool2d of the quantized input. (MRT defect 12: the pool type is read.)"""
    arguments = (*geometry, [1, 1], ceil_mode)
    model = integer_model(unary(aten.max_pool2d.default, *arguments, shape=X.shape), X)
    assert torch.equal(model(X), aten.max_pool2d.default(model.seen(X), *arguments))
    assert set(operators(model.module)) == {"max_pool2d"}


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_max_pooling_in_ceil_mode(data):
    """Oracle: torch, which drops a last window that starts in the padding and lets one exceed a small input."""
    extents = [data.draw(st.integers(1, 8)) for _ in range(2)]
    kernel = [data.draw(st.integers(1, 5)) for _ in range(2)]
    stride = [data.draw(st.integers(1, 5)) for _ in range(2)]
    padding = [data.draw(st.integers(0, k // 2)) for k in kernel]
    arguments = (kernel, stride, padding, [1, 1], True)
    x = draw(2, 2, *extents)
    try:
        aten.max_pool2d.default(x, *arguments)
    except RuntimeError:  # torch finds the output too small
        assume(False)
    model = integer_model(unary(aten.max_pool2d.default, *arguments, shape=x.shape), x)
    assert torch.equal(model(x), aten.max_pool2d.default(model.seen(x), *arguments))


def test_axes_that_round_differently_are_pooled_one_by_one():
    """Extent 7 drops its last window, extent 8 keeps it. Oracle: torch."""
    arguments = ([2, 3], [2, 2], [1, 1], [1, 1], True)
    model = integer_model(unary(aten.max_pool2d.default, *arguments, shape=X.shape), X)
    assert operators(model.module) == ["max_pool2d", "max_pool2d"]
    assert torch.equal(model(X), aten.max_pool2d.default(model.seen(X), *arguments))


def test_negative_values_win_against_padding():
    x = -X.abs() - 0.1
    model = integer_model(unary(aten.max_pool2d.default, [3, 3], [2, 2], [1, 1], shape=X.shape), x)
    assert torch.equal(model(x), aten.max_pool2d.default(model.seen(x), [3, 3], [2, 2], [1, 1]))
    assert (model(x) < 0).all()


DILATED = [  # kernel, stride, padding, dilation
    ([2, 2], [1, 1], [0, 0], [2, 2]), ([3, 3], [1, 1], [1, 1], [2, 3]), ([3, 2], [2, 3], [1, 1], [2, 4]),
    ([3, 3], [2, 2], [0, 1], [1, 2]), ([2, 3], [2, 2], [1, 1], [3, 1]), ([1, 2], [1, 2], [0, 0], [5, 3])]


@pytest.mark.parametrize("arguments", DILATED)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_dilated_max_pooling_is_exact(arguments, ceil_mode):
    """As maxima of slices. Oracle: torch on the quantized input."""
    for x in (X, -X.abs() - 0.1):
        model = integer_model(unary(aten.max_pool2d.default, *arguments, ceil_mode, shape=X.shape), x)
        assert torch.equal(model(x), aten.max_pool2d.default(model.seen(x), *arguments, ceil_mode))
        assert "max_pool2d" not in operators(model.module)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_dilated_max_pooling(data):
    """Oracle: torch. What is refused has windows for which torch gives minus infinity."""
    pair = lambda low, high: [data.draw(st.integers(low, high)) for _ in range(2)]  # noqa: E731
    extents, kernel, stride, dilation = pair(2, 9), pair(1, 4), pair(1, 4), pair(1, 4)
    padding = [data.draw(st.integers(0, k // 2)) for k in kernel]
    arguments, x = (kernel, stride, padding, dilation, data.draw(st.booleans())), draw(2, 2, *extents)
    try:
        expected = aten.max_pool2d.default(x, *arguments)
    except RuntimeError:  # torch finds the output too small
        assume(False)
    module = unary(aten.max_pool2d.default, *arguments, shape=x.shape)
    if not bool(expected.isfinite().all()):
        with pytest.raises(UnsupportedOperatorError, match="nothing but padding"):
            prepare(module)
        return
    model = integer_model(module, x)
    assert torch.equal(model(x), aten.max_pool2d.default(model.seen(x), *arguments))


def test_max_pooling_is_not_rewritten():
    assert_untouched(unary(aten.max_pool2d.default, [2, 2], shape=X.shape), X)


@pytest.mark.parametrize("target, arguments, shape, reason", [
    (aten.max_pool2d.default, ([2, 2], [1, 1], [1, 1], [1, 3]), (2, 3, 7, 2), "reads nothing but padding"),
    (aten.max_pool2d.default, ([2, 2],), (3, 7, 8), "the input has 3 axes, expected 4"),
    (aten.avg_pool2d.default, ([2, 2],), (3, 7, 8), "the input has 3 axes, expected 4")])
def test_refusals(target, arguments, shape, reason):
    with pytest.raises(UnsupportedOperatorError, match=reason):
        prepare(unary(target, *arguments, shape=shape))


@pytest.mark.parametrize("target, arguments, expected", [
    (aten.max_pool2d.default, ([3, 2], [2, 2]), 2 * 3 * 3 * 4 * 6),
    (aten.avg_pool2d.default, ([3, 2], [2, 2]), 2 * 3 * 3 * 4 * 7)])
def test_operations(target, arguments, expected):
    """mrt-core 8: out * kernel elements, and one more for an average."""
    assert apply_pass("calculate_ops", node_of(unary(target, *arguments, shape=X.shape))) == expected


def test_float32_kernels_keep_their_type():
    module = graph(lambda e, x: e.call(aten.avg_pool2d.default, x, [3, 3], [2, 2], [1, 1], True, False), X.shape,
                   dtype=torch.float32)
    assert_same_values(module, rewritten(module), X.float(), tolerance=1e-6)  # float32 sums in another order

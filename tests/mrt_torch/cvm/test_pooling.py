"""max_pool2d and upsampling against plain loops over Python integers."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS
from mrt_torch.errors import InvalidArgumentError
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, integers, limits, run


def pool(x, pool_size, strides, padding, ceil_mode):
    """Maximum of the elements that lie inside the data, window by window; None where the runtime refuses."""
    n, c, *extent = x.shape
    counts = []
    for size, k, s, p in zip(extent, pool_size, strides, padding):
        if not p < k <= size + 2 * p:
            return None
        count = (size + 2 * p - k + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s - p >= size:
            return None
        counts.append(count)
    values, result = x.tolist(), []
    for i, j, a, b in itertools.product(range(n), range(c), range(counts[0]), range(counts[1])):
        rows = range(a * strides[0] - padding[0], a * strides[0] - padding[0] + pool_size[0])
        columns = range(b * strides[1] - padding[1], b * strides[1] - padding[1] + pool_size[1])
        result.append(max(values[i][j][r][q] for r in rows for q in columns
                          if 0 <= r < extent[0] and 0 <= q < extent[1]))
    return torch.tensor(result).view(n, c, *counts)


def two(low, high):
    return st.lists(st.integers(low, high), min_size=2, max_size=2)


@settings(deadline=None, max_examples=100)
@given(two(1, 7), two(1, 4), two(1, 3), two(0, 3), st.booleans(), st.integers(0, 99))
def test_max_pool2d_is_the_definition(extent, pool_size, strides, padding, ceil_mode, seed):
    x = integers((2, 2, *extent), -2 ** 31 + 1, -1, seed)
    attributes = {"pool_size": pool_size, "strides": strides, "padding": padding, "ceil_mode": ceil_mode}
    expected = pool(x, **attributes)
    if expected is None:
        with pytest.raises(InvalidArgumentError):
            OPERATORS["max_pool2d"].output_shape([tuple(x.shape)], attributes)
        return
    assert run("max_pool2d", x, **attributes).tolist() == expected.tolist()
    assert_range_holds("max_pool2d", x, **attributes)


def test_ceil_mode_adds_an_overhanging_window():
    x = integers((1, 1, 6, 6))
    attributes = {"pool_size": [3, 3], "strides": [2, 2], "padding": [0, 0]}
    assert run("max_pool2d", x, ceil_mode=False, **attributes).shape == (1, 1, 2, 2)
    expected = pool(x, ceil_mode=True, **attributes)
    assert run("max_pool2d", x, ceil_mode=True, **attributes).tolist() == expected.tolist()


def test_one_element_of_padding_stands_for_both_axes():
    x = integers((1, 1, 6, 6))
    attributes = {"pool_size": [3, 3], "strides": [2, 2], "ceil_mode": False}
    one, two_ = (run("max_pool2d", x, padding=p, **attributes) for p in ([1], [1, 1]))
    assert torch.equal(one, two_)
    call = call_on("max_pool2d", x, padding=[1], **attributes)
    assert OPERATORS["max_pool2d"].write_attributes(call) == {
        "pool_size": "(3, 3)", "strides": "(2, 2)", "padding": "(1, 1)", "layout": "NCHW",
        "ceil_mode": "False"}


def test_limits_and_cost():
    x = integers((1, 1, 9000, 2))
    attributes = {"pool_size": [5000, 2], "strides": [4097, 1], "padding": [4500, 0], "ceil_mode": False}
    assert "padding 4500" in limits("max_pool2d", x, **attributes)
    assert "strides 4097" in limits("max_pool2d", x, **attributes)
    attributes = {**attributes, "strides": [4096, 1], "padding": [4096, 0]}
    assert not limits("max_pool2d", x, **attributes)
    assert OPERATORS["max_pool2d"].unit_cost(call_on("max_pool2d", x, **attributes)) == 10000


def test_other_layouts_are_malformed():
    row = OPERATORS["max_pool2d"]
    assert row.read_attributes({"pool_size": "(2, 3)"}) == {
        "pool_size": [2, 3], "strides": [1, 1], "padding": [0, 0], "ceil_mode": False}
    with pytest.raises(Exception, match="expected 'NCHW'"):
        row.read_attributes({"pool_size": "(2, 3)", "layout": "NHWC"})


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), two(1, 4), st.integers(0, 99))
def test_upsampling_is_the_definition(scale, extent, seed):
    x = integers((2, 2, *extent), seed=seed)
    values = x.tolist()
    expected = [[[[values[n][c][i // scale][j // scale] for j in range(extent[1] * scale)]
                  for i in range(extent[0] * scale)] for c in range(2)] for n in range(2)]
    assert run("upsampling", x, scale=scale).tolist() == expected
    assert_range_holds("upsampling", x, tight=True, scale=scale)


def test_upsampling_limits():
    x = integers((1, 1, 1, 1))
    assert not limits("upsampling", x, scale=4096)
    assert "scale 4097" in limits("upsampling", x, scale=4097)
    with pytest.raises(InvalidArgumentError):
        OPERATORS["upsampling"].output_shape([(1, 2, 3)], {"scale": 2})

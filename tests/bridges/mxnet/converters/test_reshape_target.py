"""The special numbers of Reshape; oracle: MXNet 1.9.1, and the examples of its documentation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.mxnet.converters.reshape_target import free_target, infer_reshape


@pytest.mark.parametrize("shape, target, expected", [
    ((2, 3, 4), (4, 0, 2), (4, 3, 2)), ((2, 3, 4), (2, 0, 0), (2, 3, 4)), ((2, 3, 4), (6, 1, -1), (6, 1, 4)),
    ((2, 3, 4), (3, -1, 8), (3, 1, 8)), ((2, 3, 4), (-1,), (24,)), ((2, 3, 4), (-2,), (2, 3, 4)),
    ((2, 3, 4), (2, -2), (2, 3, 4)), ((2, 3, 4), (-2, 1, 1), (2, 3, 4, 1, 1)), ((2, 3, 4), (-3, 4), (6, 4)),
    ((2, 3, 4, 5), (-3, -3), (6, 20)), ((2, 3, 4), (0, -3), (2, 12)), ((2, 3, 4), (-3, -2), (6, 4)),
    ((2, 3, 4), (-4, 1, 2, -2), (1, 2, 3, 4)), ((2, 3, 4), (2, -4, -1, 3, -2), (2, 1, 3, 4)),
])
def test_documented_examples(shape, target, expected):
    assert infer_reshape(shape, target, reverse=False) == expected


@pytest.mark.parametrize("reverse, expected", [(False, (40, 5)), (True, (50, 4))])
def test_documented_example_of_reverse(reverse, expected):
    assert infer_reshape((10, 5, 4), (-1, 0), reverse) == expected


_SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)
_SPLITS = st.sampled_from([[-4, 1, 2], [-4, 2, -1], [-4, -1, 1], [1, 2, -4], [-1, 2, -4]])
_TARGETS = st.lists(st.one_of(st.integers(-3, 4).map(lambda number: [number]), _SPLITS), min_size=1,
                    max_size=5)


@pytest.mark.parametrize("shape, target, reverse, expected", [
    ((2, 3, 1, 2), (-4, 1, 2, -1, 0), False, (1, 2, 1, 6)), ((4, 4, 1), (1, -2, -1), False, (1, 4, 4, 1)),
    ((2, 6), (0, 3, -1, -4), True, (2, 3, 2)),
])
def test_undocumented_cases_equal_mxnet(mxnet, shape, target, reverse, expected):
    assert infer_mxnet(mxnet, shape, target, reverse) == expected
    assert infer_reshape(shape, target, reverse) == expected


def test_any_target_equals_mxnet(mxnet):
    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(shape=_SHAPES, groups=_TARGETS, reverse=st.booleans())
    def check(shape, groups, reverse):
        target = [number for group in groups for number in group]
        try:
            result = infer_reshape(shape, target, reverse)
        except ValueError:
            if -4 not in target:  # MXNet may divide by zero in a wrong split, which ends the process
                expected = infer_mxnet(mxnet, shape, target, reverse)
                assert expected is None or math.prod(expected) != math.prod(shape)
        else:
            assert result == infer_mxnet(mxnet, shape, target, reverse)
    check()


def infer_mxnet(mxnet, shape, target, reverse):
    """The shape MXNet gives, None when it refuses; it does not compare sizes before it runs."""
    symbol = mxnet.sym.Reshape(mxnet.sym.var("data"), shape=tuple(target), reverse=reverse)
    try:
        return symbol.infer_shape(data=tuple(shape))[1][0]
    except mxnet.MXNetError:
        return None


@pytest.mark.parametrize("shape, free, target, expected", [
    ((1, 3, 4), 0, (1, -1), [-1, 12]),       # written for one sample: it names the batch
    ((3, 3, 4), 0, (1, -1), [1, -1]),        # with three samples it does not: MXNet merges them
    ((1, 3, 4), 0, (1, 12), [-1, 12]), ((5, 3, 4), 0, (5, 12), [-1, 12]), ((5, 3, 4), 0, (-1, 3, 4), [-1, 3, 4]),
    ((6, 1, 4), 1, (6, 4), [6, -1]), ((6, 1, 4), 1, (6, 1, 4), [6, -1, 4]), ((6, 2, 4), 1, (12, 4), [-1, 4]),
    ((6, 1), 1, (6,), [-1]), ((12, 4), 0, (-4, 6, -1, 0), [6, -1, 4]), ((12, 4), 0, (-4, -1, 6, 0), [-1, 6, 4]),
    ((3, 4), None, (-1, 2), [6, 2]), ((3, 4), None, (0, 2, -1), [3, 2, 2]),
])
def test_axis_that_follows_the_batch(shape, free, target, expected):
    """Oracle: where the elements of one sample come to lie, by hand."""
    assert free_target(shape, free, target, False) == expected

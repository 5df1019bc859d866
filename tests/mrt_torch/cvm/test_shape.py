"""flatten, reshape, squeeze, expand_dims and transpose against row-major order in plain Python."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS
from mrt_torch.cvm.shape import resolve_shape
from mrt_torch.errors import InvalidArgumentError
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, integers, run

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def assert_same_order(result, x, shape):
    assert tuple(result.shape) == tuple(shape)
    assert result.reshape(-1).tolist() == x.reshape(-1).tolist()


@pytest.mark.parametrize(("shape", "flat"), [((2, 3, 4), (2, 12)), ((5,), (5, 1)), ((2, 3), (2, 3)),
                                             ((1, 2, 3, 4), (1, 24))])
def test_flatten(shape, flat):
    x = integers(shape)
    assert_same_order(run("flatten", x), x, flat)
    assert_range_holds("flatten", x, tight=True)


# Source, target, result: the examples of the runtime's own documentation, and one of each code.
@pytest.mark.parametrize(("source", "target", "result"), [
    ((2, 3, 4), (4, 0, 2), (4, 3, 2)), ((2, 3, 4), (2, 0, 0), (2, 3, 4)), ((2, 3, 4), (6, 1, -1), (6, 1, 4)),
    ((2, 3, 4), (3, -1, 8), (3, 1, 8)), ((2, 3, 4), (-1,), (24,)), ((2, 3, 4), (-2,), (2, 3, 4)),
    ((2, 3, 4), (2, -2), (2, 3, 4)), ((2, 3, 4), (-2, 1, 1), (2, 3, 4, 1, 1)), ((2, 3, 4), (-3, 4), (6, 4)),
    ((2, 3, 4, 5), (-3, -3), (6, 20)), ((2, 3, 4), (0, -3), (2, 12)), ((2, 3, 4), (-3, -2), (6, 4)),
    ((2, 3, 4), (-4, 1, 2, -2), (1, 2, 3, 4)), ((2, 3, 4), (2, -4, -1, 3, -2), (2, 1, 3, 4)),
    ((2, 3, 4), (-1, 0, 2), (4, 3, 2)), ((6,), (-4, 2, -1), (2, 3)), ((2, 3), (-5, 3, -7, 2), (3, 2))])
def test_reshape_codes(source, target, result):
    assert resolve_shape(source, target) == result
    x = integers(source)
    assert_same_order(run("reshape", x, shape=list(target)), x, result)
    call = call_on("reshape", x, shape=list(target))
    assert OPERATORS["reshape"].write_attributes(call) == {"shape": str(result)}


# Behind -4 the runtime writes the inferred extent to another axis.
@pytest.mark.parametrize("target", [
    (), (5, 5), (-1, -1), (-1, 7), (2, 3, 4, 0), (2, 3, -3), (-4, 2), (-4, 3, 5, -2), (-4, -1, -1, -2),
    (-5, 23), (-5,), (-5, -1), (-4, 1, 2, -1), (24, -3)])
def test_reshape_targets_the_runtime_refuses_or_misreads(target):
    with pytest.raises(InvalidArgumentError):
        resolve_shape((2, 3, 4), target)


@settings(deadline=None, max_examples=40)
@given(shapes, st.data())
def test_squeeze(shape, data):
    ones = [a for a, extent in enumerate(shape) if extent == 1]
    axis = data.draw(st.lists(st.sampled_from(ones), unique=True)) if ones else []
    given_axis = [a - len(shape) if data.draw(st.booleans()) else a for a in axis]
    expected = tuple(e for a, e in enumerate(shape) if a not in (axis or ones)) or (1,)
    x = integers(shape)
    assert_same_order(run("squeeze", x, axis=given_axis), x, expected)


@pytest.mark.parametrize("axis", [[0], [3], [-4]])
def test_squeezes_the_runtime_refuses(axis):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["squeeze"].output_shape([(2, 1, 3)], {"axis": axis})


@pytest.mark.parametrize(("axis", "count", "result"), [
    (0, 1, (1, 2, 3)), (1, 2, (2, 1, 1, 3)), (2, 1, (2, 3, 1)), (-1, 1, (2, 3, 1)), (-3, 1, (1, 2, 3)),
    (-2, 1, (2, 1, 3))])
def test_expand_dims(axis, count, result):
    x = integers((2, 3))
    assert_same_order(run("expand_dims", x, axis=axis, num_newaxis=count), x, result)


@pytest.mark.parametrize(("axis", "count"), [(3, 1), (-4, 1), (0, 0), (0, 4097), (0, 2 ** 31 - 1)])
def test_expansions_the_runtime_refuses(axis, count):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["expand_dims"].output_shape([(2, 3)], {"axis": axis, "num_newaxis": count})


def test_expand_dims_default():
    assert OPERATORS["expand_dims"].read_attributes({"axis": "-1"}) == {"axis": -1, "num_newaxis": 1}


@settings(deadline=None, max_examples=40)
@given(shapes, st.data())
def test_transpose(shape, data):
    """Every element lands where its permuted index says."""
    axes = data.draw(st.permutations(range(len(shape))) | st.just([]))
    x = integers(shape)
    result = run("transpose", x, axes=[a - len(shape) if a % 2 else a for a in axes])
    order = list(axes) or list(range(len(shape)))[::-1]
    assert tuple(result.shape) == tuple(shape[a] for a in order)
    for index in itertools.product(*map(range, shape)):
        assert result[tuple(index[a] for a in order)] == x[index]


@pytest.mark.parametrize("axes", [[0, 1], [0, 0, 1], [0, 1, 3], [0, 1, -2]])
def test_transpositions_the_runtime_refuses(axes):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["transpose"].output_shape([(2, 3, 4)], {"axes": axes})


def test_batch_stays_free():
    """A reshape to -1 on axis 0 follows another batch."""
    for batch in (1, 5):
        assert run("reshape", integers((batch, 3, 4)), shape=[-1, 12]).shape == (batch, 12)
    assert torch.ops.cvm.flatten(integers((7, 3, 4))).shape == (7, 12)

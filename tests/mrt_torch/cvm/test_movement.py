"""concatenate, repeat, tile, strided_slice and slice_like against indices in plain Python."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS, Interval
from mrt_torch.cvm.movement import slice_bounds
from mrt_torch.errors import InvalidArgumentError
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, integers, limits, run

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def assert_elements(result, x, shape, source):
    """``result[index] == x[source(index)]`` for every index of ``shape``."""
    assert tuple(result.shape) == tuple(shape)
    for index in itertools.product(*map(range, shape)):
        assert result[index] == x[tuple(source(index))]


@settings(deadline=None, max_examples=30)
@given(shapes, st.lists(st.integers(1, 3), min_size=1, max_size=3), st.data())
def test_concatenate(shape, extents, data):
    """Oracle: the list of all slices along the axis, in order."""
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    tensors = []
    for seed, extent in enumerate(extents):
        one = list(shape)
        one[axis] = extent
        tensors.append(integers(one, seed=seed))
    result = run("concatenate", tensors, axis=axis)
    slices = [part for t in tensors for part in t.unbind(axis)]
    assert result.shape[axis] == len(slices)
    for got, expected in zip(result.unbind(axis), slices, strict=True):
        assert torch.equal(got, expected)
    assert_range_holds("concatenate", tensors, tight=True, axis=axis)


def test_concatenate_takes_the_widest_precision():
    call = call_on("concatenate", [integers((2, 3)), integers((2, 1))], precisions=[8, 11], axis=1)
    assert OPERATORS["concatenate"].precision(call) == 11
    assert OPERATORS["concatenate"].read_attributes({}) == {"axis": 1}


@pytest.mark.parametrize(("shapes", "axis"), [
    ([(2, 3), (2, 3, 1)], 0), ([(2, 3), (3, 3)], 1), ([(2, 3)], 2), ([], 0)])
def test_concatenations_the_runtime_refuses(shapes, axis):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["concatenate"].output_shape(shapes, {"axis": axis})


@settings(deadline=None, max_examples=30)
@given(shapes, st.integers(1, 3), st.data())
def test_repeat(shape, repeats, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x, real = integers(shape), axis % len(shape)
    expected = [e * repeats if a == real else e for a, e in enumerate(shape)]
    assert_elements(run("repeat", x, repeats=repeats, axis=axis), x, expected,
                    lambda index: (i // repeats if a == real else i for a, i in enumerate(index)))


@settings(deadline=None, max_examples=30)
@given(shapes, st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_tile(shape, reps):
    x = integers(shape)
    rank = max(len(shape), len(reps))
    padded, counts = (1,) * (rank - len(shape)) + shape, [1] * (rank - len(reps)) + reps
    assert_elements(run("tile", x, reps=reps), x.view(padded), [e * r for e, r in zip(padded, counts)],
                    lambda index: (i % e for i, e in zip(index, padded)))
    assert_range_holds("tile", x, tight=True, reps=reps)


def test_repeat_and_tile_limits():
    with pytest.raises(InvalidArgumentError):
        OPERATORS["repeat"].output_shape([(2,)], {"repeats": 0, "axis": 0})
    for reps in ([], [0], [2, -1]):
        with pytest.raises(InvalidArgumentError):
            OPERATORS["tile"].output_shape([(2,)], {"reps": reps})
    assert "reps 4097" in limits("tile", integers((1,)), reps=[4097])
    assert not limits("repeat", integers((1,)), repeats=5000, axis=0)


@pytest.mark.parametrize("extent", [1, 4, 5])
def test_slice_bounds_are_the_rule_of_the_runtime(extent):
    """Oracle: walk from begin to end, each counted from the back once and clamped (cvm-format 3.5)."""
    for begin, end, step in itertools.product(range(-7, 8), range(-7, 8), (-3, -2, -1, 1, 2, 3)):
        low, high = (0, extent) if step > 0 else (-1, extent - 1)
        first, last = (sorted((low, b + extent if b < 0 else b, high))[1] for b in (begin, end))
        expected = list(range(first, last, step))
        if expected:
            assert slice_bounds(extent, 0, [begin], [end], [step]) == (expected[0], step, len(expected))
        else:
            with pytest.raises(InvalidArgumentError, match="empty"):
                slice_bounds(extent, 0, [begin], [end], [step])


@settings(deadline=None, max_examples=60)
@given(shapes, st.data())
def test_strided_slice(shape, data):
    attributes, sources = {"begin": [], "end": [], "stride": []}, []
    for extent in shape:
        step = data.draw(st.sampled_from([-2, -1, 1, 2, 3]))
        indices = list(range(extent))[data.draw(st.integers(0, extent - 1))::step]
        stop = indices[-1] + (1 if step > 0 else -1)
        # Stop before index 0 is written as -extent - 1; a stop behind the end is clamped.
        attributes["begin"].append(indices[0] - (extent if data.draw(st.booleans()) else 0))
        attributes["end"].append(-extent - 1 if stop < 0 else stop)
        attributes["stride"].append(step)
        sources.append(indices)
    x = integers(shape)
    assert_elements(run("strided_slice", x, **attributes), x, [len(s) for s in sources],
                    lambda index: (s[i] for s, i in zip(sources, index)))


def test_strided_slice_fills_missing_tails():
    x = integers((4, 5, 3))
    assert torch.equal(run("strided_slice", x, begin=[1], end=[-1], stride=[]), x[1:-1])
    assert torch.equal(run("strided_slice", x, begin=[], end=[], stride=[2, 1]), x[::2])
    assert OPERATORS["strided_slice"].read_attributes({}) == {"begin": [0], "end": [1], "stride": []}


def test_a_slice_reverses_an_axis():
    x = integers((2, 5))
    assert torch.equal(run("strided_slice", x, begin=[0, -1], end=[2, -6], stride=[1, -1]), x.flip(1))


def test_slices_beyond_the_last_axis_say_nothing():
    """As in the runtime, which reads one item for each axis."""
    x = integers((4,))
    assert torch.equal(run("strided_slice", x, begin=[1, 5], end=[3, 0, 9], stride=[1, 0]), x[1:3])


@pytest.mark.parametrize(("begin", "end", "stride"), [
    ([2], [2], [1]), ([0], [1], [0]), ([4], [9], [1])])
def test_slices_the_runtime_refuses(begin, end, stride):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["strided_slice"].output_shape([(4,)], {"begin": begin, "end": end, "stride": stride})


def test_slice_like():
    x = integers((4, 5, 3))
    assert torch.equal(run("slice_like", x, integers((2, 5, 1)), axis=[]), x[:2, :, :1])
    assert torch.equal(run("slice_like", x, integers((2, 4)), axis=[-2]), x[:, :4])
    assert torch.equal(run("slice_like", x, integers((2, 4, 9)), axis=[0, 1]), x[:2, :4])
    call = call_on("slice_like", x, integers((2, 5, 1), 1000, 2000), axis=[])
    assert OPERATORS["slice_like"].value_range(call) == Interval.of_tensor(x)


@pytest.mark.parametrize(("like", "axis"), [((2, 5), []), ((5, 5, 3), []), ((2, 4), [2]), ((2, 4), [-1])])
def test_crops_the_runtime_refuses(like, axis):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["slice_like"].output_shape([(4, 5, 3), like], {"axis": axis})

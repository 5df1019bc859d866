"""sum and max against plain loops over Python integers."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS
from mrt_torch.errors import InvalidArgumentError
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, divergences, integers, run


def reduce(x, function, axis, keepdims, exclude):
    """Group elements by the index of their kept axes; the result is flat, with its shape."""
    rank = x.dim()
    listed = {a % rank for a in axis} or set(range(rank))
    reduced = set(range(rank)) - listed if exclude and axis else listed
    groups = {}
    for index in itertools.product(*map(range, x.shape)):
        kept = tuple(0 if a in reduced else i for a, i in enumerate(index))
        groups.setdefault(kept, []).append(x[index].item())
    shape = [1 if a in reduced else e for a, e in enumerate(x.shape) if keepdims or a not in reduced] or [1]
    return [function(groups[key]) for key in sorted(groups)], tuple(shape)


@st.composite
def reductions(draw):
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, max_size=len(shape)))
    axis = [a - len(shape) if draw(st.booleans()) else a for a in axes]
    return shape, {"axis": axis, "keepdims": draw(st.booleans()), "exclude": draw(st.booleans())}


@pytest.mark.parametrize(("name", "function"), [("sum", sum), ("max", max)])
@settings(deadline=None, max_examples=60)
@given(example=reductions(), seed=st.integers(0, 99))
def test_reduction_is_the_definition(name, function, example, seed):
    shape, attributes = example
    x = integers(shape, -2 ** 24, 2 ** 24, seed)
    expected, expected_shape = reduce(x, function, **attributes)
    if name == "max" and not attributes["axis"] and not attributes["exclude"]:
        expected = [max(value, 0) for value in expected]
    result = run(name, x, **attributes)
    assert result.reshape(-1).tolist() == expected
    assert tuple(result.shape) == expected_shape
    assert_range_holds(name, x, **attributes)


ROWS = {"axis": [1], "keepdims": False, "exclude": False}


def test_sum_range_is_reached_with_extreme_elements():
    x = torch.tensor([[127] * 9, [-127] * 9], dtype=torch.int32)
    assert_range_holds("sum", x, tight=True, **ROWS)


# cvm-format 3.4: p + bit_length(n), one bit more even for a single element.
@pytest.mark.parametrize(("count", "bits"), [(1, 9), (2, 10), (3, 10), (49, 14), (63, 14), (64, 15)])
def test_sum_precision_is_the_rule_of_the_runtime(count, bits):
    x = torch.zeros(3, count, dtype=torch.int32)
    assert OPERATORS["sum"].precision(call_on("sum", x, precisions=[8], **ROWS)) == bits
    assert OPERATORS["sum"].unit_cost(call_on("sum", x, **ROWS)) == count
    assert OPERATORS["max"].precision(call_on("max", x, precisions=[8], **ROWS)) == 8
    assert OPERATORS["max"].unit_cost(call_on("max", x, **ROWS)) == 1


# Measured on the CPU back end: cvm-format 3.4 (b).
@pytest.mark.parametrize(("shape", "axis"), [
    ((2, 3, 4, 1), [2]), ((2, 3, 1), [1]), ((1, 3, 4, 1), [2]), ((2, 3, 1, 4), [3]), ((2, 3, 1, 4), [1])])
@pytest.mark.parametrize("name", ["sum", "max"])
def test_reductions_the_cpu_back_end_miscomputes_are_found(name, shape, axis):
    for keepdims in (False, True):
        assert "reshape it away" in divergences(name, integers(shape), axis=axis, keepdims=keepdims, exclude=False)
    rest = [a for a in range(len(shape)) if a not in axis]
    assert "reshape it away" in divergences(name, integers(shape), axis=rest, keepdims=False, exclude=True)


@pytest.mark.parametrize(("shape", "axis"), [
    ((2, 1, 3), [2]), ((1, 3, 4, 4), [2, 3]), ((2, 3, 4, 4), [2, 3]), ((1, 3, 1, 1), [2, 3]),
    ((1, 1, 3), [2]), ((3, 1), [0]), ((2, 3, 4), [0, 1, 2])])
@pytest.mark.parametrize("name", ["sum", "max"])
def test_reductions_both_back_ends_compute_are_legal(name, shape, axis):
    assert not divergences(name, integers(shape), axis=axis, keepdims=False, exclude=False)


def test_a_reduction_of_no_axis_copies():
    x = integers((2, 3, 1))
    attributes = {"axis": [0, 1, 2], "keepdims": False, "exclude": True}
    assert torch.equal(run("sum", x, **attributes), x) and not divergences("sum", x, **attributes)
    assert OPERATORS["sum"].precision(call_on("sum", x, precisions=[8], **attributes)) == 9


@pytest.mark.parametrize("keepdims", [True, False])
def test_max_over_implicit_axes_starts_from_zero(keepdims):
    """cvm-format 3.4 (a): both back ends; not where the empty list is excluded."""
    implicit, excluding = ({"axis": [], "keepdims": keepdims, "exclude": exclude} for exclude in (False, True))
    for low, high in ((-9, -4), (-9, 7), (3, 5)):
        x = torch.arange(low, high + 1, dtype=torch.int32).view(1, -1)
        assert run("max", x, **implicit).item() == max(high, 0)
        assert run("max", x, **excluding).item() == high
        assert_range_holds("max", x, **implicit)
        assert not divergences("max", x, **implicit)


@pytest.mark.parametrize("axis", [[3], [-4], [0, 0], [0, -3]])
def test_axes_the_runtime_refuses(axis):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["sum"].output_shape([(2, 3, 4)], {**ROWS, "axis": axis})


def test_attributes():
    row = OPERATORS["sum"]
    assert row.read_attributes({}) == {"axis": [], "keepdims": False, "exclude": False}
    assert row.read_attributes({"axis": "2", "keepdims": "TRUE", "exclude": "1", "dtype": "int32"}) == {
        "axis": [2], "keepdims": True, "exclude": True}
    call = call_on("sum", integers((2, 3)), axis=[1], keepdims=True, exclude=False)
    assert row.write_attributes(call) == {
        "axis": "(1,)", "keepdims": "True", "exclude": "False", "dtype": "int32"}

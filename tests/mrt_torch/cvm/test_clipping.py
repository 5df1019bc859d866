"""Clamps and shifts against floor, shifts and min/max of Python integers."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import floor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, divergences, integers, limits, run, tensor


def clamp(value, low, high):
    return min(max(value, low), high)


def shifted(value, shift, precision):
    """Round half up of the exact quotient, clamped."""
    bound = 2 ** (precision - 1) - 1
    return clamp(floor(Fraction(value, 2 ** shift) + Fraction(1, 2)), -bound, bound)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 30), st.integers(1, 32), st.lists(st.integers(-2 ** 30 + 1, 2 ** 30 - 1), min_size=1))
def test_right_shift_rounds_half_up(shift, precision, values):
    values += [2 ** 30 - 1, -2 ** 30 + 1, 0, 2 ** (shift - 1), -2 ** (shift - 1)]
    x = tensor(values)
    attributes = {"precision": precision, "shift_bit": shift}
    assert run("cvm_right_shift", x, **attributes).tolist() == [shifted(v, shift, precision) for v in values]
    assert_range_holds("cvm_right_shift", x, tight=True, **attributes)
    assert not limits("cvm_right_shift", x, **attributes) + divergences("cvm_right_shift", x, **attributes)


def test_right_shift_range_is_exact_on_every_small_interval():
    for low, high in itertools.combinations_with_replacement(range(-9, 10), 2):
        x = torch.arange(low, high + 1, dtype=torch.int32)
        for shift, precision in itertools.product((1, 2, 3), (1, 2, 3, 8)):
            assert_range_holds("cvm_right_shift", x, tight=True, precision=precision, shift_bit=shift)


def test_ties_of_a_right_shift_go_up():
    """cvm-format 3.2, measured: shift 2 maps 2 to 1, -2 to 0 and -6 to -1."""
    assert run("cvm_right_shift", tensor([2, -2, -6]), precision=8, shift_bit=2).tolist() == [1, 0, -1]


LARGEST = 2 ** 31 - 1


def cpu_right_shift(x, shift, precision):
    """The CPU back end's kernel (cvm-runtime ``cpu/ops/elemwise.cc``), in Python integers, whose cases it has."""
    bound = 2 ** (precision - 1) - 1
    if bound == 0:
        return 0
    if shift >= 31:
        return x >> 31
    if precision + shift < 32:
        low, high = (-2 * bound - 1) << (shift - 1), (2 * bound - 1) << (shift - 1)
        if not low <= x <= high:
            return -bound if x < low else bound
    total = (x >> (shift - 1)) + 1
    return (total - 2 ** 32 if total > LARGEST else total) >> 1


def formal_right_shift(x, shift, precision):
    """FORMAL's: the formula in int32."""
    total, bound = (x >> (shift - 1)) + 1, 2 ** (precision - 1) - 1
    return clamp((total - 2 ** 32 if total > LARGEST else total) >> 1, -bound, bound)


@pytest.mark.parametrize("shift", [1, 2, 15, 29, 30, 31, 32])
@pytest.mark.parametrize("precision", [1, 2, 3, 8, 17, 30, 31, 32])
def test_right_shifts_on_which_the_back_ends_differ(shift, precision):
    """Intervals between all edges of both kernels; they differ somewhere in one exactly if the row says so."""
    edges = {0, -1, 1, LARGEST, -LARGEST, LARGEST - 1, 2 ** 30, 2 ** 30 - 1, -2 ** 30, -2 ** 30 - 1}
    edges |= {LARGEST + 1 - 2 ** (shift - 1), LARGEST - 2 ** (shift - 1)} if shift < 32 else set()
    edges = sorted(edge for edge in edges if abs(edge) <= LARGEST)
    attributes = {"precision": precision, "shift_bit": shift}
    kernel = run("cvm_right_shift", tensor(edges), **attributes).tolist()
    assert kernel == [formal_right_shift(x, shift, precision) for x in edges]
    for low, high in itertools.combinations_with_replacement(edges, 2):
        inside = [x for x in edges if low <= x <= high]
        differ = any(cpu_right_shift(x, shift, precision) != formal_right_shift(x, shift, precision) for x in inside)
        differ |= shift == 1 < precision and high == LARGEST  # C++ leaves the overflow undefined
        assert bool(divergences("cvm_right_shift", tensor([low, high]), **attributes)) is differ, (low, high)
        assert_range_holds("cvm_right_shift", tensor(inside), tight=True, **attributes)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 32), st.lists(st.integers(-2 ** 31 + 1, 2 ** 31 - 1), min_size=1))
def test_cvm_clip(precision, values):
    bound = 2 ** (precision - 1) - 1
    result = run("cvm_clip", tensor(values), precision=precision)
    assert result.tolist() == [clamp(v, -bound, bound) for v in values]
    assert_range_holds("cvm_clip", tensor(values), tight=True, precision=precision)
    call = call_on("cvm_clip", tensor(values), precision=precision)
    assert OPERATORS["cvm_clip"].precision(call) == precision


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 20), st.integers(1, 32), st.integers(1, 12), st.data())
def test_left_shift(width, precision, shift, data):
    values = data.draw(st.lists(st.integers(-2 ** (width - 1) + 1, 2 ** (width - 1) - 1), min_size=1))
    bound = 2 ** (precision - 1) - 1
    attributes = {"precision": precision, "shift_bit": shift}
    expected = [clamp(v << shift, -bound, bound) for v in values]
    assert run("cvm_left_shift", tensor(values), **attributes).tolist() == expected
    assert_range_holds("cvm_left_shift", tensor(values), tight=True, **attributes)


def test_left_shift_is_never_deployed():
    attributes = {"precision": 16, "shift_bit": 4}
    assert "CPU back end fails" in divergences("cvm_left_shift", tensor([3]), **attributes)
    assert not limits("cvm_left_shift", tensor([3]), precisions=[28], **attributes)
    assert "exceed 32" in limits("cvm_left_shift", tensor([3]), precisions=[29], **attributes)


@settings(deadline=None, max_examples=50)
@given(st.integers(-300, 300), st.integers(1, 300), st.lists(st.integers(-400, 400), min_size=1))
def test_clip(low, width, values):
    attributes = {"a_min": low, "a_max": low + width}
    assert run("clip", tensor(values), **attributes).tolist() == [clamp(v, low, low + width) for v in values]
    assert_range_holds("clip", tensor(values), tight=True, **attributes)


# cvm-format 3.2: 127 infers 9 bits, one more than it needs.
@pytest.mark.parametrize(("low", "high", "bits"), [
    (0, 126, 8), (0, 127, 9), (-127, 5, 9), (0, 1, 3), (-1, 0, 3), (0, 2 ** 31 - 1, 33), (0, 6, 4),
    (0, 7, 5)])
def test_clip_precision_is_the_rule_of_the_runtime(low, high, bits):
    assert OPERATORS["clip"].precision(call_on("clip", tensor([0]), a_min=low, a_max=high)) == bits


@pytest.mark.parametrize(("low", "high", "legal"), [
    (0, 0, False), (1, 0, False), (-2 ** 31, 0, False), (0, 2 ** 31 - 1, True), (-2 ** 31 + 1, 0, True)])
def test_clip_limits(low, high, legal):
    assert bool(limits("clip", integers((1,)), a_min=low, a_max=high)) is not legal


@pytest.mark.parametrize("attributes", [{"precision": 0}, {"precision": 33}])
@pytest.mark.parametrize("name", ["cvm_clip", "cvm_right_shift", "cvm_left_shift"])
def test_precisions_the_runtime_refuses(name, attributes):
    if name != "cvm_clip":
        attributes = {**attributes, "shift_bit": 1}
    with pytest.raises(InvalidArgumentError):
        OPERATORS[name].output_shape([(2,)], attributes)


@pytest.mark.parametrize("shift", [-1, 0, 33])
def test_shifts_the_runtime_refuses(shift):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["cvm_right_shift"].output_shape([(2,)], {"precision": 8, "shift_bit": shift})


def test_the_sign_attribute_says_nothing():
    """The runtime parses is_sign and clamps to the signed range whatever it says."""
    row = OPERATORS["cvm_clip"]
    assert row.read_attributes({"precision": "8", "is_sign": "False"}) == {"precision": 8}
    call = call_on("cvm_clip", tensor([1]), precision=8)
    assert row.write_attributes(call) == {"precision": "8", "is_sign": "True"}
    with pytest.raises(InvalidFileError, match="lacks its attribute 'precision'"):
        row.read_attributes({})

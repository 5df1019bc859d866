"""Oracle: the values listed in mrt-core section 5.1, and exact arithmetic on Python integers and fractions."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidArgumentError, PrecisionError
from mrt_torch.quantization import cvm_float, get_bit, get_bit_cnt, get_range, int_realize, scale
from mrt_torch.quantization.precision import round_half_away


@pytest.mark.parametrize("value,bits", [(0, 1), (0.5, 2), (1, 2), (1.5, 3), (3, 3), (4, 4), (127, 8), (127.0001, 9),
                                        (128, 9), (32767, 16), (32768, 17)])
def test_listed_bits(value, bits):
    assert get_bit(value) == get_bit(-value) == bits
    assert get_bit(torch.tensor([0.0, -value], dtype=torch.float64)) == get_bit(np.array([value, 0.0])) == bits


@settings(deadline=None, max_examples=100)
@given(st.integers(-2 ** 63, 2 ** 63 - 1))
def test_bits_of_integers_are_those_of_python(value):
    """Exact also where a float is not: 2**62 - 1 is no float64."""
    expected = abs(value).bit_length() + 1 if value else 1
    assert get_bit(value) == get_bit(torch.tensor([0, value])) == get_bit(np.array([value, 0])) == expected


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_bits_of_the_lowest_integer_of_a_type(dtype):
    """Its abs overflows to itself."""
    lowest = torch.iinfo(dtype).min
    assert get_bit(torch.tensor([lowest, 5], dtype=dtype)) == torch.iinfo(dtype).bits + 1
    assert get_bit(torch.tensor([lowest, 5], dtype=dtype).numpy()) == torch.iinfo(dtype).bits + 1


def test_bits_of_nothing_and_of_what_is_not_finite():
    assert get_bit(torch.empty(0)) == get_bit(np.empty(0)) == 1
    for bad in (math.nan, math.inf, torch.tensor([1.0, math.nan]), np.array([-math.inf])):
        with pytest.raises(PrecisionError):
            get_bit(bad)


@pytest.mark.parametrize("count,bits", [(1, 1), (2, 2), (3, 2), (4, 3), (9, 4), (64, 7), (576, 10)])
def test_listed_bit_counts(count, bits):
    assert get_bit_cnt(count) == get_bit_cnt(np.int64(count)) == bits


@pytest.mark.parametrize("count", [0, -1, 1.0, True, "9", None])
def test_bit_counts_take_positive_integers(count):
    with pytest.raises(InvalidArgumentError):
        get_bit_cnt(count)


@pytest.mark.parametrize("precision,largest", [(1, 0), (2, 1), (8, 127), (16, 32767), (32, 2147483647)])
def test_listed_ranges(precision, largest):
    assert get_range(precision) == get_range(np.int32(precision)) == largest


@pytest.mark.parametrize("precision", [0, -1, 8.0, True, None])
def test_ranges_take_positive_integers(precision):
    with pytest.raises(InvalidArgumentError):
        get_range(precision)


def test_scale():
    assert scale(0, 8) == 1.0
    assert scale(127, 8) == 1.0
    assert scale(0.5, 8) == 254.0
    assert scale(3.0, 16) == 32767 / 3
    for bad in (-1.0, math.nan, math.inf, 1e-320):
        with pytest.raises(InvalidArgumentError):
            scale(bad, 8)


def half_away(value: float) -> int:
    return int(Decimal(value).quantize(Decimal(1), ROUND_HALF_UP))  # decimal's "half up" is away from zero


EXAMPLES = [0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999999999999994, -0.49999999999999994, 126.5, 127.5, -127.5, 1e9, -0.0]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(st.sampled_from(EXAMPLES), st.floats(-1e12, 1e12),
                          st.integers(-600, 600).map(lambda i: i / 2)), min_size=1), st.integers(1, 32))
def test_int_realize_rounds_half_away_from_zero_and_clamps(values, precision):
    bound = 2 ** (precision - 1) - 1
    seen = int_realize(np.array(values), precision)
    assert seen.dtype is torch.int32 and tuple(seen.shape) == (len(values),)
    assert seen.tolist() == [max(-bound, min(bound, half_away(value))) for value in values]
    assert round_half_away(torch.tensor(values, dtype=torch.float64)).tolist() == list(map(half_away, values))


def test_int_realize_refuses_what_it_cannot_round():
    assert int_realize(torch.tensor([math.inf, -math.inf]), 8).tolist() == [127, -127]
    assert int_realize(torch.tensor(2.5), 8).shape == ()
    with pytest.raises(InvalidArgumentError, match="NaN"):
        int_realize(torch.tensor([1.0, math.nan]), 8)
    with pytest.raises(InvalidArgumentError, match="32"):
        int_realize(torch.ones(1), 33)


@pytest.mark.parametrize("number,bits,frac,exponent", [
    (0, 15, 0, 0), (0.6868751, 15, 11254, -14), (0.5, 15, 1, -1), (3, 15, 3, 0), (0.75, 24, 3, -2), (1 / 3, 2, 1, -2),
    (0.7, 0, 1, -1), (1e6, 16, 15625, 6)])
def test_listed_fractions(number, bits, frac, exponent):
    """The same number; ours is written with an odd frac."""
    ours, power = cvm_float(number, bits)
    assert ours * Fraction(2) ** power == frac * Fraction(2) ** exponent
    assert ours % 2 == 1 or number == 0


@pytest.mark.parametrize("number,bits,capped", [(255.5, 8, Fraction(254)), (0.99999, 8, Fraction(127, 128))])
def test_where_the_original_capped_we_are_closer(number, bits, capped):
    frac, exponent = cvm_float(number, bits)
    assert abs(frac * Fraction(2) ** exponent - Fraction(number)) < abs(capped - Fraction(number))


@settings(deadline=None, max_examples=100)
@given(st.floats(0, exclude_min=True, allow_infinity=False), st.integers(2, 32))
def test_fractions_are_as_close_as_promised(number, bits):
    frac, exponent = cvm_float(number, bits)
    assert 1 <= frac <= 2 ** (bits - 1) - 1
    assert abs(frac * Fraction(2) ** exponent / Fraction(number) - 1) <= Fraction(2) ** (1 - bits)


@pytest.mark.parametrize("number", [-1.0, math.nan, math.inf])
def test_fractions_take_finite_numbers(number):
    with pytest.raises(InvalidArgumentError):
        cvm_float(number, 8)

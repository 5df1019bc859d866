"""Oracle: exact rational arithmetic (fractions.Fraction) on the ratio, and Python integers on the shifts."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mrt_torch.cvm.interval import bits_for, precision_range
from mrt_torch.quantization import Rescaling, choose_rescaling
from mrt_torch.quantization.requantize import check_rescaling

HALF = Fraction(1, 2)
WIDTHS, TARGETS, GUARDS = st.integers(2, 32), st.integers(2, 24), st.integers(1, 16)


def filling_ratio(width: int, target: int, fullness: float) -> float:
    """Ratio that maps a tensor whose largest magnitude lies at ``fullness`` of its top bit to the whole target."""
    return precision_range(target) / max(precision_range(width) * fullness, 1.0)


RATIOS = st.tuples(WIDTHS, TARGETS, GUARDS, st.floats(0.5, 1.0)).map(
    lambda t: (filling_ratio(t[0], t[1], t[3]), *t[:3]))


def right_shift(value: int, shift: int) -> int:
    return (value + (1 << shift >> 1)) >> shift if shift else value


def clamp(value: int, bits: int) -> int:
    return max(-precision_range(bits), min(precision_range(bits), value))


def rescale(value: int, chosen: Rescaling, target: int) -> int:
    """The integer nodes, one after the other."""
    if chosen.pre_shift:
        value = clamp(right_shift(value, chosen.pre_shift), chosen.width)
    return clamp(right_shift(value * chosen.frac, chosen.shift), target)


@settings(deadline=None, max_examples=100)
@given(RATIOS)
def test_the_ratio_is_within_2_to_the_minus_11(case):
    ratio, width, target, guard = case
    chosen = choose_rescaling(ratio, width, target, guard)
    assert abs(Fraction(chosen.ratio) / Fraction(ratio) - 1) <= Fraction(1, 2 ** 11)


@settings(deadline=None, max_examples=100)
@given(st.one_of(RATIOS, st.tuples(st.floats(1e-12, 1e12), WIDTHS, TARGETS, GUARDS)))
@example((2.0 ** -30, 32, 8, 8))
@example((2.0 ** -31, 32, 8, 8))
@example((1e12, 2, 24, 16))
def test_widths_and_shifts_stay_within_what_all_back_ends_compute(case):
    ratio, width, target, guard = case
    chosen = choose_rescaling(ratio, width, target, guard)
    assert 0 <= chosen.pre_shift <= 30 and 0 <= chosen.shift <= 30
    assert chosen.frac >= 1
    assert 1 <= chosen.width <= 32
    if chosen.frac > 1:
        assert chosen.width + bits_for(chosen.frac) <= 31
        assert chosen.frac % 2 == 1 or chosen.shift == 0, "an even frac is a smaller frac and shift"


@settings(deadline=None, max_examples=100)
@given(RATIOS, st.floats(-1, 1))
@example((filling_ratio(32, 8, 1.0), 32, 8, 8), 1.0)
@example((filling_ratio(32, 24, 0.5), 32, 24, 1), -1.0)
def test_the_integers_are_close_to_the_exact_product(case, position):
    """Half a unit for the last rounding, half a unit of the shifted operand times frac / 2**shift for the first, and
    the operand times the error of the ratio; clamping moves a value towards the clamped exact product only.
    """
    ratio, width, target, guard = case
    value = round(position * precision_range(width))
    chosen = choose_rescaling(ratio, width, target, guard)
    exact = Fraction(value) * Fraction(ratio)
    bound = precision_range(target)
    exact = max(Fraction(-bound), min(Fraction(bound), exact))
    first = HALF * Fraction(chosen.frac, 2 ** chosen.shift) if chosen.pre_shift else 0
    error_of_ratio = abs(value) * abs(Fraction(chosen.ratio) - Fraction(ratio))
    # The shifted operand is clamped to its width: one unit where rounding carries past it.
    carried = Fraction(chosen.frac, 2 ** chosen.shift) if chosen.pre_shift else 0
    assert abs(rescale(value, chosen, target) - exact) <= HALF + first + carried + error_of_ratio


@settings(deadline=None, max_examples=100)
@given(st.integers(-2 ** 30, 2 ** 30), RATIOS)
def test_steps_are_those_of_the_formula(value, case):
    """A single shift where the ratio is a power of two: no operand is rounded twice."""
    _, width, target, guard = case
    assume(abs(value) <= precision_range(width))
    exponent = max(width - target, 0)
    chosen = choose_rescaling(math.ldexp(1.0, -exponent), width, target, guard)
    assert chosen == Rescaling(0, width, 1, exponent)
    assert rescale(value, chosen, 32) == math.floor(Fraction(value, 2 ** exponent) + HALF)


def test_the_guard_bits_bind_only_where_the_fraction_has_its_12_bits():
    """31 bits for the product: 8 + 8 of the operand leave 15 for the fraction; asking for 16 more leaves 12."""
    assert choose_rescaling(0.7 / 2 ** 16, 24, 8, 8).width == 16
    assert choose_rescaling(0.7 / 2 ** 16, 24, 8, 16).width == 19


@settings(deadline=None, max_examples=100)
@given(RATIOS, st.floats(-12, 1))
def test_the_built_in_rule_passes_the_check_of_rules(case, octaves):
    """Whatever the ratio, also one that leaves the target half empty."""
    ratio, width, target, guard = case
    chosen = choose_rescaling(ratio * 2.0 ** octaves, width, target, guard)
    assert check_rescaling(chosen, width) is chosen

"""Oracle: exact rational arithmetic (fractions.Fraction) on the ratios, and Python integers on the steps."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrt_torch.cvm.interval import bits_for, precision_range
from mrt_torch.quantization.vector_rescaling import VectorRescaling, choose_vector_rescaling

HALF = Fraction(1, 2)
WIDTHS, TARGETS, GUARDS = st.integers(2, 32), st.integers(2, 18), st.integers(1, 16)


@st.composite
def cases(draw, zeros=True):
    """(ratios, width, target, guard, zeros): one channel fills the target, or overfills it twofold.

    Others may leave 9 of its bits empty.

    With zero points, which are where some value of the tensor is, they may overfill it 2**9 times.
    """
    width, target, guard, count = draw(WIDTHS), draw(TARGETS), draw(GUARDS), draw(st.integers(1, 5))
    affine, several = zeros and draw(st.booleans()), {"min_size": count, "max_size": count}
    octaves = draw(st.lists(st.floats(-9 if affine else -1, 9), **several))
    octaves[0] = -abs(octaves[0]) if affine else min(octaves[0], 0.0)
    ratios = [precision_range(target) / precision_range(width) * 2.0 ** -number for number in octaves]
    positions = draw(st.lists(st.floats(-1, 1), **several)) if affine else [0.0] * count
    return ratios, width, target, guard, [
        round(position * ratio * precision_range(width)) for position, ratio in zip(positions, ratios, strict=True)]


def choose(case) -> VectorRescaling:
    ratios, width, target, guard, zeros = case
    return choose_vector_rescaling(torch.tensor(ratios, dtype=torch.float64), width, target, guard,
                                   torch.tensor(zeros, dtype=torch.int64))


def right_shift(value: int, shift: int) -> int:
    return (value + (1 << shift >> 1)) >> shift if shift else value


def clamp(value: int, bits: int) -> int:
    return max(-precision_range(bits), min(precision_range(bits), value))


def steps(value: int, chosen: VectorRescaling, channel: int, target: int) -> list[int]:
    """What the nodes make of one integer, one after the other."""
    value = clamp(right_shift(value, chosen.pre_shift), chosen.width)
    product = value * int(chosen.fracs[channel])
    difference = product - int(chosen.offsets[channel])
    return [value, product, difference, clamp(right_shift(difference, chosen.shift), target)]


@settings(deadline=None, max_examples=60)
@given(st.one_of(cases(), st.tuples(st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=4), WIDTHS, TARGETS, GUARDS
                                    ).map(lambda case: (*case, [0] * len(case[0])))))
@example(([1e12], 2, 18, 16, [0]))
@example(([1e-12, 1e12], 32, 2, 1, [0, 0]))
@example(([2.0 ** -30], 32, 8, 8, [0]))
@example(([1e-9], 32, 8, 8, [2 ** 29 - 1]))
def test_no_step_exceeds_31_bits(case):
    """Nor a shift 30 bits, which is where the back ends agree; also for ratios that no fraction can meet."""
    ratios, width, target, _, zeros = case
    chosen = choose(case)
    assert 0 <= chosen.pre_shift <= 30 and 0 <= chosen.shift <= 30
    assert int(chosen.fracs.min()) >= 1
    assert chosen.offsets.tolist() == [zero << chosen.shift for zero in zeros]
    assert bits_for(int(chosen.offsets.abs().max())) <= 31, "a parameter has 31 bits at most"
    scaled = bool((chosen.fracs != 1).any())
    assert not scaled or chosen.width + bits_for(int(chosen.fracs.max())) <= 31 - any(zeros)
    for extreme in (-precision_range(width), precision_range(width)):
        for channel in range(len(ratios)):
            last, product, difference, _ = steps(extreme, chosen, channel, target)
            assert abs(last) <= precision_range(chosen.width)
            untouched = not scaled and not any(zeros)  # the tensor as it came, which may have 32 bits
            assert max(bits_for(abs(product)), bits_for(abs(difference))) <= (32 if untouched else 31)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_fractions_are_the_nearest_at_the_shift_they_share(case):
    """None is 0: a channel whose ratio rounds to it has 1. ``ratios`` are exact."""
    chosen = choose(case)
    for ratio, frac, real in zip(case[0], chosen.fracs.tolist(), chosen.ratios.tolist(), strict=True):
        wanted = Fraction(ratio) * 2 ** (chosen.pre_shift + chosen.shift)
        assert abs(frac - wanted) <= HALF or frac == 1 and wanted < HALF
        assert Fraction(real) == Fraction(frac, 2 ** (chosen.pre_shift + chosen.shift))


@settings(deadline=None, max_examples=60)
@given(cases())
def test_the_largest_ratio_is_within_2_to_the_minus_12(case):
    """13 bits of a fraction are a sign and 12, of which rounding costs half of the last; 11 beside a zero point."""
    ratios, *_, zeros = case
    chosen, largest = choose(case), max(ratios)
    real = float(chosen.ratios[ratios.index(largest)])
    assert abs(Fraction(real) / Fraction(largest) - 1) <= Fraction(1, 2 ** (11 if any(zeros) else 12))


@settings(deadline=None, max_examples=60)
@given(cases(), st.floats(-1, 1))
@example(([1.9 * 2.0 ** -10, 1.01 * 2.0 ** -16], 18, 8, 8, [127, -40000]), 1.0)
def test_the_integers_are_close_to_the_exact_result(case, position):
    """Half a unit for the last rounding; half a unit of the shifted operand times frac / 2**shift for the first, and
    one where it is clamped; and the operand times half a unit of the fraction, one where that is below a half.
    """
    ratios, width, target, _, zeros = case
    chosen = choose(case)
    value, bound = round(position * precision_range(width)), precision_range(target)
    for channel, (ratio, zero) in enumerate(zip(ratios, zeros, strict=True)):
        exact = max(Fraction(-bound), min(Fraction(bound), Fraction(value) * Fraction(ratio) - zero))
        shifted, *_, found = steps(value, chosen, channel, target)
        frac = Fraction(int(chosen.fracs[channel]), 2 ** chosen.shift)
        first = frac * Fraction(3, 2) if chosen.pre_shift else 0
        fraction = Fraction(abs(shifted) + 1, 2 ** (chosen.shift + (1 if chosen.fracs[channel] > 1 else 0)))
        assert abs(found - exact) <= HALF + first + fraction


@settings(deadline=None, max_examples=50)
@given(cases(zeros=False))
def test_a_smaller_ratio_loses_no_more_than_the_largest(case):
    """In units of the result, for one value of the operand: all fractions share a shift."""
    chosen = choose(case)
    unit = Fraction(1, 2 ** (chosen.pre_shift + chosen.shift))
    for ratio, real in zip(case[0], chosen.ratios.tolist(), strict=True):
        assert abs(Fraction(real) - Fraction(ratio)) <= unit * (1 if Fraction(ratio) < unit / 2 else HALF)


@settings(deadline=None, max_examples=50)
@given(WIDTHS, TARGETS, GUARDS, st.integers(0, 8), st.integers(1, 4))
def test_one_power_of_two_is_one_shift(width, target, guard, further, channels):
    """No operand is rounded twice, and nothing is multiplied."""
    exponent = min(max(width - target, 0) + further, 30)
    chosen = choose(([2.0 ** -exponent] * channels, width, target, guard, [0] * channels))
    assert (chosen.pre_shift, chosen.width, chosen.shift) == (0, width, exponent)
    assert chosen.fracs.tolist() == [1] * channels and not chosen.offsets.any()
    assert chosen.ratios.tolist() == [math.ldexp(1.0, -exponent)] * channels


def test_guard_bits():
    """8 bits keep 8 more; 16 keep 2 more, so that the fractions keep 13; a zero point widens what must be kept."""
    def kept(target, zero):
        return choose(([0.7 / 2 ** (24 - target)], 24, target, 8, [zero])).width
    assert [kept(8, 0), kept(16, 0), kept(8, 127), kept(8, 1000)] == [16, 18, 17, 18]

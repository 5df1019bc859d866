"""Integer intervals against enumeration of small ones."""

from __future__ import annotations

import itertools

import pytest
import torch

from mrt_torch.cvm import Interval, bits_for, precision_range

SMALL = [Interval(a, b) for a, b in itertools.combinations_with_replacement(range(-4, 5), 2)]


def members(interval):
    return range(interval.minimum, interval.maximum + 1)


@pytest.mark.parametrize(("precision", "bound"), [(1, 0), (2, 1), (8, 127), (32, 2 ** 31 - 1)])
def test_precision_range_and_its_inverse(precision, bound):
    assert precision_range(precision) == bound
    assert bits_for(bound) == precision
    assert bits_for(bound + 1) == precision + 1
    assert Interval.symmetric(precision).precision == precision


def test_arithmetic_is_exact():
    for a, b in itertools.product(SMALL, SMALL):
        pairs = list(itertools.product(members(a), members(b)))
        for result, seen in ((a + b, {x + y for x, y in pairs}), (a - b, {x - y for x, y in pairs}),
                             (a * b, {x * y for x, y in pairs}), (-a, {-x for x in members(a)})):
            assert (result.minimum, result.maximum) == (min(seen), max(seen))
        assert a.contains(b) == (set(members(b)) <= set(members(a)))


def test_hull_clamp_and_magnitude():
    assert Interval.hull([Interval(1, 2), Interval(-5, 0)]) == Interval(-5, 2)
    assert Interval(-9, 3).clamp(-2, 2) == Interval(-2, 2)
    assert Interval(5, 9).clamp(-2, 2) == Interval(2, 2)
    assert Interval(-9, 3).magnitude == 9


def test_of_tensor():
    values = torch.tensor([[3, -2 ** 31 + 1], [0, 7]], dtype=torch.int32)
    assert Interval.of_tensor(values) == Interval(-2 ** 31 + 1, 7)


def test_an_interval_is_not_empty():
    with pytest.raises(ValueError, match="empty interval 2..1"):
        Interval(2, 1)

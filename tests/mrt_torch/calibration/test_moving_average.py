"""Oracle: the formula (1 - c) * average + c * new in Python floats, batch by batch."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration import MovingAverageObserver
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from tests.mrt_torch.calibration.observing import observe, statistics

BATCHES = st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5), min_size=1, max_size=8)


def averages(batches, c) -> list[float]:
    result = None
    for batch in batches:
        new = [min(batch), max(batch), max(map(abs, batch))]
        result = new if result is None else [(1 - c) * old + c * value for old, value in zip(result, new, strict=True)]
    return result


@settings(deadline=None, max_examples=60)
@given(BATCHES, st.floats(1e-3, 1))
def test_the_averages_follow_the_formula_exactly(batches, c):
    observer = observe(MovingAverageObserver(c), map(torch.tensor, batches))
    minimum, maximum, magnitude = averages(batches, c)
    assert observer.feature().get() == (minimum, maximum)
    assert observer.absmax_feature().get() == magnitude


@settings(deadline=None, max_examples=60)
@given(BATCHES, BATCHES, st.floats(1e-3, 0.9))
def test_merging_takes_the_others_batches_as_later_ones(early, late, c):
    """Float64 rounding, at most 1e-12 of the largest value."""
    merged = observe(MovingAverageObserver(c), map(torch.tensor, early))
    merged.merge(observe(MovingAverageObserver(c), map(torch.tensor, late)))
    assert merged.averages.tolist() == pytest.approx(averages([*early, *late], c), rel=1e-12, abs=1e-5 * 1e-7 * 1e6)
    merged.merge(MovingAverageObserver(c))
    assert merged.averages.tolist() == pytest.approx(averages([*early, *late], c), rel=1e-12, abs=1e-6)


def test_merging_into_one_that_saw_nothing_is_a_copy():
    seen, fresh = MovingAverageObserver(0.5), MovingAverageObserver(0.5)
    observe(seen, [torch.tensor([1.0]), torch.tensor([-2.0])])
    fresh.merge(copy.deepcopy(seen))
    assert statistics(fresh) == statistics(seen)


def test_a_batch_of_several_tensors_is_one_batch():
    observer = MovingAverageObserver(0.5)
    observer(torch.tensor([1.0]))
    observer(torch.tensor([5.0]))
    observer.commit()
    assert observer.feature().get() == (1.0, 5.0)
    observer.commit()  # nothing pending
    assert observer.feature().get() == (1.0, 5.0)


def test_it_is_known_to_depend_on_the_order():
    batches = [torch.tensor([1.0]), torch.tensor([2.0])]
    forward, backward = (observe(MovingAverageObserver(), order) for order in (batches, batches[::-1]))
    assert MovingAverageObserver.depends_on_order and forward.feature() != backward.feature()


def test_nothing_seen_zero_and_what_is_not_finite():
    with pytest.raises(CalibrationError, match="saw nothing"):
        MovingAverageObserver().feature()
    with pytest.raises(CalibrationError, match="saw nothing"):
        MovingAverageObserver().absmax_feature()
    assert observe(MovingAverageObserver(), [torch.zeros(3)]).absmax_feature().get() == 0
    spoilt = observe(MovingAverageObserver(), [torch.tensor([1.0, float("nan")]), torch.ones(2)])
    with pytest.raises(CalibrationError, match="not finite"):
        spoilt.feature()


@pytest.mark.parametrize("c", [0, -1, 1.5, float("nan"), "0.1", None, True])
def test_the_weight_is_checked(c):
    with pytest.raises(InvalidArgumentError, match="weight c"):
        MovingAverageObserver(c)

"""Oracle: the definition of the thresholds (mrt-core section 4) in plain float64 numpy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration.features import AFeature
from mrt_torch.calibration.observers import AbsmaxObserver, Observer
from mrt_torch.errors import CalibrationError, InvalidArgumentError

FLOATS = st.floats(-1e6, 1e6, width=32)
BATCHES = st.lists(st.lists(FLOATS, min_size=1, max_size=12), min_size=1, max_size=5)


def threshold_of(values: list[float], lambd: float | None) -> float:
    array = np.asarray(values, np.float64)
    absmax = np.abs(array).max()
    if lambd is None:
        return float(absmax)
    candidate = abs(array.mean()) + lambd * array.std()
    return float(candidate if candidate < 0.95 * absmax else absmax)


def observe(observer: AbsmaxObserver, batches) -> AbsmaxObserver:
    for batch in batches:
        observer(torch.tensor(batch, dtype=torch.float32))
        observer.commit()
    return observer


@settings(deadline=None, max_examples=60)
@given(BATCHES)
def test_absmax_is_the_exact_largest_magnitude(batches):
    seen = observe(AbsmaxObserver(), batches).result()
    assert seen == max(threshold_of(batch, None) for batch in batches)


@settings(deadline=None, max_examples=60)
@given(BATCHES, st.floats(0, 8))
def test_lambd_follows_the_formula(batches, lambd):
    """One float32 rounding apart (2**-24), or on the other side of the 0.95 rule when the two are that close."""
    seen = observe(AbsmaxObserver(lambd), batches).result()
    allowed = {max(choice) for choice in itertools.product(*(
        {threshold_of(batch, lambd), *near_the_rule(batch, lambd)} for batch in batches))}
    assert any(math.isclose(seen, value, rel_tol=1e-6, abs_tol=1e-30) for value in allowed)


def near_the_rule(values, lambd) -> set[float]:
    array = np.asarray(values, np.float64)
    candidate, absmax = abs(array.mean()) + lambd * array.std(), np.abs(array).max()
    return {candidate, absmax} if math.isclose(candidate, 0.95 * absmax, rel_tol=1e-6) else set()


@settings(deadline=None, max_examples=40)
@given(BATCHES.flatmap(lambda b: st.tuples(st.just(b), st.permutations(b))), st.sampled_from([None, 1.5, 3.0]))
def test_order_of_the_batches_does_not_matter(batches, lambd):
    given_order, other_order = batches
    assert observe(AbsmaxObserver(lambd), given_order).result() == observe(AbsmaxObserver(lambd), other_order).result()


@settings(deadline=None, max_examples=40)
@given(BATCHES, BATCHES, st.sampled_from([None, 2.0]))
def test_merge_counts_what_either_has_seen(left, right, lambd):
    merged = observe(AbsmaxObserver(lambd), left)
    merged.merge(observe(AbsmaxObserver(lambd), right))
    assert merged.result() == observe(AbsmaxObserver(lambd), [*right, *left]).result()


def test_forward_returns_its_input_itself():
    tensor = torch.randn(3, 4)
    assert AbsmaxObserver(1.0)(tensor) is tensor


def test_a_batch_counts_when_it_is_committed():
    observer = AbsmaxObserver()
    observer(torch.tensor([3.0]))
    assert observer.result() == 0
    observer.discard()
    observer.commit()
    assert observer.result() == 0
    observer(torch.tensor([-2.0]))
    observer.commit()
    assert observer.result() == 2


@pytest.mark.parametrize("lambd", [None, 2.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_value_that_is_not_finite_shows_in_the_statistic(lambd, bad, position):
    values = [1.0, 2.0, 3.0]
    values[position] = bad
    observer = AbsmaxObserver(lambd)
    observer(torch.tensor(values))
    assert not math.isfinite(float(observer.pending))


def test_empty_tensors_say_nothing():
    observer = AbsmaxObserver(2.0)
    observer(torch.empty(0, 3))
    observer.commit()
    assert observer.result() == 0


def test_integers_are_measured_without_overflow():
    """abs(-128) does not fit int8."""
    observer = AbsmaxObserver()
    observer(torch.tensor([-128, 5], dtype=torch.int8).to(torch.float32))
    observer.commit()
    assert observer.result() == 128


@pytest.mark.parametrize("lambd", [-1.0, float("nan"), float("inf")])
def test_lambd_is_checked(lambd):
    with pytest.raises(InvalidArgumentError, match="lambd"):
        AbsmaxObserver(lambd)


class Median(Observer):
    """One of the user: the median magnitude."""

    def measure(self, tensor):
        return tensor.abs().float().median()


def test_the_feature_of_a_users_observer_is_its_threshold():
    assert observe(Median(), [[1.0, 2.0, 9.0], [-4.0]]).feature() == AFeature(4)
    with pytest.raises(CalibrationError, match="saw nothing"):
        Median().feature()
    with pytest.raises(CalibrationError, match="not finite"):
        observe(Median(), [[math.nan]]).feature()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_statistics_stay_on_the_device_of_the_tensor():
    observer = AbsmaxObserver(2.0)
    observer(torch.tensor([1.0, -4.0], device="cuda"))
    observer.commit()
    assert observer.threshold.device.type == "cuda"
    assert observer.result() == 4

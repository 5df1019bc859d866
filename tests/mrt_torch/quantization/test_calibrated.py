"""What calibration hands to quantization. Oracle: the words of the docstrings, in numpy or by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration.features import AFeature, ALFeature, MMFeature, MMLFeature
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization.calibrated import Calibrated, joined, widest, with_threshold

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
pairs = st.tuples(numbers, numbers).map(sorted)
ranges = st.lists(pairs, min_size=1, max_size=5)


def test_numbers_stand_for_magnitudes():
    found = Calibrated.of({"a": 2.0, "b": MMFeature(-1.0, 3.0), "c": 0})
    assert found.features == {"a": AFeature(2.0), "b": MMFeature(-1.0, 3.0), "c": AFeature(0.0)}
    assert found.operand_features == {} and found.sample is None
    whole = Calibrated({"a": AFeature(1.0)}, {("a", 1): MMFeature(0.0, 1.0)}, torch.zeros(1, 2))
    assert Calibrated.of(whole) is whole


@pytest.mark.parametrize("value", ["wide", None, -1.0, float("nan"), float("inf"), [1.0]])
def test_what_is_no_magnitude_is_refused(value):
    with pytest.raises(InvalidArgumentError):
        Calibrated.of({"a": value})


@pytest.mark.parametrize("feature, threshold, expected", [
    (AFeature(2.0), 5.0, AFeature(5.0)), (AFeature(2.0), 0.5, AFeature(0.5)),
    (MMFeature(-1.0, 4.0), 2.0, MMFeature(-1.0, 2.0)), (MMFeature(-1.0, 4.0), 0.5, MMFeature(-0.5, 0.5)),
    (MMFeature(-1.0, 4.0), 8.0, MMFeature(-2.0, 8.0)), (MMFeature(0.0, 4.0), 2.0, MMFeature(0.0, 2.0)),
    (MMFeature(-4.0, -3.0), 2.0, MMFeature(-2.0, -2.0)), (MMFeature(0.0, 0.0), 2.0, AFeature(2.0)),
    (MMFeature(-4.0, 4.0), 4.0, MMFeature(-4.0, 4.0)), (MMFeature(-1.0, 4.0), 0.0, MMFeature(0.0, 0.0)),
    (MMLFeature([-1.0, 0.0], [0.5, 4.0]), 2.0, MMLFeature([-1.0, 0.0], [0.5, 2.0])),
    (MMLFeature([-1.0, 0.0], [0.5, 4.0]), 8.0, MMLFeature([-2.0, 0.0], [1.0, 8.0])),
    (ALFeature([1.0, 4.0]), 2.0, MMLFeature([-1.0, -2.0], [1.0, 2.0]))])
def test_a_threshold_cuts_off_or_spreads(feature, threshold, expected):
    """Cut off beyond a smaller one, spread to a larger one."""
    assert with_threshold(feature, threshold) == expected


@settings(deadline=None, max_examples=100)
@given(ranges, st.floats(0.0, 1e7).map(lambda value: round(value, 3)))
def test_the_threshold_is_what_was_asked_for(given_ranges, threshold):
    """Exactly; signs stay, ends stay in order, a cut moves nothing that lies within, and again changes nothing."""
    feature = MMLFeature(*zip(*given_ranges, strict=True)) if len(given_ranges) > 1 else MMFeature(*given_ranges[0])
    found = with_threshold(feature, threshold)
    assert found.get_threshold() == threshold
    assert with_threshold(found, threshold) == found
    if isinstance(found, AFeature):
        assert feature.get_threshold() == 0
        return
    known = feature.get_threshold()
    before, after = (np.array(f.get_channel_ranges() or [[end] for end in f.get_range()]) for f in (feature, found))
    assert (before * after >= 0).all()
    if threshold <= known:
        assert np.array_equal(after, np.clip(before, -threshold, threshold))
    else:
        assert np.allclose(after, before * (threshold / known), rtol=1e-12)


@pytest.mark.parametrize("first, second, expected", [
    (AFeature(1.0), AFeature(2.0), AFeature(2.0)),
    (MMFeature(-1.0, 2.0), MMFeature(-3.0, 1.0), MMFeature(-3.0, 2.0)),
    (MMFeature(-1.0, 2.0), AFeature(1.5), AFeature(2.0)),
    (MMLFeature([-1.0, 0.0], [1.0, 2.0]), MMLFeature([-2.0, 1.0], [0.0, 3.0]), MMLFeature([-2.0, 0.0], [1.0, 3.0])),
    (MMLFeature([-1.0, 0.0], [1.0, 2.0]), MMLFeature([-2.0], [0.0]), AFeature(2.0)),
    (MMLFeature([-1.0, 0.0], [1.0, 2.0]), MMFeature(-5.0, 1.0), AFeature(5.0))])
def test_the_widest_of_two(first, second, expected):
    """Of different kinds, or numbers of channels, their magnitudes are all that is alike. The order does not matter."""
    assert widest(first, second) == expected and widest(second, first) == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(pairs, min_size=2, max_size=6))
def test_widest_holds_all_that_it_was_given(given_ranges):
    """Oracle: minimum and maximum; in any order."""
    features = [MMFeature(*each) for each in given_ranges]
    found = features[0]
    for feature in features[1:]:
        found = widest(found, feature)
    assert found == MMFeature(min(low for low, _ in given_ranges), max(high for _, high in given_ranges))
    assert widest(found, found) == found


def test_two_calibrations_joined():
    """Features by name, the widest where both have one; the sample is that of all examples, each once, in any order."""
    rows = torch.arange(24.0).reshape(6, 4)
    first = Calibrated({"a": MMFeature(0.0, 2.0), "b": AFeature(1.0)}, {("a", 1): MMFeature(0.0, 1.0)}, rows[:4])
    second = Calibrated({"a": MMFeature(-1.0, 1.0), "c": AFeature(3.0)}, {("a", 2): MMLFeature([0.0], [1.0])}, rows[2:])
    both, other = joined(first, second), joined(second, first)
    assert both.features == {"a": MMFeature(-1.0, 2.0), "b": AFeature(1.0), "c": AFeature(3.0)} == other.features
    assert both.operand_features == {**first.operand_features, **second.operand_features}
    assert torch.equal(both.sample, other.sample) and sorted(both.sample[:, 0].tolist()) == rows[:, 0].tolist()
    columns = joined(Calibrated({}, {}, rows.t()[:, :3]), Calibrated({}, {}, rows.t()[:, 3:]), batch_axis=1)
    assert torch.equal(columns.sample.t(), joined(Calibrated({}, {}, rows), Calibrated({})).sample)
    assert joined(Calibrated({}), Calibrated({})) == Calibrated({})


def test_without_the_features_of_some():
    whole = Calibrated({"a": AFeature(1.0), "b": AFeature(2.0)}, {("a", 1): MMFeature(0.0, 1.0)}, torch.zeros(1))
    left = whole.without({"a", "nobody"})
    assert (left.features, left.operand_features) == ({"b": AFeature(2.0)}, {}) and left.sample is whole.sample

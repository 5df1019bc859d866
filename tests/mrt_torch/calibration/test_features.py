"""Oracle: the table of features in mrt-gen section 1, by hand."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch import AFeature, ALFeature, Feature, MMFeature
from mrt_torch.calibration import get_feature, register_feature
from mrt_torch.errors import InvalidArgumentError

MAGNITUDES = st.floats(0, 1e30)


@pytest.mark.parametrize("feature,value,threshold,serialized", [
    (AFeature(2.5), 2.5, 2.5, ["Absmax", 2.5]),
    (AFeature(0), 0.0, 0.0, ["Absmax", 0.0]),
    (ALFeature([1, 3, 2]), (1.0, 3.0, 2.0), 3.0, ["AbsmaxList", [1.0, 3.0, 2.0]]),
    (MMFeature(-4, 1), (-4.0, 1.0), 4.0, ["MinMax", -4.0, 1.0]),
    (MMFeature(2, 3), (2.0, 3.0), 3.0, ["MinMax", 2.0, 3.0]),
])
def test_values(feature, value, threshold, serialized):
    assert feature.get() == value
    assert feature.get_threshold() == threshold
    assert feature.serialize() == serialized
    assert get_feature(json.loads(json.dumps(serialized))) == feature


@settings(deadline=None, max_examples=50)
@given(st.one_of(MAGNITUDES.map(AFeature), st.lists(MAGNITUDES, min_size=1).map(ALFeature),
                 st.tuples(MAGNITUDES, MAGNITUDES).map(lambda ends: MMFeature(-ends[0], ends[1]))))
def test_round_trip_through_json(feature):
    again = get_feature(json.loads(json.dumps(feature.serialize())))
    assert again == feature and hash(again) == hash(feature) and repr(again) == repr(feature)


def test_equality_and_text():
    assert AFeature(1) == AFeature(1.0) != AFeature(2)
    assert AFeature(1) != ALFeature([1])
    assert repr(MMFeature(-1, 2)) == "MMFeature(-1.0, 2.0)"


@pytest.mark.parametrize("make", [
    lambda: AFeature(-1), lambda: AFeature(math.nan), lambda: AFeature(math.inf), lambda: AFeature("wide"),
    lambda: AFeature(None), lambda: ALFeature([]), lambda: ALFeature([1, -1]), lambda: MMFeature(1, 0),
    lambda: MMFeature(math.nan, 0), lambda: MMFeature(0, math.inf)])
def test_values_are_checked(make):
    with pytest.raises(InvalidArgumentError):
        make()


@pytest.mark.parametrize("serialized", [
    ["Nothing", 1], ["Absmax"], ["Absmax", 1, 2], ["MinMax", 1], [], "Absmax", 5, None, [["Absmax"], 1],
    ["Absmax", "a"], ["AbsmaxList", 3], ["Absmax", [1]]])
def test_what_is_no_serialized_feature(serialized):
    with pytest.raises(InvalidArgumentError):
        get_feature(serialized)


def test_users_register_their_own_and_never_twice():
    class Median(AFeature):
        name = "test_features.Median"

    register_feature(Median)
    assert get_feature(["test_features.Median", 3]) == Median(3)
    with pytest.raises(InvalidArgumentError, match="registered already"):
        register_feature(Median)


def test_the_base_names_the_class_that_lacks_a_method():
    class Half(Feature):
        name = "half"

    for method in ("get", "get_threshold", "serialize"):
        with pytest.raises(TypeError, match=f"Half does not define {method}"):
            getattr(Half(), method)()

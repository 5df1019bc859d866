"""Oracle: the table of features in mrt-gen section 1, by hand."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch import AFeature, ALFeature, Feature, MMFeature
from mrt_torch.calibration import MMLFeature, get_feature, register_feature
from mrt_torch.errors import InvalidArgumentError

MAGNITUDES = st.floats(0, 1e30)


@pytest.mark.parametrize("feature,value,threshold,serialized", [
    (AFeature(2.5), 2.5, 2.5, ["Absmax", 2.5]),
    (AFeature(0), 0.0, 0.0, ["Absmax", 0.0]),
    (ALFeature([1, 3, 2]), (1.0, 3.0, 2.0), 3.0, ["AbsmaxList", [1.0, 3.0, 2.0]]),
    (MMFeature(-4, 1), (-4.0, 1.0), 4.0, ["MinMax", -4.0, 1.0]),
    (MMFeature(2, 3), (2.0, 3.0), 3.0, ["MinMax", 2.0, 3.0]),
    (MMLFeature([-4, 2], [1, 3]), ((-4.0, 2.0), (1.0, 3.0)), 4.0, ["MinMaxList", [-4.0, 2.0], [1.0, 3.0]]),
])
def test_values(feature, value, threshold, serialized):
    assert feature.get() == value
    assert feature.get_threshold() == threshold
    assert feature.serialize() == serialized
    assert get_feature(json.loads(json.dumps(serialized))) == feature


@settings(deadline=None, max_examples=50)
@given(st.one_of(MAGNITUDES.map(AFeature), st.lists(MAGNITUDES, min_size=1).map(ALFeature),
                 st.tuples(MAGNITUDES, MAGNITUDES).map(lambda ends: MMFeature(-ends[0], ends[1])),
                 st.lists(MAGNITUDES, min_size=1).map(lambda ends: MMLFeature([-end for end in ends], ends))))
def test_round_trip_through_json(feature):
    again = get_feature(json.loads(json.dumps(feature.serialize())))
    assert again == feature and hash(again) == hash(feature) and repr(again) == repr(feature)


@pytest.mark.parametrize("feature,whole,channels", [
    (AFeature(2.5), (-2.5, 2.5), None), (ALFeature([1, 3]), (-3, 3), ((-1, -3), (1, 3))),
    (MMFeature(1, 4), (1, 4), None),
    (MMLFeature([-4, 2], [1, 3]), (-4, 3), ((-4, 2), (1, 3)))])
def test_ranges(feature, whole, channels):
    assert feature.get_range() == whole
    assert feature.get_channel_ranges() == channels


@pytest.mark.parametrize("feature,doubled", [
    (AFeature(2.5), AFeature(5)), (ALFeature([1, 3]), ALFeature([2, 6])), (MMFeature(-1, 4), MMFeature(-2, 8)),
    (MMLFeature([-4, 2], [1, 3]), MMLFeature([-8, 4], [2, 6]))])
def test_scaling(feature, doubled):
    assert feature.scaled(2) == doubled and type(feature.scaled(2)) is type(feature)
    assert feature.scaled(0).get_range() == (0, 0)
    for factor in (-1, math.nan, math.inf, "two", 1e308):
        with pytest.raises(InvalidArgumentError):
            feature.scaled(factor).scaled(factor)


def test_equality_and_text():
    assert AFeature(1) == AFeature(1.0) != AFeature(2)
    assert AFeature(1) != ALFeature([1])
    assert repr(MMFeature(-1, 2)) == "MMFeature(-1.0, 2.0)"


@pytest.mark.parametrize("make", [
    lambda: AFeature(-1), lambda: AFeature(math.nan), lambda: AFeature(math.inf), lambda: AFeature("wide"),
    lambda: AFeature(None), lambda: ALFeature([]), lambda: ALFeature([1, -1]), lambda: MMFeature(1, 0),
    lambda: MMFeature(math.nan, 0), lambda: MMFeature(0, math.inf), lambda: MMLFeature([], []),
    lambda: MMLFeature([0], [1, 2]), lambda: MMLFeature([0, 3], [1, 2]), lambda: MMLFeature([math.nan], [1])])
def test_values_are_checked(make):
    with pytest.raises(InvalidArgumentError):
        make()


@pytest.mark.parametrize("serialized", [
    ["Nothing", 1], ["Absmax"], ["Absmax", 1, 2], ["MinMax", 1], [], "Absmax", 5, None, [["Absmax"], 1],
    ["Absmax", "a"], ["AbsmaxList", 3], ["Absmax", [1]], ["MinMaxList", [1]], ["MinMaxList", 1, 2]])
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
    with pytest.raises(TypeError, match="Half does not define scaled"):
        Half().scaled(2)


def test_the_range_of_a_users_feature_is_symmetric():
    class Mean(Feature):
        name = "test_features.Mean"

        def get_threshold(self):
            return 3.0

    assert Mean().get_range() == (-3, 3) and Mean().get_channel_ranges() is None

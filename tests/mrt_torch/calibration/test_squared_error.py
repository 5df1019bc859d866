"""Oracle: the error of a range summed over the values themselves, and the best of a plain search with it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration import (
    Histogram,
    HistogramObserver,
    MMFeature,
    MMLFeature,
    least_squared_error_ranges,
    squared_error_feature,
)
from mrt_torch.calibration.squared_error import _Tail
from mrt_torch.errors import CalibrationError
from tests.mrt_torch.calibration.observing import observe, partitions

SIZE = 20000


def draw(name: str) -> torch.Tensor:
    torch.manual_seed(0)
    normal = torch.randn(SIZE)
    return {"normal": normal, "relu": normal.relu(), "heavy": normal ** 5,
            "leaky": torch.where(normal > 0, normal, normal / 10),
            "apart from zero": torch.rand(SIZE) + 5, "outlier": torch.cat([normal, torch.tensor([60.0])]),
            "negative outlier": torch.cat([normal.abs() + 1, torch.tensor([-60.0])]),
            "mostly zero": torch.where(normal > 2, normal, 0.0), "few": normal[:20]}[name]


NAMES = ["normal", "relu", "heavy", "leaky", "apart from zero", "outlier", "negative outlier", "mostly zero", "few"]


def rounding_error(values: torch.Tensor, low: float, high: float, levels: int) -> float:
    """What integers really cost: mean squared error, float64. Zero is one of the steps where the range holds it."""
    values, step = values.double(), (high - low) / levels
    first = round(low / step) if low <= 0 <= high else low / step
    return float(((((values / step - first).round().clamp(0, levels) + first) * step) - values).square().mean())


def plain_search(values: torch.Tensor, levels: int) -> tuple[float, float]:
    """Best of 40 x 40 ranges by the formula, value by value; ends are shares of the extremes, or of the distance to
    the mean where zero is no value's neighbour."""
    values = values.double()
    low, high, mean = float(values.min()), float(values.max()), float(values.mean())
    low_goal, high_goal = (min(mean, 0), max(mean, 0)) if low <= 0 <= high else (mean, mean)
    best, found = float("inf"), (low, high)
    for i in range(40):
        a = low + (low_goal - low) * i / 41
        below = (a - values).clamp(min=0).square().sum()
        for j in range(40 if high > high_goal else 1):
            b = high - (high - high_goal) * j / 41
            inside = ((values >= a) & (values <= b)).sum()
            error = float(below + (values - b).clamp(min=0).square().sum() + inside * ((b - a) / levels) ** 2 / 12)
            if error < best:
                best, found = error, (a, b)
        if low == low_goal:
            break
    return found


@pytest.mark.parametrize("levels", [254, 14])
@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_as_good_as_a_plain_search(name, by_channel, levels):
    """The real error is at most 1 % above: bins are not values, and the formula takes rounding errors for even."""
    values = draw(name)
    observer = observe(HistogramObserver(by_channel=by_channel), [values[:, None]])
    low, high = squared_error_feature(observer, levels=levels).get_range()
    assert float(values.min()) <= low <= high <= float(values.max())
    plain = rounding_error(values, *plain_search(values, levels), levels)
    assert rounding_error(values, low, high, levels) <= 1.01 * plain
    full = rounding_error(values, float(values.min()), float(values.max()), levels)
    assert rounding_error(values, low, high, levels) <= 1.01 * full


@pytest.mark.parametrize("name", ["relu", "mostly zero", "normal", "leaky", "negative outlier"])
def test_zero_stays_within(name):
    low, high = squared_error_feature(observe(HistogramObserver(), [draw(name)])).get_range()
    assert low <= 0 <= high
    assert name not in ("relu", "mostly zero") or low == 0


def test_an_outlier_is_cut_off():
    low, high = squared_error_feature(observe(HistogramObserver(), [draw("outlier")]), levels=14).get_range()
    assert high < 30


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20), st.floats(-120, 120))
def test_tails_are_sums_over_values_spread_within_their_bins(values, end):
    """Oracle: each count as a thousand values evenly within its bin: 1e-3 of the squared bin width each."""
    tensor = torch.tensor(values)
    histogram = Histogram.of(tensor, tensor.abs().amax().reshape(1), 16, True)
    edges = histogram.edges_within(tensor.min().double().reshape(1), tensor.max().double().reshape(1))
    counts = histogram.counts.double()
    count, error = (float(value) for value in _Tail(counts, *edges)(torch.tensor([[end]], dtype=torch.float64)))
    places = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    spread = edges[0][0, :, None] + (edges[1] - edges[0])[0, :, None] * places
    above = (spread - end).clamp(min=0)
    width = 2 * float(histogram.widths)
    assert count == pytest.approx(float((counts[0, :, None] * (above > 0)).sum()) / 1000, abs=1e-2 * len(values))
    assert error == pytest.approx(float((counts[0, :, None] * above.square()).sum()) / 1000, rel=1e-9,
                                  abs=1e-3 * width ** 2 * len(values))


def test_rows_are_searched_each_by_itself():
    """More rows than are searched together."""
    tensor = torch.randn(50, 300, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 300)
    observer = observe(HistogramObserver(by_channel=True), [tensor])
    together = squared_error_feature(observer, 300)
    for channel in (0, 127, 128, 299):
        alone = observe(HistogramObserver(by_channel=True), [tensor[:, channel:channel + 1]])
        assert squared_error_feature(alone).get_range() == (together.minima[channel], together.maxima[channel])


@settings(deadline=None, max_examples=25)
@given(partitions(channels=4), st.sampled_from([1, 2, 4]))
def test_order_and_partition_do_not_matter(data, groups):
    tensor, batches = data
    whole, parts = (observe(HistogramObserver(by_channel=True), fed) for fed in ([tensor], batches))
    assert squared_error_feature(whole, groups) == squared_error_feature(parts, groups)
    low, high = squared_error_feature(parts, groups).get_range()
    assert float(tensor.min()) <= low <= high <= float(tensor.max())


@pytest.mark.parametrize("value", [0.0, 3.0, -2.5])
def test_a_constant_row_keeps_its_extremes(value):
    tensor = torch.stack([torch.full((8,), value), torch.linspace(-1, 1, 8)], 1)
    feature = squared_error_feature(observe(HistogramObserver(by_channel=True), [tensor]), 2)
    assert isinstance(feature, MMLFeature) and (feature.minima[0], feature.maxima[0]) == (value, value)
    assert squared_error_feature(observe(HistogramObserver(), [tensor[:, :1]])) == MMFeature(value, value)


def test_without_values_the_extremes_stay():
    zeros = torch.zeros(1, dtype=torch.float64)
    lows, highs = least_squared_error_ranges(Histogram(torch.zeros(1, 31, dtype=torch.int64), torch.zeros(
        1, dtype=torch.int32), True), zeros - 1, zeros + 1)
    assert (float(lows), float(highs)) == (-1, 1)


def test_nothing_seen():
    with pytest.raises(CalibrationError, match="saw nothing"):
        squared_error_feature(HistogramObserver())

"""Oracle: numpy's quantiles of the values themselves; a histogram may be a bin width off on each side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration import HistogramObserver
from mrt_torch.calibration.outliers import percentile_ranges, quantiles, ranges_without_outliers
from tests.mrt_torch.calibration.observing import observe

VALUES = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60)


def rows_of(*rows, bins=256):
    return observe(HistogramObserver(bins, by_channel=True), [torch.tensor(rows).T]).groups(len(rows))


def inverted(values, share) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return float(np.quantile(np.asarray(values, np.float64), share, method="inverted_cdf"))


@settings(deadline=None, max_examples=80)
@given(VALUES, st.floats(0.01, 0.99))
def test_quantiles(values, share):
    histogram, minima, maxima = rows_of(values)
    width = 2 * float(histogram.widths)  # of the widest bin, that around zero
    seen = float(quantiles(histogram, minima, maxima, share))
    assert min(inverted(values, share - 1e-9), inverted(values, share)) - width <= seen
    assert seen <= inverted(values, min(share + 1e-9, 1)) + width
    assert float(quantiles(histogram, minima, maxima, 1)) == max(values)
    assert float(quantiles(histogram, minima, maxima, 0)) == min(values)


@pytest.mark.parametrize("percentile", [99.99, 99.0, 60.0])
def test_percentiles(percentile):
    torch.manual_seed(0)
    normal = torch.randn(30000)
    rows = [normal.tolist(), normal.relu().tolist(), (normal.abs() + 5).tolist()]
    histogram, minima, maxima = rows_of(*rows, bins=1024)
    lows, highs = percentile_ranges(histogram, minima, maxima, percentile)
    for row, low, high, width in zip(rows, lows.tolist(), highs.tolist(), histogram.widths.tolist(), strict=True):
        wanted = inverted(row, 1 - percentile / 100), inverted(row, percentile / 100)
        if min(row) <= 0:
            wanted = min(wanted[0], 0), max(wanted[1], 0)
        assert (low, high) == pytest.approx(wanted, abs=2 * width)


def test_a_percentile_of_100_keeps_the_extremes():
    histogram, minima, maxima = rows_of([-3.0, 1.0, 7.0])
    assert [float(end) for end in percentile_ranges(histogram, minima, maxima, 100)] == [-3, 7]


def fences(values, multiple) -> tuple[float, float]:
    """Tukey's fences as defined, from the values."""
    low, middle, high = (inverted(values, share) for share in (0.05, 0.5, 0.95))
    return max(min(values), middle - multiple * (middle - low)), min(max(values), middle + multiple * (high - middle))


@pytest.mark.parametrize("multiple", [1.0, 3.0])
def test_fences(multiple):
    torch.manual_seed(0)
    normal = torch.randn(30000)
    rows = [normal.tolist(), (normal ** 3).tolist(), (normal.abs() + 5).tolist(), torch.rand(30000).tolist()]
    histogram, minima, maxima = rows_of(*rows, bins=1024)
    lows, highs = ranges_without_outliers(histogram, minima, maxima, multiple)
    for row, low, high, width in zip(rows, lows.tolist(), highs.tolist(), histogram.widths.tolist(), strict=True):
        wanted_low, wanted_high = fences(row, multiple)
        if min(row) <= 0:
            wanted_low, wanted_high = min(wanted_low, 0), max(wanted_high, 0)
        assert (low, high) == pytest.approx((wanted_low, wanted_high), abs=2 * width * (1 + 2 * multiple))


def test_an_outlier_is_left_out_and_evenly_spread_values_stay():
    outlying, even = [*np.linspace(-1, 1, 99).tolist(), 50.0], np.linspace(0, 1, 100).tolist()
    histogram, minima, maxima = rows_of(outlying, even, bins=1024)
    lows, highs = ranges_without_outliers(histogram, minima, maxima, 3)
    assert highs.tolist() == pytest.approx([3, 1], abs=0.3) and lows.tolist() == [-1, 0]


@pytest.mark.parametrize("values", [[0.0] * 5, [4.0] * 5, [-4.0] * 3, [0.0] * 99 + [7.0], [0.0] * 99 + [-7.0]])
def test_a_side_without_spread_keeps_its_extreme(values):
    histogram, minima, maxima = rows_of(values)
    ends = [float(end) for end in ranges_without_outliers(histogram, minima, maxima, 3)]
    assert ends == [min(values), max(values)]


@settings(deadline=None, max_examples=60)
@given(VALUES, st.floats(51, 100), st.floats(1, 5))
def test_ranges_lie_within_the_extremes_and_hold_zero_where_these_do(values, percentile, multiple):
    histogram, minima, maxima = rows_of(values, bins=16)
    for lows, highs in (percentile_ranges(histogram, minima, maxima, percentile),
                        ranges_without_outliers(histogram, minima, maxima, multiple)):
        assert min(values) <= float(lows) <= float(highs) <= max(values)
        assert not min(values) <= 0 <= max(values) or float(lows) <= 0 <= float(highs)

"""Ranges that leave outliers out, from histograms: by percentile, and by distance from the bulk of the values."""

from __future__ import annotations

import torch

from mrt_torch.calibration.histogram import Histogram

MEDIAN, TAIL = 0.5, 0.05


def quantiles(histogram: Histogram, minima: torch.Tensor, maxima: torch.Tensor, share: float) -> torch.Tensor:
    """The value of each row that ``share`` of its values stay below: (R,) float64.

    With n values: where the cumulated count reaches share * n, a bin's values being spread evenly between its edges,
    which are cut to the extremes of the row. At most a bin width off. 0 gives the minimum, 1 the maximum.
    """
    lower, upper = histogram.edges_within(minima, maxima)
    counts = histogram.counts.double()
    reached = counts.cumsum(1)
    wanted = reached[:, -1:] * share
    place = torch.searchsorted(reached, wanted).clamp(max=counts.shape[1] - 1)
    count, end, first, last = (values.gather(1, place) for values in (counts, reached, lower, upper))
    part = 1 - (end - wanted) / count.clamp(min=1)
    value = torch.where(count > 0, first + (last - first) * part.clamp(0, 1), minima[:, None])[:, 0]
    return value if share < 1 else maxima


def percentile_ranges(histogram: Histogram, minima: torch.Tensor, maxima: torch.Tensor, percentile: float
                      ) -> tuple[torch.Tensor, torch.Tensor]:
    """The value that ``percentile`` percent of a row stay above, and the one that as many stay below: two of (R,).

    Neither lies beyond zero where zero lies between the extremes.
    """
    return _beside_zero(quantiles(histogram, minima, maxima, 1 - percentile / 100),
                        quantiles(histogram, minima, maxima, percentile / 100), minima, maxima)


def ranges_without_outliers(histogram: Histogram, minima: torch.Tensor, maxima: torch.Tensor, multiple: float
                            ) -> tuple[torch.Tensor, torch.Tensor]:
    """Tukey's fences, with a spread of its own for each side: two of (R,). With m the median and q a quantile,

        low = max(minimum, m - multiple * (m - q(5 %)))     high = min(maximum, m + multiple * (q(95 %) - m))

    A side without spread keeps its extreme, as it does where most values are the same; and neither end lies beyond zero
    where zero lies between the extremes. For normal values a multiple of 3 gives 4.9 standard deviations.
    """
    median = quantiles(histogram, minima, maxima, MEDIAN)
    below = median - quantiles(histogram, minima, maxima, TAIL)
    above = quantiles(histogram, minima, maxima, 1 - TAIL) - median
    # Within a bin there is no telling equal values from spread ones.
    lows = torch.where(below > histogram.widths, median - multiple * below, minima)
    highs = torch.where(above > histogram.widths, median + multiple * above, maxima)
    return _beside_zero(lows, highs, minima, maxima)


def _beside_zero(lows: torch.Tensor, highs: torch.Tensor, minima: torch.Tensor, maxima: torch.Tensor
                 ) -> tuple[torch.Tensor, torch.Tensor]:
    holds_zero = (minima <= 0) & (maxima >= 0)
    lows, highs = torch.where(holds_zero, lows.clamp(max=0), lows), torch.where(holds_zero, highs.clamp(min=0), highs)
    return torch.maximum(lows, minima), torch.minimum(highs, maxima)

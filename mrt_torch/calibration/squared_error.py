"""The range that loses least, in squared error, when it is divided into a number of equal steps."""

from __future__ import annotations

import torch

from mrt_torch.calibration.features import Feature, MMFeature, MMLFeature
from mrt_torch.calibration.histogram import Histogram
from mrt_torch.calibration.histogram_observer import HistogramObserver

LEVELS = 254  # steps between -127 and 127
# Candidates for each end: shares of its way to the mean, then as many around the best.
COARSE, FINE, FURTHEST = 40, 9, 0.975
ROWS = 128  # that are searched together: bounds the memory


def squared_error_feature(observer: HistogramObserver, groups: int = 1, levels: int = LEVELS) -> Feature:
    """``MMFeature`` of the whole tensor, or ``MMLFeature`` with a range for each of several groups of channels."""
    lows, highs = least_squared_error_ranges(*observer.groups(groups), levels)
    return MMFeature(float(lows), float(highs)) if groups == 1 else MMLFeature(lows.tolist(), highs.tolist())


def least_squared_error_ranges(histogram: Histogram, minima: torch.Tensor, maxima: torch.Tensor, levels: int = LEVELS
                               ) -> tuple[torch.Tensor, torch.Tensor]:
    """Lower and upper end (R,) float64 of each row's range [a, b] within its extremes, of least error

        sum over x outside: (distance to the nearer end)**2  +  sum over x inside: ((b - a) / levels)**2 / 12

    that is: clipping, and rounding to equal steps. Values count as spread evenly over their bin, but for the bin of
    zero: zero is one of the steps, so what lies there costs nothing. Each end is one of 40
    shares of its way to the mean, but not beyond zero: what ReLU and padding make is often exactly zero, and stays
    exact. All pairs are tried; then 9 shares around the best. Ties go to the widest, and a row without spread keeps its
    extremes. Deterministic.

    Args:
        histogram: of R rows.
        minima, maxima: (R,) float64, the exact extremes.
        levels: steps between the ends.
    """
    parts = [_search(Histogram(histogram.counts[rows], histogram.exponents[rows], histogram.signed), minima[rows],
                     maxima[rows], levels) for rows in torch.arange(len(minima)).split(ROWS)]
    lows, highs = zip(*parts, strict=True)
    return torch.cat(lows), torch.cat(highs)


def _search(histogram: Histogram, minima: torch.Tensor, maxima: torch.Tensor, levels: int
            ) -> tuple[torch.Tensor, torch.Tensor]:
    counts, lower, upper = histogram.counts.double(), *histogram.edges_within(minima, maxima)
    total = counts.sum(1, keepdim=True)
    mean = (counts * (lower + upper) / 2).sum(1) / total[:, 0].clamp(min=1)
    holds_zero = (minima <= 0) & (maxima >= 0)
    reach_low = torch.where(holds_zero, mean.clamp(max=0), mean).sub(minima)[:, None]
    reach_high = maxima.sub(torch.where(holds_zero, mean.clamp(min=0), mean))[:, None]
    zeros = counts[:, histogram.magnitudes - 1 if histogram.signed else 0].where(holds_zero, 0.0)
    above = _Tail(counts, lower, upper)
    below = _Tail(counts.flip(1), -upper.flip(1), -lower.flip(1))
    step = FURTHEST / (COARSE - 1)
    shares = torch.arange(COARSE, dtype=torch.float64, device=minima.device) * step
    low_shares = high_shares = shares.expand(len(minima), -1)
    for around in (torch.linspace(-step, step, FINE, dtype=torch.float64, device=minima.device), None):
        lows, highs = minima[:, None] + reach_low * low_shares, maxima[:, None] - reach_high * high_shares
        (count_below, error_below), (count_above, error_above) = below(-lows), above(highs)
        inside = ((total - count_below)[:, :, None] - count_above[:, None, :] - zeros[:, None, None]).clamp_(min=0)
        steps = (highs[:, None, :] - lows[:, :, None]) / levels
        errors = error_below[:, :, None] + error_above[:, None, :] + inside * steps ** 2 / 12
        best = errors.flatten(1).argmin(1, keepdim=True)
        low, high = best // high_shares.shape[1], best % high_shares.shape[1]
        if around is None:
            return lows.gather(1, low)[:, 0], highs.gather(1, high)[:, 0]
        low_shares = (low_shares.gather(1, low) + around).clamp(0, FURTHEST)
        high_shares = (high_shares.gather(1, high) + around).clamp(0, FURTHEST)


class _Tail:
    """Count and squared distance of all values above an end, from cumulative moments: no sum for each end."""

    def __init__(self, counts: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor):
        self.counts, self.lower, self.upper = counts, lower.contiguous(), upper.contiguous()
        moments = (counts, counts * (lower + upper) / 2, counts * (lower ** 2 + lower * upper + upper ** 2) / 3)
        self.beyond = [moment.flip(1).cumsum(1).flip(1) - moment for moment in moments]

    def __call__(self, ends: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(R, K) ends to (R, K) counts of x > end and sums of (x - end)**2 over them."""
        ends = ends.contiguous()
        place = torch.searchsorted(self.upper, ends, right=True)  # the first bin that reaches above the end
        some = place < self.upper.shape[1]
        place = place.clamp(max=self.upper.shape[1] - 1)
        lower, upper, count = (values.gather(1, place) for values in (self.lower, self.upper, self.counts))
        far, near = upper - ends, (lower - ends).clamp(min=0)
        width = upper - lower
        part = count * torch.where(width > 0, (far - near) / width.where(width > 0, 1.0), 1.0)
        counted, first, second = (values.gather(1, place) for values in self.beyond)
        distance = (second - 2 * ends * first + ends ** 2 * counted).clamp(min=0)
        distance += part * (far ** 2 + far * near + near ** 2) / 3
        return (counted + part).where(some, 0.0), distance.where(some, 0.0)

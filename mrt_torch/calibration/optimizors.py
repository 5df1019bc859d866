"""The optimizors that come with the library. (MRT GEN, ``tfm_types``.)"""

from __future__ import annotations

import math
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import fx

from mrt_torch.calibration.divergence import least_divergence
from mrt_torch.calibration.extremes import ChannelAbsmaxObserver, MinMaxObserver, magnitudes
from mrt_torch.calibration.feature_history import blended, widest
from mrt_torch.calibration.features import AFeature, ALFeature, Feature, MMFeature
from mrt_torch.calibration.histogram import Histogram
from mrt_torch.calibration.histogram_observer import HistogramObserver
from mrt_torch.calibration.moving_average import MovingAverageObserver
from mrt_torch.calibration.observers import CLEARLY_BELOW, AbsmaxObserver, Observer
from mrt_torch.calibration.optimizor import OPTIMIZORS, Optimizor, get_optimizor, register_optimizor
from mrt_torch.calibration.outliers import percentile_ranges, ranges_without_outliers
from mrt_torch.calibration.plan import is_from_zero
from mrt_torch.calibration.raw_features import AFFINE, GROUPED, SYMMETRIC
from mrt_torch.calibration.squared_error import least_squared_error_ranges
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.input_data import as_tensor

__all__ = ["OPTIMIZORS", "HVOptimizor", "HistogramOptimizor", "KLDOptimizor", "MAOptimizor", "MSEOptimizor",
           "Optimizor", "OutlierRemovalOptimizor", "PercentileOptimizor", "get_optimizor", "register_optimizor"]


def _check_bounds(optimizor: Optimizor, attribute: str, fits: bool, bounds: str) -> None:
    if not fits:
        raise InvalidArgumentError(f"the attribute '{attribute}' of the optimizor '{optimizor.name}' is {bounds}",
                                   why=f"saw {getattr(optimizor, attribute)!r}", remedy="pass a value within them")


@register_optimizor
class HVOptimizor(Optimizor):
    """Historical value: what covers all batches.

    With ``lambd``, an ``AFeature`` of a batch counts as c = abs(mean) + lambd * std (population, float64) where
    c < 0.95 * absmax. Other features know no ``lambd``. Batches may come in any order.
    """

    name = "HistoricalValue"
    attributes = {"lambd": (None, (NoneType, float))}

    def validate(self) -> None:
        _check_bounds(self, "lambd", self.lambd is None or 0 <= self.lambd < math.inf, "finite, and at least 0")

    def get_opt(self, raw_ft: Feature | float, out: Any, *, hist_ft: Feature | None = None, name: str | None = None,
                logger: Any = None) -> Feature:
        feature, _, _ = self.kind_of(raw_ft)
        if self.lambd is not None and isinstance(feature, AFeature):
            deviation, mean = torch.std_mean(as_tensor(out).to(torch.float64), correction=0)
            candidate = float(mean.abs() + self.lambd * deviation)
            feature = AFeature(candidate) if candidate < CLEARLY_BELOW * feature.absmax else feature
        return widest(feature, hist_ft)

    def make_observer(self, quant_type: str, node: fx.Node | None = None) -> Observer:
        self.check_supported(quant_type)
        if quant_type == SYMMETRIC:
            return AbsmaxObserver(self.lambd)
        return MinMaxObserver() if quant_type == AFFINE else ChannelAbsmaxObserver()


@register_optimizor
class MAOptimizor(Optimizor):
    """Moving average: (1 - c) * history + c * new; the first batch as it is."""

    name = "MovingAverage"
    attributes = {"c": (0.01, (float,))}
    quant_types = (SYMMETRIC, AFFINE)

    def validate(self) -> None:
        _check_bounds(self, "c", 0 < self.c <= 1, "above 0, and at most 1")

    def get_opt(self, raw_ft: Feature | float, out: Any, *, hist_ft: Feature | None = None, name: str | None = None,
                logger: Any = None) -> Feature:
        return blended(self.kind_of(raw_ft)[0], hist_ft, self.c)

    def make_observer(self, quant_type: str, node: fx.Node | None = None) -> MovingAverageObserver:
        self.check_supported(quant_type)
        return MovingAverageObserver(self.c)

    def optimize(self, observer: MovingAverageObserver, quant_type: str, groups: int | None = None) -> Feature:
        self.check_supported(quant_type)
        return observer.absmax_feature() if quant_type == SYMMETRIC else observer.feature()


@register_optimizor
class KLDOptimizor(Optimizor):
    """The magnitude whose quantized histogram diverges least from the histogram: see ``least_divergence``.

    ``get_opt`` takes 2**bucket_bit - 1 bins over [-absmax, absmax] and 2**quant_bit - 1 levels; the threshold is the
    upper edge of the best slice, the largest of all batches. Streamed, the bins are as many, but their width is a power
    of two: between half of them and all are in use, and one histogram is made of all batches.
    """

    name = "KLDivergence"
    attributes = {"bucket_bit": (12, (int,)), "quant_bit": (8, (int,)), "eps": (1e-4, (float,))}
    quant_types = (SYMMETRIC,)

    def validate(self) -> None:
        _check_bounds(self, "bucket_bit", 5 <= self.bucket_bit <= 20, "between 5 and 20")
        _check_bounds(self, "quant_bit", 2 <= self.quant_bit <= self.bucket_bit, "at least 2, and at most bucket_bit")
        _check_bounds(self, "eps", 0 < self.eps < 1, "between 0 and 1")

    def get_opt(self, raw_ft: Feature | float, out: Any, *, hist_ft: Feature | None = None, name: str | None = None,
                logger: Any = None) -> Feature:
        feature, _, _ = self.kind_of(raw_ft)
        absmax, bins = feature.get(), 2 ** self.bucket_bit - 1
        values = as_tensor(out).detach().cpu().to(torch.float64).numpy().clip(-absmax, absmax)
        if absmax:
            counts = torch.from_numpy(np.histogram(values, bins, (-absmax, absmax))[0])
            best = least_divergence(counts, 2 ** self.quant_bit - 1, self.eps)
            feature = AFeature(absmax if best is None else (2 * best + 1) * absmax / bins)
        return widest(feature, hist_ft)

    def make_observer(self, quant_type: str, node: fx.Node | None = None) -> HistogramObserver:
        self.check_supported(quant_type)
        return HistogramObserver(2 ** (self.bucket_bit - 1))

    def optimize(self, observer: HistogramObserver, quant_type: str = SYMMETRIC, groups: int | None = None) -> AFeature:
        self.check_supported(quant_type)
        histogram, minima, maxima = observer.groups(1)
        absmax, counts = float(magnitudes(minima, maxima)), histogram.counts[0]
        if not absmax:
            return AFeature(0.0)
        centre = len(counts) // 2
        used = int((counts.nonzero() - centre).abs().max())
        best = least_divergence(counts[centre - used:centre + used + 1], 2 ** self.quant_bit - 1, self.eps)
        return AFeature(absmax if best is None else min((best + 1) * float(histogram.widths), absmax))


class HistogramOptimizor(Optimizor):
    """Base of optimizors that choose a range from a histogram. A subclass gives ``choose``."""

    def choose(self, histogram: Histogram, minima: torch.Tensor, maxima: torch.Tensor, symmetric: bool
               ) -> tuple[torch.Tensor, torch.Tensor]:
        """Ends of the range of each row, two of (R,) float64.

        Args:
            histogram: of R rows; for symmetric ranges that of the magnitudes, of which the upper end counts.
            minima, maxima: (R,) float64, the exact extremes of the rows.
            symmetric: see ``histogram``.
        """
        raise TypeError(f"{type(self).__name__} does not define choose")

    def get_opt(self, raw_ft: Feature | float, out: Any, *, hist_ft: Feature | None = None, name: str | None = None,
                logger: Any = None) -> Feature:
        """The feature of the batch from its own histogram, and what covers those of the batches before."""
        _, quant_type, groups = self.kind_of(raw_ft)
        observer = self.make_observer(quant_type)
        observer(as_tensor(out))
        observer.commit()
        return widest(self.optimize(observer, quant_type, groups), hist_ft)

    def make_observer(self, quant_type: str, node: fx.Node | None = None) -> HistogramObserver:
        self.check_supported(quant_type)
        return HistogramObserver(signed=node is None or not is_from_zero(node), by_channel=quant_type == GROUPED)

    def optimize(self, observer: HistogramObserver, quant_type: str, groups: int | None = None) -> Feature:
        self.check_supported(quant_type)
        observer.check()
        count = 1 if quant_type != GROUPED else len(observer.counts) if groups is None else groups
        histogram, minima, maxima = observer.groups(count)
        if quant_type == AFFINE:
            return MMFeature(*map(float, self.choose(histogram, minima, maxima, symmetric=False)))
        largest = magnitudes(minima, maxima)
        _, thresholds = self.choose(histogram.folded(), torch.zeros_like(largest), largest, symmetric=True)
        return AFeature(float(thresholds)) if quant_type == SYMMETRIC else ALFeature(thresholds.tolist())


@register_optimizor
class OutlierRemovalOptimizor(HistogramOptimizor):
    """Leaves out what lies far from the bulk of the values: see ``ranges_without_outliers``."""

    name = "OutlierRemoval"
    attributes = {"multiple": (3.0, (float,))}

    def validate(self) -> None:
        _check_bounds(self, "multiple", 1 <= self.multiple < math.inf, "finite, and at least 1")

    def choose(self, histogram: Histogram, minima: torch.Tensor, maxima: torch.Tensor, symmetric: bool
               ) -> tuple[torch.Tensor, torch.Tensor]:
        return ranges_without_outliers(histogram, minima, maxima, self.multiple)


@register_optimizor
class PercentileOptimizor(HistogramOptimizor):
    """Leaves out the values beyond a percentile on each side: see ``percentile_ranges``."""

    name = "Percentile"
    attributes = {"percentile": (99.99, (float,))}

    def validate(self) -> None:
        _check_bounds(self, "percentile", 50 < self.percentile <= 100, "above 50, and at most 100")

    def choose(self, histogram: Histogram, minima: torch.Tensor, maxima: torch.Tensor, symmetric: bool
               ) -> tuple[torch.Tensor, torch.Tensor]:
        return percentile_ranges(histogram, minima, maxima, self.percentile)


@register_optimizor
class MSEOptimizor(HistogramOptimizor):
    """The range of least squared error of clipping and of rounding to quant_bit bits: see
    ``least_squared_error_ranges``."""

    name = "MSE"
    attributes = {"quant_bit": (8, (int,))}

    def validate(self) -> None:
        _check_bounds(self, "quant_bit", 2 <= self.quant_bit <= 16, "between 2 and 16")

    def choose(self, histogram: Histogram, minima: torch.Tensor, maxima: torch.Tensor, symmetric: bool
               ) -> tuple[torch.Tensor, torch.Tensor]:
        levels = 2 ** (self.quant_bit - 1) - 1
        return least_squared_error_ranges(histogram, minima, maxima, levels if symmetric else 2 * levels)

"""Observer of histograms, with the exact extremes beside them."""

from __future__ import annotations

import torch

from mrt_torch.calibration.extremes import ExtremesObserver, magnitudes
from mrt_torch.calibration.histogram import Histogram
from mrt_torch.errors import CalibrationError, InvalidArgumentError

TENSOR_MAGNITUDES, CHANNEL_MAGNITUDES = 1024, 256


class HistogramObserver(ExtremesObserver):
    """Histogram of all tensors seen, or of each channel of axis 1, and their exact smallest and largest values.

    The range grows by merging neighbouring bins, so counts and extremes are the same, byte for byte, for any order and
    partition of the batches and any merge. See ``Histogram`` for the bins.

    Buffers: ``counts`` (R, N) int64, ``exponents`` (R,) int32; R is 1 or the number of channels.

    Args:
        bins: on each side of zero, a power of two of at least 16; None for 1024, or 256 a channel.
        signed: whether values below zero may occur.
        by_channel: a histogram of each channel; they can be added up later, see ``grouped``.
        extremes_by_channel: what ``feature`` gives; None follows ``by_channel``.
    """

    def __init__(self, bins: int | None = None, signed: bool = True, by_channel: bool = False,
                 extremes_by_channel: bool | None = None):
        bins = bins or (CHANNEL_MAGNITUDES if by_channel else TENSOR_MAGNITUDES)
        if isinstance(bins, bool) or not isinstance(bins, int) or bins < 16 or bins & (bins - 1):
            raise InvalidArgumentError("the number of bins is a power of two of at least 16", why=f"saw {bins!r}",
                                       remedy="pass a number such as 1024")
        if by_channel and extremes_by_channel is False:
            raise InvalidArgumentError("a histogram of each channel needs the extremes of each",
                                       remedy="leave extremes_by_channel out")
        super().__init__(by_channel if extremes_by_channel is None else extremes_by_channel)
        self.bins, self.signed, self.counts_by_channel = bins, signed, by_channel
        for name in ("counts", "exponents", "pending_counts", "pending_exponents"):
            self.register_buffer(name, None)
        self._hold("", Histogram.empty(bins, signed))
        self._hold("pending_", Histogram.empty(bins, signed))

    def measure(self, tensor: torch.Tensor) -> torch.Tensor:
        magnitude = super().measure(tensor)
        largest = magnitudes(self.pending_minima, self.pending_maxima)
        if not self.counts_by_channel:
            largest = largest.amax().reshape(1)
        self._hold("pending_", self._held("pending_").merged(Histogram.of(tensor, largest, self.bins, self.signed)))
        return magnitude

    def commit(self) -> None:
        self._hold("", self._held("").merged(self._held("pending_")))
        super().commit()

    def discard(self) -> None:
        super().discard()
        self._hold("pending_", Histogram.empty(self.bins, self.signed))

    def merge(self, other: HistogramObserver) -> None:
        if isinstance(other, HistogramObserver) and (other.bins, other.signed) != (self.bins, self.signed):
            raise InvalidArgumentError("histograms of different bins cannot be merged",
                                       why=f"saw {self.bins} and {other.bins} bins, signed {self.signed} and "
                                           f"{other.signed}", remedy="make both observers the same way")
        super().merge(other)
        theirs = other.histogram
        self._hold("", self.histogram.merged(Histogram(*(tensor.to(self.threshold.device) for tensor in (
            theirs.counts, theirs.exponents)), self.signed)))

    @property
    def histogram(self) -> Histogram:
        """Counts of the committed batches."""
        return self._held("")

    def grouped(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Counts (count, N) int64 and bin widths (count,) float64 of groups of neighbouring channels, on the CPU.

        Raises:
            InvalidArgumentError: the histograms cannot be added up to so many.
            CalibrationError: as in ``feature``.
        """
        histogram, _, _ = self.groups(count)
        return histogram.counts, histogram.widths

    def groups(self, count: int) -> tuple[Histogram, torch.Tensor, torch.Tensor]:
        """Histogram, minima and maxima (count,) float64 of groups of channels, on the CPU; see ``grouped``."""
        self.check()
        rows = len(self.counts)
        if count < 1 or rows % count or len(self.minima) % count:
            raise InvalidArgumentError("the channels do not divide into that many groups",
                                       why=f"saw {rows} histograms, {len(self.minima)} channels and {count} groups",
                                       remedy="count by channel, and pass a divisor of their number")
        minima, maxima = (ends.cpu().reshape(count, -1) for ends in (self.minima, self.maxima))
        histogram = Histogram(self.counts.cpu(), self.exponents.cpu(), self.signed).grouped(count)
        return histogram, minima.amin(1).double(), maxima.amax(1).double()

    def check(self) -> None:
        super().check()
        if not self.signed and float(self.minima.min()) < 0:
            raise CalibrationError("a histogram of values from zero up saw one below zero",
                                   why=f"the smallest is {float(self.minima.min())}",
                                   remedy="pass signed=True to HistogramObserver")

    def _held(self, prefix: str) -> Histogram:
        return Histogram(getattr(self, prefix + "counts"), getattr(self, prefix + "exponents"), self.signed)

    def _hold(self, prefix: str, histogram: Histogram) -> None:
        setattr(self, prefix + "counts", histogram.counts)
        setattr(self, prefix + "exponents", histogram.exponents)

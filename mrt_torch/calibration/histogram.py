"""Histograms whose counts are the same for every order, partition and merge of the data.

Bins have a width of 2**exponent. Where the data outgrows them, neighbouring bins become one, which gives exactly what
the wider bins would have counted: the number of the bin of x is x / 2**exponent without its fraction, and that of the
next wider one half of it without its fraction. The exponent follows from the largest magnitude seen alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Elements whose bins are computed together: bounds the memory, and stays within the cache.
CHUNK = 2 ** 17
# Counts of channels that are computed together.
MOST_COUNTS = 2 ** 20
# A narrower bin would need a reciprocal that float32 cannot hold.
LEAST_EXPONENT = -126


@dataclass(frozen=True)
class Histogram:
    """Counts of R tensors, or channels, by bins around zero or from zero up.

    Attributes:
        counts: (R, N) int64. Signed: N = 2 * magnitudes - 1, the centre bin holds (-w, w), bin centre + k holds
            [k * w, (k + 1) * w) and centre - k its mirror image. Unsigned: N = magnitudes, bin k holds
            [k * w, (k + 1) * w), what is below zero counts in bin 0.
        exponents: (R,) int32: w = 2**exponent, the least one for which no value lies outside, at least 2**-126.
        signed: see ``counts``.
    """

    counts: torch.Tensor
    exponents: torch.Tensor
    signed: bool

    @classmethod
    def empty(cls, magnitudes: int, signed: bool) -> Histogram:
        """One of no rows: it merges with any other of as many bins. ``magnitudes`` is a power of two."""
        return cls(torch.empty(0, _bins(magnitudes, signed), dtype=torch.int64), torch.empty(0, dtype=torch.int32),
                   signed)

    @classmethod
    def of(cls, tensor: torch.Tensor, largest: torch.Tensor, magnitudes: int, signed: bool) -> Histogram:
        """Counts of a tensor that is not empty, on its device.

        Args:
            tensor: floats; for several rows the rows are the channels of axis 1.
            largest: (R,) float32, the largest magnitude of each row, at least 0; values beyond it count as it.
            magnitudes: bins on each side of zero, a power of two.
            signed: as in the class.
        """
        exponents = _exponents(largest, magnitudes)
        inverse = (127 - exponents << 23).view(torch.float32)  # 2**-exponent, bit by bit: pow need not be exact
        if largest.numel() == 1:
            counts = _count(tensor, inverse, magnitudes, signed)
        else:
            counts = _count_channels(tensor, inverse, magnitudes, signed)
        return cls(counts, exponents, signed)

    @property
    def magnitudes(self) -> int:
        """Bins on each side of zero."""
        bins = self.counts.shape[1]
        return (bins + 1) // 2 if self.signed else bins

    @property
    def widths(self) -> torch.Tensor:
        """Bin widths: (R,) float64."""
        return (1023 + self.exponents.to(torch.int64) << 52).view(torch.float64)

    def edges(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lower and upper end of every bin, in units of the bin width: two of (N,) float64."""
        first = 1 - self.magnitudes if self.signed else 0
        lower = torch.arange(first, self.magnitudes, dtype=torch.float64, device=self.counts.device)
        upper = torch.where(lower < 0, lower, lower + 1)
        return torch.where(lower > 0, lower, lower - 1) if self.signed else lower, upper

    def edges_within(self, minima: torch.Tensor, maxima: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Lower and upper end of every bin, cut to the extremes (R,) of its row: two of (R, N) float64."""
        lower, upper = (torch.clamp(edge * self.widths[:, None], minima[:, None], maxima[:, None])
                        for edge in self.edges())
        return lower, upper

    def merged(self, other: Histogram) -> Histogram:
        """Counts of both."""
        if not len(self.counts) or not len(other.counts):
            return self if len(self.counts) else other
        exponents = torch.maximum(self.exponents, other.exponents)
        return Histogram(self.grown(exponents).counts + other.grown(exponents).counts, exponents, self.signed)

    def grown(self, exponents: torch.Tensor) -> Histogram:
        """The same with wider bins: (R,) exponents, none below its own."""
        shifts = (exponents - self.exponents).clamp(max=31)
        if not bool(shifts.any()):
            return Histogram(self.counts, exponents, self.signed)
        first = 1 - self.magnitudes if self.signed else 0
        bins = torch.arange(first, self.magnitudes, dtype=torch.int64, device=self.counts.device)
        places = bins.sign() * (bins.abs() >> shifts[:, None].to(torch.int64)) - first
        return Histogram(torch.zeros_like(self.counts).scatter_add_(1, places, self.counts), exponents, self.signed)

    def folded(self) -> Histogram:
        """Counts of the magnitudes, from zero up."""
        if not self.signed:
            return self
        centre = self.magnitudes - 1
        counts = self.counts[:, centre:].clone()
        counts[:, 1:] += self.counts[:, :centre].flip(1)
        return Histogram(counts, self.exponents, signed=False)

    def grouped(self, count: int) -> Histogram:
        """Rows added up in ``count`` groups of neighbours: counts (count, N), by the widest bins of each group."""
        members = self.exponents.reshape(count, -1)
        widest = members.amax(1)
        together = self.grown(widest[:, None].expand_as(members).reshape(-1)).counts
        return Histogram(together.reshape(count, members.shape[1], -1).sum(1), widest, self.signed)


def _bins(magnitudes: int, signed: bool) -> int:
    return 2 * magnitudes - 1 if signed else magnitudes


def _exponents(largest: torch.Tensor, magnitudes: int) -> torch.Tensor:
    exponents = torch.frexp(largest).exponent - (magnitudes.bit_length() - 1)
    return exponents.where(largest > 0, LEAST_EXPONENT).clamp(min=LEAST_EXPONENT, max=126).to(torch.int32)


def _places(values: torch.Tensor, inverse: torch.Tensor, magnitudes: int, signed: bool) -> torch.Tensor:
    """Bin of each value; the conversion cuts the fraction off, on both sides of zero. What is not finite lands in any
    bin, and makes the calibration fail."""
    places = (values.to(torch.float32) * inverse).to(torch.int32)
    return places.add_(magnitudes - 1).clamp_(0, 2 * magnitudes - 2) if signed else places.clamp_(0, magnitudes - 1)


def _count(tensor: torch.Tensor, inverse: torch.Tensor, magnitudes: int, signed: bool) -> torch.Tensor:
    bins = _bins(magnitudes, signed)
    counts = torch.zeros(bins, dtype=torch.int64, device=tensor.device)
    for chunk in tensor.reshape(-1).split(CHUNK):
        counts += torch.bincount(_places(chunk, inverse, magnitudes, signed), minlength=bins)
    return counts[None]


def _count_channels(tensor: torch.Tensor, inverse: torch.Tensor, magnitudes: int, signed: bool) -> torch.Tensor:
    """A few channels at a time, all rows of the batch that fit."""
    bins, channels = _bins(magnitudes, signed), tensor.shape[1]
    flat = tensor.flatten(2) if tensor.dim() > 2 else tensor[:, :, None]
    counts = torch.zeros(channels, bins, dtype=torch.int64, device=tensor.device)
    step = max(1, min(CHUNK // (flat.shape[0] * flat.shape[2]), MOST_COUNTS // bins))
    rows = max(1, CHUNK // (step * flat.shape[2]))
    for begin in range(0, channels, step):
        part = flat[:, begin:begin + step]
        starts = (torch.arange(part.shape[1], dtype=torch.int32, device=tensor.device) * bins)[:, None]
        for some in part.split(rows):
            places = _places(some, inverse[begin:begin + step, None], magnitudes, signed).add_(starts)
            counted = torch.bincount(places.reshape(-1), minlength=part.shape[1] * bins)
            counts[begin:begin + step] += counted.reshape(-1, bins)
    return counts

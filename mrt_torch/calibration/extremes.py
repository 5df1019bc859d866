"""Observers of the smallest and the largest value, of whole tensors or of each channel of axis 1."""

from __future__ import annotations

import torch

from mrt_torch.calibration.features import ALFeature, Feature, MMFeature, MMLFeature
from mrt_torch.calibration.observers import Observer

SHORT = 256  # for fewer values of a channel side by side, torch takes the extremes of the batch first in less time


def extremes(tensor: torch.Tensor, by_channel: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Minima and maxima of a tensor that is not empty: (C,) by channel of axis 1, else (1,); float32.

    A tensor without an axis 1 is one channel.
    """
    if by_channel and tensor.dim() >= 2:
        minima = maxima = tensor
        if tensor[0, 0].numel() < SHORT < tensor.numel():
            minima, maxima = tensor.amin(0, keepdim=True), tensor.amax(0, keepdim=True)
        others = [axis for axis in range(tensor.dim()) if axis != 1]
        minima, maxima = minima.amin(others), maxima.amax(others)
    else:
        minima, maxima = (value.reshape(1) for value in torch.aminmax(tensor))
    # -0.0 + 0.0 is 0.0: which of two zeros is the smaller one depends on their order.
    return minima.to(torch.float32) + 0.0, maxima.to(torch.float32) + 0.0


def magnitudes(minima: torch.Tensor, maxima: torch.Tensor) -> torch.Tensor:
    """Largest magnitude of each range."""
    return torch.maximum(minima.neg(), maxima).clamp_(min=0) if minima.numel() else minima


def least(mine: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Element by element; one that is empty says nothing."""
    return torch.minimum(mine, other) if mine.numel() and other.numel() else mine if mine.numel() else other


def largest(mine: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Element by element; one that is empty says nothing."""
    return torch.maximum(mine, other) if mine.numel() and other.numel() else mine if mine.numel() else other


class ExtremesObserver(Observer):
    """Smallest and largest value; batches accumulate in any order and partition with the same result.

    Buffers: ``minima``, ``maxima`` (C,) or (1,) float32; empty until something was committed.
    """

    def __init__(self, by_channel: bool):
        super().__init__()
        self.by_channel = by_channel
        for name in ("minima", "maxima", "pending_minima", "pending_maxima"):
            self.register_buffer(name, torch.empty(0))

    def measure(self, tensor: torch.Tensor) -> torch.Tensor:
        minima, maxima = extremes(tensor, self.by_channel)
        self.pending_minima, self.pending_maxima = least(self.pending_minima, minima), largest(self.pending_maxima,
                                                                                              maxima)
        return magnitudes(minima, maxima).amax()

    def commit(self) -> None:
        self._extend(self.pending_minima, self.pending_maxima)
        super().commit()

    def discard(self) -> None:
        super().discard()
        self.pending_minima, self.pending_maxima = self.pending_minima.new_empty(0), self.pending_maxima.new_empty(0)

    def merge(self, other: ExtremesObserver) -> None:
        super().merge(other)
        self._extend(*(ends.to(self.threshold.device) for ends in (other.minima, other.maxima)))

    def _extend(self, minima: torch.Tensor, maxima: torch.Tensor) -> None:
        self.minima, self.maxima = least(self.minima, minima), largest(self.maxima, maxima)

    def feature(self) -> Feature:
        self.check()
        if self.by_channel:
            return MMLFeature(self.minima.tolist(), self.maxima.tolist())
        return MMFeature(float(self.minima), float(self.maxima))


class MinMaxObserver(ExtremesObserver):
    """Smallest and largest value of all tensors seen."""

    def __init__(self):
        super().__init__(by_channel=False)


class ChannelMinMaxObserver(ExtremesObserver):
    """Smallest and largest value of each channel of axis 1; a tensor without that axis is one channel."""

    def __init__(self):
        super().__init__(by_channel=True)


class ChannelAbsmaxObserver(ChannelMinMaxObserver):
    """Largest magnitude of each channel of axis 1; a tensor without that axis is one channel."""

    def feature(self) -> ALFeature:
        self.check()
        return ALFeature(magnitudes(self.minima, self.maxima).tolist())

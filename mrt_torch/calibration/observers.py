"""Observers: modules that watch a tensor pass by and keep one statistic of it."""

from __future__ import annotations

import math

import torch
from torch import nn

from mrt_torch.errors import InvalidArgumentError

# A threshold from mean and deviation replaces the largest magnitude only where it is clearly below it. (MRT)
CLEARLY_BELOW = 0.95


class Observer(nn.Module):
    """Base of observers: one number a batch, of which the largest counts.

    A subclass gives ``measure``; it may override ``commit`` to let batches accumulate in another way, and keeps what
    it needs for that in buffers, which a calibration that fails puts back. Statistics stay on the tensor's device. One
    that is not finite makes the calibration fail, which is checked once a batch.

    Buffers: ``threshold`` () float32, of committed batches; ``pending`` () float32, of the batch under way.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("pending", torch.zeros(()))

    def measure(self, tensor: torch.Tensor) -> torch.Tensor:
        """The threshold of one batch: (), float32, at least 0, on the tensor's device. ``tensor`` is not empty."""
        raise TypeError(f"{type(self).__name__} does not define measure")

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        """Record and return ``tensor`` unchanged; truth values and whole numbers are measured as floats."""
        if tensor.numel():
            values = tensor.detach() if tensor.is_floating_point() else tensor.to(torch.float32)
            self.pending = torch.maximum(self.pending.to(tensor.device), self.measure(values))
        return tensor

    def commit(self) -> None:
        """Count the pending batch."""
        self.threshold = torch.maximum(self.threshold.to(self.pending.device), self.pending)
        self.discard()

    def discard(self) -> None:
        """Forget the pending batch."""
        self.pending = torch.zeros_like(self.pending)

    def merge(self, other: Observer) -> None:
        """Count all that another observer of the same tensor has seen."""
        self.threshold = torch.maximum(self.threshold, other.threshold.to(self.threshold.device))

    def result(self) -> float:
        """The threshold so far."""
        return float(self.threshold)


class AbsmaxObserver(Observer):
    """Largest magnitude of all tensors seen, or of their mean and deviation.

    With ``lambd`` set, a batch counts as c = abs(mean) + lambd * std (population, over all elements, in float64) where
    c < 0.95 * absmax, and as absmax elsewhere; batches accumulate by maximum, so their order does not matter.
    """

    def __init__(self, lambd: float | None = None):
        super().__init__()
        if lambd is not None and not (lambd >= 0 and math.isfinite(lambd)):
            raise InvalidArgumentError("lambd is a finite number of at least 0", why=f"saw {lambd!r}",
                                       remedy="pass None for the largest magnitude, or a number such as 25")
        self.lambd = lambd

    def measure(self, tensor: torch.Tensor) -> torch.Tensor:
        minimum, maximum = torch.aminmax(tensor)
        absmax = torch.maximum(minimum.abs(), maximum.abs()).to(torch.float32)
        if self.lambd is None:
            return absmax
        deviation, mean = torch.std_mean(tensor.to(torch.float64), correction=0)
        candidate = (mean.abs() + self.lambd * deviation).to(torch.float32)
        return torch.where(candidate < CLEARLY_BELOW * absmax, candidate, absmax)

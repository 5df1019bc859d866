"""Observer of exponential moving averages of the extremes."""

from __future__ import annotations

import torch

from mrt_torch.calibration.extremes import extremes, largest, least
from mrt_torch.calibration.features import AFeature, MMFeature
from mrt_torch.calibration.observers import Observer
from mrt_torch.errors import InvalidArgumentError


class MovingAverageObserver(Observer):
    """Moving averages of a batch's minimum, maximum and magnitude: (1 - c) * average + c * new, the first as it is.

    They depend on the order of the batches by definition; ``merge`` takes the other's batches as those that came after
    its own. The averages are in float64, and in an order that is fixed. (MRT GEN, ``MAOptimizor``.)

    Buffers: ``averages`` and ``first`` (3,) float64: minimum, maximum, largest magnitude; empty until something was
    committed. ``decay`` () float64: (1 - c) to the number of batches, what is left of all that was before them.

    Args:
        c: weight of a new batch, in (0, 1].
    """

    depends_on_order = True

    def __init__(self, c: float = 0.01):
        super().__init__()
        if isinstance(c, bool) or not isinstance(c, (int, float)) or not 0 < c <= 1:
            raise InvalidArgumentError("the weight c of a moving average lies in (0, 1]", why=f"saw {c!r}",
                                       remedy="pass a number such as 0.01")
        self.c = float(c)
        for name in ("averages", "first", "pending_minimum", "pending_maximum"):
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))
        self.register_buffer("decay", torch.ones((), dtype=torch.float64))

    def measure(self, tensor: torch.Tensor) -> torch.Tensor:
        minimum, maximum = extremes(tensor, by_channel=False)
        self.pending_minimum = least(self.pending_minimum, minimum.double())
        self.pending_maximum = largest(self.pending_maximum, maximum.double())
        return torch.maximum(minimum.abs(), maximum.abs())[0]

    def commit(self) -> None:
        minimum, maximum = self.pending_minimum, self.pending_maximum
        if minimum.numel():
            new = torch.cat([minimum, maximum, torch.maximum(minimum.abs(), maximum.abs())])
            if self.averages.numel():
                self.averages = (1 - self.c) * self.averages.to(new.device) + self.c * new
            else:
                self.averages, self.first = new, new.clone()
            self.decay = self.decay * (1 - self.c)
        super().commit()

    def discard(self) -> None:
        super().discard()
        self.pending_minimum, self.pending_maximum = self.decay.new_empty(0), self.decay.new_empty(0)

    def merge(self, other: MovingAverageObserver) -> None:
        super().merge(other)
        theirs, first, decay = (value.to(self.threshold.device) for value in (other.averages, other.first, other.decay))
        if self.averages.numel() and theirs.numel():
            self.averages = theirs + decay * (self.averages - first)  # as if its first batch had been blended in
        elif theirs.numel():
            self.averages, self.first = theirs, first
        self.decay = self.decay * decay

    def feature(self) -> MMFeature:
        self.check()
        return MMFeature(*self.averages[:2].tolist())

    def absmax_feature(self) -> AFeature:
        """The average of the largest magnitudes."""
        self.check()
        return AFeature(float(self.averages[2]))

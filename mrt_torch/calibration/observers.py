"""Observers: modules that watch a tensor pass by and keep statistics of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from mrt_torch.calibration.features import AFeature, Feature
from mrt_torch.errors import CalibrationError, InvalidArgumentError

# A threshold from mean and deviation replaces the largest magnitude only where it is clearly below it. (MRT)
CLEARLY_BELOW = 0.95
PENDING = "pending"


class Observer(nn.Module):
    """Base of observers: one number a batch, of which the largest counts.

    A subclass gives ``measure``; it may override ``commit`` to let batches accumulate in another way, and keeps what
    it needs for that in buffers, which a calibration that fails puts back. Statistics stay on the tensor's device, and
    take the same memory after any number of batches. One that is not finite makes the calibration fail, which is
    checked once a batch. One that keeps more than a number gives ``feature`` and ``merge`` too.

    Buffers: ``threshold`` () float32, of committed batches; ``pending`` () float32, of the batch under way;
    ``observations`` () int64, tensors seen. Names that start with "pending" are of the batch under way alone.
    """

    #: Whether the same batches in another order give another feature; several processes refuse to calibrate it then.
    depends_on_order: ClassVar[bool] = False

    def __init__(self):
        super().__init__()
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer(PENDING, torch.zeros(()))
        self.register_buffer("observations", torch.zeros((), dtype=torch.int64))

    def measure(self, tensor: torch.Tensor) -> torch.Tensor:
        """The threshold of one batch: (), float32, at least 0, on the tensor's device. ``tensor`` is not empty."""
        raise TypeError(f"{type(self).__name__} does not define measure")

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        """Record and return ``tensor`` unchanged; truth values and whole numbers are measured as floats."""
        if tensor.numel():
            values = tensor.detach() if tensor.is_floating_point() else tensor.to(torch.float32)
            self.pending = torch.maximum(self.pending.to(tensor.device), self.measure(values))
            self.observations = self.observations + 1
        return tensor

    def commit(self) -> None:
        """Count the pending batch."""
        self.threshold = torch.maximum(self.threshold.to(self.pending.device), self.pending)
        self.discard()

    def discard(self) -> None:
        """Forget the pending batch."""
        self.pending = torch.zeros_like(self.pending)

    def merge(self, other: Observer) -> None:
        """Count all that another observer, made the same way for the same tensor, has seen.

        Raises:
            InvalidArgumentError: one of another class.
        """
        if type(other) is not type(self):
            raise InvalidArgumentError("observers of one class can be merged",
                                       why=f"saw {type(self).__name__} and {type(other).__name__}",
                                       remedy="merge statistics of calibrations with the same settings")
        self.threshold = torch.maximum(self.threshold, other.threshold.to(self.threshold.device))
        self.observations = self.observations + other.observations.to(self.observations.device)

    def result(self) -> float:
        """The threshold so far."""
        return float(self.threshold)

    def feature(self) -> Feature:
        """What the committed batches amount to.

        Raises:
            CalibrationError: nothing was seen, or a value that is not finite.
        """
        self.check()
        return AFeature(self.result())

    def check(self) -> None:
        """Raise unless there are statistics, of finite values only.

        Raises:
            CalibrationError: see ``feature``.
        """
        if not int(self.observations):
            raise CalibrationError("an observer that saw nothing has no feature", where=type(self).__name__,
                                   why="no tensor passed through it, or only empty ones",
                                   remedy="calibrate with data that reaches the node")
        if not math.isfinite(self.result()):
            raise CalibrationError("an observer saw a value that is not finite", where=type(self).__name__,
                                   why="NaN or infinity", remedy="check the data and its preprocessing, and the "
                                                                 "weights of the model")

    def state(self) -> dict[str, torch.Tensor]:
        """All that was committed, by buffer name, on the CPU: what ``load_state`` of such an observer takes."""
        return {key: buffer.detach().cpu().clone() for key, buffer in self.named_buffers(remove_duplicate=False)
                if not key.startswith(PENDING)}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what ``state`` returned; the pending batch is forgotten.

        Raises:
            InvalidArgumentError: the state of an observer of another kind.
        """
        expected = self.state()
        wrong = sorted(set(expected) ^ set(state)) or [key for key in expected if (
            state[key].dtype, state[key].dim()) != (expected[key].dtype, expected[key].dim())]
        if wrong:
            raise InvalidArgumentError("the state is of an observer of another kind", where=type(self).__name__,
                                       why=f"'{wrong[0]}' differs", remedy="load it into an observer made the same way")
        self.discard()
        for key, value in state.items():
            setattr(self, key, value.to(self.pending.device, copy=True))


class AbsmaxObserver(Observer):
    """Largest magnitude of all tensors seen, or of their mean and deviation.

    With ``lambd`` set, a batch counts as c = abs(mean) + lambd * std (population, over all elements) where
    c < 0.95 * absmax, and as absmax elsewhere; batches accumulate by maximum, so their order does not matter. Sums run
    in float64: what the number of threads changes in them (about 1e-15, relative) is lost in the rounding to float32
    unless a result lies that close to a rounding boundary.
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

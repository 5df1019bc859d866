"""What judges the answers of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

Predictions = torch.Tensor | Sequence[torch.Tensor]  # what a Model returns: a tensor, or one for each output


class Metric(Protocol):
    """Accumulates over batches; ``str(metric)`` is how it stands, for a person."""

    def update(self, predictions: Predictions, labels: torch.Tensor) -> None:
        """Judge a batch."""

    def values(self) -> dict[str, float]:
        """The figures so far, shares from 0 to 1, such as ``{"top1": 0.712, "top5": 0.901}``."""

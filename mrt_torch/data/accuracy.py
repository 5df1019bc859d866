"""Top-1 and top-5 accuracy of a classifier."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mrt_torch.data.metric import Predictions
from mrt_torch.errors import InvalidArgumentError


class ClassificationAccuracy:
    """Shares of examples whose label has the highest score, and one of the ``ranks`` highest."""

    def __init__(self, ranks: tuple[int, ...] = (1, 5)):
        self.ranks = ranks
        self._right, self._seen = dict.fromkeys(ranks, 0), 0

    def update(self, predictions: Predictions, labels: torch.Tensor) -> None:
        """Scores (N, C), or anything of that size, and labels (N,). Of equal scores the lower class comes first.

        Raises:
            InvalidArgumentError: there is not one label for each row of scores.
        """
        scores = predictions if isinstance(predictions, torch.Tensor) else predictions[0]
        if scores.dim() < 2 or labels.numel() != len(scores):
            raise InvalidArgumentError("accuracy needs scores of the classes and one label for each example",
                                       why=f"saw scores {tuple(scores.shape)} and labels {tuple(labels.shape)}",
                                       remedy="use a data set whose labels are classes with a model that scores them")
        order = scores.flatten(1).argsort(dim=1, descending=True, stable=True)
        hits = order[:, :max(self.ranks)] == labels.reshape(-1, 1).to(order)
        for rank in self.ranks:
            self._right[rank] += int(hits[:, :rank].any(1).sum())
        self._seen += len(labels)

    def values(self) -> dict[str, float]:
        """``{"top1": share, "top5": share}``; 0 before the first batch."""
        return {f"top{rank}": self._right[rank] / max(self._seen, 1) for rank in self.ranks}

    def counts(self) -> dict[str, int]:
        """What was counted so far; the sums over parts of the data are the counts of the whole."""
        return {"seen": self._seen, **{f"top{rank}": count for rank, count in self._right.items()}}

    def load_counts(self, counts: Mapping[str, int]) -> None:
        """Hold these counts, and nothing else."""
        self._seen, self._right = counts["seen"], {rank: counts[f"top{rank}"] for rank in self.ranks}

    def __str__(self) -> str:
        return " ".join(f"{name}={share:.2%}" for name, share in self.values().items())

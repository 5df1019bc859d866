"""Groups of processes for the tests: ``python -m tests.mrt_torch.evaluation.process_worker FOLDER WORLD...``.

Each group of WORLD processes evaluates in several ways; each process writes what came out to
``<FOLDER>/<WORLD>/<RANK>.json``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mrt_torch import evaluate
from mrt_torch.data import ArrayDataset
from tests.mrt_torch.evaluation.judged import coarse, labels, same, scores
from tests.mrt_torch.process_groups import main

ROWS, BATCH = 27, 4  # 7 batches, the last one smaller: uneven for 2 and for 3


class Watched(ArrayDataset):
    """Knows which of its examples were read."""

    def __init__(self, rows: int = ROWS):
        self.read: list[int] = []
        super().__init__((BATCH, 4), scores(rows), labels(rows))

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)


class Streamed(Watched):
    """Makes its batches in a way of its own."""

    def batches(self):
        yield from super().batches()


class Means:
    """A metric that cannot be added up: the mean of the shares of its batches."""

    def __init__(self):
        self.shares: list[float] = []

    def update(self, predictions, labels):
        self.shares.append((predictions.argmax(1) == labels).double().mean().item())

    def values(self):
        return {"mean": sum(self.shares) / len(self.shares)}


class Averaged(Watched):
    def metrics(self):
        return Means()


def found(dataset: Watched, batches: int | None = None, models: dict[str, Callable] | None = None) -> dict[str, Any]:
    """A report without its times, and the examples that were read."""
    report = evaluate({"float": same, "coarse": coarse} if models is None else models, dataset, batches).to_json()
    for figures in report["models"].values():
        figures["timed"] = figures.pop("seconds_per_image") > 0
    return {**report, "read": dataset.read}


def refused(call: Callable[[], object]) -> dict[str, str | None]:
    """The error of a call."""
    try:
        call()
    except Exception as error:
        parts = {part: getattr(error, part, None) for part in ("what", "where", "why", "remedy")}
        return {"class": type(error).__name__, **parts}
    return {"class": "nothing was raised"}


def spoilt(inputs: torch.Tensor) -> torch.Tensor:
    """A model that answers batch 1 with NaN."""
    return inputs * torch.nan if torch.equal(inputs, scores(ROWS)[BATCH:2 * BATCH]) else inputs


def breaking(inputs: torch.Tensor) -> torch.Tensor:
    raise ZeroDivisionError("mine")


def scenarios(rank: int, world: int, folder: Path) -> dict[str, object]:
    return {
        "shared": found(Watched()), "streamed": found(Streamed()), "averaged": found(Averaged()),
        "one batch": found(Watched(), 1), "five batches": found(Watched(), 5),
        "NaN": refused(lambda: found(Watched(), models={"float": same, "spoilt": spoilt})),
        "a model breaks": refused(lambda: found(Watched(), models={"float": same if rank else breaking})),
        "different models": refused(lambda: found(Watched(), models={f"float {rank}": same})),
        "no data": refused(lambda: found(Watched(0))),
        "shared again": found(Watched()),  # after all those errors
    }


if __name__ == "__main__":
    sys.exit(main(scenarios))

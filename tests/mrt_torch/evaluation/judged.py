"""Small data sets and models for the tests: the scores of an example are its numbers."""

from __future__ import annotations

import torch

from mrt_torch.data import ArrayDataset


def scores(rows: int = 10, classes: int = 4, seed: int = 0) -> torch.Tensor:
    """(rows, classes) float32; no two of a row are equal."""
    return torch.rand(rows, classes, generator=torch.Generator().manual_seed(seed))


def labels(rows: int = 10, classes: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))


def dataset(rows: int = 10, batch: int = 4) -> ArrayDataset:
    """Batches of ``batch``; of 4 there are 4, 4 and 2 examples."""
    return ArrayDataset((batch, 4), scores(rows), labels(rows))


def same(inputs: torch.Tensor) -> torch.Tensor:
    """A model that says what it sees."""
    return inputs


def coarse(inputs: torch.Tensor) -> torch.Tensor:
    """Another, with noise."""
    return (inputs * 4).round() / 4 - torch.arange(4) / 64


class Errors(ArrayDataset):
    """As MRT's own documentation has data sets: what is counted is a dictionary, the text is all there is."""

    def metrics(self):
        return {"wrong": 0}

    def validate(self, metrics, predict, label):
        metrics["wrong"] += int((predict.argmax(1) != label).sum())
        return f"{metrics['wrong']} wrong"

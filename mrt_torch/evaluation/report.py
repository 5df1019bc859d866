"""What an evaluation found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INFINITE = "infinite"


@dataclass(frozen=True)
class ModelFigures:
    """What an evaluation found of one model.

    Attributes:
        values: the figures of the metric, shares from 0 to 1; empty where the metric has only a text.
        text: how the metric states them.
        seconds_per_image: time of the model for an example. The first batch does not count where there are more.
        agreement: share of the examples to which it says the same as the first model; None for the first.
        signal_to_noise: 10 log10(sum f^2 / sum (f - q)^2) dB over all numbers f that the first model answers and q that
            this one does; infinite where they are equal, None for the first model and for answers that are not each
            one tensor of floats.
    """

    values: Mapping[str, float]
    text: str
    seconds_per_image: float
    agreement: float | None = None
    signal_to_noise: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object: null for what is not known, ``"infinite"`` for an infinite signal-to-noise ratio."""
        ratio = self.signal_to_noise
        return {"values": {name: value if math.isfinite(value) else None for name, value in self.values.items()},
                "text": self.text, "seconds_per_image": self.seconds_per_image, "agreement": self.agreement,
                "signal_to_noise_db": INFINITE if ratio == math.inf else ratio}


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found; ``str(report)`` is a table. All but the times is the same at every run.

    Attributes:
        dataset: name of the data set.
        examples: how many of its examples were judged.
        devices: the torch devices that each batch was divided among.
        models: figures by the name of the model, in order.
    """

    dataset: str
    examples: int
    devices: tuple[str, ...]
    models: Mapping[str, ModelFigures]

    def __getitem__(self, name: str) -> ModelFigures:
        return self.models[name]

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"dataset": self.dataset, "examples": self.examples, "devices": list(self.devices),
                "models": {name: figures.to_json() for name, figures in self.models.items()}}

    def __str__(self) -> str:
        head = f"{self.examples} examples of {self.dataset} on {', '.join(self.devices)}"
        return "\n".join([head, *_aligned([self._titles(), *self._rows()])])

    def _columns(self) -> list[str]:
        """Names of the figures of any model, in order."""
        return list(dict.fromkeys(name for figures in self.models.values() for name in figures.values))

    def _titles(self) -> list[str]:
        return ["model", *(self._columns() or ["metric"]), "ms/image", "agreement", "signal/noise"]

    def _rows(self) -> Iterator[list[str]]:
        columns = self._columns()
        for name, figures in self.models.items():
            shares = [_share(figures.values.get(column)) for column in columns] or [figures.text]
            ratio = figures.signal_to_noise
            yield [name, *shares, f"{figures.seconds_per_image * 1000:.3f}", _share(figures.agreement),
                   "-" if ratio is None else f"{ratio:.1f} dB"]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join([row[0].ljust(widths[0]), *cells[1:]])

"""What an evaluation counts of one model while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch

from mrt_torch.data.dataset import Dataset
from mrt_torch.data.metric import Metric, Predictions
from mrt_torch.errors import InvalidArgumentError, MRTError
from mrt_torch.evaluation.report import ModelFigures

Count = int | float


@runtime_checkable
class AdditiveMetric(Protocol):
    """A metric whose counts of parts of the data add up to those of the whole, such as right answers."""

    def counts(self) -> dict[str, int]:
        """All that was counted so far."""

    def load_counts(self, counts: Mapping[str, int]) -> None:
        """Hold these counts, and nothing else."""


class Tally:
    """Counts of one model: its metric, what it took, and how it compares with the first model.

    Args:
        dataset: judges the answers.
    """

    def __init__(self, dataset: Dataset):
        self._dataset = dataset
        self.metric: Metric = dataset.metrics()
        self._describe: Callable[[], str] = str
        self._sums: dict[str, Count] = dict.fromkeys(
            ("examples", "compared", "agreeing", "nanoseconds", "later examples", "later nanoseconds"), 0)
        self._sums.update(signal=0.0, noise=0.0)

    @property
    def examples(self) -> int:
        return int(self._sums["examples"])

    @property
    def text(self) -> str:
        """How the metric stands."""
        return self._describe()

    @property
    def is_additive(self) -> bool:
        """Whether processes that saw parts of the data can add up what they counted."""
        return isinstance(self.metric, AdditiveMetric)

    def judge(self, answer: Predictions, labels: torch.Tensor, nanoseconds: int) -> None:
        """Count the answer to a batch, which took so long.

        Raises:
            InvalidArgumentError: the answer or the labels are not what the data set judges.
        """
        later = "later " if self._sums["examples"] else ""  # the first batch warms up
        self._add(examples=len(labels), nanoseconds=nanoseconds)
        if later:
            self._add(**{"later examples": len(labels), "later nanoseconds": nanoseconds})
        try:
            if type(self._dataset).validate is Dataset.validate:  # a text of each batch can cost more than the batch
                self.metric.update(answer, labels)
                self._describe = self.metric.__str__
            else:
                text = self._dataset.validate(self.metric, answer, labels)
                self._describe = lambda: text
        except MRTError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise _unfit(answer, labels, error) from error

    def compare(self, first: Predictions, answer: Predictions) -> None:
        """Count how the answer to a batch differs from that of the first model.

        Raises:
            InvalidArgumentError: the data set cannot compare them.
        """
        try:
            agreeing = self._dataset.agreement(first, answer)
        except MRTError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise _unfit(answer, first, error) from error
        self._add(compared=len(agreeing), agreeing=int(agreeing.sum()))
        tensors = [one for one in (first, answer) if isinstance(one, torch.Tensor) and one.is_floating_point()]
        if len(tensors) == 2 and tensors[0].numel() == tensors[1].numel():
            exact, other = (tensor.flatten().to(torch.float64) for tensor in tensors)
            self._add(signal=float(exact.square().sum()), noise=float((exact - other).square().sum()))

    def _add(self, **counts: Count) -> None:
        for name, count in counts.items():
            self._sums[name] += count

    def counts(self) -> dict[str, Count]:
        """All counts, of an additive metric too."""
        return {**self._sums, **{f"metric {name}": count for name, count in self.metric.counts().items()}}

    def load_counts(self, counts: Mapping[str, Count]) -> None:
        """Hold the sums over processes of what ``counts`` returned."""
        self._sums = {name: counts[name] for name in self._sums}
        self.metric.load_counts({name: counts[f"metric {name}"] for name in self.metric.counts()})
        self._describe = self.metric.__str__

    def figures(self) -> ModelFigures:
        """The report of this model; at least one batch was judged."""
        sums = self._sums
        later = "later " if sums["later examples"] else ""
        return ModelFigures(
            values={} if isinstance(self.metric, Mapping) else dict(self.metric.values()), text=self.text,
            seconds_per_image=sums[later + "nanoseconds"] / sums[later + "examples"] / 1e9,
            agreement=sums["agreeing"] / sums["compared"] if sums["compared"] else None,
            signal_to_noise=_decibels(sums["signal"], sums["noise"]))


def _decibels(signal: float, noise: float) -> float | None:
    if not signal or not math.isfinite(signal + noise):
        return None
    return 10 * math.log10(signal / noise) if noise else math.inf


def _unfit(answer: Predictions, other: Predictions, error: Exception) -> InvalidArgumentError:
    shapes = [[tuple(one.shape) for one in ((part,) if isinstance(part, torch.Tensor) else part)]
              for part in (answer, other)]
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InvalidArgumentError("the data set cannot judge an answer",
                                why=f"outputs of shapes {shapes[0]} beside {shapes[1]}: {said}",
                                remedy="give models whose outputs are those the data set expects")

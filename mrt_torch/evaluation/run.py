"""Judges models on a data set."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import length_hint
from typing import Any

import torch
from tqdm import tqdm

from mrt_torch.data.dataset import Batch, Dataset
from mrt_torch.errors import InvalidArgumentError, MRTError
from mrt_torch.evaluation.devices import PlacedModel, checked_devices
from mrt_torch.evaluation.progress import RunningFigures
from mrt_torch.evaluation.report import EvaluationReport
from mrt_torch.evaluation.sharing import add_up, place_among_processes, share_of
from mrt_torch.evaluation.tally import Tally
from mrt_torch.input_data import as_tensor

logger = logging.getLogger(__name__)


def evaluate(models: Mapping[str, Callable[..., Any]], dataset: Dataset, batches: int | None = None,
             devices: Sequence[str | torch.device] = ("cpu",), progress: bool | None = None) -> EvaluationReport:
    """Judge models on the same examples, and compare them with the first one.

    Of several devices each answers a part of every batch, in threads; an integer model gives the same answers on any
    devices. In several processes of torch.distributed, each of which calls this, every process takes a share of the
    batches, and all get the report of the whole, provided that the metric can be added up (``AdditiveMetric``);
    otherwise each process evaluates the whole.

    Args:
        models: by name, such as ``{"float": model, "integer": quantized}``: a Model, a module in ``eval()`` mode, or
            any callable that maps a batch of inputs to a tensor or several whose axis 0 counts the examples. A Model or
            a module is copied to the devices that it is not on; other callables get their inputs there.
        dataset: gives the examples and judges the answers.
        batches: how many batches at most; None takes the whole data set.
        devices: torch devices; one that is named twice is used twice at the same time.
        progress: whether to show a progress bar with the figures so far; None does on a terminal only.

    Raises:
        InvalidArgumentError: there are no models, devices or examples; labels or answers do not fit, or an answer holds
            a NaN: the error names the model and the batch, counted from 0.
        MRTError: what a model or the data set raises, with the batch; or another process failed.
    """
    _check(models, batches)
    places = checked_devices(devices)
    tallies = {name: Tally(dataset) for name in models}
    rank, world = place_among_processes(tallies)
    failure = None
    try:
        with ThreadPoolExecutor(len(places)) as pool, torch.no_grad():
            placed = {name: PlacedModel(model, places, pool) for name, model in models.items()}
            _judge_all(placed, tallies, dataset, batches, progress if rank == 0 else False, rank, world)
    except Exception as error:  # whatever it is: other processes wait for this one
        failure = error
    if world > 1:
        add_up(tallies, failure)
    elif failure is not None:
        raise failure
    examples = next(iter(tallies.values())).examples
    if not examples:
        raise InvalidArgumentError("the data set has no examples", where=f"data set '{_name(dataset)}'",
                                   why="not one batch came", remedy="check its folder, or evaluate another one")
    figures = {name: tally.figures() for name, tally in tallies.items()}
    logger.info("%d examples: %s", examples, ", ".join(f"{name} {found.text}" for name, found in figures.items()))
    return EvaluationReport(_name(dataset), examples, tuple(map(str, places)), figures)


def _check(models: Mapping[str, Callable[..., Any]], batches: int | None) -> None:
    if not isinstance(models, Mapping) or not models or not all(map(callable, models.values())):
        raise InvalidArgumentError("an evaluation takes one or more models by name", why=f"saw {models!r:.200}",
                                   remedy="pass such as {'float': model, 'integer': quantized}")
    if batches is not None and (isinstance(batches, bool) or not isinstance(batches, int) or batches < 1):
        raise InvalidArgumentError("the number of batches is an int of at least 1", why=f"saw {batches!r}",
                                   remedy="pass such as 10, or None for the whole data set")


def _judge_all(models: Mapping[str, PlacedModel], tallies: Mapping[str, Tally], dataset: Dataset, batches: int | None,
               progress: bool | None, rank: int, world: int) -> None:
    """Count this process's share of the batches."""
    whole = -(-length_hint(dataset, 0) // dataset.batch_size)
    total = len(range(rank, whole if batches is None else min(batches, whole or batches), world))
    with tqdm(share_of(dataset, batches, rank, world), desc="evaluate", unit="batch", total=total or None, leave=False,
              disable=None if progress is None else not progress) as bar:
        running = RunningFigures(bar)
        for index, batch in bar:
            with _located(f"batch {index}"):
                inputs, labels = _checked_batch(batch, dataset.batch_axis)
            first = None
            for name, model in models.items():
                with _located(f"model '{name}', batch {index}"):
                    answer, nanoseconds = model.answer(inputs, dataset.batch_axis)
                    tallies[name].judge(answer, labels, nanoseconds)
                    if first is None:
                        first = answer
                    else:
                        tallies[name].compare(first, answer)
            running.show(lambda: _standing(tallies), next(iter(tallies.values())).examples)


def _name(dataset: Dataset) -> str:
    return dataset.name if dataset.name != Dataset.name else type(dataset).__name__


def _standing(tallies: Mapping[str, Tally]) -> str:
    return ", ".join(f"{name} {tally.text}" for name, tally in tallies.items())


def _checked_batch(batch: Batch, batch_axis: int) -> Batch:
    inputs, labels = map(as_tensor, batch)
    examples = inputs.shape[batch_axis] if inputs.dim() > batch_axis else 0
    if not examples or tuple(labels.shape[:1]) != (examples,):
        raise InvalidArgumentError(
            "inputs and labels of a batch do not fit",
            why=f"saw {tuple(inputs.shape)}, whose axis {batch_axis} counts examples, and {tuple(labels.shape)}",
            remedy="give one label for each input, on axis 0 of the labels")
    return inputs, labels


@contextlib.contextmanager
def _located(where: str) -> Iterator[None]:
    """Add to the library's errors where they happened."""
    try:
        yield
    except MRTError as error:
        where = f"{error.where}, {where}" if error.where else where
        raise type(error)(error.what, where=where, why=error.why, remedy=error.remedy) from error

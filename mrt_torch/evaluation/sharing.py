"""An evaluation in several processes, with torch.distributed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice

from torch import distributed as dist

from mrt_torch.calibration.distributed import sum_across_processes
from mrt_torch.calibration.processes import exchange, is_distributed
from mrt_torch.data.dataset import Batch, Dataset
from mrt_torch.errors import MRTError
from mrt_torch.evaluation.tally import Tally


def place_among_processes(tallies: Mapping[str, Tally]) -> tuple[int, int]:
    """Number of this process, and of all that share the batches: 0 and 1 where metrics cannot be added up."""
    if is_distributed() and all(tally.is_additive for tally in tallies.values()):
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share_of(dataset: Dataset, batches: int | None, rank: int, world: int) -> Iterator[tuple[int, Batch]]:
    """Every ``world``-th of the first ``batches`` batches, from batch ``rank`` on, with its number.

    Only these examples are read, unless the data set makes its batches in a way of its own.
    """
    if world > 1 and type(dataset).batches is Dataset.batches:
        for index in islice(range(-(-len(dataset) // dataset.batch_size)), rank, batches, world):
            yield index, dataset.batch(index)
    else:
        yield from islice(enumerate(dataset.batches()), rank, batches, world)


def add_up(tallies: Mapping[str, Tally], failure: Exception | None) -> None:
    """Make the tallies those of all processes; all of them call it, also where they failed.

    Raises:
        MRTError: another process failed, or evaluates other models.
        Exception: ``failure``.
    """
    counts = {f"{name} {count}": value for name, tally in tallies.items() for count, value in tally.counts().items()}
    message = {"failure": None if failure is None else f"{type(failure).__name__}: {failure}", "counts": list(counts)}
    statuses = [json.loads(status) for status in exchange(json.dumps(message).encode())]
    if failure is not None:
        raise failure
    for rank, status in enumerate(statuses):
        if status["failure"] is not None:
            raise MRTError("another process failed", where=f"process {rank} of {len(statuses)}",
                           why=" ".join(status["failure"].split()), remedy="start all processes again")
        if status["counts"] != list(counts):
            raise MRTError("the processes evaluate different models", where=f"process {rank} of {len(statuses)}",
                           why="their names or metrics differ",
                           remedy="pass the same models and the same data set in every process")
    sums = sum_across_processes(counts)
    for name, tally in tallies.items():
        tally.load_counts({count: sums[f"{name} {count}"] for count in tally.counts()})

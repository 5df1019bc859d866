"""Which batches of the calibration data which process takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import length_hint
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from mrt_torch.calibration.calibrate import batches
from mrt_torch.errors import CalibrationError

_END = object()


@dataclass(frozen=True)
class Share:
    """Every ``world``-th batch of an iterable, from batch ``rank`` on. Of a Sequence only they are read."""

    data: Iterable
    rank: int
    world: int

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.data, Sequence):
            return (self.data[index] for index in range(self.rank, len(self.data), self.world))
        return islice(iter(self.data), self.rank, None, self.world)

    def __length_hint__(self) -> int:
        return len(range(self.rank, length_hint(self.data, 0), self.world))


def shard(data: Any, rank: int, world: int) -> Iterable:
    """The share of one process: batch i goes to process i % world.

    * a list, tuple or other Sequence, and a DataLoader that goes through its data set in order: only the batches of
      the share are read;
    * another iterable: all batches are read, the others are dropped;
    * one array is one batch, that of process 0: hand over a list of batches instead.

    Every process hands over the same data in the same order.

    Raises:
        CalibrationError: something else; or a DataLoader that shuffles without a seed, so that each process would see
            another order, or that shares the data out itself.
    """
    if isinstance(data, DataLoader):
        return _shard_loader(data, rank, world)
    return Share(data if isinstance(data, Iterable) and not is_array(data) else list(batches(data)), rank, world)


def _shard_loader(loader: DataLoader, rank: int, world: int) -> Iterable:
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if isinstance(sampler, DistributedSampler):
        raise CalibrationError("the data is shared out twice", where="the DataLoader",
                               why="it has a DistributedSampler, which repeats examples to make the shares even",
                               remedy="leave the sampler out: every process takes its share of the whole data")
    if isinstance(sampler, RandomSampler) and sampler.generator is None:
        raise CalibrationError("each process would see the data in another order", where="the DataLoader",
                               why="it shuffles without a seed",
                               remedy="pass shuffle=False, or a generator with the same seed in every process")
    if type(loader.batch_sampler) is not BatchSampler or not isinstance(sampler, SequentialSampler):
        return Share(loader, rank, world)
    workers = {}
    if loader.num_workers:
        workers = {"prefetch_factor": loader.prefetch_factor, "multiprocessing_context": loader.multiprocessing_context}
    return DataLoader(loader.dataset, batch_sampler=list(loader.batch_sampler)[rank::world],
                      num_workers=loader.num_workers, collate_fn=loader.collate_fn, pin_memory=loader.pin_memory,
                      timeout=loader.timeout, worker_init_fn=loader.worker_init_fn, **workers)


@dataclass(frozen=True)
class Batches:
    """An iterator that was looked into, with the number of items it announces."""

    items: Iterator[Any]
    length: int

    def __iter__(self) -> Iterator[Any]:
        return self.items

    def __length_hint__(self) -> int:
        return self.length


def unless_empty(items: Iterable) -> Batches | None:
    """The items of an iterable; None where there are none."""
    length = length_hint(items, 0)
    items = iter(items)
    first = next(items, _END)
    return None if first is _END else Batches(chain((first,), items), length)


def is_array(data: Any) -> bool:
    """Whether data is one array: a tensor, a numpy array or an MXNet NDArray."""
    return hasattr(data, "shape") or hasattr(data, "asnumpy")

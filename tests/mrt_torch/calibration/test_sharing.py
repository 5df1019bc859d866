"""Oracle: slices of the list of all batches."""

from __future__ import annotations

from operator import length_hint

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from mrt_torch.calibration.sharing import shard, unless_empty
from mrt_torch.errors import CalibrationError

NUMBERS = torch.arange(11)


class Stream(IterableDataset):
    """Numbers without a length."""

    def __iter__(self):
        return iter(range(11))


class Counting(list):
    """A list that notes which items are read."""

    def __init__(self, items):
        super().__init__(items)
        self.read = []

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(), max_size=20), st.integers(1, 5), st.sampled_from([list, tuple, iter]))
def test_batch_i_goes_to_process_i_modulo_their_number(items, world, form):
    for rank in range(world):
        share = shard(form(items), rank, world)
        assert length_hint(share, 0) == len(items[rank::world])
        assert list(share) == items[rank::world]


@pytest.mark.parametrize("make", [
    lambda: DataLoader(NUMBERS, batch_size=2), lambda: DataLoader(NUMBERS, batch_size=2, drop_last=True),
    lambda: DataLoader(NUMBERS, batch_size=None), lambda: DataLoader(Stream(), batch_size=2),
    lambda: DataLoader(Stream(), batch_size=None), lambda: DataLoader(NUMBERS, batch_sampler=[[3, 1], [2], [0, 9]]),
    lambda: DataLoader(NUMBERS, batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(5)),
    lambda: DataLoader(NUMBERS, batch_size=3, num_workers=1, collate_fn=sum),
], ids=["in order", "without the last", "single", "stream", "single stream", "own batches", "seeded", "worker"])
def test_loaders(make):
    whole = [torch.as_tensor(batch).tolist() for batch in make()]
    for rank in range(3):
        assert [torch.as_tensor(batch).tolist() for batch in shard(make(), rank, 3)] == whole[rank::3]


def test_only_the_share_of_a_sequence_is_read():
    items = Counting("abcdefg")
    assert list(shard(items, 1, 3)) == ["b", "e"]
    assert items.read == [1, 4]
    data = Counting(range(8))
    assert [batch.tolist() for batch in shard(DataLoader(data, batch_size=2), 1, 2)] == [[2, 3], [6, 7]]
    assert data.read == [2, 3, 6, 7]


@pytest.mark.parametrize("array", [torch.ones(3, 2), np.ones((3, 2))], ids=["torch", "numpy"])
def test_an_array_is_one_batch(array):
    (batch,) = shard(array, 0, 2)
    assert batch.shape == (3, 2)
    assert list(shard(array, 1, 2)) == []


@pytest.mark.parametrize(("loader", "words"), [
    (DataLoader(NUMBERS, shuffle=True), "another order"),
    (DataLoader(NUMBERS, sampler=DistributedSampler(NUMBERS, 2, 0)), "twice")], ids=["shuffled", "shared already"])
def test_loaders_whose_shares_would_be_wrong(loader, words):
    with pytest.raises(CalibrationError, match=words) as caught:
        shard(loader, 0, 2)
    assert caught.value.why and caught.value.remedy


@pytest.mark.parametrize("data", [None, 5])
def test_what_is_no_data(data):
    with pytest.raises(CalibrationError, match="iterable of arrays"):
        shard(data, 0, 2)


def test_a_look_into_an_iterable_loses_nothing():
    assert unless_empty([]) is None and unless_empty(iter(())) is None
    items = unless_empty([None, 2, 3])
    assert length_hint(items, 0) == 3 and list(items) == [None, 2, 3]

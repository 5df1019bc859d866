"""Oracle: all examples sorted by their BLAKE2b hash, and cut."""

from __future__ import annotations

from hashlib import blake2b

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration import Sample
from mrt_torch.errors import CalibrationError, InvalidArgumentError


def expected(examples: torch.Tensor, count: int) -> torch.Tensor:
    by_hash = {blake2b(row.numpy().tobytes(), digest_size=16).digest(): row for row in examples}
    return torch.stack([by_hash[digest] for digest in sorted(by_hash)[:count]])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=20).flatmap(
    lambda values: st.tuples(st.just(values), st.permutations(values))),
       st.integers(1, 15), st.integers(0, 20), st.integers(0, 20))
def test_order_and_split_and_merging_do_not_matter(values, count, cut, split):
    given_order, other_order = (torch.tensor(order, dtype=torch.float32)[:, None].repeat(1, 3) for order in values)
    whole, left, right = Sample(count), Sample(count), Sample(count)
    whole.add(given_order)
    for part in (other_order[:cut][:split], other_order[:cut][split:]):
        left.add(part)
    right.add(other_order[cut:])
    left.merge(right)
    assert torch.equal(whole.tensor(), expected(given_order, count)) and len(whole) <= count
    assert torch.equal(left.tensor(), whole.tensor())


def test_the_batch_may_be_another_axis():
    batch = torch.arange(24.0).reshape(2, 4, 3)
    sample = Sample(3)
    sample.add(batch, batch_axis=1)
    assert torch.equal(sample.tensor(), expected(batch.movedim(1, 0), 3).movedim(0, 1))
    again = Sample(3)
    again.load_state(sample.state())
    assert torch.equal(again.tensor(), sample.tensor())
    empty = Sample(3)
    empty.merge(sample)
    sample.merge(Sample(3))
    assert torch.equal(empty.tensor(), sample.tensor()) and sample.tensor().shape == (2, 3, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8, torch.bool, torch.bfloat16, torch.int64])
def test_every_type_and_examples_that_are_numbers(dtype):
    batch = torch.tensor([3, 1, 0], dtype=dtype)
    sample = Sample()
    sample.add(batch)
    assert sample.tensor().dtype == dtype and sorted(sample.tensor().tolist()) == sorted(set(batch.tolist()))


def test_examples_are_copies():
    batch = torch.zeros(2, 3)
    batch[1] = 1
    sample = Sample()
    sample.add(batch)
    held, copied = sample.tensor(), sample.copy()
    batch.fill_(9)
    assert torch.equal(sample.tensor(), held)
    copied.add(batch)
    assert len(copied) == 3 and len(sample) == 2


def test_the_state():
    sample, other = Sample(4), Sample(4)
    sample.add(torch.arange(10.0)[:, None])
    other.add(torch.full((3, 1), 99.0))
    other.load_state(sample.state())
    assert torch.equal(other.tensor(), sample.tensor())
    other.load_state(Sample().state())
    assert len(other) == 0


def test_without_examples():
    for sample in (Sample(), Sample(0)):
        sample.add(torch.empty(0, 3))
        with pytest.raises(CalibrationError, match="no sample"):
            sample.tensor()
    none = Sample(0)
    none.add(torch.ones(2, 3))
    assert len(none) == 0 and none.state() == {}


@pytest.mark.parametrize("count", [-1, 2.0, True, None])
def test_the_count_is_checked(count):
    with pytest.raises(InvalidArgumentError, match="number of examples"):
        Sample(count)

"""Oracle: the plain loop of plain_divergence.py."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration.divergence import _blocks, _divergences, least_divergence
from tests.mrt_torch.calibration.plain_divergence import plain_divergence, plain_least_divergence


def histogram(name: str, bins: int) -> list[float]:
    torch.manual_seed(0)
    normal = torch.randn(50000)
    values = {"normal": normal, "relu": normal.relu(), "heavy": normal ** 3, "few": normal[:300],
              "outlier": torch.cat([normal, torch.tensor([40.0])])}[name].numpy()
    largest = np.abs(values).max()
    return np.histogram(values, bins, (-largest, largest))[0].astype(float).tolist()


@pytest.mark.parametrize("name", ["normal", "relu", "heavy", "few", "outlier"])
@pytest.mark.parametrize("bins,levels", [(2049, 255), (511, 15)])
def test_the_same_threshold(name, bins, levels):
    counts = histogram(name, bins)
    assert least_divergence(torch.tensor(counts), levels, 1e-4) == plain_least_divergence(counts, levels, 1e-4)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 5) | st.integers(0, 10 ** 6), min_size=1, max_size=30), st.sampled_from([3, 5, 7]),
       st.sampled_from([1e-4, 0.1]))
def test_every_divergence(half, levels, epsilon):
    """Float64 sums in another order: 1e-9 relative to the terms, which stay below 50."""
    counts = [*half[::-1], 3, *[(value * 7) % 11 for value in half]]
    tensor = torch.tensor(counts, dtype=torch.float64)
    widths, seen = [], []
    for block in _blocks(len(counts), levels):
        widths += block.tolist()
        seen += _divergences(tensor.numpy(), block, levels, epsilon).tolist()
    assert widths == list(range(levels // 2, len(counts) // 2 + 1))
    plain = [plain_divergence(counts, width, levels, epsilon) for width in widths]
    assert seen == pytest.approx(plain, abs=1e-9)
    chosen = least_divergence(tensor, levels, epsilon)
    if chosen is None:
        assert plain_least_divergence(counts, levels, epsilon) is None
    else:
        assert plain[widths.index(chosen)] == pytest.approx(min(plain), abs=1e-9)


def test_ties_go_to_the_narrowest():
    """All values lie within the narrowest slice, groups are single bins: nothing is lost by any of the first three."""
    counts = [0, 0, 0, 5, 6, 7, 0, 0, 0]
    assert [plain_divergence(counts, width, 3, 1e-4) for width in (1, 2)][0] == 0
    assert least_divergence(torch.tensor(counts), 3, 1e-4) == plain_least_divergence(counts, 3, 1e-4) == 1


@pytest.mark.parametrize("counts,levels", [([0] * 9, 3), ([0, 4, 0], 5), ([9, 0, 0, 0, 0, 0, 0, 0, 9], 9)])
def test_where_no_candidate_is_left(counts, levels):
    """The last loses nothing with epsilon small, so only with one that nobody can pay is it out."""
    assert least_divergence(torch.tensor(counts), levels, 5.0) is None
    assert plain_least_divergence(counts, levels, 5.0) is None


def test_a_candidate_that_is_out_is_not_the_best():
    """MRT GEN defect: an infinite divergence was overwritten. Only the widest slice holds what Q can keep."""
    counts = [50, 0, 0, 0, 0, 0, 0, 0, 50]
    assert least_divergence(torch.tensor(counts), 3, 1e-4) == 4


def test_at_least_eight_times_as_fast_as_the_plain_loop():
    counts = histogram("normal", 2049)
    tensor = torch.tensor(counts)
    seconds = {}
    for name, times, search in (("plain", 1, lambda: plain_least_divergence(counts, 255, 1e-4)),
                                ("fast", 5, lambda: least_divergence(tensor, 255, 1e-4))):
        rounds = []
        for _ in range(times):
            begin = time.process_time()
            search()
            rounds.append(time.process_time() - begin)
        seconds[name] = min(rounds)
    assert seconds["plain"] >= 8 * seconds["fast"], seconds

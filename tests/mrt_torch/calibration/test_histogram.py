"""Oracle: bins counted value by value in Python fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrt_torch.calibration import Histogram
from mrt_torch.calibration import histogram as module

EDGES = [0.0, -0.0, 1e-45, -1e-45, 2.0 ** -126, 3.4028234663852886e38, -3.4028234663852886e38, 1.0, 2.0, 16.0]
VALUES = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from(EDGES), min_size=1,
                  max_size=30)


def exponent_of(largest: float, magnitudes: int) -> int:
    """The least one from -126 up for which the bins reach beyond the largest value."""
    exponent = -126
    while Fraction(largest) >= magnitudes * Fraction(2) ** exponent:
        exponent += 1
    return exponent


def counts_of(values: list[float], exponent: int, magnitudes: int, signed: bool) -> list[int]:
    counts = [0] * (2 * magnitudes - 1 if signed else magnitudes)
    for value in values:
        place = int(Fraction(value) / Fraction(2) ** exponent)  # without its fraction, towards zero
        counts[place + magnitudes - 1 if signed else max(place, 0)] += 1
    return counts


def histogram_of(values: list[float], magnitudes: int, signed: bool) -> Histogram:
    tensor = torch.tensor(values, dtype=torch.float32)
    return Histogram.of(tensor, tensor.abs().amax().reshape(1), magnitudes, signed)


def same(first: Histogram, second: Histogram) -> bool:
    return torch.equal(first.counts, second.counts) and torch.equal(first.exponents, second.exponents)


@settings(deadline=None, max_examples=80)
@given(VALUES, st.sampled_from([16, 64]), st.booleans())
@example(EDGES, 16, True)
@example([1e-45, 0.0], 16, True)
def test_counts_and_widths(values, magnitudes, signed):
    seen = histogram_of(values, magnitudes, signed)
    exponent = exponent_of(max(map(abs, values)), magnitudes)
    assert seen.exponents.tolist() == [exponent]
    assert seen.counts.tolist() == [counts_of(values, exponent, magnitudes, signed)]
    assert seen.widths.tolist() == [2.0 ** exponent] and seen.magnitudes == magnitudes


@settings(deadline=None, max_examples=80)
@given(VALUES, VALUES, st.booleans())
@example([0.0], [1e-30], True)
@example([-1e-45], [3e38], True)
def test_merging_gives_what_all_values_together_give(left, right, signed):
    merged = histogram_of(left, 16, signed).merged(histogram_of(right, 16, signed))
    assert same(merged, histogram_of([*left, *right], 16, signed))


@pytest.mark.parametrize("signed", [True, False])
def test_edges_hold_the_values_of_their_bins(signed):
    values = [value / 8 for value in range(-100 if signed else 0, 100)]
    seen = histogram_of(values, 16, signed)
    width = float(seen.widths)
    for value in values:
        place = counts_of([value], int(seen.exponents), 16, signed).index(1)
        low, high = (float(edge[place]) * width for edge in seen.edges())
        assert low <= value <= high


def test_edges_within_the_extremes():
    seen = histogram_of([-3.0, 0.5, 7.25], 16, True)
    lower, upper = seen.edges_within(torch.tensor([-3.0]), torch.tensor([7.25]))
    assert lower[0].tolist()[:3] == [-3.0, -3.0, -3.0] and lower[0].tolist()[14:17] == [-1.0, -0.5, 0.5]
    assert upper[0].tolist()[-2:] == [7.25, 7.25] and lower[0].tolist()[-2:] == [7.0, 7.25]


@settings(deadline=None, max_examples=30)
@given(VALUES)
def test_folding_counts_magnitudes(values):
    folded = histogram_of(values, 16, True).folded()
    assert same(folded, histogram_of(list(map(abs, values)), 16, False)) and folded.folded() is folded


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.floats(-1e9, 1e9, width=32), min_size=3, max_size=3), min_size=4, max_size=4),
       st.sampled_from([1, 2, 4]), st.booleans())
def test_channels_add_up_to_groups(rows, groups, signed):
    """Oracle: each group's values counted by themselves."""
    tensor = torch.tensor(rows).T.reshape(3, 4, 1)  # 4 channels
    apart = Histogram.of(tensor, torch.tensor(rows).abs().amax(1), 16, signed).grouped(groups)
    size = 4 // groups
    for group in range(groups):
        values = [value for row in rows[group * size:(group + 1) * size] for value in row]
        alone = histogram_of(values, 16, signed)
        assert apart.counts[group].tolist() == alone.counts[0].tolist()
        assert apart.exponents[group] == alone.exponents[0]


@pytest.mark.parametrize("chunk,most", [(1, 1), (7, 10 ** 6), (50, 40), (10 ** 6, 10 ** 6)])
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4), (2, 5, 3, 3), (1, 1, 1)])
@pytest.mark.parametrize("layout", [lambda t: t, lambda t: t.transpose(0, -1), lambda t: t.double(),
                                    lambda t: t.half()],
                         ids=["contiguous", "strided", "float64", "float16"])
def test_parts_that_are_counted_together_do_not_matter(monkeypatch, chunk, most, shape, layout):
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "MOST_COUNTS", most)
    tensor = layout(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    rows = tensor.movedim(1, 0).reshape(tensor.shape[1], -1).float()
    seen = Histogram.of(tensor, rows.abs().amax(1), 16, True)
    for row, counts, exponent in zip(rows.tolist(), seen.counts.tolist(), seen.exponents.tolist(), strict=True):
        assert counts == counts_of(row, exponent, 16, True)
    whole = Histogram.of(tensor, rows.abs().amax().reshape(1), 16, True)
    assert whole.counts[0].tolist() == counts_of(rows.flatten().tolist(), int(whole.exponents), 16, True)


def test_what_is_not_finite_stays_within_the_bins():
    tensor = torch.tensor([float("nan"), float("inf"), float("-inf"), 1.0])
    for largest in (1.0, float("inf"), float("nan")):
        for signed in (True, False):
            assert int(Histogram.of(tensor, torch.tensor([largest]), 16, signed).counts.sum()) == 4


def test_counts_beyond_32_bits():
    many = Histogram(torch.full((1, 16), 2 ** 40), torch.zeros(1, dtype=torch.int32), False)
    assert int(many.merged(many).grown(torch.tensor([3], dtype=torch.int32)).counts.sum()) == 16 * 2 ** 41

"""Oracle: torch's unfold, and sums of outer products in exact integers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization.second_moment import (
    SecondMoment,
    convolution_windows,
    dense_windows,
    positions_per_example,
    spread_places,
)

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


def unfolded(x, kernel, stride, padding, dilation, groups):
    """Windows by torch: (N, C * taps, places) to (G, K, N * places)."""
    columns = torch.nn.functional.unfold(x, kernel, dilation, padding, stride)
    return columns.permute(1, 0, 2).reshape(groups, columns.shape[1] // groups, -1)


@settings(deadline=None, max_examples=60)
@given(PAIR, PAIR, st.tuples(st.integers(0, 2), st.integers(0, 2)), PAIR, st.integers(1, 3), st.integers(1, 2),
       st.integers(1, 3))
def test_windows_of_a_convolution_are_those_of_unfold(kernel, stride, padding, dilation, groups, width, batch):
    x = torch.randn(batch, groups * width, 8, 9, dtype=torch.float64)
    arguments = (kernel, stride, padding, dilation, groups)
    assert torch.equal(convolution_windows(x, *arguments), unfolded(x, *arguments))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_windows_times_weights_are_the_convolution(groups):
    x, weight = torch.randn(2, 4, 7, 6, dtype=torch.float64), torch.randn(8, 4 // groups, 3, 2, dtype=torch.float64)
    windows = convolution_windows(x, (3, 2), (2, 1), (1, 1), (1, 2), groups)
    expected = torch.nn.functional.conv2d(x, weight, None, (2, 1), (1, 1), (1, 2), groups)
    product = weight.reshape(groups, 8 // groups, -1) @ windows
    assert torch.allclose(product.reshape(8, -1), expected.transpose(0, 1).reshape(8, -1), atol=1e-12)


def test_chosen_places_are_among_all_and_the_same_in_every_example():
    x = torch.arange(2 * 3 * 8 * 9).reshape(2, 3, 8, 9)
    every = unfolded(x.double(), (3, 3), (1, 1), (1, 1), (1, 1), 1).reshape(27, 2, 72)
    some = convolution_windows(x, (3, 3), (1, 1), (1, 1), (1, 1), 1, positions=10)
    assert some.shape == (1, 27, 20) and some.dtype == x.dtype
    assert torch.equal(some.reshape(27, 2, 10).double(), every[:, :, spread_places(72, 10)])


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 400), st.integers(1, 500))
def test_places_are_distinct_and_in_range(count, most):
    places = spread_places(count, most)
    assert len(places) == min(count, most) == len(set(places.tolist()))
    assert 0 <= int(places.min()) and int(places.max()) < count
    assert places.tolist() == sorted(places.tolist())


def test_places_spread_over_rows_and_columns():
    """A twelfth of a square of 112 x 112: every row and column has its share of 9.3, give or take half of it."""
    places = spread_places(112 * 112, 1045)
    for line in (places // 112, places % 112):
        shares = torch.bincount(line, minlength=112)
        assert int(shares.min()) >= 5 and int(shares.max()) <= 14


@pytest.mark.parametrize("examples,length,places", [(64, 9, 256), (64, 4608, 576), (1, 1, 16384), (20000, 1, 1),
                                                    (0, 1, 16384)])
def test_number_of_places(examples, length, places):
    """By hand: ceil(max(2**14, 8 K) / examples)."""
    assert positions_per_example(examples, length) == places


def test_moments_of_integers_are_exact_and_no_order_changes_them():
    """Oracle: int64 outer products."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-127, 128, (12, 6, 5, 5), generator=generator)
    arguments = ((3, 3), (1, 1), (1, 1), (1, 1), 2)
    windows = convolution_windows(x, *arguments)
    expected = torch.einsum("gin,gjn->gij", windows, windows)
    whole, parts, reverse = (SecondMoment(2, 27) for _ in range(3))
    whole.add(windows)
    for part in x.split(5):
        parts.add(convolution_windows(part, *arguments))
    for part in x.flip(0).split(7):
        other = SecondMoment(2, 27)
        other.add(convolution_windows(part, *arguments))
        reverse.merge(other)
    assert torch.equal(whole.products, expected.double())
    for found in (parts, reverse):
        assert found.count == whole.count == 300
        assert torch.equal(found.products, whole.products) and torch.equal(found.sums, whole.sums)
        assert torch.equal(found.covariance(), whole.covariance())


def test_moments_of_a_dense_layer():
    """Oracle: torch.cov and the definition."""
    x = torch.randn(50, 7, dtype=torch.float64) + 3
    moment = SecondMoment(1, 7)
    moment.add(dense_windows(x))
    assert torch.allclose(moment.moment()[0], x.T @ x / 50, atol=1e-12)
    assert torch.allclose(moment.covariance()[0], torch.cov(x.T, correction=0), atol=1e-12)
    tokens = SecondMoment(1, 7)
    tokens.add(dense_windows(x.reshape(5, 10, 7)))
    assert torch.allclose(tokens.moment(), moment.moment(), atol=1e-12)


def test_no_window_gives_zeros():
    assert not SecondMoment(2, 3).moment().any() and not SecondMoment(2, 3).covariance().any()


@pytest.mark.parametrize("windows", [torch.zeros(2, 3, 5), torch.zeros(1, 4, 5), torch.zeros(3, 5),
                                     torch.full((1, 3, 2), torch.nan), torch.full((1, 3, 2), torch.inf)])
def test_bad_windows(windows):
    with pytest.raises(InvalidArgumentError):
        SecondMoment(1, 3).add(windows)


def test_moments_of_other_layers_do_not_merge():
    with pytest.raises(InvalidArgumentError):
        SecondMoment(1, 3).merge(SecondMoment(1, 4))

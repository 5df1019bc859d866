"""Oracle: all 2**K roundings up and down of small problems, and the quadratic objective e' H e by its definition."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization import int_realize
from mrt_torch.quantization.rounding import BLOCK, DAMPING, METHODS, round_weights, rounding_noise

SEARCHES = [method for method in METHODS if method != "nearest"]


def problem(seed, outputs, groups, taps, windows, bits=4, correlated=True):
    """Weights (O, K), scales that fill the bits, and the second moment of inputs that share a few sources."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, taps, generator=generator, dtype=torch.float64)
    scales = (2 ** (bits - 1) - 1) / weight.abs().amax(1)
    inputs = torch.randn(groups, taps, windows, generator=generator, dtype=torch.float64)
    if correlated:
        sources = torch.randn(groups, max(taps // 3, 1), windows, generator=generator, dtype=torch.float64)
        mixing = torch.randn(groups, taps, max(taps // 3, 1), generator=generator, dtype=torch.float64)
        inputs = 0.2 * inputs + mixing @ sources
    return weight, scales, inputs @ inputs.transpose(1, 2) / windows


def objective(weight, scales, integers, moment):
    """e' H e of every output channel, one at a time."""
    per_group = len(weight) // len(moment)
    found = []
    for output in range(len(weight)):
        error = (weight[output] * scales[output] - integers[output]).flatten()
        found.append(error @ moment[output // per_group] @ error)
    return torch.stack(found)


def optimum(weight, scales, moment, bits):
    """The least objective of each output channel over all roundings up and down within the range."""
    bound, per_group = 2 ** (bits - 1) - 1, len(weight) // len(moment)
    best = []
    for output in range(len(weight)):
        wanted = weight[output].flatten() * scales[output]
        ups = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(wanted))), dtype=torch.float64)
        errors = wanted - (wanted.floor() + ups).clamp(-bound, bound)
        best.append(((errors @ moment[output // per_group]) * errors).sum(1).min())
    return torch.stack(best)


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_searches_come_near_the_best_of_all_roundings(bits):
    """Over 40 problems of 10 correlated taps; the sums of both, because no bound holds for a single one."""
    totals = dict.fromkeys(METHODS, 0.0)
    best = 0.0
    for seed in range(40):
        weight, scales, moment = problem(seed, 4, 1, 10, 50, bits)
        best += float((optimum(weight, scales, moment, bits) / moment.diagonal(dim1=1, dim2=2).sum()).sum())
        for method in METHODS:
            integers = round_weights(weight, scales, bits, moment, method)
            totals[method] += float((objective(weight, scales, integers, moment)
                                     / moment.diagonal(dim1=1, dim2=2).sum()).sum())
    assert totals["nearest"] > 5 * best
    assert totals["compensated"] < 1.8 * best
    assert totals["searched"] < 1.61 * best
    assert totals["searched"] <= totals["compensated"]


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 10 ** 6), groups=st.integers(1, 3), per_group=st.integers(1, 3), taps=st.integers(1, 20),
       windows=st.integers(1, 40), bits=st.sampled_from([2, 3, 4, 6, 8]), method=st.sampled_from(METHODS),
       correlated=st.booleans())
def test_no_channel_is_worse_than_nearest(seed, groups, per_group, taps, windows, bits, method, correlated):
    """Also with fewer windows than taps, where the second moment has no inverse."""
    weight, scales, moment = problem(seed, groups * per_group, groups, taps, windows, bits, correlated)
    integers = round_weights(weight, scales, bits, moment, method)
    assert integers.dtype == torch.int32 and integers.shape == weight.shape
    assert int(integers.abs().max()) <= 2 ** (bits - 1) - 1
    nearest = int_realize(weight * scales[:, None], bits)
    found, plain = (objective(weight, scales, rounded, moment) for rounded in (integers, nearest))
    assert bool((found <= plain * (1 + 1e-9)).all())
    assert torch.allclose(rounding_noise(weight, scales, integers, moment), found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_rounding_is_that_of_each_group_alone(method):
    """(O, I / G, kh, kw) with the taps in the order of unfold."""
    weight, scales, moment = problem(3, 12, 4, 18, 100)
    image = weight.reshape(12, 2, 3, 3)
    whole = round_weights(image, scales, 4, moment, method)
    assert whole.shape == image.shape
    for group in range(4):
        part = slice(3 * group, 3 * group + 3)
        assert torch.equal(whole[part], round_weights(image[part], scales[part], 4, moment[group:group + 1], method))


@pytest.mark.parametrize("taps", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 9])
def test_compensation_is_the_same_in_blocks(taps, monkeypatch):
    """Oracle: the same with one block for all taps."""
    weight, scales, moment = problem(5, 6, 1, taps, 3 * taps)
    found = round_weights(weight, scales, 4, moment, "compensated")
    monkeypatch.setattr("mrt_torch.quantization.rounding.BLOCK", taps)
    assert torch.equal(found, round_weights(weight, scales, 4, moment, "compensated"))


def slow_compensation(wanted, moment, bound):
    """One row by the definition: after each weight, the best real values of those that are left."""
    length = len(wanted)
    damped = moment + DAMPING * moment.diagonal().mean() * torch.eye(length, dtype=torch.float64)
    order = moment.diagonal().argsort(descending=True, stable=True).tolist()
    errors = torch.zeros(length, dtype=torch.float64)
    integers = torch.zeros(length, dtype=torch.float64)
    for position, tap in enumerate(order):
        free = order[position:]
        fixed = order[:position]
        # Least e' H e with the errors of those rounded given: e_free = -H_ff^-1 H_fx e_x.
        best = -torch.linalg.solve(damped[free][:, free], damped[free][:, fixed] @ errors[fixed])
        integers[tap] = torch.round(wanted[tap] - best[0]).clamp(-bound, bound)
        errors[tap] = wanted[tap] - integers[tap]
    return integers


@pytest.mark.parametrize("seed", range(8))
def test_compensation_is_least_squares_after_every_weight(seed):
    """Where the definition gives less noise than nearest, else nearest is kept."""
    weight, scales, moment = problem(seed, 3, 1, 12, 60)
    found = round_weights(weight, scales, 4, moment, "compensated")
    for output in range(3):
        expected = slow_compensation(weight[output] * scales[output], moment[0], 7)
        nearest = int_realize(weight[output] * scales[output], 4).double()
        noises = [float(objective(weight[output:output + 1], scales[output:output + 1], rounded[None], moment))
                  for rounded in (expected, nearest)]
        assert torch.equal(found[output].double(), expected if noises[0] < noises[1] else nearest)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("taps", [30, 2 * BLOCK + 9])
def test_no_single_change_betters_what_was_searched(seed, taps):
    """By trying each weight one up and one down, in the damped objective that the search goes by."""
    weight, scales, moment = problem(seed, 2, 1, taps, 4 * taps)
    damped = moment + DAMPING * moment.diagonal(dim1=1, dim2=2).mean() * torch.eye(taps, dtype=torch.float64)
    integers = round_weights(weight, scales, 6, moment, "searched")
    least = objective(weight, scales, integers, damped)
    for tap, step in itertools.product(range(taps), (-1, 1)):
        changed = integers.clone()
        changed[:, tap] = (changed[:, tap] + step).clamp(-31, 31)
        assert bool((objective(weight, scales, changed, damped) >= least * (1 - 1e-4)).all())


@pytest.mark.parametrize("bits", [4, 6])
def test_output_noise_falls_on_windows_not_seen(bits):
    """What the objective stands for: the mean square of the output's change, on other windows of the same sources."""
    weight, scales, _ = problem(1, 16, 1, 72, 10, bits)
    generator = torch.Generator().manual_seed(2)
    mixing = torch.randn(72, 12, generator=generator, dtype=torch.float64)

    def windows(count):
        noise = torch.randn(72, count, generator=generator, dtype=torch.float64)
        return (mixing @ torch.randn(12, count, generator=generator, dtype=torch.float64) + noise).relu()
    seen, unseen = windows(2000), windows(2000)
    covariance = torch.cov(seen, correction=0)[None]

    def noise(method):
        integers = round_weights(weight, scales, bits, covariance, method)
        change = (integers / scales[:, None] - weight) @ unseen
        return float(change.var(1, correction=0).sum())
    nearest, compensated, searched = map(noise, METHODS)
    assert compensated < 0.5 * nearest and searched < 0.5 * nearest


def test_uncorrelated_inputs_leave_nothing_to_gain():
    weight, scales, _ = problem(0, 5, 1, 16, 10)
    identity = torch.eye(16, dtype=torch.float64)[None]
    for method in METHODS:
        assert torch.equal(round_weights(weight, scales, 4, identity, method), int_realize(weight * scales[:, None], 4))


@pytest.mark.parametrize("method", METHODS)
def test_degenerate_second_moments(method):
    """All zero, of rank one, huge, tiny, with a dead input and with one dead group; None is nearest."""
    weight, scales, moment = problem(0, 4, 2, 9, 30)
    nearest = int_realize(weight * scales[:, None], 4)
    assert torch.equal(round_weights(weight, scales, 4, torch.zeros_like(moment), method), nearest)
    assert torch.equal(round_weights(weight, scales, 4, None, method), nearest)
    ones = torch.ones_like(moment)
    found = round_weights(weight, scales, 4, ones, method)
    assert bool((objective(weight, scales, found, ones) <= objective(weight, scales, nearest, ones)).all())
    expected = round_weights(weight, scales, 4, moment, method)
    for factor in (2.0 ** 80, 2.0 ** -80):
        assert torch.equal(round_weights(weight, scales, 4, moment * factor, method), expected)
    dead = moment.clone()
    dead[0, 3], dead[0, :, 3] = 0, 0
    dead[1] = 0
    found = round_weights(weight, scales, 4, dead, method)
    assert torch.equal(found[2:], nearest[2:]) and int(found.abs().max()) <= 7


def test_indefinite_by_rounding_is_still_rounded():
    """A covariance as a difference may have eigenvalues below zero in the last digits, or, here, well below."""
    weight, scales, moment = problem(0, 4, 1, 9, 30)
    moment = moment - 0.2 * moment.diagonal(dim1=1, dim2=2).mean() * torch.eye(9, dtype=torch.float64)
    nearest = int_realize(weight * scales[:, None], 4)
    for method in SEARCHES:
        found = round_weights(weight, scales, 4, moment, method)
        assert int(found.abs().max()) <= 7
        assert bool((objective(weight, scales, found, moment) <= objective(weight, scales, nearest, moment)).all())


def test_weights_beyond_the_range_are_clamped_and_made_up_for():
    """Two inputs that are always alike: what the first weight lacks the second one gives."""
    weight, scales = torch.tensor([[9.0, 1.0]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    moment = torch.tensor([[[1.0, 0.999], [0.999, 1.0]]], dtype=torch.float64)
    assert round_weights(weight, scales, 4, moment, "nearest").tolist() == [[7, 1]]
    for method in SEARCHES:
        assert round_weights(weight, scales, 4, moment, method).tolist() == [[7, 3]]


def test_rounding_is_deterministic_and_leaves_its_arguments():
    weight, scales, moment = problem(7, 8, 2, 40, 60)
    copies = [tensor.clone() for tensor in (weight, scales, moment)]
    for method in METHODS:
        assert torch.equal(*(round_weights(weight, scales, 6, moment, method) for _ in range(2)))
    assert all(torch.equal(tensor, copy) for tensor, copy in zip((weight, scales, moment), copies))


@pytest.mark.parametrize("moment", [torch.zeros(1, 4, 4), torch.zeros(3, 5, 5), torch.zeros(5, 5), torch.zeros(0, 5, 5),
                                    torch.full((1, 5, 5), torch.nan), torch.full((1, 5, 5), torch.inf)])
def test_bad_second_moments(moment):
    with pytest.raises(InvalidArgumentError):
        round_weights(torch.ones(4, 5), torch.ones(4), 8, moment)


def test_unknown_method():
    with pytest.raises(InvalidArgumentError, match="compensated"):
        round_weights(torch.ones(4, 5), torch.ones(4), 8, torch.zeros(1, 5, 5), "upwards")

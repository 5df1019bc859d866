"""The verdicts on the accuracy table: rows made up here, each on one side of a bound."""

from __future__ import annotations

import pytest

from tests.benchmarks import peers
from tests.benchmarks.accuracy import Row
from tests.benchmarks.likeness import Likeness, multiply_accumulates
from tests.benchmarks.networks import MOBILENET, UNEQUAL
from tests.benchmarks.targets import PLAIN, Results, verdicts

NETWORK = "resnet20_cifar10"


def row(settings: str, network: str = NETWORK, change: float = 0.0, agreement: float = 99.0, noise: float = 33.0,
        extra: float = 0.0, bits: int = 8) -> Row:
    return Row(network, settings, 2000, Likeness(52.38 + change, change, 0.1, agreement, noise, 0.999), 1.0, 100, bits,
               extra)


def judged(*rows: Row, whole: bool = True) -> dict[str, bool | None]:
    return {verdict.target: verdict.holds for verdict in verdicts(Results(rows, whole))}


def holding(found: dict[str, bool | None], start: str) -> list[bool | None]:
    return [holds for target, holds in found.items() if target.startswith(start)]


@pytest.mark.parametrize("good, bad, target", [
    (row("default", change=-0.5), row("default", change=-0.55), "default: at most 0.5 point"),
    (row("default", agreement=98.4), row("default", agreement=98.35), "default: agreement"),
    (row("default", bits=8), row("default", bits=9), "default: operands"),
    (row("default"), row("default", extra=0.1), "default: at most 0 %"),
    (row("best", agreement=98.9), row("best", agreement=98.85), "best: agreement"),
    (row("best", noise=29.14), row("best", noise=29.1), "best: signal-to-noise ratio at least"),
    (row("best", noise=32.2), row("best", noise=32.1), "best: signal-to-noise ratio on the average"),
    (row("best", extra=25.0), row("best", extra=25.1), "best: at most 25 %"),
    (row("best", MOBILENET, noise=26.0), row("best", MOBILENET, noise=25.9), "best: MobileNet, signal"),
    (row("default", MOBILENET, change=-1.8), row("default", MOBILENET, change=-1.9), "default: MobileNet, top-1"),
])
def test_a_bound_holds_or_is_missed(good: Row, bad: Row, target: str) -> None:
    """Oracle: the bounds asked for, beside ``PUBLISHED`` (98.90 % and 29.14 dB for ResNet-20)."""
    assert (holding(judged(good), target), holding(judged(bad), target)) == ([True], [False])


def test_a_peer_of_the_same_run_counts_where_it_is_better() -> None:
    """Oracle: the larger of the two."""
    better = row(peers.label("Entropy"), agreement=99.4)
    assert holding(judged(row("best", agreement=99.3), better), "best: agreement") == [False]
    assert holding(judged(row("best", agreement=99.4), better), "best: agreement") == [True]


def test_a_part_of_the_pictures_is_not_compared_with_published_figures() -> None:
    """They are of other pictures."""
    assert holding(judged(row("best", agreement=50.0), whole=False), "best: agreement") == [None]


def test_unequal_channels_are_compared_with_the_network_they_were_made_of() -> None:
    """Oracle: at most 0.5 point more than the plain one loses."""
    plain = row("default", PLAIN, change=-1.0)
    assert holding(judged(plain, row("default", UNEQUAL.name, change=-1.5)), "default: unequal") == [True]
    assert holding(judged(plain, row("default", UNEQUAL.name, change=-1.6)), "default: unequal") == [False]
    assert holding(judged(row("default", UNEQUAL.name)), "default: unequal") == [None]


def test_nothing_measured_is_nothing_said() -> None:
    """Oracle: none of the targets holds or is missed."""
    assert set(judged(row("float")).values()) <= {None}


def test_multiply_accumulates_of_a_small_network() -> None:
    """Oracle: by hand, 4 x 4 x 3 x (2 x 3 x 3) for the convolution and 48 x 5 for the dense layer."""
    import torch
    from torch import nn

    from mrt_torch import Model
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 5)).eval()
    model = Model.from_torch(net, torch.zeros(2, 2, 4, 4))
    model.prepare((1, 2, 4, 4))
    assert multiply_accumulates(model.module) == 864 + 240

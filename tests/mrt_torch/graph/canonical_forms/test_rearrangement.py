"""Shuffles, flips and rolls. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import Function, assert_equal, check, inputs, operators

SHUFFLE = ["reshape.default", "permute.default", "reshape.default"]
SLICE, CAT, FLIP = "slice.Tensor", "cat.default", "flip.default"
CASES = {
    "pixel shuffle": (lambda m, x: F.pixel_shuffle(x, 2), (8, 3, 5), SHUFFLE),
    "pixel shuffle of five axes": (lambda m, x: F.pixel_shuffle(x, 3), (2, 9, 1, 2), None),
    "pixel unshuffle": (lambda m, x: F.pixel_unshuffle(x, 2), (2, 4, 6), SHUFFLE),
    "channel shuffle": (lambda m, x: F.channel_shuffle(x, 3), (6, 4, 5), SHUFFLE),
    "flip": (lambda m, x: x.flip(1, -1), (3, 4, 5), [FLIP]),
    "left to right": (lambda m, x: torch.fliplr(x), (3, 4), [FLIP]),
    "flip of nothing": (lambda m, x: x.flip([]).neg(), (3, 4), ["neg.default"]),
    "roll": (lambda m, x: x.roll(1, 1), (3, 4), [SLICE, SLICE, CAT]),
    "roll of two axes": (lambda m, x: x.roll((-2, 5), (2, 1)), (3, 4), [SLICE, SLICE, CAT] * 2),
    "roll of nothing": (lambda m, x: x.roll(4, -1).neg(), (3, 4), ["neg.default"]),
}


@pytest.mark.parametrize("name", CASES)
def test_rearrangement(name):
    function, shape, targets = CASES[name]
    check(Function(function), shape, targets=targets)


@pytest.mark.parametrize("options", [{"kernel_size": 2, "stride": 2}, {"kernel_size": 1},
                                     {"kernel_size": 3, "padding": 1},
                                     {"kernel_size": (2, 3), "dilation": (2, 1), "padding": (0, 2), "stride": (3, 2)}])
def test_windows_as_columns(options):
    """Exact: slices, one for each place in the kernel."""
    graph = check(nn.Unfold(**options), (2, 6, 7))
    assert "im2col.default" not in operators(graph)
    assert_equal(prepare(graph), nn.Unfold(**options), inputs([(2, 6, 7)], 5), relative=0)


@pytest.mark.parametrize("module, shape", [(nn.ChannelShuffle(2), (6, 4, 5)), (nn.PixelShuffle(2), (4, 3, 3)),
                                           (nn.PixelUnshuffle(3), (2, 3, 6))])
def test_modules(module, shape):
    check(module, shape, targets=SHUFFLE)


@pytest.mark.parametrize("function, kept", [(lambda m, x: x.roll(1, 0), "aten.roll.default"),
                                            (lambda m, x: x.roll(1), "aten.roll.default")])
def test_rolls_across_the_batch_stay(function, kept):
    """For validation to refuse."""
    graph = check(Function(function), (3, 4))
    assert kept in [str(node.target) for node in graph.graph.nodes]

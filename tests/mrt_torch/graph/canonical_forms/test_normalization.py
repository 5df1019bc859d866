"""Batch normalization. Oracle: the torch module, with statistics that matter, at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import (
    Function,
    assert_equal,
    check,
    inputs,
    randomise,
)

aten = torch.ops.aten
STATISTICS = {"g": torch.rand(4), "b": torch.randn(4), "mean": torch.randn(4), "var": torch.rand(4) + 0.5}
FORMS = {
    "module": randomise(nn.Sequential(nn.BatchNorm2d(4, eps=1e-2))),
    "without affine": randomise(nn.Sequential(nn.BatchNorm2d(4, affine=False))),
    "legit": Function(lambda m, x: aten._native_batch_norm_legit_no_training(
        x, m.g, m.b, m.mean, m.var, 0.1, 1e-3)[0], **STATISTICS),
    "native": Function(lambda m, x: torch.native_batch_norm(x, m.g, m.b, m.mean, m.var, False, 0.1, 1e-3)[0],
                       **STATISTICS),
}


@pytest.mark.parametrize("name", FORMS)
def test_batch_norm(name):
    """Every spelling becomes batch_norm with its own eps; the counter of batches is no buffer of the graph."""
    graph = check(FORMS[name], (4, 3, 5), targets=["batch_norm.default"])
    assert not any("num_batches" in buffer for buffer, _ in graph.named_buffers())


def test_one_axis():
    module = nn.BatchNorm1d(4)
    module.running_mean.copy_(torch.randn(4))
    check(module, (4,), targets=["batch_norm.default"])


def test_prepared():
    """Folded into the convolution before it: equal within float32 rounding."""
    module = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    prepared = prepare(check(module, (3, 6, 6)))
    assert_equal(prepared, module, inputs([(3, 6, 6)], 5), relative=1e-4)


def test_statistics_of_the_batch():
    """A layer without running statistics stays, and prepare refuses it."""
    graph = check(nn.BatchNorm2d(4, track_running_stats=False), (4, 3, 5), targets=["batch_norm.default"],
                  batches=(2,))
    with pytest.raises(UnsupportedOperatorError, match="statistics"):
        prepare(graph)
